"""The engine on a platform that can say no: each way a case can go."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from quarantine.case import Case, Intended, OperationFailed, Outcome, Reason, Status
from quarantine.config import Approvals, Budget, Guards, Mode, OnDrift, Storm, Watch
from quarantine.errors import Conflict, Denied, Misused
from quarantine.intake import Fate
from quarantine.model import Resource
from quarantine.store.sql import Delivery
from quarantine.testing.fake.machine_close import MachineClose
from quarantine.testing.fake.machine_fence import MachineFence
from quarantine.testing.fake.machine_isolate import MachineIsolate
from quarantine.testing.fake.world import Died, Fault
from quarantine.testing.installation import HandClock, settings
from tests.core.bench import Bench

PLENTY = Budget(per_account_10m=100, per_account_24h=100, global_24h=100)
MakeBench = Callable[..., Bench]


@pytest.fixture
def bench_of(tmp_path: Path) -> MakeBench:
    return lambda **changes: Bench(tmp_path, settings(**changes))


@pytest.fixture
def bench(bench_of: MakeBench) -> Bench:
    return bench_of()


def contained(bench: Bench, name: str = "isolate") -> Case:
    case = bench.settle(bench.open(bench.machine(), name))
    assert case.status is Status.CONTAINED, (case.reason, case.sentence)
    return case


# -- the straight way ----------------------------------------------------------------------------------------------


def test_a_machine_is_contained_verified_and_given_back(bench: Bench) -> None:
    before = bench.world.add("other", labels={"a": "b"})
    resource = bench.machine()
    was = bench.world.machine("web")
    case = bench.settle(bench.open(resource, "isolate"))
    assert case.status is Status.CONTAINED
    assert bench.world.machine("web").labels == {"quarantine": resource.uid}
    bench.desk.release(case.id, "local:ann")
    closed = bench.settle(case)
    assert closed.outcome is Outcome.RELEASED
    assert bench.world.machine("web").labels == was.labels
    assert bench.world.policies() == {}
    assert bench.world.machine(before.id).version == 1, "nothing else was touched"
    bench.assert_whole()


def test_the_events_of_a_containment_stand_in_this_order(bench: Bench) -> None:
    assert bench.types(contained(bench)) == [
        "opened", "planned", "allowed", "intended", "changed", "changed", "applied", "verified", "contained",
    ]  # fmt: skip


def test_evidence_is_taken_before_anything_is_changed(bench: Bench) -> None:
    case = contained(bench, "isolate-and-close")
    types = bench.types(case)
    assert types.index("captured") < types.index("intended")
    captured = next(item.event for item in bench.store.history(case.id) if item.event.type == "captured")
    for piece in captured.evidence:
        assert len(bench.evidence.read(piece.sha256)) == piece.size


def test_several_steps_are_released_backwards(bench: Bench) -> None:
    case = contained(bench, "isolate-and-close")
    bench.world.sent.clear()
    bench.desk.release(case.id, "local:ann")
    bench.settle(case)
    assert bench.changes() == ["machine.set_ports", "machine.patch_labels", "policy.delete"]


def test_what_is_so_already_needs_nothing(bench: Bench) -> None:
    resource = bench.world.add("web", ports={})
    case = bench.settle(bench.open(resource, "close"))
    assert (case.status, case.outcome) == (Status.CLOSED, Outcome.NOT_NEEDED)
    assert bench.changes() == []


def test_a_relation_makes_a_step_of_each_related_resource(bench: Bench) -> None:
    bench.machine("a")
    bench.machine("b")
    resource = bench.world.add("web", peers=("a", "b"))
    case = bench.settle(bench.open(resource, "isolate-peers"))
    assert case.status is Status.CONTAINED
    assert set(bench.world.machine("a").labels) == set(bench.world.machine("b").labels) == {"quarantine"}
    assert bench.world.machine("web").labels == {}
    bench.desk.release(case.id, "local:ann")
    assert bench.settle(case).outcome is Outcome.RELEASED
    assert bench.world.machine("a").labels == {"app": "shop", "tier": "front"}


def test_every_change_carries_the_mark_of_its_case_and_step(bench: Bench) -> None:
    case = contained(bench, "isolate-and-close")
    marks = [sent.mark for sent in bench.world.sent]
    assert all(mark is not None and mark.case == case.id for mark in marks)
    assert [mark.step for mark in marks if mark] == [1, 1, 2]


# -- approvals -------------------------------------------------------------------------------------------------------


def test_what_cannot_be_undone_waits_for_a_person_even_in_auto_mode(bench: Bench) -> None:
    case = bench.settle(bench.open(bench.machine(), "stop"))
    assert case.status is Status.AWAITING_APPROVAL
    assert bench.changes() == []
    bench.desk.approve(case.id, "local:ann")
    closed = bench.settle(case)
    assert closed.outcome is Outcome.ONE_WAY_DONE
    assert bench.world.machine("web").power == "stopped"


def test_a_deleted_machine_verifies_as_gone(bench: Bench) -> None:
    case = bench.settle(bench.open(bench.machine(), "delete"))
    bench.desk.approve(case.id, "local:ann")
    assert bench.settle(case).outcome is Outcome.ONE_WAY_DONE


@pytest.mark.parametrize("fault", [Fault.LOSE_REQUEST, Fault.LOSE_ANSWER])
def test_a_lost_message_of_a_deletion_is_looked_up_and_it_is_deleted(bench: Bench, fault: Fault) -> None:
    case = bench.settle(bench.open(bench.machine(), "delete"))
    bench.desk.approve(case.id, "local:ann")
    bench.world.fail("machine.delete", fault)
    assert bench.settle(case).outcome is Outcome.ONE_WAY_DONE, (case.reason, case.sentence)
    assert bench.world.names() == []


def test_an_approval_is_void_when_the_resource_changes(bench_of: MakeBench) -> None:
    bench = bench_of(mode=Mode.ASK)
    case = bench.settle(bench.open(bench.machine(), "isolate"))
    shown = case.plan_digest
    bench.desk.approve(case.id, "local:ann", shown)
    bench.world.meddle("web", labels={"app": "other"})
    again = bench.settle(case)
    assert again.status is Status.AWAITING_APPROVAL
    assert again.plan_digest != shown
    assert bench.changes() == []
    with pytest.raises(Misused, match="look again"):
        bench.desk.approve(case.id, "local:ann", shown)


def test_a_change_of_a_fact_or_a_token_does_not_void_an_approval(bench_of: MakeBench) -> None:
    bench = bench_of(mode=Mode.ASK)
    case = bench.settle(bench.open(bench.machine(), "isolate"))
    bench.world.meddle("web", tags={"seen": "yes"})
    bench.desk.approve(case.id, "local:ann", case.plan_digest)
    assert bench.settle(case).status is Status.CONTAINED


def test_nobody_approves_in_time(bench_of: MakeBench) -> None:
    bench = bench_of(mode=Mode.ASK)
    case = bench.settle(bench.open(bench.machine(), "isolate"))
    bench.clock.turn(timedelta(minutes=31))
    closed = bench.advance(case)
    assert (closed.status, closed.outcome) == (Status.CLOSED, Outcome.EXPIRED)
    assert bench.changes() == []


def test_an_approval_that_is_used_too_late_asks_again(bench_of: MakeBench) -> None:
    bench = bench_of(mode=Mode.ASK)
    case = bench.settle(bench.open(bench.machine(), "isolate"))
    bench.desk.approve(case.id, "local:ann")
    bench.clock.turn(timedelta(minutes=31))
    again = bench.settle(case)
    assert again.status is Status.AWAITING_APPROVAL
    assert bench.changes() == []


def test_denied_is_denied(bench_of: MakeBench) -> None:
    bench = bench_of(mode=Mode.ASK)
    case = bench.settle(bench.open(bench.machine(), "isolate"))
    bench.desk.deny(case.id, "local:ann", "a test machine")
    with pytest.raises(Misused):
        bench.desk.approve(case.id, "local:ann")
    assert bench.settle(case).outcome is Outcome.DECLINED
    assert bench.changes() == []


def test_in_observe_mode_not_even_an_approval_acts(bench_of: MakeBench) -> None:
    bench = bench_of(mode=Mode.OBSERVE)
    case = bench.settle(bench.open(bench.machine(), "isolate"))
    assert case.status is Status.PROPOSED and case.plan is not None and case.plan.needed
    bench.desk.approve(case.id, "local:ann")
    assert bench.settle(case).status is Status.PROPOSED
    assert bench.changes() == []


def test_a_refusal_by_the_action_is_told_and_no_approval_gets_past_it(bench: Bench) -> None:
    resource = bench.machine()
    bench.world.meddle("web", power="stopped")
    case = bench.settle(bench.open(resource, "isolate"))
    assert case.status is Status.PROPOSED
    assert "the machine is stopped" in case.sentence and "fake:machine-capture" in case.sentence
    bench.desk.approve(case.id, "local:ann")
    assert bench.settle(case).status is Status.PROPOSED
    assert bench.changes() == []


def test_the_account_pin_compares_where_the_credentials_really_lead(bench: Bench) -> None:
    bench.world.lands_in = "another"
    case = bench.settle(bench.open(bench.machine(), "isolate"))
    assert case.outcome is Outcome.REFUSED
    assert "lead to another" in case.sentence
    assert bench.changes() == []


# -- lost answers, refusals, crashes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["policy.create", "machine.patch_labels"])
def test_a_lost_answer_is_looked_up(bench: Bench, call: str) -> None:
    bench.world.fail(call, Fault.LOSE_ANSWER)
    contained(bench)
    assert bench.changes() == ["policy.create", "machine.patch_labels"], "what happened is not repeated"


@pytest.mark.parametrize("call", ["policy.create", "machine.patch_labels"])
def test_a_lost_request_is_found_out_and_sent_again(bench: Bench, call: str) -> None:
    bench.world.fail(call, Fault.LOSE_REQUEST)
    case = contained(bench)
    assert bench.changes().count(call) == 2
    assert "retried" in bench.types(case)


@pytest.mark.parametrize("call", ["machine.patch_labels", "policy.delete"])
@pytest.mark.parametrize("fault", [Fault.LOSE_ANSWER, Fault.LOSE_REQUEST, Fault.THROTTLE, Fault.TRANSIENT])
def test_a_release_gets_there_too(bench: Bench, call: str, fault: Fault) -> None:
    resource = bench.machine()
    was = bench.world.machine("web")
    case = bench.settle(bench.open(resource, "isolate"))
    bench.world.fail(call, fault)
    bench.desk.release(case.id, "local:ann")
    assert bench.settle(case).outcome is Outcome.RELEASED
    assert bench.world.machine("web").labels == was.labels
    assert bench.world.policies() == {}


def test_a_throttled_change_waits_and_goes_on(bench: Bench) -> None:
    bench.world.fail("machine.patch_labels", *[Fault.THROTTLE] * 3)
    contained(bench)
    assert bench.world.unmet == {}


def test_what_never_works_is_given_to_a_person_after_a_bounded_number_of_tries(bench: Bench) -> None:
    bench.world.fail("machine.patch_labels", *[Fault.LOSE_REQUEST] * 50)
    case = bench.settle(bench.open(bench.machine(), "isolate"))
    assert (case.status, case.reason) == (Status.NEEDS_HUMAN, Reason.UNKNOWN)
    assert bench.changes().count("machine.patch_labels") <= 6
    assert "machine.patch_labels: no answer" in case.sentence, "the sentence that helps is the provider's"


def test_a_denied_change_says_so_and_what_is_done_stays_done(bench: Bench) -> None:
    bench.world.denied.add("machine.patch_labels")
    case = bench.settle(bench.open(bench.machine(), "isolate"))
    assert (case.status, case.reason) == (Status.NEEDS_HUMAN, Reason.PERMISSION_MISSING)
    assert len(bench.world.policies()) == 1, "partial containment is kept, never undone on an error"
    bench.world.denied.clear()
    bench.desk.retry(case.id, "local:ann")
    assert bench.settle(case).status is Status.CONTAINED
    bench.desk.release(case.id, "local:ann")
    assert bench.settle(case).outcome is Outcome.RELEASED


def test_a_half_done_containment_can_be_released(bench: Bench) -> None:
    resource = bench.machine()
    was = bench.world.machine("web")
    bench.world.denied.add("machine.patch_labels")
    case = bench.settle(bench.open(resource, "isolate"))
    bench.world.denied.clear()
    bench.desk.release(case.id, "local:ann")
    assert bench.settle(case).outcome is Outcome.RELEASED
    assert (bench.world.machine("web").labels, bench.world.policies()) == (was.labels, {})


def test_an_unreachable_provider_is_asked_for_a_while_and_then_a_person(bench: Bench) -> None:
    bench.world.fail("machine.get", *[Fault.UNREACHABLE] * 500)
    case = bench.settle(bench.open(bench.machine(), "isolate"))
    assert (case.status, case.reason) == (Status.NEEDS_HUMAN, Reason.UNREACHABLE)
    assert bench.clock() - case.opened_at >= timedelta(minutes=5)


def test_a_guard_that_fails_is_a_no(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.world.denied.add("identity.get")
    case = bench.settle(bench.open(bench.machine(), "isolate"))
    assert case.status is Status.NEEDS_HUMAN
    assert bench.changes() == []


def test_an_undeclared_permission_never_goes_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from quarantine.testing.fake.machine_isolate import MachineIsolate

    monkeypatch.setattr(MachineIsolate, "permissions", lambda _: ("machine.get",))
    case = bench.settle(bench.open(bench.machine(), "isolate"))
    assert case.status is Status.NEEDS_HUMAN and "does not declare" in case.sentence
    assert bench.changes() == []


def test_a_defect_in_an_action_stops_the_case_and_not_the_worker(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from quarantine.testing.fake.machine_isolate import MachineIsolate

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(MachineIsolate, "apply", broken)
    case = bench.settle(bench.open(bench.machine(), "isolate"))
    assert (case.status, case.reason) == (Status.NEEDS_HUMAN, Reason.STUCK)
    assert "a defect" in case.sentence


def test_a_machine_that_vanishes_before_the_act_closes_the_case(bench: Bench) -> None:
    resource = bench.machine()
    case = bench.open(resource, "isolate")
    bench.world.remove("web")
    assert bench.settle(case).outcome is Outcome.TARGET_GONE


def test_another_machine_of_the_same_name_is_not_touched(bench: Bench) -> None:
    resource = bench.machine()
    case = bench.open(resource, "isolate")
    bench.world.remove("web")
    bench.machine()
    assert bench.settle(case).outcome is Outcome.TARGET_GONE
    assert bench.changes() == []


def test_a_machine_that_vanishes_while_it_is_held_closes_the_case(bench: Bench) -> None:
    case = contained(bench)
    bench.world.remove("web")
    bench.clock.turn(timedelta(minutes=6))
    assert bench.advance(case).outcome is Outcome.TARGET_GONE


@pytest.mark.parametrize("playbook", ["isolate", "fence"])
def test_a_machine_that_vanishes_before_it_is_read_back_closes_the_case(bench: Bench, playbook: str) -> None:
    """At once, or after the time in which a read may not show it yet."""
    bench.once("after commit of applied", lambda: bench.world.remove("web"))
    assert bench.settle(bench.open(bench.machine(), playbook)).outcome is Outcome.TARGET_GONE


def test_a_machine_that_vanishes_before_its_release_is_read_back_closes_the_case(bench: Bench) -> None:
    case = contained(bench)
    bench.once("after commit of applied", lambda: bench.world.remove("web"))
    bench.desk.release(case.id, "local:ann")
    assert bench.settle(case).outcome is Outcome.TARGET_GONE


def test_a_change_between_plan_and_act_is_a_conflict_for_a_person(bench: Bench) -> None:
    resource = bench.machine()

    def meddle() -> None:
        bench.world.meddle("web", labels={"app": "changed"})

    bench.world.fail("identity.get", meddle)  # after the plan was made, before the intent
    case = bench.settle(bench.open(resource, "isolate"))
    assert (case.status, case.reason) == (Status.NEEDS_HUMAN, Reason.CONFLICT)
    assert bench.changes() == []


def test_a_foreign_change_during_an_unknown_outcome_is_for_a_person(bench: Bench) -> None:
    resource = bench.machine()
    bench.world.fail("machine.patch_labels", Fault.LOSE_REQUEST)

    def meddle() -> None:
        bench.world.meddle("web", labels={"somebody": "else"})

    bench.world.fail("policy.create", meddle)
    case = bench.settle(bench.open(resource, "isolate"))
    assert (case.status, case.reason) == (Status.NEEDS_HUMAN, Reason.UNKNOWN)


# -- held ----------------------------------------------------------------------------------------------------------


def test_drift_asks_a_person_and_a_retry_puts_it_right(bench: Bench) -> None:
    resource = bench.machine()
    was = bench.world.machine("web")
    case = bench.settle(bench.open(resource, "isolate"))
    bench.world.meddle("web", labels=was.labels)
    bench.clock.turn(timedelta(minutes=6))
    drifted = bench.advance(case)
    assert (drifted.status, drifted.reason) == (Status.NEEDS_HUMAN, Reason.DRIFTED)
    bench.desk.retry(case.id, "local:ann")
    assert bench.settle(case).status is Status.CONTAINED
    first, second = (item.event for item in bench.store.history(case.id) if isinstance(item.event, Intended))
    assert bench.store.load(case.id).progress(0).before == first.before != second.before
    bench.desk.release(case.id, "local:ann")
    bench.settle(case)
    assert bench.world.machine("web").labels == was.labels


def test_drift_is_put_right_by_itself_where_that_is_set(bench_of: MakeBench) -> None:
    bench = bench_of(watch=Watch(on_drift=OnDrift.REAPPLY))
    case = contained(bench)
    bench.world.meddle("web", labels={"app": "shop"})
    bench.clock.turn(timedelta(minutes=6))
    assert bench.settle(case).status is Status.CONTAINED
    assert set(bench.world.machine("web").labels) == {"quarantine"}


def test_what_another_changed_meanwhile_stays_and_is_told(bench: Bench) -> None:
    case = contained(bench)
    bench.world.meddle("web", labels={**bench.world.machine("web").labels, "owner": "somebody"})
    bench.desk.release(case.id, "local:ann")
    closed = bench.settle(case)
    assert closed.outcome is Outcome.RELEASED
    assert bench.world.machine("web").labels == {"app": "shop", "tier": "front", "owner": "somebody"}
    assert [item.path for item in closed.progress(0).kept] == [("labels", "owner")]


def test_kept_is_the_new_normal(bench: Bench) -> None:
    case = contained(bench)
    bench.desk.keep(case.id, "local:ann")
    assert bench.settle(case).outcome is Outcome.KEPT
    assert set(bench.world.machine("web").labels) == {"quarantine"}


def test_a_second_playbook_with_the_same_action_is_merged(bench: Bench) -> None:
    first = contained(bench)
    bench.world.meddle("web", labels={"app": "again"})
    second = bench.settle(bench.open(Case.model_validate(first).resource, "isolate-and-close"))
    assert second.outcome is Outcome.MERGED
    assert first.id in second.sentence


def test_what_can_be_undone_is_released_though_a_part_of_it_cannot(bench: Bench) -> None:
    case = bench.settle(bench.open(bench.machine(), "isolate-and-stop"))
    bench.desk.approve(case.id, "local:ann")
    assert bench.settle(case).status is Status.CONTAINED
    bench.desk.release(case.id, "local:ann")
    closed = bench.settle(case)
    assert closed.outcome is Outcome.RELEASED
    assert closed.sentence == "given back, but for what cannot be undone: fake:machine-stop"
    assert bench.world.machine("web").labels == {"app": "shop", "tier": "front"}
    assert bench.world.machine("web").power == "stopped"


# -- by hand -------------------------------------------------------------------------------------------------------


def test_who_asks_for_one_way_cannot_approve_it_alone(bench: Bench) -> None:
    case = open_by_hand(bench, "stop")
    assert bench.settle(case).status is Status.AWAITING_APPROVAL
    with pytest.raises(Misused, match="somebody else"):
        bench.desk.approve(case.id, "local:ann")
    bench.desk.approve(case.id, "local:bob")
    assert bench.settle(case).outcome is Outcome.ONE_WAY_DONE


def test_alone_it_works_where_that_is_set_and_the_record_says_so(bench_of: MakeBench) -> None:
    bench = bench_of(approvals=Approvals(second_person=False))
    case = open_by_hand(bench, "stop")
    assert bench.settle(case).outcome is Outcome.ONE_WAY_DONE
    allowed = next(item.event for item in bench.store.history(case.id) if item.event.type == "allowed")
    assert any("second_person is off" in sentence for sentence in allowed.sentences)


def test_what_a_person_asks_for_by_hand_needs_no_second_yes(bench_of: MakeBench) -> None:
    bench = bench_of(mode=Mode.ASK)
    assert bench.settle(open_by_hand(bench, "isolate")).status is Status.CONTAINED


def open_by_hand(bench: Bench, name: str) -> Case:
    from quarantine.case import Opened
    from quarantine.model import Finding

    found = Finding(source="hand", id=f"hand-{name}", type=name, resource=bench.machine(), seen_at=bench.clock())
    chosen = bench.shelf.find(name)
    opened = Opened(finding=found, playbook=name, playbook_digest=chosen.digest, requested=True)
    return bench.store.open(opened, by="local:ann", at=bench.clock())


# -- the kill switch ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["all", "everything", "provider:fake", "playbook:isolate", "source:detector"])
def test_a_kill_switch_holds_the_case(bench: Bench, scope: str) -> None:
    bench.store.switch(scope, True, "exercise", "local:ann", bench.clock())
    case = bench.settle(bench.open(bench.machine(), "isolate"))
    assert case.status is Status.PROPOSED and "kill switch" in case.sentence
    assert bench.changes() == []
    bench.store.switch(scope, False, "", "local:ann", bench.clock())
    bench.desk.retry(case.id, "local:ann")
    assert bench.settle(case).status is Status.CONTAINED


def test_a_kill_switch_of_another_scope_does_not(bench: Bench) -> None:
    bench.store.switch("provider:aws", True, "", "local:ann", bench.clock())
    assert bench.settle(bench.open(bench.machine(), "isolate")).status is Status.CONTAINED


def test_the_gate_stops_between_two_changes(bench: Bench) -> None:
    def kill() -> None:
        bench.store.switch("all", True, "", "local:ann", bench.clock())

    bench.world.fail("policy.create", kill)
    case = bench.settle(bench.open(bench.machine(), "isolate"))
    assert (case.status, case.reason) == (Status.NEEDS_HUMAN, Reason.STOPPED)
    assert bench.changes() == ["policy.create"]


@pytest.mark.parametrize(("scope", "goes_on"), [("all", True), ("everything", False)])
def test_a_release_goes_on_unless_everything_is_stopped(bench: Bench, scope: str, goes_on: bool) -> None:
    case = contained(bench)
    bench.store.switch(scope, True, "", "local:ann", bench.clock())
    bench.desk.release(case.id, "local:ann")
    closed = bench.settle(case)
    assert (closed.outcome is Outcome.RELEASED) is goes_on
    assert (closed.reason is Reason.STOPPED) is not goes_on


# -- time ----------------------------------------------------------------------------------------------------------


def test_an_old_finding_waits_for_a_person(bench: Bench) -> None:
    old = bench.clock() - timedelta(hours=2)
    case = bench.settle(bench.open(bench.machine(), "isolate", seen_at=old))
    assert case.status is Status.PROPOSED and "last seen" in case.sentence


def test_two_workers_never_carry_one_case_at_the_same_time(bench: Bench) -> None:
    case = bench.open(bench.machine(), "isolate")
    other = bench.worker()

    got: list[Case | None] = []
    bench.world.fail("policy.create", lambda: got.append(other.advance(case.id)))
    assert bench.settle(case).status is Status.CONTAINED
    assert got == [None]


# -- operations that take their time -------------------------------------------------------------------------------


@pytest.fixture
def slow(bench: Bench) -> Bench:
    """Each change takes 12 s, and the machine takes no other meanwhile."""
    for call in ("policy.create", "machine.set_ports", "policy.delete"):
        bench.world.slow(call, timedelta(seconds=12))
    return bench


def test_the_next_change_waits_for_the_operation_of_the_last(slow: Bench) -> None:
    resource = slow.machine()
    case = slow.settle(slow.open(resource, "fence"))
    assert case.status is Status.CONTAINED, (case.reason, case.sentence)
    assert slow.changes() == ["policy.create", "machine.set_ports"]
    assert slow.types(case) == [
        "opened", "planned", "allowed", "intended", "changed", "paused", "retried", "changed", "applied",
        "verified", "contained",
    ]  # fmt: skip
    slow.desk.release(case.id, "local:ann")
    assert slow.settle(case).outcome is Outcome.RELEASED
    assert slow.world.machine("web").ports == {"22": "0.0.0.0/0", "443": "10.0.0.0/8"}
    assert len(slow.world.operations) == 4
    slow.assert_whole()


def test_it_is_verified_only_when_the_operation_has_ended(slow: Bench) -> None:
    case = slow.open(slow.machine(), "fence")
    slow.advance(case)
    slow.clock.turn(timedelta(seconds=13))
    slow.advance(case)
    assert slow.changes() == ["policy.create", "machine.set_ports"]
    slow.clock.turn(timedelta(seconds=6))
    assert slow.advance(case).status is Status.CONTAINING
    slow.clock.turn(timedelta(seconds=7))
    assert slow.advance(case).status is Status.CONTAINED


def test_a_crash_while_an_operation_runs_starts_no_second_one(slow: Bench) -> None:
    case = slow.open(slow.machine(), "fence")
    slow.world.fail("policy.create", Fault.DIE_AFTER)
    with pytest.raises(Died):
        slow.advance(case)
    slow.clock.turn(slow.settings.worker.lease + timedelta(seconds=1))
    assert slow.settle(case, slow.worker()).status is Status.CONTAINED
    assert slow.changes() == ["policy.create", "machine.set_ports"]


def test_an_operation_that_failed_because_of_something_in_its_way_is_begun_again(slow: Bench) -> None:
    slow.world.slow("machine.set_ports", timedelta(seconds=12), Conflict("somebody was there first"))
    case = slow.settle(slow.open(slow.machine(), "fence"))
    assert case.status is Status.CONTAINED, (case.reason, case.sentence)
    assert slow.changes() == ["policy.create", "machine.set_ports", "machine.set_ports"]
    events = [item.event for item in slow.store.history(case.id)]
    assert [item.sentence for item in events if isinstance(item, OperationFailed)] == ["somebody was there first"]


def test_an_operation_that_fails_for_good_is_given_to_a_person_with_its_reason(slow: Bench) -> None:
    slow.world.slow("machine.set_ports", timedelta(seconds=12), Denied("a policy of the organisation"))
    case = slow.settle(slow.open(slow.machine(), "fence"))
    assert (case.status, case.reason) == (Status.NEEDS_HUMAN, Reason.PERMISSION_MISSING)
    assert "a policy of the organisation" in case.sentence
    slow.desk.release(case.id, "local:ann")
    assert slow.settle(case).outcome is Outcome.RELEASED
    assert slow.world.policies() == {}


def test_a_retry_after_an_operation_failed_for_good_begins_it_again(slow: Bench) -> None:
    slow.world.slow("machine.set_ports", timedelta(seconds=12), Denied("a policy of the organisation"))
    case = slow.settle(slow.open(slow.machine(), "fence"))
    slow.desk.retry(case.id, "local:ann")
    assert slow.settle(case).status is Status.CONTAINED


def test_an_operation_that_never_ends_is_given_to_a_person_who_may_go_on_waiting(slow: Bench) -> None:
    slow.world.slow("policy.create", timedelta(seconds=30))
    case = slow.settle(slow.open(slow.machine(), "fence"))
    assert (case.status, case.reason) == (Status.NEEDS_HUMAN, Reason.UNVERIFIED)
    assert "still goes on" in case.sentence
    slow.desk.retry(case.id, "local:ann")
    assert slow.settle(case).status is Status.CONTAINED
    assert slow.changes() == ["policy.create", "machine.set_ports"]


def test_a_busy_resource_is_waited_for_and_then_a_person_asked(slow: Bench) -> None:
    """Busy with what is not ours: there is no operation to ask for, only the resource to look at."""
    resource = slow.machine()
    slow.world.slow("machine.set_ports", timedelta(seconds=15))
    slow.world.call("machine.set_ports", "local", {"id": "web", "ports": {"8080": "0.0.0.0/0"}}, None)
    slow.world.sent.clear()
    slow.world.slow("machine.set_ports", timedelta(seconds=12))
    case = slow.settle(slow.open(resource, "fence"))
    assert slow.changes() == []
    assert case.status is Status.NEEDS_HUMAN, "the stranger's operation changed the ports meanwhile"
    assert case.reason is Reason.UNKNOWN
    assert slow.types(case).count("paused") < 20, "each pause is longer than the last"


def test_a_release_waits_for_the_operation_of_the_containment(slow: Bench) -> None:
    case = slow.open(slow.machine(), "fence")
    slow.advance(case)
    slow.store.switch("all", True, "stop", "local:ann", slow.clock())
    slow.clock.turn(timedelta(seconds=13))
    halted = slow.settle(case)
    assert (halted.status, halted.reason) == (Status.NEEDS_HUMAN, Reason.STOPPED)
    slow.desk.release(case.id, "local:ann")
    assert slow.settle(case).outcome is Outcome.RELEASED
    assert slow.world.policies() == {}


# -- shared objects ------------------------------------------------------------------------------------------------


def test_what_an_open_case_may_be_using_is_not_removed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if machines were quarantine groups: isolating one uses them, and `close` removes one."""
    monkeypatch.setattr(MachineIsolate, "shares", "fake:machine")
    user = contained(bench, "isolate")
    removal = bench.settle(bench.open(bench.machine("group"), "close"))
    assert (removal.status, removal.outcome) == (Status.CLOSED, Outcome.REFUSED)
    assert f"in use by case {user.id}" in removal.sentence
    bench.desk.release(user.id, "local:ann")
    bench.settle(user)
    again = bench.settle(bench.open(bench.machine("group-2"), "close"))
    assert again.status is Status.CONTAINED


