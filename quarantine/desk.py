"""What a person may say to a case: approve, deny, release, retry, keep, handled. Each is an event."""

from collections.abc import Callable
from datetime import datetime

from quarantine.case import (
    Approved,
    Case,
    Closed,
    Event,
    Outcome,
    ReleaseRequested,
    Resumed,
    Stage,
    Status,
)
from quarantine.config import Approvals
from quarantine.errors import Misused
from quarantine.store.sql import Also, Store


class Desk:
    """Where people's words come in. `by` is who says it: `local:<user>`."""

    def __init__(self, store: Store, approvals: Approvals, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._approvals = approvals
        self._clock = clock

    def approve(self, case_id: str, by: str, digest: str = "", reason: str = "") -> Case:
        """Say yes to exactly the plan that was shown. Raises Misused if there is none, or it is another one now."""
        case = self._store.load(case_id)
        if case.status not in (Status.PROPOSED, Status.AWAITING_APPROVAL) or case.plan is None:
            raise Misused(
                f"case {case.id} is {_where(case)}: there is no plan to approve. See: quarantine case show {case.id}"
            )
        if digest and not case.plan_digest.startswith(digest):
            raise Misused(
                f"the plan of case {case.id} is {case.plan_digest[:12]} now, not {digest}: "
                f"look again with: quarantine case show {case.id}"
            )
        if case.requested and case.opened_by == by and self._approvals.second_person:
            raise Misused(f"{by} asked for case {case.id}: somebody else must approve it")
        expires_at = self._clock() + self._approvals.valid_for
        return self._say(case, by, Approved(digest=case.plan_digest, expires_at=expires_at, reason=reason))

    def deny(self, case_id: str, by: str, reason: str = "") -> Case:
        """Say no; the case closes and this finding does not ask again."""
        case = self._store.load(case_id)
        if case.status not in (Status.NEW, Status.PROPOSED, Status.AWAITING_APPROVAL):
            raise Misused(f"case {case.id} is {_where(case)}: it is too late to deny. {_next_word(case)}")
        return self._say(case, by, Closed(outcome=Outcome.DECLINED, sentence=reason or "denied"))

    def release(self, case_id: str, by: str, reason: str = "", false_positive: bool = False) -> Case:
        """Give everything back as it was before; a false positive counts against the playbook."""
        case = self._store.load(case_id)
        if case.status not in (Status.CONTAINED, Status.NEEDS_HUMAN) or not case.touched:
            raise Misused(f"case {case.id} is {_where(case)}: there is nothing to release. {_next_word(case)}")
        if not case.reversible:
            raise Misused(f"case {case.id} cannot be undone. Close it with: quarantine case handled {case.id}")
        return self._say(case, by, ReleaseRequested(reason=reason, false_positive=false_positive))

    def retry(self, case_id: str, by: str, reason: str = "") -> Case:
        """Go on where the case stopped."""
        case = self._store.load(case_id)
        if case.status is Status.PROPOSED:
            return self._store.append(case, [], by=by, at=self._clock(), also=Also(due=self._clock()))
        if case.status is not Status.NEEDS_HUMAN:
            raise Misused(f"case {case.id} is {_where(case)}: there is nothing to retry. {_next_word(case)}")
        return self._say(case, by, Resumed(to=_resumes(case), reason=reason))

    def keep(self, case_id: str, by: str, reason: str = "") -> Case:
        """Accept the containment as the new normal: the watch ends, nothing is given back."""
        case = self._store.load(case_id)
        if case.status is not Status.CONTAINED:
            raise Misused(f"case {case.id} is {_where(case)}: only what is contained can be kept. {_next_word(case)}")
        return self._say(case, by, Closed(outcome=Outcome.KEPT, sentence=reason or "kept as the new normal"))

    def handled(self, case_id: str, by: str, reason: str = "") -> Case:
        """A person has dealt with it outside of this program."""
        case = self._store.load(case_id)
        if case.status is not Status.NEEDS_HUMAN:
            raise Misused(
                f"case {case.id} is {_where(case)}: only what needs a person can be handled. {_next_word(case)}"
            )
        return self._say(case, by, Closed(outcome=Outcome.HANDLED_OUTSIDE, sentence=reason or "handled outside"))

    def _say(self, case: Case, by: str, event: Event) -> Case:
        closes = isinstance(event, Closed)
        also = Also(due=None if closes else self._clock())
        return self._store.append(case, [event], by=by, at=self._clock(), also=also)


def _resumes(case: Case) -> Status:
    if any(p.stage in (Stage.RELEASE_INTENDED, Stage.RELEASE_APPLIED, Stage.RELEASED) for p in case.steps.values()):
        return Status.RELEASING
    if case.released_by:
        return Status.RELEASING
    return Status.CONTAINING if case.touched else Status.PROPOSED


def _where(case: Case) -> str:
    return f"{case.status} ({case.outcome})" if case.outcome else str(case.status)


def _next_word(case: Case) -> str:
    """The sensible next command for a case in this status."""
    words = {
        Status.CONTAINED: f"To undo it: quarantine case release {case.id}",
        Status.NEEDS_HUMAN: f"To go on: quarantine case retry {case.id}",
        Status.PROPOSED: f"To approve it: quarantine case approve {case.id}",
        Status.AWAITING_APPROVAL: f"To approve it: quarantine case approve {case.id}",
    }
    return words.get(case.status, f"See: quarantine case show {case.id}")
