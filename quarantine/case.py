"""The case: one resource under one playbook, as the fold of its events. Pure: no clock, no I/O.

    new ──> proposed <──> awaiting_approval ──> containing ──> contained ──> releasing ──> closed
                                     any of them ──> needs_human ──> containing, releasing, proposed, closed

TRANSITIONS says which status may follow which, MOVES what each event does. Nothing else decides.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from quarantine.errors import Misused
from quarantine.model import Finding, Moment, Resource, Sensitive, Sighting, Value
from quarantine.plan import Image, Nature, Plan, PlannedStep
from quarantine.state import Difference


class Status(StrEnum):
    NEW = "new"
    PROPOSED = "proposed"
    AWAITING_APPROVAL = "awaiting_approval"
    CONTAINING = "containing"
    CONTAINED = "contained"
    RELEASING = "releasing"
    NEEDS_HUMAN = "needs_human"
    CLOSED = "closed"


class Reason(StrEnum):
    """Why a case needs a person."""

    PARTIAL = "partial"
    UNKNOWN = "unknown"
    UNVERIFIED = "unverified"
    PERMISSION_MISSING = "permission_missing"
    UNSUPPORTED = "unsupported"
    CONFLICT = "conflict"
    DRIFTED = "drifted"
    STUCK = "stuck"
    STOPPED = "stopped"
    UNREACHABLE = "unreachable"
    GUARD_ERROR = "guard_error"


class Outcome(StrEnum):
    """How a case ended."""

    RELEASED = "released"
    KEPT = "kept"
    DISPOSED = "disposed"
    NOT_NEEDED = "not_needed"
    TARGET_GONE = "target_gone"
    ONE_WAY_DONE = "one_way_done"
    DECLINED = "declined"
    REFUSED = "refused"
    EXPIRED = "expired"
    HANDLED_OUTSIDE = "handled_outside"
    FALSE_POSITIVE = "false_positive"
    SUPPRESSED = "suppressed"
    MERGED = "merged"


# Before any intent a case may also stop for a person: a guard that fails, a provider that cannot be reached.
TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.NEW: frozenset(
        {Status.PROPOSED, Status.AWAITING_APPROVAL, Status.CONTAINING, Status.NEEDS_HUMAN, Status.CLOSED}
    ),
    Status.PROPOSED: frozenset({Status.AWAITING_APPROVAL, Status.CONTAINING, Status.NEEDS_HUMAN, Status.CLOSED}),
    Status.AWAITING_APPROVAL: frozenset({Status.CONTAINING, Status.PROPOSED, Status.NEEDS_HUMAN, Status.CLOSED}),
    Status.CONTAINING: frozenset({Status.CONTAINED, Status.CLOSED, Status.NEEDS_HUMAN}),
    Status.CONTAINED: frozenset({Status.CONTAINING, Status.RELEASING, Status.CLOSED, Status.NEEDS_HUMAN}),
    Status.RELEASING: frozenset({Status.CLOSED, Status.NEEDS_HUMAN}),
    Status.NEEDS_HUMAN: frozenset(
        {Status.PROPOSED, Status.CONTAINING, Status.RELEASING, Status.CONTAINED, Status.CLOSED}
    ),
    Status.CLOSED: frozenset(),
}


Words = Annotated[str, Sensitive()]
"""What a person may have written."""


class Opened(Value):
    type: Literal["opened"] = "opened"
    finding: Finding
    playbook: str
    playbook_digest: str
    requested: bool = False
    """A person asked for this, by hand."""
    plan_digest: str = ""
    """The digest of the saved plan that the person applied; the case acts on exactly that plan or asks again."""
    after: str = ""
    """The closed case that this one goes on from."""


class Repeated(Value):
    """The source sent it again, or another finding named the same resource."""

    type: Literal["repeated"] = "repeated"
    finding: Finding


class Reread(Value):
    """The finding was asked for again at its source, before anything is done about it."""

    type: Literal["reread"] = "reread"
    sighting: Sighting


class Planned(Value):
    type: Literal["planned"] = "planned"
    plan: Plan
    digest: str


class Held(Value):
    """A guard holds the plan back; with `passable`, a person may approve past it."""

    type: Literal["held"] = "held"
    guard: str
    sentence: str
    passable: bool = True


class Asked(Value):
    """A person is asked to approve exactly the plan of this digest."""

    type: Literal["asked"] = "asked"
    guard: str
    sentence: str
    digest: str
    expires_at: Moment


class Approved(Value):
    """A person said yes to the plan of this digest. With `break_glass`, alone: `glass` is the id of the token that
    stood for a second person."""

    type: Literal["approved"] = "approved"
    digest: str
    expires_at: Moment
    reason: Words = ""
    break_glass: bool = False
    glass: str = ""


class Voided(Value):
    """The plan is no longer what was shown; a new one is made."""

    type: Literal["voided"] = "voided"
    sentence: str


class Allowed(Value):
    """Every guard said yes; each in one sentence."""

    type: Literal["allowed"] = "allowed"
    digest: str
    sentences: tuple[str, ...]


class Evidence(Value):
    """One collected artifact, kept under its SHA-256."""

    name: str
    media_type: str
    sha256: str
    size: int
    cut_from: int | None = None
    """The bytes that it had, where it was larger than what is kept: only its beginning is."""


class Custody(Value):
    """How evidence came into our hands: who took it where, when, and with what."""

    action: str
    resource: Resource
    principal: str
    """As whom, in the provider's own words."""
    worker: str
    """The process and the host that asked for it."""
    tool: str
    """This program and its version."""
    began_at: Moment
    ended_at: Moment


