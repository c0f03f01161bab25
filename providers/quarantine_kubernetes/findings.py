"""What detectors say about pods, as findings. Pure."""

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
"""Falco's own scale: ERROR for writing state, WARNING for reading it unauthorised, NOTICE for unexpected behaviour such
as a shell in a container, INFO for bad practice (falco.org, Default Rules, Rule Priorities)."""

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
"""A DNS subdomain (Kubernetes, Object Names and IDs)."""
_CLUSTER: Final = re.compile(r"[^/\s\x00-\x1f]{1,253}")
_EMPTY: Final = (None, "", "<NA>")
"""What Falco writes when it does not know: `<NA>` while the container runtime has not answered (falco issue 865)."""


def falco(record: Mapping[str, JsonValue], source: str, received: datetime) -> list[Finding]:
    """An alert of Falco, or of falcosidekick's webhook. A host or an audited object that is no pod has no finding."""
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
    namespace = _named(fields, "k8s.ns.name", "ka.target.namespace")
    audited = _text(fields, "ka.target.resource") == "pods"
    pod = _named(fields, "k8s.pod.name", "ka.target.name" if audited else "ka.target.pod.name")
    uid = _uid(fields)
    resource = {"kind": "kubernetes:pod", "id": pod, "scope": f"{_cluster(record, fields)}/{namespace}", "uid": uid}
    finding = {
        "source": source,
        "id": _digest(rule, namespace, pod, uid, _text(fields, "container.id")),
        "title": (_text(record, "output") or rule)[:4096],
        "type": rule[:1024],
        "severity": _severity(record),
        "resource": resource,
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
    """Certainly no pod. Where Falco does not know the pod (yet), the finding must not disappear like this."""
    if record.get("source") == "k8s_audit":
        return _text(fields, "ka.target.resource") not in (None, "pods")
    return _text(fields, "container.id") == "host" and _text(fields, "k8s.pod.name") is None


def _named(fields: Mapping[str, JsonValue], *keys: str) -> str:
    """The first that is there; it goes into a path of the API, so it must be a name that an object can have."""
    for key in keys:
        name = _text(fields, key)
        if name is None:
            continue
        if not _NAME.fullmatch(name):
            raise Malformed(f"`{key}` is not a name that a Kubernetes object can have: {name[:80]!r}")
        return name
    raise Malformed(
        f"the alert does not say which pod it is about: `{keys[0]}` is missing, null or <NA>;"
        " Falco adds it with `append_output: [{suggested_output: true}]` in falco.yaml, once its runtime lookup is done"
    )


def _cluster(record: Mapping[str, JsonValue], fields: Mapping[str, JsonValue]) -> str:
    names = (
        _text(record, "cluster"),
        *(_text(fields, key) for key in ("cluster", "k8s.cluster.name", "ka.cluster.name")),
    )
    name = next((name for name in names if name is not None), None)
    if name is None:
        raise Malformed(
            "the alert does not say which cluster it comes from: set `cluster:` on this source in the configuration,"
            " or a custom field `cluster` in falcosidekick"
        )
    if not _CLUSTER.fullmatch(name):
        raise Malformed(f"`cluster` is not a name of a cluster: {name[:80]!r}")
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


def _uid(fields: Mapping[str, JsonValue]) -> str | None:
    uid = _text(fields, "k8s.pod.uid")
    if uid is not None and not _NAME.fullmatch(uid):
        raise Malformed(f"`k8s.pod.uid` is not a uid: {uid[:80]!r}")
    return uid


def _digest(*parts: str | None) -> str:
    """The same for a repetition: falcosidekick's own `uuid` is a new one each time it receives an alert."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