def test_a_user_elsewhere_does_not_matter(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MachineIsolate, "shares", "fake:machine")
    contained(bench, "isolate")
    other = bench.world.add("group", scope="local/zone-b", ports={"22": "0.0.0.0/0"})
    assert bench.settle(bench.open(other, "close")).status is Status.CONTAINED


# -- workers that fall silent ----------------------------------------------------------------------------------------


def test_what_was_taken_over_is_undone_only_when_nothing_of_the_old_worker_can_arrive(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MachineIsolate, "late_within", timedelta(minutes=5, seconds=30))
    case = bench.open(bench.machine(), "isolate")
    bench.world.fail("machine.patch_labels", Fault.DIE_BEFORE)
    with pytest.raises(Died):
        bench.advance(case)
    bench.clock.turn(bench.settings.worker.lease + timedelta(seconds=1))
    second = bench.worker()
    assert bench.settle(case, second).status is Status.CONTAINED
    assert "taken_over" in bench.types(case)
    bench.desk.release(case.id, "local:ann")
    waiting = second.advance(case.id)
    assert waiting is not None and waiting.status is Status.RELEASING
    assert bench.world.machine("web").labels == {"quarantine": case.resource.uid}, "still isolated"
    assert bench.types(case)[-1] == "paused"
    bench.clock.turn(timedelta(minutes=5, seconds=30))
    assert bench.settle(case, second).outcome is Outcome.RELEASED


