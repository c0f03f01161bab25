"""The state machine: the table, the fold, and what no sequence of events can do."""

import contextlib
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from quarantine import case as module
from quarantine.case import (
    MOVES,
    TRANSITIONS,
    Allowed,
    Applied,
    Approved,
    Asked,
    Case,
    Closed,
    Contained,
    Drifted,
    Escalated,
    EscalationAsked,
    EscalationEnded,
    EscalationRequested,
    Event,
    Halted,
    Held,
    Intended,
    Opened,
    Outcome,
    Overstayed,
    Planned,
    Reason,
    Recorded,
    Released,
    ReleaseIntended,
    ReleaseRequested,
    Repeated,
    Resumed,
    Reviewed,
    Status,
    Verified,
    Voided,
    fold,
)
from quarantine.errors import Misused
from tests.core.builders import CASE, NOW, case, finding, opened, plan, recorded, resource, step

TYPES: tuple[type[Any], ...] = get_args(get_args(Event)[0])
LEAVES_A_CHANGE = {"kept", "disposed", "handled_outside", "target_gone", "one_way_done"}


def intended(number: int = 0, before: str = "before") -> Intended:
    return Intended(
        step=number,
        action="fake:machine-close",
        resource=resource(),
        before={"ports": {"22": before}},
        target={"ports": {}},
        epoch=1,
        key=f"key-{before}",
    )


def release_intended(number: int = 0) -> ReleaseIntended:
    return ReleaseIntended(
        step=number,
        action="fake:machine-close",
        resource=resource(),
        before={"ports": {}},
        target={"ports": {"22": "before"}},
        kept=(),
        epoch=1,
        key="key-release",
    )


PLAN = plan(step(0), step(1))
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.just(Repeated(finding=finding())),
    st.just(Planned(plan=PLAN, digest=PLAN.digest)),
    st.just(Held(guard="budget", sentence="spent")),
    st.just(Asked(guard="mode", sentence="ask", digest=PLAN.digest, expires_at=NOW)),
    st.just(Approved(digest=PLAN.digest, expires_at=NOW)),
    st.just(Voided(sentence="changed")),
    st.just(Allowed(digest=PLAN.digest, sentences=("yes",))),
    st.builds(intended, st.integers(0, 3), st.sampled_from(["before", "later"])),
    st.builds(Applied, step=st.integers(0, 3)),
    st.builds(Verified, step=st.integers(0, 3)),
    st.just(Contained()),
    st.builds(Drifted, step=st.integers(0, 1), differences=st.just(())),
    st.builds(Overstayed, step=st.integers(0, 1), sentence=st.just("held for long")),
    st.just(EscalationRequested(playbook="more", playbook_digest="", expires_at=NOW)),
    st.just(EscalationAsked(plan=PLAN, digest=PLAN.digest, guard="mode", sentence="ask")),
    st.just(EscalationEnded(sentence="denied")),
    st.just(Escalated(plan=PLAN, digest=PLAN.digest, sentences=("yes",))),
    st.just(Reviewed(glass="g-1")),
    st.just(ReleaseRequested()),
    st.builds(release_intended, st.integers(0, 1)),
    st.builds(Released, step=st.integers(0, 1)),
    st.builds(Halted, reason=st.sampled_from(Reason), sentence=st.just("halted")),
    st.builds(Resumed, to=st.sampled_from(Status)),
    st.builds(Closed, outcome=st.sampled_from(Outcome)),
)


def test_the_table_is_the_one_of_the_design() -> None:
    table = {str(status): {str(after) for after in following} for status, following in TRANSITIONS.items()}
    assert table == {
        "new": {"proposed", "awaiting_approval", "containing", "needs_human", "closed"},
        "proposed": {"awaiting_approval", "containing", "needs_human", "closed"},
        "awaiting_approval": {"containing", "proposed", "needs_human", "closed"},
        "containing": {"contained", "needs_human", "closed"},
        "contained": {"containing", "releasing", "needs_human", "closed"},
        "releasing": {"needs_human", "closed"},
        "needs_human": {"proposed", "containing", "releasing", "contained", "closed"},
        "closed": set(),
    }


def test_every_event_has_its_move() -> None:
    assert set(TYPES) - {Opened, Resumed} == set(MOVES)


def test_every_event_type_is_named_after_its_class() -> None:
    for event in TYPES:
        snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in event.__name__).lstrip("_")
        assert event.model_fields["type"].default == snake


