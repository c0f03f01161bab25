"""What all reports have in common: they say what could happen, and not that it does. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from quarantine.model import Finding, Resource, Severity
from quarantine.scale import WORDS, at_most
from quarantine_kubernetes.objects import referred

MOST_NAMED: Final = 20
"""So many secrets or vulnerabilities are named in a finding; it counts them all."""


def severity_of(said: object) -> Severity:
    """A new word loses no report: it is informational."""
    return WORDS["report"].get(str(said or "unknown").lower(), Severity.INFORMATIONAL)


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
    """`what`: id, title, type, and the severity as the report has it.

    Into the record go what the report itself says of its severity, and where it is.
    """
    metadata, severity = report["metadata"], severity_of(what["severity"])
    place = {"namespace": metadata.get("namespace", ""), "name": metadata["name"]}
    return Finding(
        source="report",  # a schedule gives its own name
        id=what["id"][:1024],
        title=str(what["title"])[:4096],
        type=str(what["type"])[:1024],
        severity=at_most(Severity.MEDIUM, severity),
        resource=resource,
        seen_at=seen_at,
        record={**record, "severity": str(severity), "report": place},
    )