def test_a_request_that_was_never_answered_is_waited_for_before_the_undo(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No worker fell silent: the network swallowed a request, it was sent again, and the first one is still around."""
    monkeypatch.setattr(MachineIsolate, "late_within", timedelta(minutes=5, seconds=30))
    resource = bench.machine()
    was = bench.world.machine("web")
    bench.world.fail("machine.patch_labels", Fault.ARRIVE_LATE)
    case = bench.settle(bench.open(resource, "isolate"))
    assert case.status is Status.CONTAINED
    bench.desk.release(case.id, "local:ann")
    assert bench.advance(case).status is Status.RELEASING
    bench.clock.turn(timedelta(minutes=5))
    bench.world.arrive()
    assert bench.settle(case).outcome is Outcome.RELEASED
    assert bench.world.machine("web").labels == was.labels
    assert bench.clock() - case.updated_at >= timedelta(minutes=5, seconds=30)


def test_what_stopped_with_a_request_unanswered_waits_before_the_undo_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody sent it again: somebody else's change stopped the case, and a person releases it at once."""
    monkeypatch.setattr(MachineIsolate, "late_within", timedelta(minutes=5, seconds=30))
    resource = bench.machine()
    bench.world.fail("policy.create", lambda: bench.world.meddle("web", labels={"somebody": "else"}))
    bench.world.fail("machine.patch_labels", Fault.ARRIVE_LATE)
    case = bench.settle(bench.open(resource, "isolate"))
    assert (case.status, case.reason) == (Status.NEEDS_HUMAN, Reason.UNKNOWN)
    bench.desk.release(case.id, "local:ann")
    assert bench.advance(case).status is Status.RELEASING
    assert bench.changes() == ["policy.create", "machine.patch_labels"], "nothing is undone yet"
    bench.clock.turn(timedelta(minutes=5))
    bench.world.arrive()
    assert bench.settle(case).outcome is Outcome.RELEASED
    assert bench.world.machine("web").labels == {"app": "shop", "tier": "front", "somebody": "else"}
    assert bench.world.policies() == {}


@pytest.mark.parametrize("closed", [False, True])
def test_who_dies_after_the_last_word_leaves_a_case_that_others_can_open(bench: Bench, closed: bool) -> None:
    """It needs a person, its lease was never given back, and somebody asks for it by its id."""
    case = bench.open(bench.machine(), "isolate")
    bench.world.fail("policy.create", Fault.DENY)
    with bench.death("before commit of free"):
        bench.advance(case)
    if closed:
        bench.desk.handled(case.id, "local:ann")
    bench.clock.turn(bench.settings.worker.lease + timedelta(seconds=1))
    moved = bench.worker().advance(case.id)
    assert moved is not None and moved.status is (Status.CLOSED if closed else Status.NEEDS_HUMAN)
    assert ("taken_over" in bench.types(case)) is not closed
    if not closed:
        bench.desk.retry(case.id, "local:ann")
        assert bench.settle(case).status is Status.CONTAINED


@pytest.mark.parametrize("fault", [Fault.LOSE_REQUEST, None])
def test_an_old_read_is_not_taken_for_what_somebody_else_made_of_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, fault: Fault | None
) -> None:
    """Released right after the containment, while reads still show what was before it: as if nothing were to undo."""
    monkeypatch.setattr(MachineClose, "consistent_within", timedelta(seconds=10))
    resource = bench.machine()
    was = bench.world.machine("web")
    case = bench.settle(bench.open(resource, "close"))
    bench.desk.release(case.id, "local:ann")
    if fault is not None:
        bench.world.fail("machine.set_ports", fault)
        bench.world.fail("machine.get", lambda: None, lambda: bench.world.stale(20, timedelta(seconds=10)))
    else:
        bench.world.stale(20, timedelta(seconds=10))
    assert bench.settle(case).outcome is Outcome.RELEASED
    assert bench.world.machine("web").ports == was.ports