class OfStep(Value):
    """An event that belongs to one step of the plan."""

    step: int


class Captured(OfStep):
    type: Literal["captured"] = "captured"
    evidence: tuple[Evidence, ...]
    custody: Custody


class Intended(OfStep):
    """Committed before the first call of a step."""

    type: Literal["intended"] = "intended"
    action: str
    resource: Resource
    before: Image
    target: Image
    epoch: int
    key: str


class Changed(OfStep):
    """One call went out and was answered."""

    type: Literal["changed"] = "changed"
    permission: str
    call: str
    receipt: str
    operation: str | None = None


class Paused(OfStep):
    """Between two changes: an operation of the last one has to end before the next can be made."""

    type: Literal["paused"] = "paused"
    sentence: str


class NotApplied(OfStep):
    """A change certainly did not happen: it was refused, or never sent. Nothing of ours is on its way."""

    type: Literal["not_applied"] = "not_applied"
    sentence: str


class OperationFailed(OfStep):
    """Work that a change began at the provider has ended, and not well."""

    type: Literal["operation_failed"] = "operation_failed"
    operation: str
    sentence: str


class Applied(OfStep):
    type: Literal["applied"] = "applied"


class Probed(OfStep):
    """Looked, while the outcome is unknown, and saw this state."""

    type: Literal["probed"] = "probed"
    digest: str


class Retried(OfStep):
    """Applied again under the same intent."""

    type: Literal["retried"] = "retried"
    sentence: str


class Reconciled(OfStep):
    """The outcome was unknown; a look showed that the target is reached."""

    type: Literal["reconciled"] = "reconciled"
    sentence: str


class Verified(OfStep):
    """Read back from the provider, and equal to the target."""

    type: Literal["verified"] = "verified"


class Skipped(OfStep):
    """Nothing to do: it was already so."""

    type: Literal["skipped"] = "skipped"
    sentence: str


class Contained(Value):
    type: Literal["contained"] = "contained"


class Drifted(OfStep):
    """What was contained no longer shows the target."""

    type: Literal["drifted"] = "drifted"
    differences: tuple[Difference, ...]


class Overstayed(OfStep):
    """It has been held so long that what it leaves behind should not stay any longer: somebody decides what becomes of
    it."""

    type: Literal["overstayed"] = "overstayed"
    sentence: str


class EscalationRequested(Value):
    """A person wants more to be done to what is contained: the plan of another playbook, beside the one that holds."""

    type: Literal["escalation_requested"] = "escalation_requested"
    playbook: str
    playbook_digest: str
    plan_digest: str = ""
    """The digest of the plan that this person saw; another one is asked for again."""
    expires_at: Moment
    reason: Words = ""


class EscalationAsked(Value):
    """A person is asked to approve exactly this further plan. What is contained stays contained meanwhile."""

    type: Literal["escalation_asked"] = "escalation_asked"
    plan: Plan
    digest: str
    guard: str
    sentence: str


