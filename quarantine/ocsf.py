"""What was done, as OCSF 1.5.0 Remediation Activity (class 7001): for a SIEM that knows the schema and not us. Pure.

One event for each step that was read back, given back, or stopped for a person; what came before it stands in the
record. Source of every name and number: schema.ocsf.io/1.5.0/classes/remediation_activity; a test holds each event
against that schema.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import IntEnum

from pydantic import JsonValue

from quarantine import __version__
from quarantine.case import (
    Case,
    Halted,
    Intended,
    Reason,
    Recorded,
    Released,
    ReleaseIntended,
    Verified,
    fold,
)
from quarantine.model import Severity, Value
from quarantine.plan import Nature, PlannedStep

VERSION = "1.5.0"
CATEGORY, CLASS = 7, 7001
_RESOURCE_UID = 10
"""The type of an observable that names a resource."""


class Activity(IntEnum):
    """The tactics of MITRE D3FEND that an event may be about."""

    ISOLATE = 1
    EVICT = 2
    RESTORE = 3


class Status(IntEnum):
    SUCCESS = 1
    FAILURE = 2
    PARTIAL = 4
    UNSUPPORTED = 5


_SEVERITY = {
    Severity.INFORMATIONAL: 1,
    Severity.LOW: 2,
    Severity.MEDIUM: 3,
    Severity.HIGH: 4,
    Severity.CRITICAL: 5,
}
_CLOUDS = {"aws": "AWS", "azure": "Azure"}
"""Those that the profile `cloud` is for."""
_HALTS = {Reason.PARTIAL: Status.PARTIAL, Reason.UNSUPPORTED: Status.UNSUPPORTED}


class Tactic(Value):
    name: str


class Countermeasure(Value):
    d3f_tactic: Tactic


class Product(Value):
    name: str = "cloud-quarantine"
    vendor_name: str = "cloud-quarantine"
    version: str = __version__


class Metadata(Value):
    version: str = VERSION
    product: Product = Product()
    uid: str
    """Of the entry in the record: CASE/NUMBER."""
    correlation_uid: str
    """The case."""
    profiles: tuple[str, ...] = ()


class Account(Value):
    uid: str


class Cloud(Value):
    provider: str
    account: Account
    region: str | None = None


class Observable(Value):
    name: str = "resource"
    type_id: int = _RESOURCE_UID
    value: str


class Remediation(Value):
    desc: str


class RemediationActivity(Value):
    """One event. Times are milliseconds since 1970."""

    activity_id: Activity
    activity_name: str
    category_uid: int = CATEGORY
    category_name: str = "Remediation"
    class_uid: int = CLASS
    class_name: str = "Remediation Activity"
    type_uid: int
    command_uid: str
    time: int
    start_time: int | None = None
    end_time: int | None = None
    severity_id: int
    status_id: Status
    status: str
    status_detail: str | None = None
    message: str
    metadata: Metadata
    cloud: Cloud | None = None
    countermeasures: tuple[Countermeasure, ...]
    observables: tuple[Observable, ...]
    remediation: Remediation
    unmapped: dict[str, JsonValue]

    def record(self) -> dict[str, JsonValue]:
        """As JSON; what is not known is left out."""
        dumped: dict[str, JsonValue] = self.model_dump(mode="json", exclude_none=True)
        return dumped


def activities(events: Sequence[Recorded]) -> Iterator[RemediationActivity]:
    """What OCSF has to say about a case, in order."""
    case = fold(events)
    intents: dict[int, Recorded] = {}
    for item in events:
        match item.event:
            case Intended() | ReleaseIntended():
                intents[item.event.step] = item
            case Verified() | Released() if item.event.step in intents:
                yield _activity(case, intents[item.event.step], item, Status.SUCCESS)
            case Halted() if intents:
                last = max(intents.values(), key=lambda intent: intent.seq)
                yield _activity(case, last, item, _HALTS.get(item.event.reason, Status.FAILURE))


def _activity(case: Case, intent: Recorded, end: Recorded, status: Status) -> RemediationActivity:
    event = intent.event
    assert isinstance(event, Intended | ReleaseIntended)  # noqa: S101 - that is what was collected
    activity, resource = _kind(_step(case, event.step), event), event.resource
    detail = end.event.sentence if isinstance(end.event, Halted) else None
    done = {Status.SUCCESS: "done and read back", Status.PARTIAL: "partly done"}.get(status, "not done")
    cloud = _cloud(resource.provider, resource.account, resource.area)
    return RemediationActivity(
        activity_id=activity,
        activity_name=activity.name.title(),
        type_uid=CLASS * 100 + activity,
        command_uid=f"{case.id}/{event.step}/{intent.seq}",
        time=_milliseconds(end.at),
        start_time=_milliseconds(intent.at),
        end_time=_milliseconds(end.at),
        severity_id=_SEVERITY[case.finding.severity],
        status_id=status,
        status=status.name.title(),
        status_detail=detail,
        message=f"{event.action} on {resource}: {done}",
        metadata=Metadata(
            uid=f"{case.id}/{end.seq}", correlation_uid=case.id, profiles=("cloud",) if cloud is not None else ()
        ),
        cloud=cloud,
        countermeasures=(Countermeasure(d3f_tactic=Tactic(name=activity.name.title())),),
        observables=(Observable(value=resource.uid or resource.id),),
        remediation=Remediation(desc=f"playbook {case.playbook}, step {event.step + 1}: {event.action}"),
        unmapped={
            "case": case.id,
            "finding": {"source": case.finding.source, "uid": case.finding.id, "title": case.finding.title},
            "resource": resource.model_dump(mode="json"),
            "before": event.before,
            "target": event.target,
            "approved_by": None if case.consent is None else case.consent.by,
        },
    )


def _step(case: Case, index: int) -> PlannedStep | None:
    return None if case.plan is None else next((step for step in case.plan.steps if step.index == index), None)


def _kind(step: PlannedStep | None, event: Intended | ReleaseIntended) -> Activity:
    if isinstance(event, ReleaseIntended):
        return Activity.RESTORE
    return Activity.EVICT if step is not None and step.nature is Nature.ONE_WAY else Activity.ISOLATE


def _cloud(provider: str, account: str, area: str) -> Cloud | None:
    if provider not in _CLOUDS:
        return None
    # What follows a subscription in a scope of Azure is a resource group, and no region.
    region = (area or None) if provider == "aws" else None
    return Cloud(provider=_CLOUDS[provider], account=Account(uid=account), region=region)


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