def test_a_worker_that_stopped_between_turns_holds_nothing_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MachineIsolate, "late_within", timedelta(hours=1))
    case = contained(bench)
    bench.store.claim("silent", timedelta(seconds=1), case.id)
    bench.clock.turn(timedelta(seconds=2))
    bench.desk.release(case.id, "local:ann")
    assert bench.settle(case).outcome is Outcome.RELEASED
    assert bench.clock() < case.updated_at + timedelta(minutes=1)


def test_a_late_effect_on_a_closed_case_opens_one_for_a_person(bench: Bench) -> None:
    """The research's worst case: frozen before its call, and everything is over when it wakes."""
    case = bench.open(bench.machine(), "isolate")

    def freeze_and_let_another_finish() -> None:
        bench.clock.turn(bench.settings.worker.lease + timedelta(seconds=1))
        second = bench.worker()
        assert bench.settle(case, second).status is Status.CONTAINED
        bench.desk.release(case.id, "local:ann")
        assert bench.settle(case, second).outcome is Outcome.RELEASED

    bench.world.fail("policy.create", freeze_and_let_another_finish)
    bench.advance(case)
    assert bench.types(case)[-1] == "effect_arrived_late"
    opened = [line for line in bench.store.lines() if line.id != case.id]
    assert [(line.status, line.reason) for line in opened] == [(Status.NEEDS_HUMAN, Reason.UNKNOWN)]
    fresh = bench.store.load(opened[0].id)
    assert fresh.after == case.id
    assert case.id in fresh.sentence
    bench.assert_whole()