class EscalationEnded(Value):
    """Nothing further is done; the case goes on as it was."""

    type: Literal["escalation_ended"] = "escalation_ended"
    sentence: Words


class Escalated(Value):
    """Every guard said yes to the further plan: its steps follow those of the case."""

    type: Literal["escalated"] = "escalated"
    plan: Plan
    digest: str
    sentences: tuple[str, ...]


class Reviewed(Value):
    """Another person has looked at what was done by breaking the glass."""

    type: Literal["reviewed"] = "reviewed"
    glass: str
    reason: Words = ""


class ReleaseRequested(Value):
    type: Literal["release_requested"] = "release_requested"
    reason: Words = ""
    false_positive: bool = False
    """There was nothing to contain: the finding was wrong."""


class ReleaseIntended(OfStep):
    """Committed before the first call of a release. `kept` is what somebody else changed meanwhile and stays."""

    type: Literal["release_intended"] = "release_intended"
    action: str
    resource: Resource
    before: Image
    target: Image
    kept: tuple[Difference, ...]
    epoch: int
    key: str


class Released(OfStep):
    type: Literal["released"] = "released"
    kept: tuple[Difference, ...] = ()


class TakenOver(Value):
    """A worker fell silent while calls of it may have been on their way; another one goes on.

    Until the provider takes no request of the old worker any more, nothing is undone: see Action.late_within.
    """

    type: Literal["taken_over"] = "taken_over"
    owner: str
    epoch: int


class EffectArrivedLate(OfStep):
    """A call of a worker that had lost its lease went through."""

    type: Literal["effect_arrived_late"] = "effect_arrived_late"
    call: str
    receipt: str


class Halted(Value):
    type: Literal["halted"] = "halted"
    reason: Reason
    sentence: str


class Resumed(Value):
    type: Literal["resumed"] = "resumed"
    to: Status
    reason: Words = ""


class Redacted(Value):
    """Sensitive values, or evidence, were erased: what they were is in nobody's hands here any more."""

    type: Literal["redacted"] = "redacted"
    commitments: tuple[str, ...] = ()
    """Those whose values were erased; entries of this case before this one hold them."""
    evidence: tuple[str, ...] = ()
    """The SHA-256 of pieces that were captured in this case."""
    reason: str
    """It stands in the open: the words of whoever erases are never erased."""


class Closed(Value):
    type: Literal["closed"] = "closed"
    outcome: Outcome
    sentence: Words = ""


Event = Annotated[
    Opened
    | Repeated
    | Reread
    | Planned
    | Held
    | Asked
    | Approved
    | Voided
    | Allowed
    | Captured
    | Intended
    | Changed
    | Paused
    | NotApplied
    | OperationFailed
    | Applied
    | Probed
    | Retried
    | Reconciled
    | Verified
    | Skipped
    | Contained
    | Drifted
    | Overstayed
    | EscalationRequested
    | EscalationAsked
    | EscalationEnded
    | Escalated
    | Reviewed
    | ReleaseRequested
    | ReleaseIntended
    | Released
    | TakenOver
    | EffectArrivedLate
    | Halted
    | Resumed
    | Redacted
    | Closed,
    Field(discriminator="type"),
]

_PREPARING = frozenset({Status.NEW, Status.PROPOSED, Status.AWAITING_APPROVAL})
_ACTING = frozenset({Status.CONTAINING, Status.RELEASING})
_HALTS = frozenset({Status.NEEDS_HUMAN, Status.CONTAINED})
_LIVE = frozenset(Status) - {Status.CLOSED}

