"""Findings that we ask for: storage that anybody can read now, and rules that let the internet in to a machine.

Only reads, only Azure Resource Manager: what it says is judged, nothing is fetched from a data endpoint.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import JsonValue

from quarantine.action import Poll
from quarantine.errors import Denied, Gone
from quarantine.model import Finding, Resource, Severity
from quarantine_azure import security_rule, storage_account
from quarantine_azure.arm_id import ArmId
from quarantine_azure.cloud import AzureCloud
from quarantine_azure.security_rule import open_rules, ports
from quarantine_azure.storage_account import ACCOUNT, CONTAINER
from quarantine_azure.virtual_machine import GROUP

log = logging.getLogger(__name__)

MANAGEMENT: Final = {22: "SSH", 23: "Telnet", 135: "RPC", 445: "SMB", 3389: "RDP", 5985: "WinRM", 5986: "WinRM"}
"""Ports that a machine is taken over by; no service for the public answers there."""

Found = tuple[list[Finding], str | None]


def public_storage(cloud: AzureCloud, scope: str, now: datetime, cursor: str | None) -> Found:
    """Accounts that hold a container which anybody can read, one finding for each account."""
    found = []
    for account, containers in _public(cloud, scope):
        names = sorted(container["name"] for container in containers)
        where = _place(account["id"])
        found.append(
            Finding(
                source="azure:public-storage",
                id=f"public-storage-account:{account['id'].lower()}:{'+'.join(names)}"[:1024],
                title=f"Storage account {account['name']} can be read by anybody: {', '.join(names)}"[:4096],
                type="public-storage-account",
                severity=Severity.HIGH,
                resource=Resource(kind=storage_account.KIND, id=where.name, scope=_scope(where)),
                seen_at=now,
                record=_record(account, containers),
            )
        )
    return found, cursor


def public_containers(cloud: AzureCloud, scope: str, now: datetime, cursor: str | None) -> Found:
    """The same, one finding for each container: for who does not want the whole account closed."""
    found = []
    for account, containers in _public(cloud, scope):
        where = _place(account["id"])
        for container in containers:
            level = container["properties"]["publicAccess"]
            name = f"{where.name}/{container['name'].lower()}"
            found.append(
                Finding(
                    source="azure:public-containers",
                    id=f"public-container:{container['id'].lower()}:{level}",
                    title=f"Blob container {name} can be read by anybody ({level})",
                    type="public-container",
                    severity=Severity.HIGH,
                    resource=Resource(kind=storage_account.CONTAINER_KIND, id=name, scope=_scope(where)),
                    seen_at=now,
                    record=_record(account, [container]),
                )
            )
    return found, cursor


def open_port_rules(cloud: AzureCloud, scope: str, now: datetime, cursor: str | None) -> Found:
    """Every rule that lets the internet in; those for a port that machines are managed by are grave. Groups of AKS
    clusters are left out: a cluster writes them, and they open what its Services say."""
    found = []
    for group in cloud.read(f"{GROUP}/read", f"list {GROUP}", id=_path(scope)):
        where = _place(group["id"])
        if where.group.startswith("mc_"):
            continue
        for rule in open_rules(group):
            managed = sorted(managed_by(rule["properties"]))
            named = f" ({', '.join(f'{MANAGEMENT[port]} {port}' for port in managed)})" if managed else ""
            name = f"{where.name}/{rule['name'].lower()}"
            record: dict[str, JsonValue] = {"rule": rule["properties"], "management_ports": list[JsonValue](managed)}
            found.append(
                Finding(
                    source="azure:open-rules",
                    id=f"open-rule:{rule['id'].lower()}:{ports(rule)}"[:1024],
                    title=f"Rule {name} lets the internet in to {ports(rule)}{named}",
                    type="open-management-port" if managed else "open-port",
                    severity=Severity.HIGH if managed else Severity.LOW,
                    resource=Resource(kind=security_rule.KIND, id=name, scope=_scope(where)),
                    seen_at=now,
                    record=record,
                )
            )
    return found, cursor


def managed_by(rule: Mapping[str, Any]) -> set[int]:
    """The management ports that the rule opens. All of them speak TCP."""
    if rule["protocol"].lower() not in ("tcp", "*"):
        return set()
    ranges = [rule.get("destinationPortRange"), *(rule.get("destinationPortRanges") or [])]
    return {port for port in MANAGEMENT if any(_within(port, said) for said in ranges if said)}


def _within(port: int, said: str) -> bool:
    """`*`, `22`, `20-30`."""
    first, _, last = said.partition("-")
    return said == "*" or int(first) <= port <= int(last or first)


def _public(cloud: AzureCloud, scope: str) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Accounts with their public containers. One call for a closed account, one more for what may be open.

    An account that cannot be read is logged and left out; if none can be, raises Denied.
    """
    accounts = [it for it in cloud.read(f"{ACCOUNT}/read", f"list {ACCOUNT}", id=_path(scope)) if _may_be_open(it)]
    denied: list[Denied] = []
    for account in accounts:
        try:
            containers = list(_open_containers(cloud, account["id"]))
        except Gone:
            continue
        except Denied as error:
            log.warning("account_not_judged", extra={"account": account["name"], "reason": str(error)})
            denied.append(error)
            continue
        if containers:
            yield account, containers
    if denied and len(denied) == len(accounts):
        raise denied[0]


def _may_be_open(account: Mapping[str, Any]) -> bool:
    """Its word is above its containers'. Never said may mean either; then the containers decide. An account that the
    internet does not reach is not public, whatever it says."""
    said = account["properties"]
    closed_off = said.get("publicNetworkAccess") == "Disabled"
    denies = (said.get("networkAcls") or {}).get("defaultAction") == "Deny"
    return said.get("allowBlobPublicAccess") is not False and not closed_off and not denies


def _open_containers(cloud: AzureCloud, account: str) -> Iterable[dict[str, Any]]:
    below = "/blobServices/default/containers"
    for container in cloud.read(f"{CONTAINER}/read", f"list {CONTAINER}", id=account, below=below):
        if container["properties"].get("publicAccess") in ("Blob", "Container"):
            yield container


def _record(account: Mapping[str, Any], containers: Iterable[Mapping[str, Any]]) -> dict[str, JsonValue]:
    return {
        "allowBlobPublicAccess": account["properties"].get("allowBlobPublicAccess"),
        "containers": {each["name"]: each["properties"]["publicAccess"] for each in containers},
    }


def _path(scope: str) -> str:
    subscription, _, group = scope.partition("/")
    return f"/subscriptions/{subscription}" + (f"/resourceGroups/{group}" if group else "")


def _place(id_: str) -> ArmId:
    found = ArmId.parse(id_)
    if found is None:
        raise Gone(f"Azure lists something under an id that is none: {id_[:200]!r}")
    return found


def _scope(where: ArmId) -> str:
    return f"{where.subscription}/{where.group}"


POLLS: Final = (
    Poll("azure:public-storage", (f"{ACCOUNT}/read", f"{CONTAINER}/read"), public_storage),
    Poll("azure:public-containers", (f"{ACCOUNT}/read", f"{CONTAINER}/read"), public_containers),
    Poll("azure:open-rules", (f"{GROUP}/read",), open_port_rules),
)
