"""What must hold after every step, whatever went wrong: read from the ledger and from the platform itself.

    witness = Witness(store, registry, settings, truth, clock)
    # Told of each change when it reaches the platform, and when it takes effect: see installation.py.
    check(witness)                     # after every step of a test; raises Violated with all that is wrong

I-2, I-11 and I-12 are looked at in the very moment that a change is sent: see witness.py.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from quarantine.action import GONE, reached
from quarantine.audit import Chains, verify
from quarantine.audit import Finding as Verdict
from quarantine.case import (
    Allowed,
    Approved,
    Asked,
    Case,
    Closed,
    Drifted,
    EffectArrivedLate,
    Intended,
    Opened,
    Outcome,
    Recorded,
    Released,
    ReleaseIntended,
    Repeated,
    Reread,
    Retried,
    Status,
    fold,
)
from quarantine.errors import QuarantineError
from quarantine.journal import JOURNAL
from quarantine.model import Standing, digest
from quarantine.plan import Nature
from quarantine.state import difference
from quarantine.testing.witness import MANY, Witness


class Violated(AssertionError):
    """An invariant does not hold."""


def check(witness: Witness) -> None:
    """Raises Violated with everything that is wrong now."""
    witness.look()
    found = [*witness.wrong, *(sentence for invariant in INVARIANTS for sentence in invariant(witness))]
    if found:
        raise Violated("\n".join(found))


Invariant = Callable[[Witness], Iterator[str]]

_NAMES_WHAT_IT_LEFT = frozenset({Outcome.KEPT, Outcome.HANDLED_OUTSIDE, Outcome.DISPOSED, Outcome.ONE_WAY_DONE})


def i3_no_silent_half_state(witness: Witness) -> Iterator[str]:
    """I-3: where something of ours is in place, an open case names it, or one that a person closed knowing it."""
    live = {case.resource.identity for case in witness.cases() if case.status is not Status.CLOSED}
    for mark in set(witness.standing()):
        intent = witness.intent(mark)
        case = witness.case(mark.case)
        if intent is None or isinstance(intent, ReleaseIntended) or case.status is not Status.CLOSED:
            continue
        assert case.plan is not None
        if case.outcome is Outcome.RELEASED and case.plan.steps[mark.step].nature is Nature.ONE_WAY:
            continue  # the rest was given back
        if any(isinstance(item.event, Drifted) and item.event.step == mark.step for item in witness.history(case.id)):
            continue  # drift was put right: what others had added went, and the Drifted event says what it was
        if case.outcome not in _NAMES_WHAT_IT_LEFT and intent.resource.identity not in live:
            yield f"I-3: {intent.action} is in place on {intent.resource}, and case {case.id} is closed: {case.outcome}"


def i4_undo_is_exact(witness: Witness) -> Iterator[str]:
    """I-4: after a release the resource is as before; what others changed meanwhile is kept, and said to be kept."""
    for case in witness.cases():
        for recorded in witness.history(case.id):
            if isinstance(recorded.event, Released) and (case.id, recorded.event.step) not in witness.undone:
                witness.undone.add((case.id, recorded.event.step))
                yield from _undone(witness, case, recorded.event)


def _undone(witness: Witness, case: Case, released: Released) -> Iterator[str]:
    assert case.plan is not None
    step, progress = case.plan.steps[released.step], case.progress(released.step)
    before, target = witness.restored(progress.before, step), witness.restored(progress.release_target, step)
    kept = {item.path for item in released.kept}
    for item in difference(before, target):
        if item.path not in kept:
            yield f"I-4: case {case.id} gave back another {'.'.join(item.path)} of {step.resource}, and did not say so"
    held, found = witness.restored(progress.target, step), witness.restored(progress.release_from, step)
    others = {item.path for item in difference(held, found)}
    for item in difference(found, target):
        if item.path in others:
            yield f"I-4: case {case.id} wrote over {'.'.join(item.path)} of {step.resource}, which is somebody else's"
    history = witness.history(case.id)
    began = max(item.at for item in history if _release_of(item, released.step))
    identity = step.resource.identity
    meanwhile = any(e.mark.case != case.id and e.resource == identity and e.at >= began for e in witness.effects)
    if meanwhile or witness.strangers.get(identity, began - timedelta(1)) >= began:
        return
    same = {
        other.index for other in case.plan.steps if (other.resource.identity, other.action) == (identity, step.action)
    }
    begun = [item.event.step for item in history if isinstance(item.event, ReleaseIntended) and item.event.step in same]
    if begun[-1] != step.index:
        return  # what stood below it was given back after it
    now = witness.observe(step)
    if now is not GONE and not reached(now, target, proven=False):
        what = ", ".join(".".join(item.path) for item in difference(target, now))
        yield f"I-4: case {case.id} says that {step.resource} is given back, and its {what} is not"


def i5_the_first_before_image_stays(witness: Witness) -> Iterator[str]:
    """I-5: written once, before the first change, and never changed."""
    for case in witness.cases():
        for index, progress in case.steps.items():
            intents = [
                item.event
                for item in witness.history(case.id)
                if isinstance(item.event, Intended) and item.event.step == index
            ]
            if not intents:
                continue
            if progress.before != intents[0].before:
                yield f"I-5: case {case.id}, step {index}: the before-image is not that of the first intent"
            image = digest(progress.before)
            if witness.before_images.setdefault((case.id, index), image) != image:
                yield f"I-5: case {case.id}, step {index}: the before-image has changed"


def i6_one_case_each(witness: Witness) -> Iterator[str]:
    """I-6: one live case per resource and playbook, and one that contains a resource with an action."""
    live = [case for case in witness.cases() if case.status is not Status.CLOSED]
    names = Counter((case.named_as, case.playbook) for case in live)
    holds = Counter(
        (step.resource.identity, step.action)
        for case in live
        if case.plan is not None
        for step in case.plan.steps
        if case.progress(step.index).intended
    )
    for what, count in [*names.items(), *holds.items()]:
        if count > 1:
            yield f"I-6: {count} live cases have {' and '.join(what)}"


def i7_effects_are_not_doubled(witness: Witness) -> Iterator[str]:
    """I-7: under one intent a call takes effect once, and once more for each recorded retry."""
    for (case, step, key, call, _), count in Counter(
        (effect.mark.case, effect.mark.step, effect.mark.key, effect.call, effect.arguments)
        for effect in witness.effects
    ).items():
        tries = 1 + sum(isinstance(item.event, Retried) and item.event.step == step for item in witness.history(case))
        if count > tries:
            yield f"I-7: {call} of case {case}, step {step}, {key[:8]} took effect {count} times and was tried {tries}"


def i8_the_ledger_verifies(witness: Witness) -> Iterator[str]:
    """I-8: every chain is whole, and the list of cases says what the events say."""
    report = verify(Chains(witness.chains))
    if report.finding is not Verdict.OK:
        yield f"I-8: {report.sentence}"
    for line in witness.store.lines(limit=MANY):
        case = witness.case(line.id)
        shown = line.status, line.reason, line.outcome, line.playbook, line.resource, line.scope, line.updated_at
        told = case.status, case.reason, case.outcome, case.playbook, case.resource.id, case.resource.scope
        if shown[:6] != told or abs(shown[6] - case.updated_at) > timedelta(milliseconds=1):
            yield f"I-8: the row of case {case.id} says {shown}, its events say {told}"


def i9_the_budget_holds(witness: Witness) -> Iterator[str]:
    """I-9: in no window do more cases begin to act by themselves than the budget allows."""
    budget = witness.settings.guards.budget
    acted = sorted(
        ((at, case.resource.account) for case in witness.cases() if (at := _by_itself(witness, case)) is not None),
    )
    for number, (at, account) in enumerate(acted):
        since = max((refill for refill in witness.refills if refill <= at), default=at - timedelta(days=2))
        earlier = [item for item in acted[: number + 1] if item[0] > since]
        for window, limit, only in (
            (timedelta(minutes=10), budget.per_account_10m, True),
            (timedelta(hours=24), budget.per_account_24h, True),
            (timedelta(hours=24), budget.global_24h, False),
        ):
            count = sum(at - other < window and (whose == account or not only) for other, whose in earlier)
            if count > limit:
                yield f"I-9: {count} of {limit} automatic containments within {window} of {at}"


def i10_approved_by_the_right_person(witness: Witness) -> Iterator[str]:
    """I-10: what needs an approval has one of exactly its plan when it begins, not expired, by somebody else."""
    for case in witness.cases():
        history = witness.history(case.id)
        for number, recorded in enumerate(history):
            if not isinstance(recorded.event, Allowed):
                continue
            so_far = fold(history[: number + 1])
            if so_far.plan is None or so_far.plan_digest != recorded.event.digest:
                yield f"I-10: case {case.id} acts on another plan than the guards allowed"
            elif any(isinstance(item.event, Asked) for item in history[:number]) or not so_far.plan.reversible:
                yield from _approved(so_far, history[:number], recorded.at, witness.settings.approvals.second_person)
        began = [item.seq for item in history if isinstance(item.event, Intended)]
        allowed = [item.seq for item in history if isinstance(item.event, Allowed)]
        if began and (not allowed or allowed[0] > began[0]):
            yield f"I-10: case {case.id} began before the guards had allowed it"


def _approved(case: Case, history: list[Recorded], at: datetime, second_person: bool) -> Iterator[str]:
    if case.requested and not second_person:
        return
    given = [item for item in history if isinstance(item.event, Approved)]
    valid = [
        item
        for item in given
        if isinstance(item.event, Approved)
        and item.event.digest == case.plan_digest
        and item.event.expires_at > at
        and not (case.requested and second_person and item.by == case.opened_by)
    ]
    if not valid:
        yield f"I-10: case {case.id} was asked about and acts with none of its {len(given)} approvals valid"


def i13_no_stale_worker_is_heard(witness: Witness) -> Iterator[str]:
    """I-13: once the undoing of a step has begun, no change of its containment takes effect any more."""
    for effect in witness.effects:
        if effect.inverse_began:
            yield f"I-13: {effect.call} of case {effect.mark.case} took effect after its undoing had begun"


def i14_cases_only_move_forward(witness: Witness) -> Iterator[str]:
    """I-14: only listed transitions; what was written stays; a closed case stays closed."""
    for case_id, length, head, entries in witness.chains:
        seq, seen = witness.heads.get(case_id, (0, ""))
        if seq and (length is None or length < seq or tuple(entries)[seq - 1].hash != seen):
            yield f"I-14: the first {seq} entries of case {case_id} are not what they were"
        witness.heads[case_id] = (length or 0, head)
        if case_id == JOURNAL:
            continue
        history = witness.history(case_id)
        try:
            fold(history)
        except QuarantineError as error:
            yield f"I-14: {error}"
        closed = next((item.seq for item in history if isinstance(item.event, Closed)), len(history))
        for recorded in history[closed:]:
            if not isinstance(recorded.event, EffectArrivedLate):
                yield f"I-14: case {case_id} was closed, and then came {recorded.event.type}"


def i16_tries_are_bounded(witness: Witness) -> Iterator[str]:
    """I-16: nothing is tried for ever."""
    for case in witness.cases():
        for index, progress in case.steps.items():
            if progress.attempts > 5:
                yield f"I-16: step {index} of case {case.id} was tried {progress.attempts} times"


def i21_the_source_stood_by_it(witness: Witness) -> Iterator[str]:
    """I-21: what begins by itself was confirmed by its finding's source, if that can be asked, 30 s before at most."""
    for case in witness.cases():
        history = witness.history(case.id)
        begun = next((number for number, item in enumerate(history) if isinstance(item.event, Intended)), None)
        if begun is None or case.id in witness.stood_by:
            continue
        witness.stood_by.add(case.id)
        yes = max(number for number, item in enumerate(history[:begun]) if isinstance(item.event, Allowed))
        told, then = fold(history[:yes]), fold(history[:begun])
        if then.requested or then.consent is not None or not _can_be_asked(witness, told, then):
            continue
        at = history[begun].at
        if not any(timedelta(0) <= at - word <= timedelta(seconds=30) for word in _words(history[:begun])):
            yield f"I-21: case {case.id} began at {at:%H:%M:%S} by itself, and its source had not just confirmed it"


