"""What a virtual machine in quarantine looks like: whose network security group each interface has, and what it says.

    no group ──> our group stands ──> every interface has it ──> it flushes
        ^                                                            │
        └──────────── every interface has its own again <────────────┘

Pure. One group for each machine, made for the incident: connections that are open are looked at again when a group
begins to flush (Azure SDK, NetworkSecurityGroupPropertiesFormat.flushConnection), and one that flushes already begins
nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple

from pydantic import Field

from quarantine.action import Fact, Mark, Proof, State, Token

OURS: Final = "quarantine"
"""Stands for our group's id in a State: no id of Azure looks like this."""

_PREFIX: Final = "cloud-quarantine"
_INSTALLATION: Final = f"{_PREFIX}-installation"
_FLUSH: Final = f"{_PREFIX}-flush"
"""The tag of a group that has been told to flush. Whether the platform does is not up to us; that we asked is."""

_READ_ONLY: Final = frozenset({"provisioningState", "description"})
_SETTLED: Final = frozenset({"Succeeded", "Failed", "Canceled"})


class Group(StrEnum):
    """What stands under the name that our group for a machine has."""

    QUARANTINE = "quarantine"
    ALTERED = "altered"
    """Ours, but somebody has changed its rules."""
    FOREIGN = "foreign"
    """Not ours: it does not carry the mark of this installation."""


class VmIsolation(State):
    nics: dict[str, str | None]
    """By the interface's id in lower case: the id of its group as it is written there, OURS, or None."""
    group: Group | None = None
    flush: bool = False
    """Our group has been told to flush, and so it is when it has reached every interface."""
    failed: Annotated[tuple[str, ...], Proof] = ()
    """Interfaces, and our group, whose last change failed: what the platform enforces there is not known."""
    uid: Annotated[str, Fact]
    location: Annotated[str, Fact] = ""
    busy: Annotated[tuple[str, ...], Fact] = ()
    """Interfaces, and our group, with a change under way."""
    group_of: Annotated[str | None, Fact] = None
    """The installation whose mark the group carries."""
    flushing: Annotated[bool, Fact] = False
    read_only: Annotated[tuple[str, ...], Fact] = ()
    """Locks that forbid to write what has to be written."""
    undeletable: Annotated[tuple[str, ...], Fact] = ()
    """Locks that forbid to delete our group again."""
    scale_set: Annotated[str, Fact] = ""
    cluster_node: Annotated[bool, Fact] = False
    public: Annotated[tuple[str, ...], Fact] = ()
    """Interfaces with a public address."""
    identity: Annotated[bool, Fact] = False
    etags: Annotated[dict[str, str], Token] = Field(default_factory=dict)


def group_name(uid: str) -> str:
    """At most 80 characters are allowed (Azure, "Naming rules"); a vmId has 36."""
    return f"{_PREFIX}-{uid}".lower()


def rules(deny_imds: bool, deny_dns: bool) -> list[dict[str, Any]]:
    """Deny everything, before any other rule (100 is the first priority). `*` does not cover the platform's own
    addresses: only their service tags do (Azure, "Network security groups", Azure platform considerations)."""
    found = [_deny("inbound", "Inbound", 100, "*"), _deny("outbound", "Outbound", 100, "*")]
    if deny_imds:
        found.append(_deny("imds", "Outbound", 101, "AzurePlatformIMDS"))
    if deny_dns:
        found.append(_deny("dns", "Outbound", 102, "AzurePlatformDNS"))
    return found


def _deny(name: str, direction: str, priority: int, to: str) -> dict[str, Any]:
    return {
        "name": f"{_PREFIX}-{name}",
        "properties": {
            "access": "Deny",
            "direction": direction,
            "priority": priority,
            "protocol": "*",
            "sourceAddressPrefix": "*",
            "sourcePortRange": "*",
            "destinationAddressPrefix": to,
            "destinationPortRange": "*",
        },
    }