# What an event leads to, or, for one that changes no status, in which statuses it may happen.
MOVES: dict[type[Value], Status | frozenset[Status]] = {
    Repeated: _LIVE,
    Reread: _PREPARING | {Status.CONTAINING},
    Planned: _PREPARING,
    Held: Status.PROPOSED,
    Asked: Status.AWAITING_APPROVAL,
    Approved: frozenset({Status.PROPOSED, Status.AWAITING_APPROVAL, Status.CONTAINED}),
    Voided: Status.PROPOSED,
    Allowed: Status.CONTAINING,
    Captured: frozenset({Status.CONTAINING}),
    Intended: frozenset({Status.CONTAINING}),
    Changed: _ACTING,
    Paused: _ACTING,
    NotApplied: _ACTING,
    OperationFailed: _ACTING,
    Applied: _ACTING,
    Probed: _ACTING,
    Retried: _ACTING,
    Reconciled: _ACTING,
    Verified: frozenset({Status.CONTAINING}),
    Skipped: _ACTING,
    Contained: Status.CONTAINED,
    Drifted: frozenset({Status.CONTAINED}),
    Overstayed: frozenset({Status.CONTAINED}),
    EscalationRequested: frozenset({Status.CONTAINED}),
    EscalationAsked: frozenset({Status.CONTAINED}),
    EscalationEnded: frozenset({Status.CONTAINED, Status.CONTAINING}),
    Escalated: Status.CONTAINING,
    Reviewed: frozenset(Status),
    ReleaseRequested: Status.RELEASING,
    ReleaseIntended: frozenset({Status.RELEASING}),
    Released: frozenset({Status.RELEASING}),
    TakenOver: _ACTING | {Status.NEEDS_HUMAN},  # a worker may die between its last word and giving the case back
    EffectArrivedLate: frozenset(Status),
    Halted: Status.NEEDS_HUMAN,
    # Not while it is decided or done: the source is asked again with what the finding says.
    Redacted: frozenset({Status.CONTAINED, Status.NEEDS_HUMAN, Status.CLOSED}),
    Closed: Status.CLOSED,
}


class Recorded(Value):
    """An event with its place in the case: the `seq`-th, at this time, by this actor."""

    case: str
    seq: int = Field(ge=1)
    at: Moment
    by: str = Field(max_length=256)
    """`engine`, `local:<user>`, `source:<name>`, `schedule:<name>`."""
    event: Event


class Stage(StrEnum):
    """How far one step is."""

    PLANNED = "planned"
    INTENDED = "intended"
    APPLIED = "applied"
    VERIFIED = "verified"
    DRIFTED = "drifted"
    SKIPPED = "skipped"
    CAPTURED = "captured"
    RELEASE_INTENDED = "release_intended"
    RELEASE_APPLIED = "release_applied"
    RELEASED = "released"


class Progress(Value):
    """What the events say of one step. The first before-image stays for ever."""

    stage: Stage = Stage.PLANNED
    before: Image = None
    target: Image = None
    release_from: Image = None
    release_target: Image = None
    kept: tuple[Difference, ...] = ()
    intended: bool = False
    """Our change may be in place: an intent was committed and no release has undone it."""
    key: str = ""
    since: Moment | None = None
    """The time of the last intent, change, retry or application: what `settles_within` counts from."""
    waits_since: Moment | None = None
    """Like `since`, but a person's retry begins it anew, and going on after a pause does not: what the patience with
    operations counts from."""
    attempts: int = 0
    operations: tuple[str, ...] = ()
    """What the receipts of this attempt named: work that may go on at the provider."""
    paused: str = ""
    """Why `apply` stopped between two changes."""
    at_rest: bool = False
    """Nothing of ours is on its way to the provider, besides `operations`."""
    probe: tuple[str, Moment] | None = None
    answered: bool = True
    """Every request of this attempt was answered, or was certainly never sent."""
    late_since: Moment | None = None
    """The last moment at which a request of this step was found to be unanswered: it may still arrive for a while,
    see Action.late_within."""


class Consent(Value):
    """Who approved which plan, until when."""

    by: str
    digest: str
    expires_at: Moment
    break_glass: bool = False


class Escalation(Value):
    """A further plan for what is contained: wanted, and perhaps asked for, but not begun."""

    by: str
    playbook: str
    playbook_digest: str
    requested_digest: str
    expires_at: Moment
    plan: Plan | None = None
    """Once a person is asked to approve it."""
    digest: str = ""
    sentence: str = ""
    consent: Consent | None = None


class Addition(Value):
    """A further plan whose steps belong to the case now."""

    wanted: Escalation
    digest: str
    first: int
    """The index of its first step in the case; in its own plan it is 0."""


