"""The calls of the vSphere API that this provider makes, each on one logged-in session. Plain values in and out.

References come back as their managed object ids; data objects (a device, an alarm state) come back as pyVmomi's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from quarantine.action import sdk
from quarantine_vmware.session import Session

MOST: Final = 500
"""Objects in one page of an answer."""

Reference = tuple[str, str]
"""(type, managed object id): `("VirtualMachine", "vm-42")`."""


class Changed(Exception):
    """The machine is not what the change was made for any more. Nothing was sent."""


@dataclass(frozen=True)
class Connection:
    """What one network adapter's connection is to be. None leaves it as it is."""

    connected: bool | None
    at_start: bool
    by_guest: bool


@dataclass(frozen=True)
class Vcenter:
    """Who answers, and as whom it knows us."""

    instance: str
    product: str
    kind: str
    """`VirtualCenter`, or `HostAgent` for a single host."""
    user: str
    root: str
    """The managed object id of the folder that holds everything."""


def vcenter(session: Session) -> Vcenter:
    vim = sdk("pyVmomi", "vmware").vim
    content = vim.ServiceInstance("ServiceInstance", session.stub).RetrieveContent()
    manager = ("SessionManager", content.sessionManager._GetMoId())
    ((_, _, found),) = properties(session, objects=[manager], paths={"SessionManager": ("currentSession",)})
    about = content.about
    return Vcenter(
        about.instanceUuid or "", about.fullName, about.apiType, found["currentSession"].userName,
        content.rootFolder._GetMoId(),
    )  # fmt: skip


def properties(
    session: Session, objects: Sequence[Reference], paths: Mapping[str, Sequence[str]], walk: str = ""
) -> list[tuple[str, str, dict[str, Any]]]:
    """(type, id, path -> value) of the objects of a type in `paths`: the given ones, and all that `walk` leads to.

    A property that is not set is not there. What may not be read raises its fault; what a walk meets and may not be
    read is left out.
    """
    spec, vim = sdk("pyVmomi", "vmware").vmodl.query.PropertyCollector, sdk("pyVmomi", "vmware").vim
    wanted = spec.FilterSpec(
        objectSet=[
            spec.ObjectSpec(obj=getattr(vim, kind)(moid, session.stub), selectSet=_walk(walk)) for kind, moid in objects
        ],
        propSet=[spec.PropertySpec(type=getattr(vim, kind), pathSet=list(names)) for kind, names in paths.items()],
        reportMissingObjectsInResults=False,
    )
    found = []
    for content in _pages(session, wanted):
        kind, moid = type(content.obj).__name__.rpartition(".")[2], content.obj._GetMoId()
        if content.missingSet:
            if (kind, moid) in objects:
                raise content.missingSet[0].fault
            continue
        found.append((kind, moid, {item.name: _plain(item.val) for item in content.propSet}))
    return found


def _pages(session: Session, wanted: Any) -> Iterator[Any]:
    collector = session.content.propertyCollector
    options = sdk("pyVmomi", "vmware").vmodl.query.PropertyCollector.RetrieveOptions(maxObjects=MOST)
    page = collector.RetrievePropertiesEx(specSet=[wanted], options=options)
    while page is not None:
        yield from page.objects
        page = collector.ContinueRetrievePropertiesEx(token=page.token) if page.token else None


_INTO_VAPPS: Final = ("VirtualApp.vm", "VirtualApp.resourcePool")
_WALKS: Final[Mapping[str, tuple[tuple[str, str, tuple[str, ...]], ...]]] = {
    "": (),
    # (type, property that leads on, the steps that may follow it)
    "tasks": (("VirtualMachine", "recentTask", ()),),
    "down": (
        ("Folder", "childEntity", ("Folder.childEntity", "Datacenter.vmFolder", *_INTO_VAPPS)),
        ("Datacenter", "vmFolder", ("Folder.childEntity",)),
        ("VirtualApp", "vm", ()),
        ("VirtualApp", "resourcePool", _INTO_VAPPS),
    ),
    "up": (
        ("ManagedEntity", "parent", ("ManagedEntity.parent", "VirtualApp.parentFolder")),
        ("VirtualMachine", "parentVApp", ("ManagedEntity.parent", "VirtualApp.parentFolder")),
        ("VirtualApp", "parentFolder", ("ManagedEntity.parent",)),
    ),
}  # fmt: skip


def _walk(name: str) -> list[Any]:
    spec, vim = sdk("pyVmomi", "vmware").vmodl.query.PropertyCollector, sdk("pyVmomi", "vmware").vim
    return [
        spec.TraversalSpec(
            name=f"{kind}.{path}",
            type=getattr(vim, kind),
            path=path,
            skip=False,
            selectSet=[spec.SelectionSpec(name=following) for following in then],
        )
        for kind, path, then in _WALKS[name]
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, sdk("pyVmomi.VmomiSupport", "vmware").ManagedObject):
        return value._GetMoId()
    return [_plain(item) for item in value] if isinstance(value, list) else value


def by_uuid(session: Session, uuid: str) -> str | None:
    """The id of the machine with this instance UUID; a vCenter keeps them apart."""
    found = session.content.searchIndex.FindByUuid(uuid=uuid, vmSearch=True, instanceUuid=True)
    return found._GetMoId() if found is not None else None


def privileges(session: Session, entity: Reference, names: Sequence[str]) -> dict[str, bool]:
    """Which of these privileges the user of the session has on an entity."""
    kind, moid = entity
    entities = [getattr(sdk("pyVmomi", "vmware").vim, kind)(moid, session.stub)]
    (answer,) = session.content.authorizationManager.HasPrivilegeOnEntities(
        entity=entities, sessionId=session.key, privId=list(names)
    )
    return {item.privId: item.isGranted for item in answer.privAvailability}


def reconfigure(
    session: Session,
    machine: str,
    hardware: Sequence[Any],
    adapters: Mapping[str, Connection],
    version: str | None,
    operation_id: str,
) -> str:
    """Starts the one task that edits all these adapters, by device key; returns its id.

    The devices are sent back whole, as they were read a moment ago, with another connection. `operation_id` is in the
    vCenter's own log (vpxd.log, opID). Raises Changed if an adapter is not in the hardware any more.
    """
    vim = sdk("pyVmomi", "vmware").vim
    devices = {str(device.key): device for device in hardware if str(device.key) in adapters}
    if gone := adapters.keys() - devices.keys():
        raise Changed(f"network adapter {', '.join(sorted(gone))} was removed a moment ago")
    for key, connection in adapters.items():
        if connection.connected is not None:
            devices[key].connectable.connected = connection.connected
        devices[key].connectable.startConnected = connection.at_start
        devices[key].connectable.allowGuestControl = connection.by_guest
    edits = [
        vim.vm.device.VirtualDeviceSpec(operation=vim.vm.device.VirtualDeviceSpec.Operation.edit, device=device)
        for device in devices.values()
    ]
    session.stub.requestContext = {"operationID": operation_id}
    try:
        task = vim.VirtualMachine(machine, session.stub).ReconfigVM_Task(
            spec=vim.vm.ConfigSpec(deviceChange=edits, changeVersion=version)
        )
    finally:
        session.stub.requestContext = None
    return str(task._GetMoId())
