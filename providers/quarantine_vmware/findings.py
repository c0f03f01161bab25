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

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import JsonValue, ValidationError

from quarantine.errors import Malformed
from quarantine.model import Finding, Severity

SEVERITIES: Final = {
    "red": Severity.HIGH,
    "yellow": Severity.MEDIUM,
    "green": Severity.INFORMATIONAL,
    "gray": Severity.INFORMATIONAL,
}
"""A vCenter has no more to say about how bad it is (ManagedEntityStatus: red is "definitely a problem")."""
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
    if status not in SEVERITIES:
        raise Malformed(f"`new_status` is none of red, yellow, green and gray: {status!r:.80}")
    resource = {"kind": "vmware:vm", "id": target[1], "scope": _scope(record)}
    finding = {
        "source": source,
        "id": finding_id(_text(record, "alarm_id") or name, target[1]),
        "title": (_text(record, "summary") or name)[:4096],
        "type": name[:1024],
        "severity": SEVERITIES[status],
        "resource": resource,
        "seen_at": _time(record, received),
        "active": status in TRIGGERED,
        "record": record,
    }
    try:
        return [Finding.model_validate(finding)]
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise Malformed(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from error


def finding_id(alarm_of: str, machine: str) -> str:
    """The same for an alarm of a machine, however often it is triggered or sent."""
    return hashlib.sha256(json.dumps([alarm_of, machine]).encode()).hexdigest()


def _scope(record: Mapping[str, JsonValue]) -> str:
    vcenter, place = _needed(record, "vcenter"), _text(record, "datacenter")
    if not _NAME.fullmatch(vcenter):
        raise Malformed(f"`vcenter` is not a name of a vCenter: {vcenter!r:.80}")
    if place is not None and not _PLACE.fullmatch(place):
        raise Malformed(f"`datacenter` is not a name of a datacenter: {place!r:.80}")
    return f"{vcenter}/{place}" if place else vcenter


def _needed(record: Mapping[str, JsonValue], key: str) -> str:
    value = _text(record, key)
    if value is None:
        raise Malformed(f"the alarm needs `{key}`, a text")
    return value


def _text(record: Mapping[str, Any], key: str) -> str | None:
    value = record.get(key)
    return value if isinstance(value, str) and value else None


def _time(record: Mapping[str, JsonValue], received: datetime) -> datetime:
    time = _text(record, "time")
    if time is None:
        return received
    try:
        moment = datetime.fromisoformat(time)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Malformed(f"`time` is not a time: {time!r:.80}") from error