class Case(Value):
    """Where a case stands."""

    id: str
    status: Status
    finding: Finding
    resource: Resource
    playbook: str
    playbook_digest: str
    opened_by: str
    requested: bool
    requested_digest: str
    after: str = ""
    opened_at: Moment
    updated_at: Moment
    seq: int
    findings: int = 1
    reports: tuple[str, ...] = ()
    """Each different finding about it, by its source and id."""
    sighting: Sighting | None = None
    """What the source of `finding` said when it was last asked again."""
    reason: Reason | None = None
    outcome: Outcome | None = None
    sentence: str = ""
    plan: Plan | None = None
    plan_digest: str = ""
    expires_at: Moment | None = None
    consent: Consent | None = None
    escalation: Escalation | None = None
    additions: tuple[Addition, ...] = ()
    glass_broken: bool = False
    """One person did alone what needs two."""
    since: Moment
    """When it came to its status."""
    steps: dict[int, Progress] = Field(default_factory=dict)
    released_by: str = ""
    allowed: bool = False
    acted_at: Moment | None = None
    """When the guards let it act; None for a case that never did."""
    contained_at: Moment | None = None
    """When it was first contained and verified."""
    overstayed: bool = False
    """A person was told that it has been held for long. Nobody is told twice."""
    reapplied: int = 0
    """How often drift was put right by itself."""
    failed: bool = False
    """It went wrong while it acted: a person had to look."""
    false_positive: bool = False

    named_as: str
    """The identity of the resource as the first finding named it; what makes a second live case impossible."""

    def progress(self, step: int) -> Progress:
        return self.steps.get(step, Progress())

    @property
    def playbooks(self) -> tuple[str, ...]:
        """Every playbook that acts in it; a kill switch for any of them stops it."""
        return (self.playbook, *(addition.wanted.playbook for addition in self.additions))

    @property
    def asks_until(self) -> Moment | None:
        """Until when a person may approve what is asked; None if nothing is, or it was approved."""
        further = self.escalation
        if further is not None:
            return further.expires_at if further.plan is not None and further.consent is None else None
        return self.expires_at if self.status is Status.AWAITING_APPROVAL and self.consent is None else None

    @property
    def held(self) -> tuple[PlannedStep, ...]:
        """The steps whose targets hold now: of several that do the same to one resource, the last one."""
        verified = [
            step
            for step in (self.plan.steps if self.plan is not None else ())
            if step.nature is Nature.REVERSIBLE and self.progress(step.index).stage is Stage.VERIFIED
            if not self.removed(step.resource)
        ]
        last = {(step.resource.identity, step.action): step.index for step in verified}
        return tuple(step for step in verified if step.index in last.values())

    def removed(self, resource: Resource) -> bool:
        """Is it gone because a step of ours has made it so?"""
        return any(
            step.nature is Nature.ONE_WAY and step.target is None and step.resource.identity == resource.identity
            for step in (self.plan.steps if self.plan is not None else ())
            if self.progress(step.index).stage is Stage.VERIFIED
        )

    @property
    def unbegun(self) -> bool:
        """Is an addition still to be begun, so that nothing of it is in place?"""
        progress = [self.progress(step.index) for step in self._added]
        waits = any(item.stage is Stage.PLANNED for item in progress)
        return waits and not any(item.intended for item in progress)

    @property
    def _added(self) -> tuple[PlannedStep, ...]:
        if not self.additions or self.plan is None:
            return ()
        return self.plan.steps[self.additions[-1].first :]

    @property
    def in_flight(self) -> bool:
        """May a call be on its way to a provider?"""
        return self.status is not Status.CLOSED and any(
            progress.stage in _OPEN_AGAIN.values() for progress in self.steps.values()
        )

    @property
    def all_applied(self) -> bool:
        """Is everything changed that the plan would change? What is left is to look at it, and to take evidence."""
        steps = () if self.plan is None else self.plan.steps
        return all(
            self.progress(step.index).stage in (Stage.APPLIED, Stage.VERIFIED, Stage.SKIPPED)
            for step in steps
            if step.nature is not Nature.CAPTURE
        )

    @property
    def touched(self) -> bool:
        """May anything of ours be in place?"""
        return any(progress.intended for progress in self.steps.values())

    def holds_besides(self, resource: Resource) -> bool:
        """May anything of ours be in place on another resource than this one?"""
        steps = () if self.plan is None else self.plan.steps
        others = (step for step in steps if step.resource.identity != resource.identity)
        return any(self.progress(step.index).intended for step in others)

    @property
    def reversible(self) -> bool:
        return self.plan is None or any(
            self.progress(step.index).intended for step in self.plan.steps if step.nature is Nature.REVERSIBLE
        )


