"""Management locks: which of them forbid what is about to be done. This program never lifts one."""

from collections.abc import Iterable
from typing import Any, Final

from quarantine.action import Refusal
from quarantine_azure.arm_id import ArmId, covers
from quarantine_azure.cloud import AzureCloud

LOCK: Final = "Microsoft.Authorization/locks"


def locks_over(cloud: AzureCloud, *ids: str) -> dict[str, tuple[str, ...]]:
    """By level (`ReadOnly`, `CanNotDelete`), the ids of the locks that hold for one of these.

    The list of a resource group has all locks at, above and below it (Get-AzResourceLock, -AtScope).
    """
    found: dict[str, tuple[str, ...]] = {"ReadOnly": (), "CanNotDelete": ()}
    for lock in locks(cloud, ids):
        if any(covers(scope_of(lock), id_) for id_ in ids):
            found[lock["properties"]["level"]] += (lock["id"],)
    return found


def locks(cloud: AzureCloud, ids: Iterable[str]) -> Iterable[dict[str, Any]]:
    """Every lock at, above or below the resource groups that these are in; or their subscriptions."""
    parsed = [found for found in map(ArmId.parse, ids) if found is not None]
    scopes = dict.fromkeys(
        f"/subscriptions/{each.subscription}" + (f"/resourcegroups/{each.group}" if each.group else "")
        for each in parsed
    )
    all_ = (lock for scope in scopes for lock in cloud.read(f"{LOCK}/read", f"list {LOCK}", id=scope))
    return {lock["id"].lower(): lock for lock in all_}.values()


def scope_of(lock: dict[str, Any]) -> str:
    """What it holds for, and everything below that."""
    return str(lock["id"]).lower().partition(f"/providers/{LOCK.lower()}/")[0]


def refused_by(locks: tuple[str, ...]) -> Refusal | None:
    """The refusal for a lock that forbids the change; a ReadOnly one forbids every PUT, PATCH, POST and DELETE (Azure,
    "Lock your resources")."""
    if not locks:
        return None
    reason = f"a lock forbids the change: {', '.join(locks)}"
    return Refusal(reason=reason, alternatives=("let who set the lock lift it; this program never does",))
