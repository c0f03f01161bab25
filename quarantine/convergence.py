"""One step's way to its target: an intent is committed, applied through the gate, looked up when in doubt, read back.

    intend ──> apply ──> verify            the same way leads to containment and back: only the target differs
        └─ unknown, crash ─> reconcile ──> apply again, or it is so already, or a person decides

Every method is one stride: True when the step has moved on and the next stride may follow at once, False when the
case waits for a time.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import tenacity
from pydantic import JsonValue

from quarantine import __version__
from quarantine.action import GONE, Absence, Action, Capture, Mark, State, between, reached, three_way
from quarantine.case import (
    Allowed,
    Applied,
    Captured,
    Case,
    Closed,
    Custody,
    Intended,
    NotApplied,
    OperationFailed,
    Outcome,
    Paused,
    Probed,
    Progress,
    Reason,
    Reconciled,
    Released,
    ReleaseIntended,
    Retried,
    Skipped,
    Stage,
    Verified,
)
from quarantine.errors import (
    Conflict,
    Gone,
    Halt,
    Late,
    Pending,
    ProviderError,
    QuarantineError,
    Transient,
    Unknown,
    Unreachable,
    Unsupported,
)
from quarantine.evidence import EvidenceStore
from quarantine.gate import CaseGate, Turn
from quarantine.model import digest
from quarantine.plan import PlannedStep, restored, stored
from quarantine.planner import Planner
from quarantine.registry import Registry
from quarantine.state import shortfall
from quarantine.store.sql import Also, Held, Hold

log = logging.getLogger(__name__)

SOON = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(seconds=30)
MOMENT = timedelta(seconds=2)
"""How long what was seen is as good as seen now, where the provider refuses a change to anything else."""
MOST_ATTEMPTS = 5
"""How often a step is applied under one intent."""


class NeedsHuman(QuarantineError):
    """This program does not know how to go on by itself."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class Convergence:
    """Brings single steps to their targets. Waiting inside a lease is at most a few seconds, by `pause`."""

    def __init__(
        self,
        registry: Registry,
        planner: Planner,
        evidence: EvidenceStore,
        installation: str,
        clock: Callable[[], datetime],
        *,
        failpoint: Callable[[str], None],
        pause: Callable[[float], None],
    ) -> None:
        self._registry = registry
        self._planner = planner
        self._evidence = evidence
        self._installation = installation
        self._clock = clock
        self._failpoint = failpoint
        self.reading = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Transient),
            stop=tenacity.stop_after_attempt(3),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=2),
            sleep=pause,
            reraise=True,
        )

    def capture(self, turn: Turn, step: PlannedStep) -> bool:
        capture = self._registry.build(step.action, step.settings)
        if not isinstance(capture, Capture):
            raise QuarantineError(f"{step.action} is not a capture in this version")
        cloud = self._planner.cloud(step.resource).knowing(_before(turn.case, step))
        principal, began_at = self.reading(self._planner.principal, step.resource), self._clock()
        kept = self.reading(lambda: self._evidence.keep_all(capture.collect(cloud, step.resource)))
        custody = Custody(
            action=step.action,
            resource=step.resource,
            principal=principal,
            worker=turn.lease.owner,
            tool=f"cloud-quarantine {__version__}",
            began_at=began_at,
            ended_at=self._clock(),
        )
        turn.add(Captured(step=step.index, evidence=kept, custody=custody))
        return True

    def intend(self, turn: Turn, step: PlannedStep, progress: Progress) -> bool:
        action = self.action(step)
        again = progress.stage is Stage.DRIFTED
        now = self._just_seen(turn, step, action) or self.observe(action, step)
        if now is GONE:
            return self.gone(turn, step)
        target = restored(progress.target, action.state) if again else action.contained(now)
        if reached(now, target):
            turn.add(Verified(step=step.index) if again else Skipped(step=step.index, sentence="it was so already"))
            return True
        if not again and not reached(now, restored(step.before, action.state), proven=False):
            raise Conflict(f"{step.resource} changed between the plan and the act: look at it, then retry")
        refusal = action.refusal(now)
        if refusal is not None and not again:
            raise Unsupported(f"{step.action} cannot work here any more: {refusal.reason}")
        hold = Hold(step.resource.identity, step.action)
        try:
            turn.add(_intent(turn, step, now, target), also=Also(due=self._clock(), hold=hold))
        except Held as other:
            return self._held_elsewhere(turn, other)
        return self._apply(turn, step, now, target)

    def begin(self, turn: Turn, step: PlannedStep, allowed: Allowed, also: Also) -> bool:
        """The guards have just said yes to a plan, of which this is the first step.

        Where it may act on what the plan has seen, that yes and its intent are one commit. Raises Spent.
        """
        action = self._registry.build(step.action, step.settings)
        if isinstance(action, Action) and step.needed and (now := self._just_seen(turn, step, action)) is not None:
            target, hold = action.contained(now), Hold(step.resource.identity, step.action)
            try:
                turn.add(allowed, _intent(turn, step, now, target), also=replace(also, hold=hold))
            except Held:
                pass  # nothing of it is written: the next stride says who holds it
            else:
                return self._apply(turn, step, now, target)
        turn.add(allowed, also=also)
        return True

    def _just_seen(self, turn: Turn, step: PlannedStep, action: Action[Any, Any]) -> State | None:
        """What this turn's own plan saw a moment ago, where a change to anything else would be refused."""
        moment = turn.judged is not None and self._clock() - turn.judged <= MOMENT
        return turn.seen.get(step.index) if action.conditional and moment and not turn.case.touched else None

    def gone(self, turn: Turn, step: PlannedStep) -> bool:
        """The step's resource is not there any more. If it is the case's own, that is the end of the case.

        A related one is only passed over: who deletes an instance's role must not end the watch over the instance.
        And as long as a related one is held, the case that names it stays open.
        """
        sentence = f"{step.resource} is not there any more"
        own = step.resource.identity == turn.case.resource.identity
        if own and not turn.case.holds_besides(step.resource) and not turn.case.removed(step.resource):
            raise Gone(sentence)
        turn.add(Skipped(step=step.index, sentence=sentence))
        return True

    def _held_elsewhere(self, turn: Turn, other: Held) -> bool:
        sentence = f"case {other.case} already contains this resource with the same action"
        if turn.case.touched:
            raise NeedsHuman(Reason.CONFLICT, sentence) from other
        turn.add(Closed(outcome=Outcome.MERGED, sentence=sentence))
        return False

    def intend_release(self, turn: Turn, step: PlannedStep, progress: Progress) -> bool:
        action = self.action(step)
        before, target = restored(progress.before, action.state), restored(progress.target, action.state)
        if self._still_late(turn, step, action, progress):
            return False
        waits, _ = self._operations(turn, step, action, progress)
        if waits:
            return False
        now = self.observe(action, step)
        if now is GONE or before is GONE or target is GONE:
            return self.gone(turn, step)
        ripe = (progress.since or self._clock()) + action.consistent_within
        if not reached(now, target) and self._clock() < ripe:
            turn.wait(ripe)  # a read from before the containment would look like what somebody else made of it
            return False
        merged, kept = three_way(before, target, now)
        intended = ReleaseIntended(
            step=step.index,
            action=step.action,
            resource=step.resource,
            before=stored(now),
            target=stored(merged),
            kept=kept,
            epoch=turn.lease.epoch,
            key=_key(turn.case, step, turn.case.seq),
        )
        turn.add(intended)
        return self._apply(turn, step, now, merged)

    def _still_late(self, turn: Turn, step: PlannedStep, action: Action[Any, Any], progress: Progress) -> bool:
        """May a request still arrive that nobody knows the fate of? It would do again what is undone now: so wait."""
        doubts = (progress.late_since, None if progress.answered else progress.since)
        until = (
            max((at for at in doubts if at is not None), default=self._clock() - action.late_within)
            + action.late_within
        )
        if self._clock() >= until:
            return False
        sentence = f"a request that was never answered may arrive until {until:%H:%M:%S} UTC: undone only then"
        if progress.paused != sentence:
            turn.add(Paused(step=step.index, sentence=sentence), also=Also(due=until))
        else:
            turn.wait(until)
        return True

    def _apply(self, turn: Turn, step: PlannedStep, now: State, target: State | Absence) -> bool:
        """Converge, through the gate. Everything that is not a clean end leaves the intent open, to be looked up."""
        action = self.action(step)
        progress = turn.case.progress(step.index)
        mark = Mark(installation=self._installation, case=turn.case.id, step=step.index, key=progress.key)
        gate = CaseGate(turn, step, action.permissions(), self._failpoint)
        cloud = self._planner.cloud(step.resource).through(gate, mark)
        try:
            action.apply(cloud, step.resource, now, target)
        except Pending as pending:
            return self._pause(turn, step, action, str(pending))
        except Unknown as error:
            log.warning("outcome_open", extra={"case": turn.case.id, "step": step.index, "why": str(error)})
            return self._look(turn, step, error)
        except (Halt, ProviderError) as error:
            turn.add(NotApplied(step=step.index, sentence=str(error)))
            if isinstance(error, (Conflict, Gone, Late, Transient)):  # what is gone may be a part: the look will tell
                return self._look(turn, step, error)
            raise
        turn.applied = True
        turn.add(Applied(step=step.index))
        return True

    def _pause(self, turn: Turn, step: PlannedStep, action: Action[Any, Any], sentence: str) -> bool:
        """The next change has to wait. Each pause in a row is longer, at most half a minute."""
        progress = turn.case.progress(step.index)
        if self._clock() >= self._patience(action, progress):
            raise NeedsHuman(Reason.UNVERIFIED, f"{step.action}: {sentence}, for too long: look, then retry")
        due = self._a_little_later(progress.waits_since)
        turn.add(Paused(step=step.index, sentence=sentence), also=Also(due=due))
        return False

    def _look(self, turn: Turn, step: PlannedStep, error: QuarantineError) -> bool:
        """After an apply that did not come to its end: look at once, or a little later if it was throttled."""
        progress = turn.case.progress(step.index)
        if isinstance(error, Late):  # with the next lease
            turn.wait(self._clock())
            return False
        if isinstance(error, Transient) and progress.attempts >= 2:
            turn.wait(self._clock() + SOON * progress.attempts)
            return False
        return self.reconcile(turn, step, progress, last=str(error))

    def reconcile(self, turn: Turn, step: PlannedStep, progress: Progress, last: str = "") -> bool:
        """An intent is open. Look, and decide by what is there. `last` is what a try ended with just now."""
        action = self.action(step)
        releasing = progress.stage in (Stage.RELEASE_INTENDED, Stage.RELEASE_APPLIED)
        target = restored(progress.release_target if releasing else progress.target, action.state)
        waits, failure = self._operations(turn, step, action, progress)
        if waits:
            return False
        _unless_in_the_way(failure)
        certain = turn.case.progress(step.index).at_rest
        now = self.observe(action, step)
        if reached(now, target, proven=not releasing):
            ripe = (progress.since or self._clock()) + action.consistent_within
            if releasing and not certain and self._clock() < ripe:
                turn.wait(ripe)  # a read from before the containment looks the same, and nobody looks again
                return False
            turn.add(Reconciled(step=step.index, sentence="the target is reached"))
            return True
        appears = action.settles_within if action.appears_within is None else action.appears_within
        settled = (progress.since or self._clock()) + appears
        if not certain and self._clock() < settled:
            turn.wait(min(settled, self._a_little_later(progress.since)))
            return False
        if now is GONE:
            return self.gone(turn, step)
        if not certain and action.consistent_within and not self._seen_twice(turn, step, action, now):
            return False
        if not self._only_we(action, progress, releasing, now):
            raise Unknown(f"{step.resource} is neither as before nor as intended: somebody else changed it meanwhile")
        if progress.attempts >= MOST_ATTEMPTS:
            tried = f"{step.action} was tried {progress.attempts} times without effect"
            raise NeedsHuman(Reason.UNKNOWN, f"{tried}; the last time: {last}" if last else tried)
        why = "what it waited for has ended" if progress.paused else "it did not happen, or not all of it"
        turn.add(Retried(step=step.index, sentence=why))
        return self._apply(turn, step, now, target)

    def _operations(
        self, turn: Turn, step: PlannedStep, action: Action[Any, Any], progress: Progress
    ) -> tuple[bool, ProviderError | None]:
        """Does an operation of ours still go on? Then the case waits for it, and nothing is sent meanwhile.

        Beside it, what one has failed with. A failure is recorded once, and the operation not asked for again.
        """
        running, failure = "", None
        for operation in progress.operations:
            try:
                running = operation if self._running(step, operation) else running
            except (Transient, Unreachable):
                raise
            except ProviderError as error:
                turn.add(OperationFailed(step=step.index, operation=operation, sentence=str(error)))
                failure = error
        if not running:
            return False, failure
        if self._clock() >= self._patience(action, progress):
            raise NeedsHuman(
                Reason.UNVERIFIED,
                f"{step.action}: operation {running} still goes on after {action.settles_within}: look, then retry",
            )
        turn.wait(self._a_little_later(progress.waits_since))
        return True, None

    def _running(self, step: PlannedStep, operation: str) -> bool:
        running: bool = self.reading(self._planner.cloud(step.resource).running, operation)
        return running

    def _a_little_later(self, since: datetime | None) -> datetime:
        """When to look again at what has taken this long already: in 1 s at first, later in 30 s."""
        now = self._clock()
        return now + min(max(SOON, (now - (since or now)) / 4), LONGEST_PAUSE)

    def _patience(self, action: Action[Any, Any], progress: Progress) -> datetime:
        """Until when operations of ours are waited for."""
        return (progress.waits_since or self._clock()) + action.settles_within + action.consistent_within

    def _seen_twice(self, turn: Turn, step: PlannedStep, action: Action[Any, Any], now: State) -> bool:
        """Where reads may be stale, a conclusion needs two equal ones, `consistent_within` apart."""
        seen, probe = digest(now.part()), turn.case.progress(step.index).probe
        if probe is not None and probe[0] == seen:
            ripe = probe[1] + action.consistent_within
            if self._clock() >= ripe:
                return True
            turn.wait(ripe)
            return False
        turn.add(Probed(step=step.index, digest=seen), also=Also(due=self._clock() + action.consistent_within))
        return False

    def _only_we(self, action: Action[Any, Any], progress: Progress, releasing: bool, now: State) -> bool:
        before = restored(progress.before, action.state)
        if before is GONE:
            return False
        if not releasing:
            return action.ours(before, now)
        begun, goal = restored(progress.release_from, action.state), restored(progress.release_target, action.state)
        if begun is GONE or goal is GONE:
            return False
        return between(begun, goal, now) or action.ours(before, now)

    def verify(self, turn: Turn, step: PlannedStep, progress: Progress) -> bool:
        action = self.action(step)
        target = restored(progress.target, action.state)
        waits, failure = self._operations(turn, step, action, progress)
        if waits:
            return False
        if failure is not None:
            _unless_in_the_way(failure)
            return self.reconcile(turn, step, turn.case.progress(step.index))
        now = self.observe(action, step)
        if reached(now, target):
            turn.add(Verified(step=step.index))
            return True
        return self._not_yet(turn, step, progress, now, target)

    def verify_release(self, turn: Turn, step: PlannedStep, progress: Progress) -> bool:
        action = self.action(step)
        target = restored(progress.release_target, action.state)
        waits, failure = self._operations(turn, step, action, progress)
        if waits:
            return False
        if failure is not None:
            _unless_in_the_way(failure)
            return self.reconcile(turn, step, turn.case.progress(step.index))
        now = self.observe(action, step)
        if not reached(now, target, proven=False):
            return self._not_yet(turn, step, progress, now, target)
        released = Released(step=step.index, kept=progress.kept)
        unhold = () if _holds_still(turn.case, step) else (Hold(step.resource.identity, step.action),)
        turn.add(released, also=Also(due=self._clock(), unhold=unhold))
        return True

    def _not_yet(
        self, turn: Turn, step: PlannedStep, progress: Progress, now: State | Absence, target: State | Absence
    ) -> bool:
        """Read back, and not equal: wait as long as the provider may take, then say so."""
        action = self.action(step)
        until = (progress.since or self._clock()) + action.settles_within + action.consistent_within
        if self._clock() < until:
            turn.wait(min(until, self._a_little_later(progress.since)))
            return False
        if now is GONE:
            return self.gone(turn, step)
        what = shortfall(now, target)
        raise NeedsHuman(Reason.UNVERIFIED, f"{step.action}: read back, {what} of {step.resource} is not as intended")

    def action(self, step: PlannedStep) -> Action[Any, Any]:
        action = self._registry.build(step.action, step.settings)
        if not isinstance(action, Action):
            raise QuarantineError(f"{step.action} is not an action in this version")
        return action

    def observe(self, action: Action[Any, Any], step: PlannedStep) -> Any:
        """The state now; GONE for a resource that is not there."""
        try:
            return self.reading(action.observe, self._planner.cloud(step.resource), step.resource)
        except Gone:
            return GONE