def fold(events: Iterable[Recorded], case: Case | None = None) -> Case:
    """The case that these events, in order, make; from the beginning, or further from `case`.

    Raises Misused for an event that the case's status does not allow, or that is out of order.
    """
    for recorded in events:
        case = _next(case, recorded)
    if case is None:
        raise Misused("a case begins with an Opened event")
    return case


def _next(case: Case | None, recorded: Recorded) -> Case:
    event = recorded.event
    if case is None:
        if not isinstance(event, Opened) or recorded.seq != 1:
            raise Misused("a case begins with an Opened event")
        return Case(
            id=recorded.case,
            status=Status.NEW,
            finding=event.finding,
            reports=(_report(event.finding),),
            resource=event.finding.resource,
            named_as=event.finding.resource.identity,
            playbook=event.playbook,
            playbook_digest=event.playbook_digest,
            opened_by=recorded.by,
            after=event.after,
            requested=event.requested,
            requested_digest=event.plan_digest,
            opened_at=recorded.at,
            updated_at=recorded.at,
            since=recorded.at,
            seq=1,
        )
    if isinstance(event, Opened):
        raise Misused(f"case {case.id} is already open")
    if recorded.seq != case.seq + 1:
        raise Misused(f"case {case.id}: event {recorded.seq} cannot follow {case.seq}")
    status = _status(case, event)
    changes: dict[str, object] = {"status": status, "seq": recorded.seq, "updated_at": recorded.at}
    if status is not case.status:
        changes["since"] = recorded.at
    if status not in (Status.CONTAINED, Status.CONTAINING):
        changes["escalation"] = None
    return case.model_copy(update={**changes, **_details(case, recorded)})


def _status(case: Case, event: Value) -> Status:
    move = event.to if isinstance(event, Resumed) else MOVES[type(event)]
    name = type(event).__name__
    if isinstance(move, frozenset):
        if case.status not in move:
            raise Misused(f"case {case.id} is {case.status}: {name} cannot happen now")
        if not _fits(case, event):
            raise Misused(f"case {case.id}: {name} does not fit what is asked there now")
        return case.status
    if move not in TRANSITIONS[case.status] and not (move is case.status is Status.PROPOSED):
        raise Misused(f"case {case.id} is {case.status}: it cannot become {move} ({name})")
    if isinstance(event, Resumed) and (case.status not in _HALTS or event.to is Status.CLOSED):
        raise Misused(f"case {case.id} is {case.status}: it cannot go on as {event.to}")
    if isinstance(event, Closed) and case.touched and not _may_close(case, event.outcome):
        raise Misused(f"case {case.id} has a change in place: it cannot close as {event.outcome}")
    if isinstance(event, Escalated) and (case.escalation is None or case.plan is None):
        raise Misused(f"case {case.id}: nobody asked for an escalation")
    return move


def _fits(case: Case, event: Value) -> bool:
    """Is what the event answers to there?"""
    further = case.escalation
    match event:
        case Approved():
            shown = further.digest if further is not None else case.plan_digest
            return event.digest == shown != "" and (further is not None) == (case.status is Status.CONTAINED)
        case EscalationRequested():
            return further is None
        case EscalationAsked():
            return further is not None
        case EscalationEnded():
            return further is not None if case.status is Status.CONTAINED else case.unbegun
        case _:
            return True


def _may_close(case: Case, outcome: Outcome) -> bool:
    """With something of ours in place. What cannot be undone does not keep the rest from being released."""
    if outcome is Outcome.RELEASED and case.plan is not None:
        one_way = {step.index for step in case.plan.steps if step.nature is Nature.ONE_WAY}
        return all(index in one_way for index, progress in case.steps.items() if progress.intended)
    return outcome in _MAY_LEAVE_A_CHANGE


