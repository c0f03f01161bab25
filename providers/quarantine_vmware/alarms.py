"""The alarms of machines that are triggered now. A vCenter's root folder has those of everything below it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from quarantine.action import Poll
from quarantine.errors import Gone
from quarantine.model import Finding, Resource
from quarantine_vmware import machine
from quarantine_vmware.calls import Vcenter
from quarantine_vmware.cloud import READ, VmwareCloud
from quarantine_vmware.findings import SEVERITIES, TRIGGERED, finding_id


def alarms(cloud: VmwareCloud, scope: str, now: datetime, cursor: str | None) -> tuple[list[Finding], str | None]:  # noqa: ARG001
    """Seen is when it was triggered: an alarm stays red until something clears it, and may be old. One that somebody
    has acknowledged is being looked at, so it is not active any more.
    """
    root: Vcenter = cloud.read(READ, "ServiceInstance.RetrieveServiceContent")
    place = scope.partition("/")[2]
    found = []
    for state in _one(cloud, "Folder", root.root, "triggeredAlarmState") or ():
        if type(state.entity).__name__.endswith("VirtualMachine") and str(state.overallStatus) in TRIGGERED:
            try:
                finding = _finding(cloud, state)
            except Gone:
                continue  # the machine, or the alarm, went meanwhile
            if place in ("", finding.resource.area):
                found.append(finding)
    return found, cursor


def _finding(cloud: VmwareCloud, state: Any) -> Finding:
    moid, alarm = state.entity._GetMoId(), state.alarm._GetMoId()
    found: Mapping[str, Any] = machine.read(cloud, moid, ("name", "config.instanceUuid"))
    name = str(_one(cloud, "Alarm", alarm, "info.name"))
    status = str(state.overallStatus)
    return Finding(
        source="vmware:alarms",
        id=finding_id(alarm, moid),
        title=f"{name}: {found['name']} is {status}"[:4096],
        type=name[:1024],
        severity=SEVERITIES[status],
        resource=Resource(
            kind="vmware:vm",
            id=moid,
            scope=f"{cloud.vcenter}/{machine.datacenter(cloud, moid)}",
            uid=found.get("config.instanceUuid"),
        ),
        seen_at=state.time,
        active=not state.acknowledged,
        record={"alarm": alarm, "name": found["name"], "status": status, "triggered": state.time.isoformat()},
    )


def _one(cloud: VmwareCloud, kind: str, moid: str, path: str) -> Any:
    ((_, _, found),) = cloud.read(READ, machine.PROPERTIES, objects=[(kind, moid)], paths={kind: (path,)})
    return found.get(path)


ALARMS: Final = Poll(name="vmware:alarms", permissions=(READ,), run=alarms)