def _can_be_asked(witness: Witness, *cases: Case) -> bool:
    return all(case.finding.reader in witness.registry.rereads for case in cases)


def _words(history: list[Recorded]) -> Iterator[datetime]:
    """When a source was asked and stood by its finding."""
    for item in history:
        if isinstance(item.event, Reread) and item.event.sighting.standing is Standing.ACTIVE:
            yield item.event.sighting.at
        if isinstance(item.event, (Opened, Repeated)) and item.event.finding.read_at is not None:
            yield item.event.finding.read_at


INVARIANTS: tuple[Invariant, ...] = (
    i3_no_silent_half_state,
    i4_undo_is_exact,
    i5_the_first_before_image_stays,
    i6_one_case_each,
    i7_effects_are_not_doubled,
    i8_the_ledger_verifies,
    i9_the_budget_holds,
    i10_approved_by_the_right_person,
    i13_no_stale_worker_is_heard,
    i14_cases_only_move_forward,
    i16_tries_are_bounded,
    i21_the_source_stood_by_it,
)
"""I-19 and I-20 are the two functions below."""


def i19_changes_nothing(witness: Witness, dry_run: Callable[[], object]) -> None:
    """I-19: a dry run sends nothing and records nothing. Raises Violated."""
    _leaves_all_as_it_is(witness, dry_run, "I-19: a dry run")


