"""Carries cases on, one stride after the other, until nothing is left to do now.

    advance ── claim ── new, proposed, awaiting ── plan, guards ──> containing
                        containing ── every step, in order ──────> contained
                        contained  ── look again ──> drifted, or look later
                        releasing  ── every step, backwards ─────> closed

How one step reaches its target stands in convergence.py; with it, this is the only module that lets an action touch a
cloud. No transaction is open while a provider is called, and nothing here sleeps: to wait is a due time in the row.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from weakref import ref

from quarantine.action import GONE, Absence, reached
from quarantine.case import (
    Allowed,
    Asked,
    Case,
    Closed,
    Contained,
    Drifted,
    Escalated,
    Escalation,
    EscalationAsked,
    EscalationEnded,
    Event,
    Halted,
    Held,
    Outcome,
    Overstayed,
    Planned,
    Reason,
    Reread,
    Resumed,
    Stage,
    Status,
    TakenOver,
    Voided,
)
from quarantine.config import OnDrift, Settings
from quarantine.convergence import SOON, Convergence, NeedsHuman
from quarantine.errors import (
    Conflict,
    Denied,
    Fenced,
    Gone,
    GuardFailed,
    Killed,
    Missing,
    Moved,
    QuarantineError,
    Transient,
    Unavailable,
    Unknown,
    Unreachable,
    Unsupported,
)
from quarantine.evidence import EvidenceStore
from quarantine.gate import Turn
from quarantine.guard import FRESH, Facts, Hold, Judgement, Refuse, Tallies, judge, source, spends
from quarantine.model import Standing
from quarantine.plan import Nature, Plan, PlannedStep, restored
from quarantine.planner import Draft, Judged, Planner
from quarantine.playbook import Shelf
from quarantine.registry import Registry
from quarantine.state import Difference, difference, shortfall
from quarantine.store.sql import Also, Lease, Spend, Spent, Store

log = logging.getLogger(__name__)

PATIENCE = timedelta(minutes=5)
"""How long an unreachable or throttling provider is asked again before a person is."""

GIVES_WAY = timedelta(seconds=15)
"""How long read-back and evidence of a case may wait for others that are still to be cut off."""

_FINISHED = frozenset({Stage.VERIFIED, Stage.SKIPPED, Stage.CAPTURED})


def _rest(seconds: float) -> None:
    threading.Event().wait(seconds)


class Engine:
    """One worker's hands. Safe to use from several threads: each works on its own case."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        shelf: Shelf,
        planner: Planner,
        evidence: EvidenceStore,
        settings: Settings,
        *,
        name: str,
        clock: Callable[[], datetime],
        failpoint: Callable[[str], None] = lambda _: None,
        pause: Callable[[float], None] = _rest,
    ) -> None:
        """`name` is this worker's, in leases; `pause` waits between tries inside a lease, at most a few seconds."""
        self._store = store
        self._registry = registry
        self._shelf = shelf
        self._planner = planner
        self._settings = settings
        self._name = name
        self._clock = clock
        self._owed: list[Lease] = []
        self._heartbeat = Heartbeat(store, settings.worker.lease)
        self._steps = Convergence(
            registry, planner, evidence, store.installation(), clock, failpoint=failpoint, pause=pause
        )

    # -- the door ------------------------------------------------------------------------------------------------

    def advance(self, case_id: str) -> Case | None:
        """Carry one case on as far as it goes now. None if another worker has it."""
        lease = self._store.claim(self._name, self._settings.worker.lease, case_id)
        return None if lease is None else self._carried(lease, lambda: False)

    def carry(self, lease: Lease, ends: Callable[[], bool] = lambda: False) -> Case:
        """Carry the case of a lease on as far as it goes now, and give the lease back.

        When it has changed what it would change, it gives way to those that were not looked at yet. Not if the worker
        `ends`: who goes leaves nothing half done.
        Raises Unavailable when the database does not answer: the turn is over then. See `give_back`.
        """
        return self._carried(lease, lambda: not ends() and self._store.others_wait())

    def _carried(self, lease: Lease, others_wait: Callable[[], bool]) -> Case:
        try:
            return self._carry(Turn(self._store, self._clock, lease, self._store.load(lease.case), others_wait))
        except Unavailable:
            self._owed.append(lease)
            raise

    def _carry(self, turn: Turn) -> Case:
        lease = turn.lease
        try:
            with self._heartbeat.of(lease):
                if lease.taken_from and turn.case.in_flight:
                    turn.add(TakenOver(owner=lease.taken_from, epoch=lease.epoch))
                while self._go_on(turn):
                    pass
        except Fenced as error:
            log.warning("case_taken_over", extra={"case": lease.case, "why": str(error)})
            return self._store.load(lease.case)
        except Moved as error:
            log.info("case_moved", extra={"case": lease.case, "why": str(error)})
        # Not in a `finally`: a worker that dies does not give its lease back either.
        self._store.free(lease)
        return turn.case

    def give_back(self) -> None:
        """Free the cases whose turns ended because the database did not answer: no call of theirs is under way.

        Called now and then, since it can be done only when the database is back. Raises Unavailable if it is not.
        """
        while self._owed:
            lease = self._owed.pop()
            try:
                self._store.free(lease)
            except Unavailable:
                self._owed.append(lease)
                raise

    def _go_on(self, turn: Turn) -> bool:
        """One stride; False when there is nothing more to do now."""
        stride = {
            Status.NEW: self._decide,
            Status.PROPOSED: self._decide,
            Status.AWAITING_APPROVAL: self._decide,
            Status.CONTAINING: self._contain,
            Status.CONTAINED: self._watch,
            Status.RELEASING: self._release,
        }.get(turn.case.status)
        if stride is None:
            return False
        try:
            return stride(turn)
        except Gone as error:
            return self._target_gone(turn, str(error))
        except (Transient, Unreachable) as error:
            return self._later(turn, error)
        except (Fenced, Moved, Unavailable):
            raise
        except NeedsHuman as error:
            return self._halt(turn, error.reason, str(error))
        except QuarantineError as error:
            return self._halt(turn, _reason(error), str(error))
        except Exception as error:
            log.exception("case_stuck", extra={"case": turn.case.id})
            return self._halt(turn, Reason.STUCK, f"an error in this program: {type(error).__name__}: {error}")

    # -- plan and guards -----------------------------------------------------------------------------------------

    def _decide(self, turn: Turn) -> bool:
        case, now = turn.case, self._clock()
        if case.consent is None and case.expires_at is not None and now >= case.expires_at:
            turn.add(Closed(outcome=Outcome.EXPIRED, sentence="nobody approved it in time"))
            return False
        if case.resource.account not in self._planner.pinned(case.resource.provider):
            sentence = f"{case.resource.account} is not a configured account: add it under 'providers:' if it is yours"
            turn.add(Closed(outcome=Outcome.REFUSED, sentence=f"account_pin: {sentence}"))
            return False
        with self._planner.look():
            draft = self._steps.reading(self._planner.draft, self._shelf.find(case.playbook), case.resource)
            plan = draft.plan
            turn.pending = tuple(self._planning(case, draft))
            if turn.pending and case.status is not Status.NEW:
                turn.add()  # a new plan ends what was said to the old one: the guards must see that
            if not plan.needed:
                turn.add(Closed(outcome=Outcome.NOT_NEEDED, sentence="it shows the target already"))
                return False
            judged = self._judge(turn, draft, now)
        stopped = judged.judgement.stopped
        if stopped is None:
            return self._act(turn, draft, judged.facts, judged.judgement)
        if isinstance(stopped, Refuse):
            turn.add(Closed(outcome=stopped.outcome, sentence=f"{judged.judgement.guard}: {stopped.sentence}"))
            return False
        if stopped.asks:
            return self._ask(turn, plan, judged.judgement.guard, stopped)
        self._hold(turn, draft, judged.judgement.guard, stopped)
        return False

    def _judge(self, turn: Turn, draft: Draft, now: datetime) -> Judged:
        """Ask the guards. What the finding's source said to that is recorded, but not that it is still silent."""
        was = turn.case.sighting
        judged = self._planner.judged(turn.case, draft, now, self._steps.reading)
        said = judged.asked
        if said is not None and not (was is not None and was.standing is said.standing is Standing.UNREAD):
            turn.add(Reread(sighting=said))
        return judged

    def _ask(self, turn: Turn, plan: Plan, guard: str, hold: Hold) -> bool:
        """A person is asked, once; a hold that may end by itself is looked at again meanwhile."""
        until = self._clock() + self._settings.approvals.valid_for
        if turn.case.status is not Status.AWAITING_APPROVAL:
            asked = Asked(guard=guard, sentence=hold.sentence, digest=plan.digest, expires_at=until)
            turn.add(asked, also=Also(due=min(until, hold.until or until)))
            return False
        if turn.case.consent is not None:
            turn.add(Voided(sentence=hold.sentence))
            return True
        until = turn.case.expires_at or until
        turn.wait(min(until, hold.until or until))
        return False

    def _act(self, turn: Turn, draft: Draft, facts: Facts, judgement: Judgement) -> bool:
        """Every guard says yes. Whoever acts by itself takes a place in the budget, in the same transaction."""
        plan = draft.plan
        allowed = Allowed(digest=plan.digest, sentences=judgement.allowed)
        spend = None
        if facts.requested_by is None and facts.consent is None:
            groups = tuple(member.group.key for member in facts.groups)
            check: Callable[[Tallies], str] = lambda tallies: spends(plan, replace(facts, tallies=tallies))  # noqa: E731
            spend = Spend(plan.resource.account, groups, self._settings.guards, check)
        turn.judged, turn.seen = facts.as_of, draft.seen
        try:
            return self._steps.begin(turn, plan.steps[0], allowed, Also(due=facts.now, spend=spend))
        except Spent as error:
            log.info("budget_gone", extra={"case": turn.case.id, "why": str(error)})
            turn.judged = None
            return True  # the guards are asked again, and say which of them it was

    def _hold(self, turn: Turn, draft: Draft, guard: str, hold: Hold) -> None:
        """The case waits as a proposal; a hold that ends by itself says when."""
        rest = Also(due=hold.until)
        if (turn.case.status, turn.case.sentence) == (Status.PROPOSED, hold.sentence):
            turn.add(also=rest)
            return
        anew: list[Event] = []
        if turn.case.status is Status.AWAITING_APPROVAL:
            anew = [Voided(sentence=hold.sentence), *self._planning(turn.case, draft, anew=True)]
        turn.add(*anew, Held(guard=guard, sentence=hold.sentence, passable=hold.passable), also=rest)

    def _planning(self, case: Case, draft: Draft, anew: bool = False) -> list[Event]:
        """The events that make this draft the case's plan; none if it is the plan already."""
        fresh = draft.plan.digest
        if case.plan is not None and case.plan_digest == fresh and not anew:
            return []
        planned: list[Event] = [Planned(plan=draft.plan, digest=fresh)]
        if case.status is Status.AWAITING_APPROVAL and not anew:
            planned.insert(0, Voided(sentence="the resource or the playbook changed: this is a new plan"))
        return planned

    # -- contain -------------------------------------------------------------------------------------------------

    def _judge_again(self, turn: Turn) -> None:
        """Nothing was changed yet, and the guards said yes in an earlier turn: that may be long ago."""
        case = turn.case
        with self._planner.look():
            draft = self._steps.reading(self._planner.draft, self._shelf.find(case.playbook), case.resource)
            if draft.plan.digest != case.plan_digest:
                what = f"{case.resource} or {case.playbook}"
                raise Conflict(f"{what} changed between the plan and the act: look at it, then retry")
            judged = self._judge(turn, draft, self._clock())
        judgement = judged.judgement
        if judgement.guard == source.__name__ and getattr(judgement.stopped, "until", None) is not None:
            raise Unreachable(f"{judgement.guard}: {_sentence(judgement)}")  # it is asked again for a while
        if judgement.stopped is not None:
            raise NeedsHuman(Reason.STOPPED, f"{judgement.guard}: {_sentence(judgement)}")
        turn.judged, turn.seen = judged.facts.as_of, draft.seen

    def _just_judged(self, turn: Turn) -> bool:
        return turn.judged is not None and self._clock() - turn.judged <= FRESH

    def _contain(self, turn: Turn) -> bool:
        case = turn.case
        if not case.touched and not self._just_judged(turn):
            self._judge_again(turn)
        if case.unbegun and not self._just_judged(turn) and not self._still_allowed(turn):
            return True
        plan = _plan(case)
        if turn.applied and case.all_applied and turn.others_wait():
            # What is left is to look and to take evidence: in a storm, others are cut off first. Not for ever, and once
            # in a turn, so that two cases cannot give way to each other.
            now = self._clock()
            turn.add(also=Also(due=now + GIVES_WAY, early=now))
            return False
        for step in plan.steps:
            progress = case.progress(step.index)
            if progress.stage in _FINISHED:
                continue
            if step.nature is Nature.CAPTURE:
                return self._steps.capture(turn, step)
            if progress.stage is Stage.INTENDED:
                return self._steps.reconcile(turn, step, progress)
            if progress.stage is Stage.APPLIED:
                return self._steps.verify(turn, step, progress)
            return self._steps.intend(turn, step, progress)
        return self._finish(turn)

    def _finish(self, turn: Turn) -> bool:
        plan = _plan(turn.case)
        done = [step for step in plan.steps if turn.case.progress(step.index).stage is Stage.VERIFIED]
        if turn.case.held:
            turn.add(Contained(), also=Also(due=self._clock() + self._first_look(turn)))
        elif done:
            turn.add(Closed(outcome=Outcome.ONE_WAY_DONE, sentence="done and verified; it cannot be undone"))
        else:
            turn.add(Closed(outcome=Outcome.NOT_NEEDED, sentence="it showed the target already"))
        return False

    # -- watch ---------------------------------------------------------------------------------------------------

    def _watch(self, turn: Turn) -> bool:
        """Look at what is held; drift is recorded once, and put right or given to a person, as configured."""
        if turn.case.escalation is not None and self._escalate(turn, turn.case.escalation):
            return True
        for step in turn.case.held:
            progress = turn.case.progress(step.index)
            action = self._steps.action(step)
            target = restored(progress.target, action.state)
            now = self._steps.observe(action, step)
            own = step.resource.identity == turn.case.resource.identity
            if now is GONE and own and not turn.case.holds_besides(step.resource):
                raise Gone(f"{step.resource} is not there any more")
            if reached(now, target):
                continue
            ripe = (progress.since or self._clock()) + action.consistent_within
            if self._clock() < ripe:
                turn.wait(ripe)
                return False
            return self._drifted(turn, step, difference(target, now), shortfall(now, target))
        self._say_what_lingers(turn)
        wanted = turn.case.escalation
        due = self._clock() + self._settings.watch.every
        turn.wait(due if wanted is None else min(due, wanted.expires_at))
        return False

    def _say_what_lingers(self, turn: Turn) -> None:
        """Once for a case, and it stays contained and watched: what becomes of it is for somebody to say."""
        since, most = turn.case.contained_at, self._settings.watch.overstay
        if turn.case.overstayed or since is None or self._clock() - since < most:
            return
        for step in turn.case.held:
            action = self._steps.action(step)
            before = restored(turn.case.progress(step.index).before, action.state)
            if not isinstance(before, Absence) and (what := action.lingers(before)):
                turn.add(Overstayed(step=step.index, sentence=f"held since {since:%Y-%m-%d %H:%M} UTC: {what}"))
                return

    def _drifted(self, turn: Turn, step: PlannedStep, differences: tuple[Difference, ...], what: str) -> bool:
        drifted = Drifted(step=step.index, differences=differences)
        watch, times = self._settings.watch, turn.case.reapplied
        if watch.on_drift_of(turn.case.playbook) is OnDrift.REAPPLY and times < watch.reapply_most:
            turn.add(drifted, Resumed(to=Status.CONTAINING, reason="drift is put right (watch.on_drift: reapply)"))
            return True
        again = f", after it was put right {times} times" if times else ""
        sentence = f"somebody changed {what} of {step.resource} while it was held{again}"
        if any(item.path == ("resource",) and item.after == "gone" for item in differences):
            sentence = f"{step.resource} is not there any more, and what is held besides it still is: release the case"
        turn.add(drifted, Halted(reason=Reason.DRIFTED, sentence=sentence))
        return False

    def _first_look(self, turn: Turn) -> timedelta:
        """Eventual consistency lies once: look again as soon as every read must be true."""
        lies = [
            self._steps.action(step).consistent_within
            for step in _plan(turn.case).steps
            if step.nature is not Nature.CAPTURE
        ]
        return min(max([*lies, timedelta(0)]) or self._settings.watch.every, self._settings.watch.every)

    # -- escalate ------------------------------------------------------------------------------------------------

    def _escalate(self, turn: Turn, wanted: Escalation) -> bool:
        """Judge the further plan that a person wants; True when it begins. If not, what is contained stays as it is."""
        now = self._clock()
        if wanted.consent is None and now >= wanted.expires_at:
            turn.add(EscalationEnded(sentence=f"escalation to {wanted.playbook}: nobody approved it in time"))
            return False
        judged = self._judge_further(turn, wanted)
        if isinstance(judged, str):
            turn.add(EscalationEnded(sentence=f"escalation to {wanted.playbook}: {judged}"))
            return False
        plan, judgement = judged
        stopped = judgement.stopped
        if stopped is None:
            turn.add(Escalated(plan=plan, digest=plan.digest, sentences=judgement.allowed))
            turn.judged = now
            return True
        if isinstance(stopped, Hold) and not stopped.passable and stopped.until is not None:
            turn.wait(stopped.until)
        elif isinstance(stopped, Refuse) or not (stopped.asks or stopped.passable):
            sentence = f"escalation to {wanted.playbook}: {judgement.guard}: {stopped.sentence}"
            turn.add(EscalationEnded(sentence=sentence))
        elif wanted.digest != plan.digest or wanted.consent is not None:
            guard, sentence = judgement.guard, stopped.sentence
            turn.add(EscalationAsked(plan=plan, digest=plan.digest, guard=guard, sentence=sentence))
        return False

    def _judge_further(self, turn: Turn, wanted: Escalation) -> tuple[Plan, Judgement] | str:
        """What the guards say to a further plan; or in words why there is none."""
        case = turn.case
        try:
            draft = self._steps.reading(self._planner.draft, self._shelf.find(wanted.playbook), case.resource)
            if not draft.plan.needed:
                return "it shows the target already"
            facts = self._steps.reading(self._planner.further_facts, case, wanted, draft, self._clock())
            return draft.plan, judge(draft.plan, facts)
        except (Gone, Transient, Unreachable, Moved):
            raise
        except QuarantineError as error:
            return str(error)

    def _still_allowed(self, turn: Turn) -> bool:
        """An addition was allowed in an earlier turn, which may be long ago, and nothing of it was done."""
        addition, now = turn.case.additions[-1], self._clock()
        judged = self._judge_further(turn, addition.wanted)
        if isinstance(judged, str):
            why = judged
        elif judged[0].digest != addition.digest:
            why = "the resource or the playbook changed between the plan and the act"
        elif judged[1].stopped is not None:
            why = f"{judged[1].guard}: {judged[1].stopped.sentence}"
        else:
            turn.judged = now
            return True
        turn.add(EscalationEnded(sentence=f"escalation to {addition.wanted.playbook}: {why}"))
        return False

    # -- release -------------------------------------------------------------------------------------------------

    def _release(self, turn: Turn) -> bool:
        for step in reversed(_plan(turn.case).steps):
            progress = turn.case.progress(step.index)
            if step.nature is not Nature.REVERSIBLE or not progress.intended:
                continue
            if progress.stage is Stage.RELEASE_INTENDED:
                return self._steps.reconcile(turn, step, progress)
            if progress.stage is Stage.RELEASE_APPLIED:
                return self._steps.verify_release(turn, step, progress)
            return self._steps.intend_release(turn, step, progress)
        turn.add(Closed(outcome=Outcome.RELEASED, sentence=_released(turn.case)))
        return False

    # -- ends ----------------------------------------------------------------------------------------------------

    def _target_gone(self, turn: Turn, sentence: str) -> bool:
        if turn.case.holds_besides(turn.case.resource):
            return self._halt(
                turn, Reason.PARTIAL, f"{sentence}; what is held besides still is: release it, or keep it"
            )
        turn.add(Closed(outcome=Outcome.TARGET_GONE, sentence=sentence))
        return False

    def _later(self, turn: Turn, error: QuarantineError) -> bool:
        """The provider cannot be reached or asks for a pause: try again for a while, then ask a person."""
        now = self._clock()
        if turn.case.status is Status.CONTAINED:
            log.warning("cannot_watch", extra={"case": turn.case.id, "why": str(error)})
            turn.wait(now + min(self._settings.watch.every, PATIENCE))
            return False
        waited = now - turn.case.updated_at
        if waited >= PATIENCE:
            return self._halt(turn, _reason(error), str(error))
        turn.wait(now + max(SOON, min(waited, timedelta(seconds=30))))
        return False

    def _halt(self, turn: Turn, reason: Reason, sentence: str) -> bool:
        log.warning("case_needs_human", extra={"case": turn.case.id, "reason": str(reason), "why": sentence})
        turn.add(Halted(reason=reason, sentence=sentence))
        return False

    # -- below ---------------------------------------------------------------------------------------------------


