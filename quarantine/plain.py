"""Formats that belong to no provider: OCSF, and a small JSON of our own for everything else. Pure.

    {"id": "wiz-4711", "title": "Crypto miner", "type": "miner", "severity": "high", "seen_at": "2026-11-25T08:00:00Z",
     "first_seen_at": "2026-11-25T07:00:00Z", "link": "https://...", "status": "active", "sample": false,
     "resources": [{"kind": "kubernetes:pod", "id": "web-1", "scope": "prod/shop", "uid": "..."}]}

`id`, `severity` and `resources` (or one `resource`) are needed.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import JsonValue

from quarantine.errors import Malformed
from quarantine.model import Finding, Severity, Standing
from quarantine.record import epoch, finding, first_seen, link, needed, objects, part, seen, text
from quarantine.scale import at_most, word

VULNERABILITY: Final = 2002
COMPLIANCE: Final = 2003
CLASSES: Final = (VULNERABILITY, COMPLIANCE, 2004)
"""Vulnerability, Compliance and Detection Finding (schema.ocsf.io/1.5.0, category Findings)."""
_STANDINGS: Final = {3: Standing.SUPPRESSED, 4: Standing.RESOLVED, 5: Standing.RESOLVED, 6: Standing.RESOLVED}
"""`status_id` of a finding: 3 Suppressed, 4 Resolved, 5 Archived, 6 Deleted."""
_CLOSE: Final = 3
"""`activity_id` of a finding that ends."""
_PASS: Final = 1
"""`compliance.status_id`."""

Located = dict[str, Any]
"""The fields of a Resource, not checked yet."""


def plain(record: Mapping[str, JsonValue], source: str, received: datetime) -> list[Finding]:
    """Our own JSON (docs/findings.md): a finding for each resource."""
    said = objects(record, "resources") if "resources" in record else iter([part(record, "resource")])
    places = [{key: place.get(key) for key in ("kind", "id", "scope", "uid")} for place in said]
    if not any(place.get("kind") for place in places):
        raise Malformed("`resources` is missing: each needs `kind`, `id` and `scope`")
    status = (text(record, "status") or "active").lower()
    if status not in (Standing.ACTIVE, Standing.RESOLVED, Standing.SUPPRESSED, Standing.FALSE_POSITIVE):
        raise Malformed(f"`status` is none of active, resolved, suppressed and false_positive: {status[:80]!r}")
    told = {
        "source": source,
        "id": needed(record, "id"),
        "title": text(record, "title", "type"),
        "type": text(record, "type"),
        "severity": word("plain", record.get("severity")),
        "seen_at": seen(record, ("seen_at",), received),
        "first_seen_at": first_seen(record, "first_seen_at"),
        "link": link(record, "link"),
        "sample": record.get("sample") is True,
        "active": status == Standing.ACTIVE,
        "record": record,
    }
    return [finding(**told, resource=place) for place in places]


def ocsf(record: Mapping[str, JsonValue], source: str, received: datetime) -> list[Finding]:
    """OCSF findings whose resources say our kinds as their `type`; providers read those of their clouds."""
    return ocsf_findings(record, source, received, _located)


def ocsf_findings(
    record: Mapping[str, Any],
    source: str,
    received: datetime,
    locate: Callable[[Mapping[str, Any], Mapping[str, Any], str], Any],
) -> list[Finding]:
    """`locate` is given a resource, the whole finding and where it stands, and gives a Resource or its fields."""
    if record.get("class_uid") not in CLASSES:
        raise Malformed(f"`class_uid` is none of {', '.join(map(str, CLASSES))}: {str(record.get('class_uid'))[:80]!r}")
    info = part(record, "finding_info")
    title = text(info, "title") or text(record, "message") or ""
    told = {
        "source": source,
        "id": needed(info, "uid", "finding_info"),
        "title": title,
        "type": _type(record, info),
        "severity": _severity(record),
        "seen_at": _last_seen(record, info, received),
        "first_seen_at": first_seen(info, "first_seen_time_dt", "created_time_dt")
        or epoch(info.get("first_seen_time", info.get("created_time"))),
        "link": link(info, "src_url"),
        "sample": title.startswith("[SAMPLE"),
        "posture": record["class_uid"] == COMPLIANCE,
        "active": standing(record) is Standing.ACTIVE,
        "record": record,
    }
    resources = list(enumerate(objects(record, "resources")))
    if not resources:
        raise Malformed("`resources` is missing: the finding names no resource")
    return [finding(**told, resource=locate(place, record, f"resources[{at}]")) for at, place in resources]


def standing(record: Mapping[str, Any]) -> Standing:
    """What the source says of it."""
    if record.get("activity_id") == _CLOSE or part(record, "compliance").get("status_id") == _PASS:
        return Standing.RESOLVED
    status = record.get("status_id")
    return _STANDINGS.get(status, Standing.ACTIVE) if isinstance(status, int) else Standing.ACTIVE


def _severity(record: Mapping[str, Any]) -> Severity:
    said = word("ocsf", _number(record.get("severity_id")), "severity_id")
    return at_most(Severity.MEDIUM, said) if record["class_uid"] == VULNERABILITY else said


def _number(said: object) -> str | None:
    return str(said) if isinstance(said, int) and not isinstance(said, bool) else None


def _type(record: Mapping[str, Any], info: Mapping[str, Any]) -> str:
    """The control where there is one, else the first type, else the rule."""
    types = info.get("types")
    first = types[0] if isinstance(types, list) and types and isinstance(types[0], str) else None
    rule = part(info, "analytic")
    return text(part(record, "compliance"), "control") or first or text(rule, "name", "uid") or ""


def _last_seen(record: Mapping[str, Any], info: Mapping[str, Any], received: datetime) -> datetime:
    """The text where there is one (profile datetime), else milliseconds."""
    texts = {**info, "time_dt": record.get("time_dt")}
    keys = ("last_seen_time_dt", "modified_time_dt", "time_dt")
    if text(texts, *keys) is not None:
        return seen(texts, keys, received)
    counts = (info.get("last_seen_time"), info.get("modified_time"), record.get("time"))
    found = next((at for at in map(epoch, counts) if at is not None), received)
    return min(found, received)


def _located(place: Mapping[str, Any], record: Mapping[str, Any], where: str) -> Located:
    """`type` is our kind; the scope is the account and the region, or the cluster and the namespace."""
    account = (
        text(part(record, "cloud", "account"), "uid") or text(record, "cluster") or needed(place, "cluster", where)
    )
    area = text(place, "namespace", "region") or text(part(record, "cloud"), "region")
    return {
        "kind": needed(place, "type", where),
        "id": text(place, "name") or needed(place, "uid", where),
        "scope": f"{account}/{area}" if area else account,
        "uid": text(place, "uid"),
    }