def i20_recovery_is_idempotent(witness: Witness, recovery: Callable[[], object]) -> None:
    """I-20: recovering once more what has recovered changes nothing. Raises Violated."""
    _leaves_all_as_it_is(witness, recovery, "I-20: a second recovery")


def _leaves_all_as_it_is(witness: Witness, act: Callable[[], object], name: str) -> None:
    witness.look()
    effects, lengths = len(witness.effects), {case.id: case.seq for case in witness.cases()}
    act()
    witness.look()
    wrote = {case.id: witness.history(case.id)[lengths.get(case.id, 0) :] for case in witness.cases()}
    said = [f"{case}: {item.event.type}" for case, items in wrote.items() for item in items]
    if said or len(witness.effects) != effects:
        raise Violated(f"{name} made {len(witness.effects) - effects} changes and wrote {said}")


def rests(case: Case, due: datetime | None, now: datetime) -> bool:
    """Is there nothing that this program has to do for a case now, so that a person or a later look comes next?"""
    if case.status in (Status.CLOSED, Status.NEEDS_HUMAN):
        return True
    waiting = case.status in (Status.CONTAINED, Status.PROPOSED, Status.AWAITING_APPROVAL)
    return waiting and (due is None or due > now)


def _by_itself(witness: Witness, case: Case) -> datetime | None:
    """When a case began to act with nobody's word."""
    history = witness.history(case.id)
    for number, recorded in enumerate(history):
        if isinstance(recorded.event, Allowed):
            asked = case.requested or fold(history[:number]).consent is not None
            return None if asked else recorded.at
    return None


def _release_of(recorded: Recorded, step: int) -> bool:
    return isinstance(recorded.event, ReleaseIntended) and recorded.event.step == step
