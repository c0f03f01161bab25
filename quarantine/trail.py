"""What a provider itself recorded of the calls to it: CloudTrail, Azure's activity log, a Kubernetes audit log. Pure.

CloudTrail     `aws cloudtrail lookup-events`, or a log file from its bucket (CloudTrail User Guide, "record contents")
Azure          `az monitor activity-log list`, or the answer of the REST API (Monitor REST API, "Activity Logs - List")
Kubernetes     the audit log of an API server, one event a line (audit.k8s.io/v1)
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from quarantine.errors import Malformed
from quarantine.record import moment as moment_of
from quarantine.text import moment

_CASE = re.compile(r"cloud-quarantine case/(c-[0-9a-f]{12})\b")
"""In the user agent of every change that we ask for."""
_ROLE = re.compile(r"(arn:[a-z-]+:sts::\d+:assumed-role/[^/]+)/.*")
_READS = frozenset({"get", "list", "watch"})
_QUESTIONS = frozenset(
    {"selfsubjectreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews",
     "localsubjectaccessreviews", "tokenreviews"}
)  # fmt: skip
"""Of Kubernetes: asked with `create`, and nothing is stored."""


@dataclass(frozen=True)
class Call:
    """One call that was to change something. Also one that was refused."""

    provider: str
    at: datetime
    ids: frozenset[str]
    """Every id under which our receipts may know it."""
    operation: str
    target: str
    principal: str
    """Who called; of an assumed role without its session."""
    case: str | None
    """Which one it says it is for; empty if it does not say. None: this trail has no place for it."""
    refused: bool

    def __str__(self) -> str:
        told = f"{self.operation} on {self.target or 'something'} at {moment(self.at)} by {self.principal}"
        return told + (f", for case {self.case}" if self.case else "") + (", refused" if self.refused else "")


@dataclass(frozen=True)
class Trail:
    """What one file holds: the calls that change something, and the span of time that all its records cover."""

    provider: str
    calls: tuple[Call, ...]
    begins: datetime
    ends: datetime


def read(text: str, name: str) -> Trail:
    """The trail in a file. Raises Malformed, which names the file and what is wrong."""
    try:
        provider, records = _records(text)
        found = list(_READERS[provider](records))
    except (Malformed, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Malformed(f"{name}: this is no trail that is known: {type(error).__name__}: {error}") from None
    if not found:
        raise Malformed(f"{name}: it holds no record, so nothing can be said about any time")
    times = [at for at, _ in found]
    merged: dict[tuple[str, str], Call] = {}
    for _, call in found:
        if call is not None:  # Azure says one call several times: begun, accepted, done
            merged.setdefault((call.operation, min(call.ids, default=str(call.at))), call)
    return Trail(provider, tuple(sorted(merged.values(), key=lambda call: call.at)), min(times), max(times))


Found = Iterator[tuple[datetime, Call | None]]


def _records(text: str) -> tuple[str, list[Mapping[str, Any]]]:
    try:
        whole = json.loads(text)
    except ValueError:
        whole = [json.loads(line) for line in text.splitlines() if line.strip()]
    if isinstance(whole, dict):
        for name in ("Events", "Records", "value", "items"):
            if isinstance(whole.get(name), list):
                whole = whole[name]
                break
        else:
            whole = [whole]
    first = whole[0] if whole else {}
    if "CloudTrailEvent" in first:
        return "aws", [json.loads(record["CloudTrailEvent"]) for record in whole]
    if "eventSource" in first:
        return "aws", whole
    if "auditID" in first:
        return "kubernetes", whole
    if "eventTimestamp" in first:
        return "azure", whole
    raise ValueError("neither CloudTrail, nor Azure's activity log, nor a Kubernetes audit log")


def _aws(records: Iterable[Mapping[str, Any]]) -> Found:
    for record in records:
        at = moment_of(record["eventTime"], "eventTime")
        if record.get("readOnly") in (True, "true"):
            yield at, None
            continue
        who = record.get("userIdentity") or {}
        arn = str(who.get("arn") or who.get("invokedBy") or who.get("principalId") or who.get("type") or "unknown")
        yield (
            at,
            Call(
                provider="aws",
                at=at,
                ids=frozenset({str(record["requestID"])} if record.get("requestID") else ()),
                operation=f"{str(record['eventSource']).partition('.')[0]}:{record['eventName']}",
                target=", ".join(_plain(record.get("requestParameters"))),
                principal=plain_principal(arn),
                case=_case(record.get("userAgent")),
                refused=bool(record.get("errorCode")),
            ),
        )


def _azure(records: Iterable[Mapping[str, Any]]) -> Found:
    for record in records:
        at = moment_of(record["eventTimestamp"], "eventTimestamp")
        if (record.get("category") or {}).get("value") != "Administrative":
            yield at, None
            continue
        asked = record.get("httpRequest") or {}
        ids = (record.get("correlationId"), record.get("operationId"), asked.get("clientRequestId"))
        claims = record.get("claims") or {}
        yield (
            at,
            Call(
                provider="azure",
                at=at,
                ids=frozenset(str(item).lower() for item in ids if item),
                operation=str((record.get("operationName") or {})["value"]),
                target=str(record.get("resourceId") or ""),
                principal=str(record.get("caller") or claims.get("appid") or "unknown").lower(),
                case=None,
                refused=(record.get("status") or {}).get("value") == "Failed",
            ),
        )


def _kubernetes(records: Iterable[Mapping[str, Any]]) -> Found:
    for record in records:
        at = moment_of(record["requestReceivedTimestamp"], "requestReceivedTimestamp")
        target = record.get("objectRef") or {}
        resource = str(target.get("resource", ""))
        asks = record["verb"] in _READS or resource in _QUESTIONS or not resource
        if asks or record.get("stage") != "ResponseComplete":
            yield at, None
            continue
        kind = ".".join(part for part in (resource, str(target.get("apiGroup") or "")) if part)
        yield (
            at,
            Call(
                provider="kubernetes",
                at=at,
                ids=frozenset({str(record["auditID"])}),
                operation=f"{record['verb']} {kind}",
                target="/".join(part for part in (target.get("namespace"), target.get("name")) if part),
                principal=str((record.get("user") or {}).get("username") or "unknown"),
                case=_case(record.get("userAgent")),
                refused=int((record.get("responseStatus") or {}).get("code") or 0) >= 300,
            ),
        )


_READERS = {"aws": _aws, "azure": _azure, "kubernetes": _kubernetes}


def plain_principal(name: str) -> str:
    """Without the session of a role, which is another one each time."""
    found = _ROLE.fullmatch(name)
    return found[1] if found else name


def _case(agent: Any) -> str:
    found = _CASE.search(str(agent or ""))
    return found[1] if found else ""


def _plain(parameters: Any) -> Iterator[str]:
    """The texts among the parameters, which mostly name what the call was about."""
    if isinstance(parameters, dict):
        yield from (value for value in parameters.values() if isinstance(value, str) and len(value) < 200)