# -- guards that count -----------------------------------------------------------------------------------------------


def test_the_last_place_in_the_budget_is_taken_once_by_many_workers(bench_of: MakeBench) -> None:
    budget = Budget(per_account_10m=5, per_account_24h=5, global_24h=5)
    bench = bench_of(guards=Guards(mode=Mode.AUTO, budget=budget, storm=Storm(cases=1000)))
    cases = [bench.open(bench.machine(f"m-{n}"), "close") for n in range(24)]
    engines = [bench.worker() for _ in range(4)]

    def carry(number: int) -> Status:
        moved = engines[number % 4].advance(cases[number].id)
        assert moved is not None
        return moved.status

    with ThreadPoolExecutor(4) as workers:
        statuses = list(workers.map(carry, range(24)))
    assert statuses.count(Status.CONTAINED) == 5
    assert statuses.count(Status.PROPOSED) == 19
    assert len(bench.changes()) == 5
    bench.store.refill("*", "a false alarm", "local:ann", bench.clock())
    bench.clock.turn(timedelta(seconds=1))
    waiting = next(case for case, status in zip(cases, statuses, strict=True) if status is Status.PROPOSED)
    bench.desk.retry(waiting.id, "local:ann")
    assert bench.settle(waiting).status is Status.CONTAINED


