"""What an alarm's script posts, as a finding. Pure.

A vCenter cannot post by itself: an alarm's action "run script" does (vSphere Monitoring and Performance, "Alarm
Environment Variables"). The script turns the variables into one JSON object and sends it, signed or with a token:

    {"vcenter": "prod", "datacenter": "Berlin",
     "alarm_id": "$VMWARE_ALARM_ID", "alarm_name": "$VMWARE_ALARM_NAME",
     "target_id": "$VMWARE_ALARM_TARGET_ID", "target_name": "$VMWARE_ALARM_TARGET_NAME",
     "old_status": "$VMWARE_ALARM_OLDSTATUS", "new_status": "$VMWARE_ALARM_NEWSTATUS",
     "summary": "$VMWARE_ALARM_TRIGGERINGSUMMARY", "time": "2026-11-25T08:00:00Z"}

`vcenter`, `alarm_name`, `target_id` and `new_status` are needed. `vcenter` is the name in our configuration.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from pydantic import JsonValue

from quarantine.errors import Malformed
from quarantine.model import Finding
from quarantine.record import digest, finding, seen, text
from quarantine.scale import word

TRIGGERED: Final = ("red", "yellow")

_NAME: Final = re.compile(r"[^/\s\x00-\x1f]{1,253}")
_PLACE: Final = re.compile(r"[^/\x00-\x1f]{1,80}")
_TARGET: Final = re.compile(r"(?:[A-Za-z.]+:)?([A-Za-z0-9-]{1,80})")
"""A managed object id: `vm-42`, `host-12`, `domain-c8`; with or without its type before it."""
_MACHINE: Final = re.compile(r"vm-[0-9]{1,18}")


def alarm(record: Mapping[str, JsonValue], source: str, received: datetime) -> list[Finding]:
    """An alarm that changed its status. One of a host, a datastore or a cluster has no finding."""
    if not isinstance(record, Mapping):
        raise Malformed("an alarm is a JSON object")
    target = _TARGET.fullmatch(_needed(record, "target_id"))
    if target is None or (target[1].startswith("vm-") and not _MACHINE.fullmatch(target[1])):
        raise Malformed(f"`target_id` is not a managed object id: {record['target_id']!r:.80}")
    if not _MACHINE.fullmatch(target[1]):
        return []
    name, status = _needed(record, "alarm_name"), _needed(record, "new_status").lower()
    resource = {"kind": "vmware:vm", "id": target[1], "scope": _scope(record)}
    told = {
        "source": source,
        "id": finding_id(text(record, "alarm_id") or name, target[1]),
        "title": text(record, "summary") or name,
        "type": name,
        "severity": word("vmware", status, "new_status"),
        "resource": resource,
        "seen_at": seen(record, ("time",), received),
        "active": status in TRIGGERED,
        "record": record,
    }
    return [finding(**told)]


def finding_id(alarm_of: str, machine: str) -> str:
    """The same for an alarm of a machine, however often it is triggered or sent."""
    return digest(alarm_of, machine)


def _scope(record: Mapping[str, JsonValue]) -> str:
    vcenter, place = _needed(record, "vcenter"), text(record, "datacenter")
    if not _NAME.fullmatch(vcenter):
        raise Malformed(f"`vcenter` is not a name of a vCenter: {vcenter!r:.80}")
    if place is not None and not _PLACE.fullmatch(place):
        raise Malformed(f"`datacenter` is not a name of a datacenter: {place!r:.80}")
    return f"{vcenter}/{place}" if place else vcenter


def _needed(record: Mapping[str, JsonValue], key: str) -> str:
    value = text(record, key)
    if value is None:
        raise Malformed(f"the alarm needs `{key}`, a text")
    return value
