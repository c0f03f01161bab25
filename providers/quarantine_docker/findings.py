"""What Falco says about containers on Docker hosts, as findings. Pure."""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import JsonValue, ValidationError

from quarantine.errors import Malformed
from quarantine.model import Finding, Severity

PRIORITIES: Final = {
    "emergency": Severity.CRITICAL,
    "alert": Severity.CRITICAL,
    "critical": Severity.CRITICAL,
    "error": Severity.HIGH,
    "warning": Severity.MEDIUM,
    "notice": Severity.LOW,
    "informational": Severity.INFORMATIONAL,
    "debug": Severity.INFORMATIONAL,
}
"""Falco's own scale (falco.org, Default Rules, Rule Priorities)."""

_SHORT_ID: Final = re.compile(r"[0-9a-f]{12}([0-9a-f]{52})?")
_FULL_ID: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")
"""moby daemon/names, RestrictedNameChars."""
_HOST: Final = re.compile(r"[^/\s\x00-\x1f]{1,253}")
_EMPTY: Final = (None, "", "<NA>")
"""What Falco writes when it does not know: `<NA>` while the container runtime has not answered (falco issue 865)."""


def falco(record: Mapping[str, JsonValue], source: str, received: datetime) -> list[Finding]:
    """An alert of Falco, or of falcosidekick's webhook. The host itself and pods of Kubernetes have no finding here."""
    if not isinstance(record, Mapping):
        raise Malformed("a Falco alert is a JSON object")
    fields = record.get("output_fields")
    if not isinstance(fields, Mapping):
        raise Malformed("a Falco alert needs `output_fields`: set json_include_output_fields_property in falco.yaml")
    rule = _text(record, "rule")
    if rule is None:
        raise Malformed("a Falco alert needs `rule`, the name of the rule")
    if _about_something_else(record, fields):
        return []
    host, container, uid = _host(record, fields), _container(fields), _uid(fields)
    finding = {
        "source": source,
        "id": _digest(rule, host, container),
        "title": (_text(record, "output") or rule)[:4096],
        "type": rule[:1024],
        "severity": _severity(record),
        "resource": {"kind": "docker:container", "id": container, "scope": host, "uid": uid},
        "seen_at": _time(record, received),
        "sample": rule == "Test rule",  # falcosidekick's /test
        "record": record,
    }
    try:
        return [Finding.model_validate(finding)]
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise Malformed(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from error


def _about_something_else(record: Mapping[str, JsonValue], fields: Mapping[str, JsonValue]) -> bool:
    """Certainly no container of a Docker host. Where Falco does not know it (yet), the finding must not disappear."""
    if _text(record, "source") == "k8s_audit" or _text(fields, "k8s.pod.name") is not None:
        return True
    return _text(fields, "container.id") == "host"


def _container(fields: Mapping[str, JsonValue]) -> str:
    """Its id: names are given anew. It goes into a path of the API, so it must be what one can be called."""
    for key, form in (("container.id", _SHORT_ID), ("container.name", _NAME)):
        value = _text(fields, key)
        if value is None:
            continue
        if not form.fullmatch(value):
            raise Malformed(f"`{key}` is not what a Docker container can have: {value[:80]!r}")
        return value
    raise Malformed(
        "the alert does not say which container it is about: `container.id` is missing, null or <NA>;"
        " Falco adds it with `append_output: [{suggested_output: true}]` in falco.yaml, once its runtime lookup is done"
    )


def _uid(fields: Mapping[str, JsonValue]) -> str | None:
    """The whole id, where Falco's container plugin gives it (`container.full_id`)."""
    uid = _text(fields, "container.full_id") or ""
    short = _text(fields, "container.id") or ""
    return uid if _FULL_ID.fullmatch(uid) and uid.startswith(short) else None


def _host(record: Mapping[str, JsonValue], fields: Mapping[str, JsonValue]) -> str:
    """A custom field `host` before what Falco takes the machine's name for: in a container that is the container's."""
    names = (_text(fields, "host"), _text(fields, "evt.hostname"), _text(record, "hostname"))
    name = next((name for name in names if name is not None), None)
    if name is None:
        raise Malformed(
            "the alert does not say which Docker host it comes from: `hostname` is missing. Set FALCO_HOSTNAME for"
            " Falco, or a custom field `host` in falcosidekick"
        )
    if not _HOST.fullmatch(name):
        raise Malformed(f"`hostname` is not a name of a host: {name[:80]!r}")
    return name


def _severity(record: Mapping[str, JsonValue]) -> Severity:
    priority = _text(record, "priority") or ""
    if priority.lower() not in PRIORITIES:
        raise Malformed(f"`priority` is none of Falco's: {priority[:80]!r}")
    return PRIORITIES[priority.lower()]


def _time(record: Mapping[str, JsonValue], received: datetime) -> datetime:
    time = _text(record, "time")
    if time is None:
        return received
    try:
        moment = datetime.fromisoformat(time)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Malformed(f"`time` is not a time: {time[:80]!r}") from error


def _text(fields: Mapping[str, Any], key: str) -> str | None:
    value = fields.get(key)
    return value if isinstance(value, str) and value not in _EMPTY else None


def _digest(*parts: str) -> str:
    """The same for a repetition: falcosidekick's own `uuid` is a new one each time it receives an alert."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