def test_a_storm_makes_every_further_case_ask(bench_of: MakeBench) -> None:
    bench = bench_of(guards=Guards(mode=Mode.AUTO, storm=Storm(cases=3), budget=PLENTY))
    cases = [bench.open(bench.machine(f"m-{n}"), "close") for n in range(5)]
    assert bench.settle(cases[4]).status is Status.AWAITING_APPROVAL
    bench.clock.turn(timedelta(minutes=6))
    calm = bench.open(bench.machine("later"), "close")
    assert bench.settle(calm).status is Status.CONTAINED


def test_two_bad_runs_open_the_breaker_and_only_people_go_on(bench: Bench) -> None:
    for number in range(2):
        bench.world.fail("machine.set_ports", Fault.DENY)
        bad = bench.settle(bench.open(bench.machine(f"bad-{number}"), "close"))
        assert bad.reason is Reason.PERMISSION_MISSING
    third = bench.settle(bench.open(bench.machine("third"), "close"))
    assert third.status is Status.AWAITING_APPROVAL
    assert "went wrong" in third.sentence
    bench.desk.approve(third.id, "local:ann")
    assert bench.settle(third).status is Status.CONTAINED
    other = bench.settle(bench.open(bench.machine("other"), "isolate"))
    assert other.status is Status.CONTAINED, "another playbook is another breaker"


def test_one_false_positive_opens_the_breaker(bench: Bench) -> None:
    case = contained(bench, "close")
    bench.desk.release(case.id, "local:ann", "it was our own scanner", false_positive=True)
    bench.settle(case)
    assert bench.settle(bench.open(bench.machine("next"), "close")).status is Status.AWAITING_APPROVAL


def test_an_ordinary_release_does_not_count(bench: Bench) -> None:
    case = contained(bench, "close")
    bench.desk.release(case.id, "local:ann")
    bench.settle(case)
    assert bench.settle(bench.open(bench.machine("next"), "close")).status is Status.CONTAINED


def test_what_comes_back_a_third_time_waits_for_a_person(bench: Bench) -> None:
    resource = bench.machine()
    for _ in range(2):
        case = bench.settle(bench.open(resource, "close", id=f"finding-{bench.clock()}"))
        assert case.status is Status.CONTAINED
        bench.desk.release(case.id, "local:ann")
        bench.settle(case)
        bench.clock.turn(timedelta(minutes=20))
    third = bench.settle(bench.open(resource, "close", id="once more"))
    assert third.status is Status.AWAITING_APPROVAL
    assert "2 times" in third.sentence


def test_the_last_healthy_member_of_a_group_waits_for_a_person(bench: Bench) -> None:
    bench.machine("sick")
    bench.world.meddle("sick", power="stopped")
    resource = bench.world.add("web", ports={"22": "0.0.0.0/0"}, peers=("sick",))
    case = bench.settle(bench.open(resource, "close"))
    assert case.status is Status.AWAITING_APPROVAL
    assert "last healthy member" in case.sentence


def test_the_last_healthy_member_of_the_group_of_what_is_contained_besides_waits_too(bench: Bench) -> None:
    """As the node of a pod: the pod has enough like it, its node has none."""
    bench.machine("sick")
    bench.world.meddle("sick", power="stopped")
    bench.world.add("db", peers=("sick",))
    case = bench.settle(bench.open(bench.world.add("web", peers=("db",)), "isolate-web-and-peers"))
    assert case.status is Status.AWAITING_APPROVAL
    assert "db in local is the last healthy member of local/db/sick" in case.sentence