def _before(case: Case, capture: PlannedStep) -> dict[str, dict[str, JsonValue]]:
    """What this case's actions have found on the resource of a capture, before they first changed it."""
    images = {
        step.action: case.progress(step.index).before
        for step in reversed(case.plan.steps if case.plan is not None else ())
        if step.resource.identity == capture.resource.identity
    }
    return {action: image for action, image in images.items() if image is not None}


def _holds_still(case: Case, released: PlannedStep) -> bool:
    """Does another step do the same to the same resource, and is still to be released? An escalation may bring that."""
    same = released.resource.identity, released.action
    return any(
        (step.resource.identity, step.action) == same and case.progress(step.index).intended
        for step in (case.plan.steps if case.plan is not None else ())
        if step.index != released.index
    )


def _unless_in_the_way(failure: ProviderError | None) -> None:
    """Raises what an operation failed with, unless that was something else in its way: then it may be tried again."""
    if failure is not None and not isinstance(failure, (Conflict, Gone)):  # Gone: what it missed; we look ourselves
        raise failure


def _intent(turn: Turn, step: PlannedStep, now: State, target: State | Absence) -> Intended:
    return Intended(
        step=step.index,
        action=step.action,
        resource=step.resource,
        before=stored(now),
        target=stored(target),
        epoch=turn.lease.epoch,
        key=_key(turn.case, step, turn.case.seq),
    )


def _key(case: Case, step: PlannedStep, seq: int) -> str:
    """The idempotency key of an intent: the same for every attempt under it, another for the next intent."""
    return digest([case.id, step.index, seq])[:32]
