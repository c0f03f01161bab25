"""The alarms of machines that are triggered now. A vCenter's root folder has those of everything below it."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from quarantine.action import Poll
from quarantine.errors import Gone
from quarantine.model import Finding, Resource
from quarantine.scale import word
from quarantine_vmware import machine
from quarantine_vmware.calls import Vcenter
from quarantine_vmware.cloud import READ, VmwareCloud
from quarantine_vmware.findings import TRIGGERED, finding_id


def alarms(cloud: VmwareCloud, scope: str, now: datetime, cursor: str | None) -> tuple[list[Finding], str | None]:  # noqa: ARG001
    """Those that were triggered, or got another status, since the last poll; the first one has all of them.

    An alarm stays red until something clears it. Told again and again, it would contain the machine once more right
    after a person has released it. Seen is when it was triggered. One that somebody has acknowledged is being looked
    at, so it is not active any more.
    """
    root: Vcenter = cloud.read(READ, "ServiceInstance.RetrieveServiceContent")
    place = scope.partition("/")[2]
    states = {_triggering(state): state for state in _one(cloud, "Folder", root.root, "triggeredAlarmState") or ()}
    told = set(json.loads(cursor)) if cursor else set()
    found = []
    for triggering, state in states.items():
        if triggering in told or not _machine_is_in_trouble(state):
            continue
        try:
            finding = _finding(cloud, state)
        except Gone:
            continue  # the machine, or the alarm, went meanwhile
        if place in ("", finding.resource.area):
            found.append(finding)
    return found, json.dumps(sorted(states))


def _triggering(state: Any) -> str:
    """One triggering of one alarm of one object; short, because the cursor has those of all."""
    when = [state.alarm._GetMoId(), state.entity._GetMoId(), state.time.isoformat(), str(state.overallStatus)]
    return hashlib.sha256(json.dumps(when).encode()).hexdigest()[:16]


def _machine_is_in_trouble(state: Any) -> bool:
    return type(state.entity).__name__.endswith("VirtualMachine") and str(state.overallStatus) in TRIGGERED


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
        severity=word("vmware", status),
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