def test_one_at_a_time_of_the_group_of_what_is_contained_besides(bench: Bench) -> None:
    bench.world.add("db-1", peers=("db-2", "db-3"))
    bench.world.add("db-2", peers=("db-1", "db-3"))
    bench.world.add("db-3", peers=("db-1", "db-2"))
    web = bench.world.add("web", peers=("db-1",))
    assert bench.settle(bench.open(web, "isolate-web-and-peers")).status is Status.CONTAINED
    held = bench.settle(bench.open(bench.world.add("shop", peers=("db-2",)), "isolate-web-and-peers"))
    assert held.status is Status.PROPOSED
    assert "1 of 3 of local/db-1/db-2/db-3" in held.sentence


def test_one_at_a_time_of_a_small_group(bench: Bench) -> None:
    first = bench.world.add("a", ports={"22": "0.0.0.0/0"}, peers=("b", "c"))
    second = bench.world.add("b", ports={"22": "0.0.0.0/0"}, peers=("a", "c"))
    bench.world.add("c", peers=("a", "b"))
    assert bench.settle(bench.open(first, "close")).status is Status.CONTAINED
    held = bench.settle(bench.open(second, "close"))
    assert held.status is Status.PROPOSED
    assert "1 of 3" in held.sentence


def test_a_scheduled_run_goes_in_waves_by_itself(bench: Bench) -> None:
    cases = [bench.open(bench.machine(f"m-{n}"), "close", by="schedule:nightly") for n in range(5)]
    statuses = [bench.advance(case).status for case in cases]
    assert statuses.count(Status.CONTAINED) == 1
    bench.clock.turn(timedelta(minutes=5))
    statuses = [bench.settle(bench.store.load(case.id)).status for case in cases]
    assert statuses.count(Status.CONTAINED) == 3
    bench.clock.turn(timedelta(minutes=5))
    assert [bench.settle(bench.store.load(case.id)).status for case in cases] == [Status.CONTAINED] * 5


def stop_everything(bench: Bench) -> None:
    bench.store.switch("all", True, "stop", "local:ann", bench.clock())


def lead_elsewhere(bench: Bench) -> None:
    bench.world.lands_in = "another"


def grow_old(bench: Bench) -> None:
    bench.clock.turn(timedelta(hours=2))


@pytest.mark.parametrize("meanwhile", [stop_everything, lead_elsewhere, grow_old])
def test_what_was_allowed_long_ago_is_judged_again_before_the_first_change(
    bench: Bench, meanwhile: Callable[[Bench], None]
) -> None:
    """The worker dies after the guards' yes; they say no when another goes on: the gate knows the first of it only."""
    case = bench.open(bench.machine(), "close")
    with bench.death("after commit of planned,allowed"):
        bench.advance(case)
    meanwhile(bench)
    bench.clock.turn(bench.settings.worker.lease + timedelta(seconds=1))
    moved = bench.settle(case, bench.worker())
    assert (moved.status, moved.reason) == (Status.NEEDS_HUMAN, Reason.STOPPED)
    assert bench.changes() == []
    assert bench.store.load(case.id).failed is False, "a stop is not a failure of the playbook"


def test_who_slept_between_the_guards_and_the_act_asks_them_again(bench: Bench) -> None:
    """The approval has run out when the worker wakes: it must not be used."""
    case = bench.settle(bench.open(bench.machine(), "isolate-carefully"))
    bench.desk.approve(case.id, "local:ann")

    def sleep_there(place: str) -> None:
        if place == "after commit of allowed":
            bench.failpoint = lambda _: None
            bench.clock.turn(timedelta(minutes=31))

    bench.failpoint = sleep_there
    moved = bench.settle(case)
    assert (moved.status, moved.reason) == (Status.NEEDS_HUMAN, Reason.STOPPED)
    assert "ran out" in moved.sentence
    assert bench.changes() == []


@pytest.mark.parametrize(
    ("conditional", "slept", "looks"), [(True, 0, 1), (True, 3, 2), (False, 0, 2)], ids=["at once", "later", "unsafe"]
)
def test_what_the_plan_saw_a_moment_ago_is_not_read_again_where_a_change_to_anything_else_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, conditional: bool, slept: int, looks: int
) -> None:
    monkeypatch.setattr(MachineIsolate, "conditional", conditional)
    case = bench.open(bench.machine(), "isolate")
    bench.world.asked = Slow(bench.clock, timedelta(seconds=slept))
    seen = []

    def note(place: str) -> None:
        if place == "before policy.create":
            seen.append(bench.world.asked.count("policy.get"))

    bench.failpoint = note
    assert bench.settle(case).status is Status.CONTAINED
    assert seen == [looks]


class Slow(list[str]):
    """Reads that take their time."""

    def __init__(self, clock: HandClock, takes: timedelta) -> None:
        self._clock, self._takes = clock, takes

    def append(self, call: str) -> None:
        super().append(call)
        if call == "policy.get":
            self._clock.turn(self._takes)


def test_a_yes_and_the_first_intent_are_one_commit_where_the_plan_can_be_acted_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MachineIsolate, "conditional", True)
    commits: list[str] = []

    def die(place: str) -> None:
        commits.append(place)
        if place == "before policy.create":
            raise Died(place)

    bench.failpoint = die
    machine = bench.machine()
    with pytest.raises(Died):
        bench.engine.advance(bench.open(machine, "isolate").id)
    assert [place for place in commits if "allowed" in place or "intended" in place] == [
        "before commit of planned,allowed,intended",
        "after commit of planned,allowed,intended",
    ]
    bench.failpoint = lambda _: None
    other = bench.settle(bench.open(machine, "isolate-web-and-peers"))
    assert other.outcome is Outcome.MERGED, "that another case holds it is found all the same"


def test_who_has_changed_all_gives_way_once_to_those_that_were_not_looked_at(bench: Bench) -> None:
    def opened(name: str) -> Case:
        bench.clock.turn(timedelta(seconds=1))
        return bench.open(bench.machine(name), "isolate")

    first, second = opened("first"), opened("second")
    span = timedelta(minutes=1)

    def turn(expected: str) -> Case:
        lease = bench.store.claim("worker", span)
        assert lease is not None
        assert lease.case == expected
        bench.clock.turn(timedelta(seconds=1))
        return bench.engine.carry(lease)

    case = turn(first.id)
    assert case.status is Status.CONTAINING
    assert case.all_applied
    assert turn(second.id).status is Status.CONTAINED, "nobody waits any more for a first look"
    assert turn(first.id).status is Status.CONTAINED
    third, fourth = opened("third"), opened("fourth")
    assert bench.settle(third).status is Status.CONTAINED, "who is waited for by a person gives no way"
    assert turn(fourth.id).status is Status.CONTAINED

    bench.store.receive([Delivery("detector", "alert-5", bench.clock(), b"{}")])
    fifth = opened("fifth")
    assert turn(fifth.id).status is Status.CONTAINING, "a delivery that nobody has looked at may open a case"
    assert bench.store.claim("worker", span) is None, "nothing is done meanwhile that would hold that up"
    bench.clock.turn(timedelta(seconds=15))
    assert turn(fifth.id).status is Status.CONTAINED, "but not for ever"


