"""More is done to what is contained: the first before-images stay, and a release undoes everything backwards."""

from datetime import timedelta
from pathlib import Path

import pytest

from quarantine.case import Case, EscalationEnded, Intended, Outcome, Reason, Status
from quarantine.errors import Misused
from quarantine.testing.crash import Lives, Scene
from quarantine.testing.fake.world import EVERYONE, Died, Fault
from quarantine.testing.invariants import check
from tests.core.bench import Bench
from tests.core.test_crash import world_of

ANN, BOB = "local:ann", "local:bob"
LABELS = {"app": "shop", "tier": "front"}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def contained(bench: Bench, name: str = "isolate") -> Case:
    case = bench.settle(bench.open(bench.machine(), name))
    assert case.status is Status.CONTAINED
    bench.world.sent.clear()
    return case


def escalate(bench: Bench, case: Case, name: str, by: str = ANN) -> Case:
    bench.desk.escalate(case.id, by, bench.shelf.find(name))
    return bench.settle(case)


def ended(bench: Bench, case: Case) -> str:
    """Why the escalation ended."""
    (event,) = [item.event for item in bench.store.history(case.id) if isinstance(item.event, EscalationEnded)]
    return event.sentence


def test_its_steps_follow_and_a_release_undoes_all_backwards(bench: Bench) -> None:
    was = bench.world.machine("web") if "web" in bench.changes() else None
    case = contained(bench)
    case = escalate(bench, case, "close")
    assert case.status is Status.CONTAINED
    assert bench.changes() == ["machine.set_ports"]
    assert case.plan is not None and [step.index for step in case.plan.steps] == [0, 1]
    assert case.playbooks == ("isolate", "close")
    bench.world.sent.clear()
    bench.desk.release(case.id, ANN)
    closed = bench.settle(case)
    assert (closed.outcome, closed.sentence) == (Outcome.RELEASED, "everything is as it was before")
    assert bench.changes() == ["machine.set_ports", "machine.patch_labels", "policy.delete"]
    machine = bench.world.machine("web")
    assert (machine.labels, machine.ports) == (LABELS, {"22": "0.0.0.0/0", "443": "10.0.0.0/8"})
    assert was is None
    bench.assert_whole()


def test_the_first_before_image_stays_and_what_is_so_already_is_not_done_again(bench: Bench) -> None:
    case = contained(bench)
    before = case.progress(0).before
    case = escalate(bench, case, "isolate-and-close")
    assert bench.changes() == ["machine.set_ports"]
    assert case.progress(0).before == before
    intended = [item.event for item in bench.store.history(case.id) if isinstance(item.event, Intended)]
    assert [event.step for event in intended] == [0, 3], "the second isolation was skipped"
    bench.desk.release(case.id, ANN)
    assert bench.settle(case).outcome is Outcome.RELEASED
    assert bench.world.machine("web").labels == LABELS


def test_what_cannot_be_undone_is_done_by_two_and_said_at_the_release(bench: Bench) -> None:
    case = escalate(bench, contained(bench), "stop")
    assert (case.status, bench.changes()) == (Status.CONTAINED, [])
    assert case.escalation is not None and case.escalation.plan is not None
    bench.desk.approve(case.id, BOB, case.escalation.digest)
    case = bench.settle(case)
    assert (case.status, bench.world.machine("web").power) == (Status.CONTAINED, "stopped")
    bench.desk.release(case.id, ANN)
    closed = bench.settle(case)
    assert closed.outcome is Outcome.RELEASED, (closed.reason, closed.sentence)
    assert "cannot be undone: fake:machine-stop" in closed.sentence
    assert (bench.world.machine("web").labels, bench.world.machine("web").power) == (LABELS, "stopped")


def test_what_is_deleted_in_the_end_closes_the_case_as_done(bench: Bench) -> None:
    """And not as a target that somebody else has removed: it is gone because we were told to."""
    case = escalate(bench, contained(bench), "delete")
    bench.desk.approve(case.id, BOB)
    closed = bench.settle(case)
    assert (closed.outcome, closed.sentence) == (Outcome.ONE_WAY_DONE, "done and verified; it cannot be undone")
    bench.assert_whole()


def test_what_is_held_besides_what_was_deleted_goes_on_being_held(bench: Bench) -> None:
    bench.world.add("db", labels={"app": "shop"}, ports={})
    before = bench.world.machine("db").labels
    web = bench.world.add("web", labels=LABELS, ports={"22": EVERYONE}, peers=("db",))
    case = bench.settle(bench.open(web, "isolate-web-and-peers"))
    case = escalate(bench, case, "delete")
    bench.desk.approve(case.id, BOB)
    case = bench.settle(case)
    assert (case.status, [step.resource.id for step in case.held]) == (Status.CONTAINED, ["db"])
    bench.clock.turn(timedelta(minutes=6))
    assert bench.settle(case).status is Status.CONTAINED, "that it is gone is no drift"
    bench.desk.release(case.id, ANN)
    closed = bench.settle(case)
    assert closed.outcome is Outcome.RELEASED, (closed.reason, closed.sentence)
    assert "cannot be undone: fake:machine-delete" in closed.sentence
    assert bench.world.machine("db").labels == before
    bench.assert_whole()