def group_body(
    location: str, mark: Mark, deny: Sequence[Mapping[str, Any]], flush: bool, now: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Our group; where it stands already, with what others have added to it (a policy's tags) left as it is."""
    now = now or {"location": location}
    theirs = {key: value for key, value in (now.get("tags") or {}).items() if key != _FLUSH}
    tags = theirs | {
        _INSTALLATION: mark.installation,
        f"{_PREFIX}-case": mark.case,
        f"{_PREFIX}-step": str(mark.step),
        f"{_PREFIX}-key": mark.key,
    }
    properties = (now.get("properties") or {}) | {"securityRules": list(deny), "flushConnection": flush}
    return {**now, "tags": tags | ({_FLUSH: "asked"} if flush else {}), "properties": properties}


def standing(group: Mapping[str, Any] | None, installation: str, deny: Sequence[Mapping[str, Any]]) -> Group | None:
    """How the group under our name stands. Precedence, not presence: no rule beside ours, or one may come before."""
    if group is None:
        return None
    if installation_of(group) != installation:
        return Group.FOREIGN
    said = {rule.get("name"): _said(rule) for rule in group["properties"].get("securityRules") or []}
    return Group.QUARANTINE if said == {rule["name"]: rule["properties"] for rule in deny} else Group.ALTERED


def _said(rule: Mapping[str, Any]) -> dict[str, Any]:
    """What a rule says. Every list that is not used comes back empty."""
    properties = rule.get("properties") or {}
    return {key: value for key, value in properties.items() if key not in _READ_ONLY and value not in ([], None)}


def installation_of(group: Mapping[str, Any]) -> str | None:
    """Whose mark it carries."""
    found = (group.get("tags") or {}).get(_INSTALLATION)
    return found if isinstance(found, str) else None


def seen(
    vm: Mapping[str, Any],
    group: Mapping[str, Any] | None,
    nics: Iterable[Mapping[str, Any]],
    installation: str,
    deny: Sequence[Mapping[str, Any]],
) -> VmIsolation:
    """The state, of what was read."""
    by_id = {nic["id"].lower(): nic for nic in nics}
    stands = standing(group, installation, deny)
    own = "" if group is None or stands is Group.FOREIGN else group["id"].lower()
    everything = {**by_id, **({own: group} if group is not None and own else {})}
    properties = vm["properties"]
    return VmIsolation(
        nics={id_: _group_of(nic, own) for id_, nic in by_id.items()},
        group=stands,
        flush=group is not None and stands is Group.QUARANTINE and _FLUSH in (group.get("tags") or {}),
        failed=tuple(sorted(id_ for id_, thing in everything.items() if _state(thing) in ("Failed", "Canceled"))),
        uid=properties["vmId"],
        location=vm["location"],
        busy=tuple(sorted(id_ for id_, thing in everything.items() if _state(thing) not in _SETTLED)),
        group_of=installation_of(group) if group is not None else None,
        flushing=group is not None and group["properties"].get("flushConnection") is True,
        scale_set=(properties.get("virtualMachineScaleSet") or {}).get("id", ""),
        cluster_node=cluster_node(vm),
        public=tuple(sorted(id_ for id_, nic in by_id.items() if _public(nic))),
        identity=bool((vm.get("identity") or {}).get("type", "None") != "None"),
        etags={id_: str(thing.get("etag", "")) for id_, thing in everything.items()},
    )


class Steps(NamedTuple):
    """What is left to do, in this order."""

    prepare: bool
    """Put our group, not flushing (yet, or any more)."""
    nics: Mapping[str, str | None]
    """Interfaces that get another group."""
    flush: bool
    delete: bool


def steps(now: VmIsolation, target: VmIsolation) -> Steps:
    """From wherever `now` is. An interface that somebody has detached and deleted meanwhile is nobody's concern."""
    failed = set(now.failed) - set(target.failed)
    there = {id_: target.nics[id_] for id_ in sorted(target.nics) if id_ in now.nics}
    nics = {id_: group for id_, group in there.items() if now.nics[id_] != group or id_ in failed}
    attach = OURS in nics.values()
    broken = any(id_.endswith(f"/{group_name(now.uid)}") for id_ in failed)
    stands = now.group is Group.QUARANTINE and not broken
    wanted = target.group is Group.QUARANTINE
    again = attach or (wanted and not target.flush)
    return Steps(
        prepare=(not stands and (attach or wanted)) or (stands and now.flush and again),
        nics=nics,
        flush=wanted and target.flush and (attach or not stands or not now.flush),
        delete=target.group is None and now.group is not None,
    )


def settled(answer: Mapping[str, Any] | None) -> bool:
    """Has a change that was answered like this come to its end already?"""
    return answer is not None and _state(answer) == "Succeeded"


def _state(thing: Mapping[str, Any]) -> str:
    """No provisioningState is Succeeded (Azure/azure-resource-manager-rpc, Addendum)."""
    return str(thing["properties"].get("provisioningState", "Succeeded"))


def _group_of(nic: Mapping[str, Any], own: str) -> str | None:
    id_ = (nic["properties"].get("networkSecurityGroup") or {}).get("id")
    return OURS if id_ and own and id_.lower() == own else id_


def _public(nic: Mapping[str, Any]) -> bool:
    return any(each["properties"].get("publicIPAddress") for each in nic["properties"].get("ipConfigurations") or [])


def cluster_node(vm: Mapping[str, Any]) -> bool:
    """AKS tags its nodes and keeps them in a group of its own, MC_<group>_<cluster>_<region> unless named otherwise."""
    group = vm["id"].lower().partition("/resourcegroups/")[2].partition("/")[0]
    return group.startswith("mc_") or any(tag.lower().startswith("aks-managed-") for tag in vm.get("tags") or {})
