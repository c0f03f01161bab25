"""Reading one virtual machine with what belongs to its network, and being sure that it is the one that was meant."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from quarantine.errors import Gone, Transient
from quarantine.model import Resource
from quarantine_azure.arm_id import covers, segment
from quarantine_azure.cloud import AzureCloud
from quarantine_azure.locks import locks, scope_of

MACHINE: Final = "Microsoft.Compute/virtualMachines"
NIC: Final = "Microsoft.Network/networkInterfaces"
GROUP: Final = "Microsoft.Network/networkSecurityGroups"


def id_of(resource: Resource, kind: str, name: str) -> str:
    """The id of something in the resource's group; a part of something is named `whole/part`. Raises Gone for what can
    have no id."""
    group, names, types = resource.area, name.split("/"), kind.split("/")[1:]
    if not all(map(segment, [group, *names])) or len(names) != len(types):
        raise Gone(f"nothing in Azure can be named {name[:80]!r} in a resource group {group[:80]!r}")
    path = "/".join(f"{type_}/{part}" for type_, part in zip(types, names, strict=True))
    return f"/subscriptions/{resource.account}/resourceGroups/{group}/providers/{kind.partition('/')[0]}/{path}"


def get_machine(cloud: AzureCloud, resource: Resource) -> dict[str, Any]:
    """Raises Gone, also when another machine has the name now."""
    vm: dict[str, Any] = cloud.read(f"{MACHINE}/read", f"get {MACHINE}", id=id_of(resource, MACHINE, resource.id))
    uid = vm["properties"]["vmId"]
    if resource.uid not in (None, uid):
        raise Gone(f"{resource}: another machine has this name now, with vmId {uid}; {resource.uid} was meant")
    return vm


def get_group(cloud: AzureCloud, resource: Resource, name: str) -> dict[str, Any] | None:
    """A network security group beside the machine, or None."""
    group: dict[str, Any] | None = cloud.read_or_absent(
        f"{GROUP}/read", f"get {GROUP}", id=id_of(resource, GROUP, name)
    )
    return group


def get_nics(cloud: AzureCloud, vm: Mapping[str, Any], group: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The machine's interfaces, in whatever resource group, and those that have our group although they have been
    detached meanwhile: they get their own back like the others."""
    attached = [nic["id"].lower() for nic in vm["properties"].get("networkProfile", {}).get("networkInterfaces") or []]
    holding = [nic["id"].lower() for nic in (group or {"properties": {}})["properties"].get("networkInterfaces") or []]
    found = []
    for id_ in dict.fromkeys([*attached, *holding]):
        nic = cloud.read_or_absent(f"{NIC}/read", f"get {NIC}", id=id_)
        if nic is not None:
            found.append(nic)
        elif id_ in attached:
            # An interface cannot be deleted while it is attached: one of the two answers is old. It is not Gone.
            raise Transient(f"{vm['name']} names the interface {id_}, which is not there: look again")
    return found


def get_locks(cloud: AzureCloud, resource: Resource, nics: Iterable[str], name: str) -> dict[str, tuple[str, ...]]:
    """`read_only`: locks on the interfaces, our group, or what holds them, that forbid to write there; `undeletable`:
    those that let us make our group and not delete it."""
    own = id_of(resource, GROUP, name)
    found: dict[str, tuple[str, ...]] = {"read_only": (), "undeletable": ()}
    for lock in locks(cloud, [own, *nics]):
        level, scope = lock["properties"]["level"], scope_of(lock)
        if level == "ReadOnly" and any(covers(scope, id_) for id_ in [own, *nics]):
            found["read_only"] += (lock["id"],)
        elif level == "CanNotDelete" and covers(scope, own):
            found["undeletable"] += (lock["id"],)
    return found