def test_it_is_watched_while_it_waits(bench: Bench) -> None:
    case = escalate(bench, contained(bench), "stop")
    bench.world.meddle("web", labels=LABELS)
    bench.clock.turn(timedelta(minutes=6))
    drifted = bench.advance(case)
    assert (drifted.status, drifted.reason, drifted.escalation) == (Status.NEEDS_HUMAN, Reason.DRIFTED, None)


@pytest.mark.parametrize("step", ["labels", "ports"])
def test_drift_of_either_part_is_seen_and_put_right(bench: Bench, step: str) -> None:
    case = escalate(bench, contained(bench), "close")
    if step == "labels":
        bench.world.meddle("web", labels=LABELS)
    else:
        bench.world.meddle("web", ports={"22": "0.0.0.0/0"})
    bench.clock.turn(timedelta(minutes=6))
    assert bench.settle(case).reason is Reason.DRIFTED
    bench.desk.retry(case.id, ANN)
    assert bench.settle(case).status is Status.CONTAINED
    machine = bench.world.machine("web")
    assert (set(machine.labels), "22" in machine.ports) == ({"quarantine"}, False)


def test_twice(bench: Bench) -> None:
    case = escalate(bench, contained(bench), "close")
    case = escalate(bench, case, "stop")
    bench.desk.approve(case.id, BOB)
    case = bench.settle(case)
    assert case.playbooks == ("isolate", "close", "stop")
    assert case.plan is not None and [step.index for step in case.plan.steps] == [0, 1, 2, 3]
    bench.desk.release(case.id, ANN)
    assert bench.settle(case).outcome is Outcome.RELEASED


def test_a_release_ends_what_was_only_wanted(bench: Bench) -> None:
    case = escalate(bench, contained(bench), "stop")
    bench.desk.release(case.id, ANN)
    closed = bench.settle(case)
    assert (closed.outcome, closed.escalation) == (Outcome.RELEASED, None)
    assert bench.world.machine("web").power == "running"


def test_nothing_to_do_is_said(bench: Bench) -> None:
    case = escalate(bench, contained(bench, "isolate-and-close"), "close")
    assert (case.status, case.escalation, bench.changes()) == (Status.CONTAINED, None, [])
    assert "it shows the target already" in ended(bench, case)


def test_what_cannot_work_here_is_said(bench: Bench) -> None:
    case = contained(bench, "close")
    bench.world.meddle("web", power="stopped")
    case = escalate(bench, case, "isolate")
    assert (case.status, bench.changes()) == (Status.CONTAINED, [])
    assert "the machine is stopped" in ended(bench, case)


def test_a_provider_that_denies_us_ends_the_escalation_and_not_the_watch(bench: Bench) -> None:
    case = contained(bench)
    bench.world.denied.add("identity.get")
    case = escalate(bench, case, "close")
    assert (case.status, bench.store.due(case.id) is not None) == (Status.CONTAINED, True)
    assert "identity.get" in ended(bench, case)


def test_a_failure_in_the_middle_is_for_a_person_and_can_be_released(bench: Bench) -> None:
    case = contained(bench)
    bench.world.denied.add("machine.set_ports")
    case = escalate(bench, case, "close")
    assert (case.status, case.reason) == (Status.NEEDS_HUMAN, Reason.PERMISSION_MISSING)
    bench.world.denied.clear()
    bench.desk.release(case.id, ANN)
    assert bench.settle(case).outcome is Outcome.RELEASED
    assert bench.world.machine("web").labels == LABELS


def test_what_is_refused_says_what_would_work(bench: Bench) -> None:
    waiting = bench.settle(bench.open(bench.machine("other"), "stop"))
    with pytest.raises(Misused, match="only what is contained"):
        bench.desk.escalate(waiting.id, ANN, bench.shelf.find("isolate"))
    case = contained(bench)
    with pytest.raises(Misused, match="is of isolate already"):
        bench.desk.escalate(case.id, ANN, bench.shelf.find("isolate"))
    away = bench.shelf.find("stop").match.model_copy(update={"resource": "fake:bucket"})
    with pytest.raises(Misused, match="works on fake:bucket"):
        bench.desk.escalate(case.id, ANN, bench.shelf.find("stop").model_copy(update={"match": away}))
    escalate(bench, case, "stop")
    with pytest.raises(Misused, match="approve or deny that first"):
        bench.desk.escalate(case.id, BOB, bench.shelf.find("close"))


def test_another_case_of_that_playbook_is_named(bench: Bench) -> None:
    case = contained(bench)
    other = bench.settle(bench.open(case.resource, "stop"))
    with pytest.raises(Misused, match=other.id):
        bench.desk.escalate(case.id, ANN, bench.shelf.find("stop"))