_MAY_LEAVE_A_CHANGE = frozenset(
    {Outcome.KEPT, Outcome.DISPOSED, Outcome.HANDLED_OUTSIDE, Outcome.TARGET_GONE, Outcome.ONE_WAY_DONE}
)


def _details(case: Case, recorded: Recorded) -> dict[str, object]:
    """The fields besides status that an event changes."""
    event = recorded.event
    match event:
        case Repeated():
            same = _report(event.finding) == _report(case.finding)
            return {
                "findings": case.findings + 1,
                "finding": event.finding.model_copy(update={"resource": case.resource}),
                "reports": tuple(dict.fromkeys((*case.reports, _report(event.finding)))),
                "sighting": case.sighting if same else None,
            }
        case Reread():
            return {"sighting": event.sighting}
        case Planned():
            return {
                "plan": event.plan,
                "plan_digest": event.digest,
                "resource": event.plan.resource,
                "consent": None,
                "expires_at": None,
            }
        case Held():
            return {"sentence": event.sentence}
        case Asked():
            return {"sentence": event.sentence, "expires_at": event.expires_at}
        case Approved():
            consent = Consent(
                by=recorded.by, digest=event.digest, expires_at=event.expires_at, break_glass=event.break_glass
            )
            broken = {"glass_broken": case.glass_broken or event.break_glass}
            if case.escalation is not None:
                return {**broken, "escalation": case.escalation.model_copy(update={"consent": consent})}
            return {**broken, "consent": consent}
        case Voided():
            return {
                "plan": None,
                "plan_digest": "",
                "consent": None,
                "expires_at": None,
                "sentence": event.sentence,
            }
        case Allowed():
            return {"allowed": True, "acted_at": case.acted_at or recorded.at, "sentence": "", "expires_at": None}
        case Overstayed():
            return {"overstayed": True, "sentence": event.sentence}
        case EscalationRequested() | EscalationAsked() | EscalationEnded() | Escalated():
            return _escalation(case, recorded)
        case ReleaseRequested():
            said = {"released_by": recorded.by, "false_positive": case.false_positive or event.false_positive}
            return {**said, "reason": None, "sentence": ""}
        case Halted():
            failed = case.failed or (case.acted_at is not None and event.reason in _FAILURES)
            return {"reason": event.reason, "sentence": event.sentence, "failed": failed}
        case Resumed():
            steps = {index: _looked_at_anew(progress, recorded.at) for index, progress in case.steps.items()}
            plan = {"plan": None} if event.to is Status.PROPOSED else {}
            by_itself = case.status is Status.CONTAINED  # a person resumes what needs one
            return {"reason": None, "sentence": "", "steps": steps, "reapplied": case.reapplied + by_itself, **plan}
        case TakenOver():
            open_ = {index: item for index, item in case.steps.items() if item.stage in _OPEN_AGAIN.values()}
            late = {index: item.model_copy(update={"late_since": recorded.at}) for index, item in open_.items()}
            return {"steps": {**case.steps, **late}}
        case Contained():
            return {"contained_at": case.contained_at or recorded.at, "reason": None, "sentence": ""}
        case Closed():
            return {"outcome": event.outcome, "reason": None, "sentence": event.sentence}
        case OfStep() if not isinstance(event, EffectArrivedLate):
            step = event.step
            return {"steps": {**case.steps, step: _progress(case.progress(step), recorded)}}
        case _:
            return {}


def _report(finding: Finding) -> str:
    return f"{finding.source}|{finding.id}"


def _escalation(case: Case, recorded: Recorded) -> dict[str, object]:
    event, further = recorded.event, case.escalation
    if isinstance(event, EscalationRequested):
        wanted = Escalation(
            by=recorded.by,
            playbook=event.playbook,
            playbook_digest=event.playbook_digest,
            requested_digest=event.plan_digest,
            expires_at=event.expires_at,
        )
        return {"escalation": wanted}
    if isinstance(event, EscalationAsked) and further is not None:
        asked = {"plan": event.plan, "digest": event.digest, "sentence": event.sentence, "consent": None}
        return {"escalation": further.model_copy(update=asked)}
    if isinstance(event, Escalated) and further is not None and case.plan is not None:
        first = len(case.plan.steps)
        steps = [step.model_copy(update={"index": first + step.index}) for step in event.plan.steps]
        addition = Addition(wanted=further.model_copy(update={"plan": None}), digest=event.digest, first=first)
        return {
            "plan": case.plan.model_copy(update={"steps": (*case.plan.steps, *steps)}),
            "additions": (*case.additions, addition),
            "escalation": None,
        }
    if further is None and case.plan is not None:  # it was begun in name only, and is taken off again
        first = case.additions[-1].first
        return {
            "plan": case.plan.model_copy(update={"steps": case.plan.steps[:first]}),
            "additions": case.additions[:-1],
            "steps": {index: progress for index, progress in case.steps.items() if index < first},
        }
    return {"escalation": None}