def test_one_look_asks_nothing_twice_and_the_next_one_asks_anew(bench: Bench) -> None:
    machine = bench.machine()
    cloud = bench.planner.cloud(machine)
    with bench.planner.look():
        first = bench.planner.draft(bench.shelf.find("isolate"), machine)
        again = bench.planner.draft(bench.shelf.find("isolate"), machine)
        assert bench.world.asked.count("machine.get") == 1
        assert first == again
    bench.world.meddle(machine.id, labels={"a": "b"})
    assert bench.planner.cloud(machine) is cloud
    assert bench.planner.draft(bench.shelf.find("isolate"), machine) != first
    assert bench.world.asked.count("machine.get") > 1


# -- findings that come back -----------------------------------------------------------------------------------------


def test_an_old_sighting_does_not_overrule_a_release(bench: Bench) -> None:
    resource = bench.machine()
    case = bench.settle(bench.open(resource, "close"))
    seen = case.finding.seen_at
    bench.clock.turn(timedelta(minutes=1))
    bench.desk.release(case.id, "local:ann")
    bench.settle(case)
    repeated = bench.intake.link(case.finding.model_copy(update={"seen_at": seen}), "source:detector")
    assert (repeated.fate, repeated.case) == (Fate.IGNORED, case.id)
    bench.clock.turn(timedelta(minutes=1))
    again = bench.intake.link(case.finding.model_copy(update={"seen_at": bench.clock()}), "source:detector")
    assert again.fate is Fate.LINKED and again.case is not None
    assert bench.store.load(again.case).after == case.id


def test_who_slept_between_the_look_and_the_opening_looks_again(bench: Bench) -> None:
    """Another worker opens, contains and releases meanwhile: the old sighting does not overrule that."""
    resource = bench.machine()

    def be_overtaken(place: str) -> None:
        if place == "before commit of open":
            bench.failpoint = lambda _: None
            case = contained_close(bench, resource)
            bench.desk.release(case.id, "local:ann")
            assert bench.settle(case).outcome is Outcome.RELEASED

    bench.failpoint = be_overtaken
    late = bench.open(resource, "close")
    assert late.outcome is Outcome.RELEASED, "it is answered with the case of the other one"
    assert len(bench.store.lines()) == 1
    assert bench.changes() == ["machine.set_ports", "machine.set_ports"]


def contained_close(bench: Bench, resource: Resource) -> Case:
    case = bench.settle(bench.open(resource, "close"))
    assert case.status is Status.CONTAINED
    return case


def test_a_false_positive_sticks(bench: Bench) -> None:
    case = contained(bench, "close")
    bench.desk.release(case.id, "local:ann", "our own scanner", false_positive=True)
    bench.settle(case)
    bench.clock.turn(timedelta(minutes=1))
    again = bench.intake.link(case.finding.model_copy(update={"seen_at": bench.clock()}), "source:detector")
    assert again.fate is Fate.IGNORED and "false positive" in again.sentence


# -- what certainly did not happen, and what is unknown ----------------------------------------------------------------


def test_a_retry_after_a_refusal_waits_for_nothing(bench: Bench) -> None:
    """It was refused, so nothing can still appear: `settles_within` is for what is unknown."""
    bench.world.fail("machine.set_ports", Fault.DENY)
    case = bench.settle(bench.open(bench.machine(), "fence"))
    assert case.reason is Reason.PERMISSION_MISSING
    before = bench.clock()
    bench.desk.retry(case.id, "local:ann")
    assert bench.advance(case).status is Status.CONTAINED
    assert bench.clock() == before
    assert "not_applied" in bench.types(case)


def test_a_lost_request_is_sent_again_as_soon_as_it_would_have_shown(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MachineFence, "appears_within", timedelta(seconds=3))
    bench.world.fail("machine.set_ports", Fault.LOSE_REQUEST)
    case = bench.open(bench.machine(), "fence")
    begun = bench.clock()
    assert bench.settle(case).status is Status.CONTAINED
    assert timedelta(seconds=3) <= bench.clock() - begun < timedelta(seconds=10)


def test_drift_is_put_right_once_and_then_a_person_decides(bench_of: MakeBench) -> None:
    bench = bench_of(watch=Watch(on_drift=OnDrift.ASK, playbooks={"close": OnDrift.REAPPLY}))
    case = contained(bench, "close")
    statuses = []
    for _ in range(2):
        bench.world.meddle("web", ports={"22": "0.0.0.0/0"})
        bench.clock.turn(timedelta(minutes=6))
        statuses.append(bench.settle(case).status)
    assert statuses == [Status.CONTAINED, Status.NEEDS_HUMAN]
    last = bench.store.load(case.id)
    assert last.reason is Reason.DRIFTED and "1 times" in last.sentence
    other = bench.settle(bench.open(bench.machine("b"), "isolate"))
    bench.world.meddle("b", labels={"app": "back"})
    bench.clock.turn(timedelta(minutes=6))
    assert bench.settle(other).status is Status.NEEDS_HUMAN, "another playbook asks at once"


# -- related resources that vanish --------------------------------------------------------------------------------


def test_a_related_resource_that_vanishes_does_not_end_the_watch_over_the_others(bench: Bench) -> None:
    """Who deletes one of them must not get the others out of quarantine, nor the case out of sight."""
    bench.machine("a")
    bench.machine("b")
    resource = bench.world.add("web", peers=("a", "b"))
    case = bench.settle(bench.open(resource, "isolate-peers"))
    bench.world.remove("a")
    bench.clock.turn(timedelta(minutes=6))
    stopped = bench.settle(case)
    assert (stopped.status, stopped.reason) == (Status.NEEDS_HUMAN, Reason.DRIFTED)
    bench.desk.retry(case.id, "local:ann")
    assert bench.settle(case).status is Status.CONTAINED
    assert set(bench.world.machine("b").labels) == {"quarantine"}
    bench.desk.release(case.id, "local:ann")
    assert bench.settle(case).outcome is Outcome.RELEASED
    assert bench.world.machine("b").labels == {"app": "shop", "tier": "front"}


def test_the_case_stays_open_while_a_related_resource_is_held(bench: Bench) -> None:
    """The machine that the finding was about is deleted; what was isolated besides must not be forgotten."""
    bench.machine("a")
    case = bench.settle(bench.open(bench.world.add("web", peers=("a",)), "isolate-web-and-peers"))
    assert case.status is Status.CONTAINED
    bench.world.remove("web")
    bench.clock.turn(timedelta(minutes=6))
    assert bench.settle(case).reason is Reason.DRIFTED
    bench.desk.retry(case.id, "local:ann")
    assert bench.settle(case).status is Status.CONTAINED
    bench.desk.release(case.id, "local:ann")
    assert bench.settle(case).outcome is Outcome.RELEASED
    assert bench.world.machine("a").labels == {"app": "shop", "tier": "front"}


def test_a_related_resource_that_vanished_is_passed_over_at_the_release(bench: Bench) -> None:
    bench.machine("a")
    bench.machine("b")
    case = bench.settle(bench.open(bench.world.add("web", peers=("a", "b")), "isolate-peers"))
    bench.world.remove("b")
    bench.desk.release(case.id, "local:ann")
    assert bench.settle(case).outcome is Outcome.RELEASED
    assert bench.world.machine("a").labels == {"app": "shop", "tier": "front"}
    assert "skipped" in bench.types(case)