@pytest.mark.parametrize("playbook", ["isolate", "close"])
def test_a_kill_switch_stops_it_between_two_changes(bench: Bench, playbook: str) -> None:
    """Of the playbook that is added, or of the one that the case began with."""
    case = contained(bench, "close")
    scope = f"playbook:{playbook}"
    bench.world.fail("policy.create", lambda: bench.store.switch(scope, True, "drill", BOB, bench.clock()))
    case = escalate(bench, case, "isolate")
    assert (case.status, case.reason, bench.changes()) == (Status.NEEDS_HUMAN, Reason.STOPPED, ["policy.create"])
    bench.desk.release(case.id, ANN)
    assert bench.settle(case).outcome is Outcome.RELEASED
    assert bench.world.policies() == {}


# -- dying -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["killed", "edited", "drifted"])
def test_who_dies_before_the_first_change_asks_the_guards_again(bench: Bench, change: str) -> None:
    case = contained(bench)
    bench.desk.escalate(case.id, ANN, bench.shelf.find("close"))
    with bench.death("before commit of intended"):
        bench.settle(case)
    if change == "killed":
        bench.store.switch("playbook:close", True, "drill", BOB, bench.clock())
    elif change == "edited":
        more = bench.shelf.find("close").model_copy(update={"description": "Other."})
        bench.shelf.playbooks["close"] = more
    else:
        bench.world.meddle("web", ports={"8080": "0.0.0.0/0"})
    case = bench.settle(case, bench.worker())
    assert (case.status, case.playbooks, bench.changes()) == (Status.CONTAINED, ("isolate",), [])
    assert case.plan is not None and len(case.plan.steps) == 1
    assert ended(bench, case).startswith("escalation to close: ")
    bench.store.switch("playbook:close", False, "", BOB, bench.clock())
    case = escalate(bench, case, "close")
    assert (case.status, case.playbooks, bench.changes()) == (
        Status.CONTAINED, ("isolate", "close"), ["machine.set_ports"],
    )  # fmt: skip


def life(scene: Scene, name: str) -> Case:
    """Escalate what is contained, approve if asked, and release; whoever dies is followed by another worker."""
    bench, engine = scene.installation, scene.installation.engine
    dying, bench.failpoint = bench.failpoint, lambda _: None
    case = bench.settle(bench.open(scene.resource, "isolate"))
    bench.failpoint = dying
    for _ in range(16):
        try:
            if case.status is Status.CLOSED:
                return case
            if case.asks_until is not None:
                bench.desk.approve(case.id, BOB)
            elif name in case.playbooks:
                bench.desk.release(case.id, ANN)
            elif case.escalation is None:
                bench.desk.escalate(case.id, ANN, bench.shelf.find(name))
            case = bench.settle(case, engine)
        except Died:
            engine = bench.worker()
            bench.outlive_leases()
            case = bench.settle(bench.store.load(case.id), engine)
    raise AssertionError(f"no end: {case.status} {case.reason} {case.sentence}")


def escalating(folder: Path) -> Scene:
    bench = Bench(folder)
    return Scene(bench, bench.machine(), lambda: world_of(bench))


@pytest.mark.parametrize(("name", "every"), [("stop", 1), ("isolate-and-close", 4)])
def test_dying_anywhere_loses_nothing_and_doubles_nothing(name: str, every: int, memory: Path) -> None:
    """Everywhere for the one that is approved; for the other, a sample."""
    lives = Lives(name, escalating, memory, life)
    for number in range(0, len(lives.places), every):
        lives.harmed(number)


@pytest.mark.parametrize("fault", [Fault.LOSE_ANSWER, Fault.LOSE_REQUEST, Fault.THROTTLE])
def test_a_lost_answer_is_looked_up(bench: Bench, fault: Fault) -> None:
    case = contained(bench)
    bench.world.fail("machine.set_ports", fault)
    assert escalate(bench, case, "close").status is Status.CONTAINED
    assert bench.world.unmet == {}


def test_an_escalation_of_what_is_gone_does_not_end_a_case_that_holds_another_machine(bench: Bench) -> None:
    """Its own machine was deleted; the peer is still cut off, so the case stays open for a person."""
    bench.world.add("db", labels={"app": "shop"}, ports={"5432": "10.0.0.0/8"})
    before = bench.world.machine("db").labels
    web = bench.world.add("web", labels={"app": "shop"}, ports={"22": EVERYONE}, peers=("db",))
    case = bench.settle(bench.open(web, "isolate-web-and-peers"))
    assert case.status is Status.CONTAINED
    bench.desk.escalate(case.id, "local:ann", bench.shelf.find("close"))
    bench.world.remove("web")
    case = bench.advance(case)
    assert (case.status, case.reason) == (Status.NEEDS_HUMAN, Reason.PARTIAL)
    assert "what is held besides still is: release it, or keep it" in case.sentence
    assert bench.world.machine("db").labels != before
    bench.desk.release(case.id, "local:ann")
    assert bench.settle(case).status is Status.CLOSED
    assert bench.world.machine("db").labels == before
    check(bench.witness)
