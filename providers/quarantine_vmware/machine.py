"""Finding one virtual machine, being sure that it is the one that was meant, and reading it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn
from urllib.parse import unquote

from quarantine.errors import Denied, Gone, Unsupported
from quarantine.model import Resource
from quarantine_vmware import devices
from quarantine_vmware.calls import Vcenter
from quarantine_vmware.cloud import READ, VmwareCloud
from quarantine_vmware.nics import Adapter, Network, ways

PROPERTIES: Final = "PropertyCollector.RetrievePropertiesEx"
_MOID: Final = re.compile(r"vm-\d+")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_NETWORK: Final = (
    "name", "config.instanceUuid", "config.hardware.device", "config.changeVersion", "config.template",
    "config.managedBy", "summary.config.product", "runtime.powerState", "runtime.connectionState",
)  # fmt: skip


def find(cloud: VmwareCloud, resource: Resource) -> str:
    """The managed object id. By uid where it is known; else by what the id looks like.

    An id such as `vm-42` is always a managed object id and a UUID always an instance UUID, never a name. A name that
    several machines have in the scope raises Unsupported, and names them.
    """
    if resource.uid is not None or _UUID.fullmatch(resource.id):
        uuid = (resource.uid or resource.id).lower()
        found: str | None = cloud.read(READ, "SearchIndex.FindByUuid", uuid=uuid)
        return found or _missing(cloud, f"{resource}: no machine with the instance UUID {uuid}")
    if _MOID.fullmatch(resource.id):
        return resource.id
    return _by_name(cloud, resource)


def _by_name(cloud: VmwareCloud, resource: Resource) -> str:
    named = [moid for moid, found in every(cloud, ("name",)).items() if unquote(found["name"]) == unquote(resource.id)]
    # Only a few have the name, so the question of their datacenter is put to those alone.
    places = {moid: datacenter(cloud, moid) for moid in named}
    here = {moid: place for moid, place in places.items() if resource.area in ("", place)}
    if not here:
        return _missing(cloud, f"{resource}: no machine of that name")
    if len(here) > 1:
        which = ", ".join(f"{moid} in {place}" for moid, place in sorted(here.items()))
        raise Unsupported(f"{resource}: several machines have that name: {which}. Name it by that id, or by its UUID")
    return next(iter(here))


def _missing(cloud: VmwareCloud, sentence: str) -> NoReturn:
    """A search finds only what we may see. Gone needs the right to see everything: a machine that is hidden from us
    since somebody took a role away must not pass for one that does not exist.
    """
    root: Vcenter = cloud.read(READ, "ServiceInstance.RetrieveServiceContent")
    entity = ("Folder", root.root)
    granted = cloud.read(READ, "AuthorizationManager.HasPrivilegeOnEntities", entity=entity, names=(READ,))
    if granted.get(READ):
        raise Gone(f"{sentence} is in vCenter {cloud.vcenter!r}")
    raise Denied(
        f"{sentence} can be seen by {root.user}, who may not read the whole inventory: it may be gone, or hidden."
        f" Grant {READ} on the root folder, or look, and then `quarantine case handled`"
    )


def every(cloud: VmwareCloud, paths: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """These properties of every machine of the vCenter that we may see."""
    root: Vcenter = cloud.read(READ, "ServiceInstance.RetrieveServiceContent")
    found = cloud.read(
        READ, PROPERTIES, objects=[("Folder", root.root)], paths={"VirtualMachine": tuple(paths)}, walk="down"
    )
    return {moid: values for _, moid, values in found}


def datacenter(cloud: VmwareCloud, moid: str) -> str:
    """The name of the datacenter that holds a machine. Raises Gone."""
    above = cloud.read(READ, PROPERTIES, objects=[("VirtualMachine", moid)], paths={"Datacenter": ("name",)}, walk="up")
    return unquote(above[0][2]["name"]) if above else ""


def read(cloud: VmwareCloud, moid: str, paths: Sequence[str]) -> Mapping[str, Any]:
    """Raises Gone."""
    ((_, _, values),) = cloud.read(
        READ, PROPERTIES, objects=[("VirtualMachine", moid)], paths={"VirtualMachine": tuple(paths)}
    )
    return dict(values)


def hardware(cloud: VmwareCloud, moid: str) -> Sequence[Any]:
    """Its devices, as the API has them. Raises Gone."""
    return list(read(cloud, moid, ("config.hardware.device",)).get("config.hardware.device") or ())


def network(cloud: VmwareCloud, resource: Resource) -> Network:
    """What its network looks like now, in one read. Raises Gone."""
    moid = find(cloud, resource)
    found = cloud.read(
        READ,
        PROPERTIES,
        objects=[("VirtualMachine", moid)],
        paths={"VirtualMachine": _NETWORK, "Task": ("info",)},
        walk="tasks",
    )
    (values,) = [values for kind, _, values in found if kind == "VirtualMachine"]
    tasks = [values["info"] for kind, _, values in found if kind == "Task"]
    all_devices = values.get("config.hardware.device")
    if all_devices is None:
        state = values.get("runtime.connectionState")
        raise Unsupported(f"{resource}: the vCenter does not know its configuration (it is {state})")
    power, managed = values["runtime.powerState"], values.get("config.managedBy")
    cards = devices.cards(all_devices)
    product = values.get("summary.config.product")
    return Network(
        ways={name: True for card in cards for name in ways(card.key, card.connection, power)},
        adapters={card.key: Adapter(label=card.label, mac=card.mac, network=card.network) for card in cards},
        direct=devices.direct(all_devices),
        power=power,
        host=values["runtime.connectionState"],
        template=values.get("config.template", False),
        managed_by=managed.extensionKey if managed else "",
        product=(product.name or "") if product else "",
        name=unquote(values["name"]),
        machine=moid,
        version=values.get("config.changeVersion") or "",
        reconfiguring=next((task.key for task in tasks if _reconfigures(task)), ""),
    )


def _reconfigures(task: Any) -> bool:
    """A vCenter says `VirtualMachine.reconfigure`, the simulator `VirtualMachine.reconfigVm`."""
    return task.state in ("queued", "running") and task.descriptionId.startswith("VirtualMachine.reconfig")
