"""What all reports have in common: they say what could happen, and not that it does. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from quarantine.errors import Malformed
from quarantine.model import Finding, Resource, Severity
from quarantine_kubernetes.objects import referred

SEVERITIES: Final = {
    "critical": Severity.CRITICAL,
    "high": Severity.HIGH,
    "medium": Severity.MEDIUM,
    "low": Severity.LOW,
    "info": Severity.INFORMATIONAL,
    "none": Severity.INFORMATIONAL,
    "unknown": Severity.INFORMATIONAL,
}
"""Trivy's (trivy-operator, v1alpha1 Severity), Kubescape's (scan_types.go, ControlSeverity) and that of policy reports
(openreports.io, ResultSeverity), in lower case."""
WORST: Final = Severity.MEDIUM
"""A way in is no intruder: no playbook that answers an attack may take a report for one, whoever wrote it. What the
report itself says is `severity` in the record of the finding."""
MOST_NAMED: Final = 20
"""So many secrets or vulnerabilities are named in a finding; it counts them all."""


def severity_of(said: object) -> Severity:
    return SEVERITIES.get(str(said or "unknown").lower(), Severity.INFORMATIONAL)


def subject(report: Mapping[str, Any], reference: Mapping[str, Any], account: str) -> Resource | None:
    """What a report is about. One that is in a namespace speaks of nothing outside of it, as whoever may write it there
    may not speak for others."""
    own, said = report["metadata"].get("namespace") or "", reference.get("namespace") or ""
    if own and said not in ("", own):
        return None
    resource = referred(reference, "/".join(filter(None, (account, own or said))))
    return None if resource is None or (own and resource.area != own) else resource


def found_in(
    report: Mapping[str, Any], resource: Resource, what: Mapping[str, Any], seen_at: datetime, **record: Any
) -> Finding:
    """`what`: id, title, type, and the severity as the report has it. Where the report is goes into the record."""
    metadata, severity = report["metadata"], severity_of(what["severity"])
    place = {"namespace": metadata.get("namespace", ""), "name": metadata["name"]}
    return Finding(
        source="report",  # a schedule gives its own name
        id=what["id"][:1024],
        title=str(what["title"])[:4096],
        type=str(what["type"])[:1024],
        severity=severity if WORST.at_least(severity) else WORST,
        resource=resource,
        seen_at=seen_at,
        record={**record, "severity": str(severity), "report": place},
    )


def moment(said: Any, otherwise: datetime) -> datetime:
    """RFC 3339, as the API server checks it where the schema says `date-time`."""
    if not said:
        return otherwise
    try:
        time = datetime.fromisoformat(said)
    except (ValueError, TypeError) as error:
        raise Malformed(f"not a time: {said!r}") from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