_FAILURES = frozenset(Reason) - {Reason.DRIFTED, Reason.STOPPED, Reason.GUARD_ERROR}


def _looked_at_anew(progress: Progress, at: Moment) -> Progress:
    """A person says to go on: what was not reached is looked up, and applied again if it is ours to do so."""
    stage = _OPEN_AGAIN.get(progress.stage, progress.stage)
    if stage not in _OPEN_AGAIN.values():
        return progress
    return progress.model_copy(update={"stage": stage, "attempts": 0, "waits_since": at, "probe": None})


_OPEN_AGAIN = {Stage.APPLIED: Stage.INTENDED, Stage.RELEASE_APPLIED: Stage.RELEASE_INTENDED}


def _progress(progress: Progress, recorded: Recorded) -> Progress:
    event, at = recorded.event, recorded.at
    releasing = progress.stage in (Stage.RELEASE_INTENDED, Stage.RELEASE_APPLIED)
    begun = {
        "attempts": 1,
        "operations": (),
        "paused": "",
        "at_rest": False,
        "answered": False,
        "since": at,
        "waits_since": at,
        "probe": None,
    }
    update: dict[str, object]
    match event:
        case Intended():
            first = not progress.intended and progress.before is None
            update = {
                "stage": Stage.INTENDED,
                "before": event.before if first else progress.before,
                "target": event.target if first else progress.target,
                "intended": True,
                "key": event.key,
                **begun,
            }
        case ReleaseIntended():
            update = {
                "stage": Stage.RELEASE_INTENDED,
                "release_from": event.before,
                "release_target": event.target,
                "kept": event.kept,
                "key": event.key,
                **begun,
            }
        case Changed():
            operations = (*progress.operations, event.operation) if event.operation else progress.operations
            update = {**begun, "operations": operations, "attempts": progress.attempts}
        case Paused():
            update = {"paused": event.sentence, "at_rest": True, "answered": True}
        case NotApplied():
            update = {"at_rest": True, "answered": True}
        case OperationFailed():
            update = {
                "stage": _OPEN_AGAIN.get(progress.stage, progress.stage),
                "operations": tuple(item for item in progress.operations if item != event.operation),
                "at_rest": progress.at_rest or progress.stage in _OPEN_AGAIN,
            }
        case Retried():
            update = {
                "stage": Stage.RELEASE_INTENDED if releasing else Stage.INTENDED,
                **begun,
                # Going on after a pause is not another attempt: no time and no try is gained by it.
                "waits_since": progress.waits_since if progress.paused else at,
                "attempts": progress.attempts if progress.paused else progress.attempts + 1,
                "late_since": progress.late_since if progress.answered else at,
            }
        case Probed():
            update = {"probe": (event.digest, at)}
        case Applied() | Reconciled():
            stage = Stage.RELEASE_APPLIED if releasing else Stage.APPLIED
            update = {"stage": stage, "since": at, "probe": None, "paused": "", "answered": True}
            if isinstance(event, Reconciled):
                update["operations"] = ()
                update["late_since"] = progress.late_since if progress.answered else at
        case Verified():
            update = {"stage": Stage.VERIFIED, "probe": None}
        case Drifted():
            update = {"stage": Stage.DRIFTED}
        case Skipped():
            update = {"stage": Stage.SKIPPED, "intended": False}
        case Captured():
            update = {"stage": Stage.CAPTURED}
        case Released():
            update = {"stage": Stage.RELEASED, "intended": False, "kept": event.kept}
        case _:
            raise Misused(f"{event.type} belongs to no step")
    return progress.model_copy(update=update)