@given(events=st.lists(EVENTS, max_size=30))
def test_no_sequence_of_events_leaves_the_table(events: list[Event]) -> None:
    current = case()
    log = recorded([opened()])
    firsts: dict[int, object] = {}
    for event in events:
        item = Recorded(case=CASE, seq=current.seq + 1, at=NOW, by="engine", event=event)
        was = current
        with contextlib.suppress(Misused):
            current = fold([item], current)
            log.append(item)
        if current.status is not was.status:
            assert current.status in TRANSITIONS[was.status]
        if was.status is Status.CLOSED:
            assert current.status is Status.CLOSED
        if current.status is Status.CLOSED and was.status is not Status.CLOSED and was.touched:
            assert str(current.outcome) in LEAVES_A_CHANGE
        if (current.outcome is not None) != (current.status is Status.CLOSED):
            raise AssertionError("an outcome belongs to a closed case, and to no other")
        for number, progress in current.steps.items():
            if progress.intended:
                assert progress.before == firsts.setdefault(number, progress.before), "the first before-image stays"
            elif was.progress(number).intended:
                assert isinstance(event, Released)
    assert fold(log) == current, "folding further from a case is folding from the beginning"


@given(events=st.lists(EVENTS, min_size=1, max_size=10))
def test_events_survive_json(events: list[Event]) -> None:
    for item in recorded(events, start=2):
        assert Recorded.model_validate_json(item.model_dump_json()) == item


def test_the_closed_set_is_closed() -> None:
    with pytest.raises(ValueError, match="does not match any of the expected tags"):
        TypeAdapter(Event).validate_python({"type": "invented"})


def test_a_case_begins_with_opened_and_only_once() -> None:
    with pytest.raises(Misused):
        fold([])
    with pytest.raises(Misused):
        fold(recorded([Contained()]))
    with pytest.raises(Misused, match="already open"):
        case(opened())


@pytest.mark.parametrize("seq", [1, 3, 99])
def test_a_gap_or_a_repeat_in_the_numbers_is_refused(seq: int) -> None:
    item = Recorded(case=CASE, seq=seq, at=NOW, by="engine", event=Repeated(finding=finding()))
    with pytest.raises(Misused):
        fold([item], case())


def test_a_change_in_place_stands_in_the_way_of_a_release_that_did_not_happen() -> None:
    allowed = (Planned(plan=PLAN, digest=PLAN.digest), Allowed(digest=PLAN.digest, sentences=()))
    with pytest.raises(Misused, match="has a change in place"):
        case(*allowed, intended(), Halted(reason=Reason.STUCK, sentence=""), Closed(outcome=Outcome.RELEASED))


def test_a_void_plan_takes_its_approval_with_it() -> None:
    asked = Asked(guard="mode", sentence="", digest=PLAN.digest, expires_at=NOW)
    yes = Approved(digest=PLAN.digest, expires_at=NOW)
    current: Case = case(Planned(plan=PLAN, digest=PLAN.digest), asked, yes, Voided(sentence="changed"))
    assert (current.status, current.consent, current.plan) == (Status.PROPOSED, None, None)


CONTAINED: tuple[Event, ...] = (
    Planned(plan=PLAN, digest=PLAN.digest),
    Allowed(digest=PLAN.digest, sentences=()),
    intended(),
    Verified(step=0),
    Contained(),
)
WANTED = EscalationRequested(playbook="more", playbook_digest="", expires_at=NOW)
MORE = Escalated(plan=PLAN, digest=PLAN.digest, sentences=())


def test_an_escalation_adds_steps_behind_those_that_are_there() -> None:
    current = case(*CONTAINED, WANTED, MORE)
    assert current.plan is not None and [step.index for step in current.plan.steps] == [0, 1, 2, 3]
    assert (current.status, current.escalation, current.plan_digest) == (Status.CONTAINING, None, PLAN.digest)
    assert current.progress(0).before == intended().before and current.unbegun


def test_an_escalation_that_was_not_begun_is_taken_off_and_one_that_was_is_not() -> None:
    current = case(*CONTAINED, WANTED, MORE, EscalationEnded(sentence="killed"))
    assert current.plan is not None and len(current.plan.steps) == 2
    assert (current.additions, current.playbooks) == ((), ("close-machine",))
    with pytest.raises(Misused, match="does not fit"):
        case(*CONTAINED, WANTED, MORE, intended(2), EscalationEnded(sentence="killed"))


@pytest.mark.parametrize(
    "event", [MORE, EscalationEnded(sentence=""), EscalationAsked(plan=PLAN, digest="d", guard="", sentence="")]
)
def test_nothing_of_an_escalation_happens_that_nobody_wanted(event: Event) -> None:
    with pytest.raises(Misused):
        case(*CONTAINED, event)


def test_of_two_steps_that_do_the_same_to_one_resource_the_last_one_is_held() -> None:
    again = (*CONTAINED, WANTED, MORE, intended(2), Verified(step=2), intended(3), Verified(step=3), Contained())
    assert [step.index for step in case(*again).held] == [3]


def test_a_new_plan_is_not_approved() -> None:
    yes = Approved(digest=PLAN.digest, expires_at=NOW)
    held = Held(guard="budget", sentence="")
    current = case(Planned(plan=PLAN, digest=PLAN.digest), held, yes, Planned(plan=PLAN, digest="other"))
    assert current.consent is None


def test_the_module_is_pure() -> None:
    """No clock, no I/O: nothing of the kind is imported."""
    names = set(vars(module))
    assert not names & {"datetime", "time", "os", "random", "logging", "now"}