class Heartbeat:
    """Renews leases while their turns run, so that a long provider call does not lose one.

    One thread for all turns: to start one takes longer than most of what a turn does.
    """

    def __init__(self, store: Store, span: timedelta) -> None:
        self._store = store
        self._span = span
        self._renewed: dict[Lease, float] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def of(self, lease: Lease) -> Iterator[None]:
        with self._lock:
            self._renewed[lease] = time.monotonic()
            if self._thread is None:
                beat = self._span.total_seconds() / 8
                self._thread = threading.Thread(target=_beat, args=(ref(self), beat), name="heartbeat", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._renewed.pop(lease, None)

    def renew(self) -> None:
        """Every lease of which a quarter is over."""
        now = time.monotonic()
        with self._lock:
            old = [lease for lease, at in self._renewed.items() if now - at >= self._span.total_seconds() / 4]
        for lease in old:
            try:
                self._store.renew(lease, self._span)
            except Fenced:
                continue  # its turn will be told
            except Exception:
                log.exception("lease_not_renewed", extra={"case": lease.case})
                continue
            with self._lock:
                if lease in self._renewed:
                    self._renewed[lease] = now


def _beat(heartbeat: "ref[Heartbeat]", seconds: float) -> None:
    """Until nobody has it any more."""
    while True:
        _rest(seconds)
        alive = heartbeat()
        if alive is None:
            return
        alive.renew()
        del alive


_REASONS: tuple[tuple[type[QuarantineError], Reason], ...] = (
    (GuardFailed, Reason.GUARD_ERROR),
    (Killed, Reason.STOPPED),
    (Denied, Reason.PERMISSION_MISSING),
    (Unsupported, Reason.UNSUPPORTED),
    (Missing, Reason.UNSUPPORTED),
    (Conflict, Reason.CONFLICT),
    (Unknown, Reason.UNKNOWN),
    (Unreachable, Reason.UNREACHABLE),
    (Transient, Reason.UNREACHABLE),
)


def _reason(error: QuarantineError) -> Reason:
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), Reason.STUCK)


def _sentence(judgement: Judgement) -> str:
    return "" if judgement.stopped is None else judgement.stopped.sentence


def _released(case: Case) -> str:
    done = [
        step.action
        for step in _plan(case).steps
        if step.nature is Nature.ONE_WAY and case.progress(step.index).intended
    ]
    return f"given back, but for what cannot be undone: {', '.join(done)}" if done else "everything is as it was before"


def _plan(case: Case) -> Plan:
    if case.plan is None:
        raise QuarantineError(f"case {case.id} is {case.status} without a plan")
    return case.plan
