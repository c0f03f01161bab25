"""Each invariant, broken on purpose: a check that cannot fail proves nothing."""

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from quarantine import convergence
from quarantine.action import Mark
from quarantine.case import Allowed, Case, Intended, Outcome, Status
from quarantine.config import Budget, Guards, Mode
from quarantine.registry import Registry
from quarantine.testing.fake.provider import FakeProvider, FakeSettings
from quarantine.testing.installation import settings
from quarantine.testing.invariants import Violated, check, i19_changes_nothing, i20_recovery_is_idempotent, rests
from tests.core.bench import Bench


@pytest.fixture
def bench(memory: Path) -> Bench:
    return Bench(memory)


def contained(bench: Bench, name: str = "isolate") -> Case:
    case = bench.settle(bench.open(bench.machine(), name))
    assert case.status is Status.CONTAINED, case.sentence
    check(bench.witness)
    return case


def released(bench: Bench) -> Case:
    case = contained(bench)
    bench.desk.release(case.id, "local:ann")
    assert bench.settle(case).outcome is Outcome.RELEASED
    return case


def mark_of(bench: Bench, case: Case) -> Mark:
    """Of its first intent."""
    intent = next(item.event for item in bench.store.history(case.id) if isinstance(item.event, Intended))
    return Mark(installation=bench.store.installation(), case=case.id, step=intent.step, key=intent.key)


def send(bench: Bench, mark: Mark | None) -> None:
    """A change that the engine knows nothing of."""
    bench.world.call("machine.patch_labels", "local", {"id": "web", "labels": {"quarantine": "again"}}, mark)


def rewrite(bench: Bench, statement: str) -> None:
    """Somebody with the database's file, who can take its triggers away."""
    with sqlite3.connect(bench.folder / "cases.db") as connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute(statement)
    connection.close()


def test_a_change_without_an_intent(bench: Bench) -> None:
    case = contained(bench)
    send(bench, mark_of(bench, case).model_copy(update={"key": "of no intent"}))
    with pytest.raises(Violated, match="I-2"):
        check(bench.witness)


def test_a_change_without_a_mark(bench: Bench) -> None:
    contained(bench)
    send(bench, None)
    with pytest.raises(Violated, match=r"I-2: machine\.patch_labels carries no mark"):
        check(bench.witness)


def test_something_in_place_that_no_case_names(bench: Bench) -> None:
    send(bench, mark_of(bench, released(bench)))
    with pytest.raises(Violated, match="I-3: fake:machine-isolate is in place on fake:machine/web"):
        check(bench.witness)


def test_a_late_containment_after_the_undo_began(bench: Bench) -> None:
    send(bench, mark_of(bench, released(bench)))
    with pytest.raises(Violated, match="I-13"):
        check(bench.witness)


def test_a_release_that_did_not_give_everything_back(bench: Bench) -> None:
    released(bench)
    bench.world.meddle("web", labels={"app": "shop"})  # and nobody says that it was somebody else
    with pytest.raises(Violated, match=r"I-4: .* its labels.tier is not"):
        check(bench.witness)


def test_what_somebody_else_did_is_nobodys_fault(bench: Bench) -> None:
    case = released(bench)
    bench.world.meddle("web", labels={"app": "shop"})
    bench.witness.meddled(case.resource)
    check(bench.witness)


def test_a_before_image_that_changes(bench: Bench) -> None:
    case = contained(bench)
    bench.witness.before_images[case.id, 0] = "another"
    with pytest.raises(Violated, match="I-5"):
        check(bench.witness)


def test_two_cases_of_one_resource(bench: Bench) -> None:
    case = contained(bench)
    rewrite(bench, "UPDATE cases SET live_key = NULL")
    bench.open(case.resource, "isolate", id="another")
    with pytest.raises(Violated, match="I-6"):
        check(bench.witness)


def test_the_same_effect_twice(bench: Bench) -> None:
    case = contained(bench)
    send(bench, mark_of(bench, case))
    with pytest.raises(Violated, match="I-7"):
        check(bench.witness)


def test_a_row_that_says_something_else(bench: Bench) -> None:
    contained(bench)
    rewrite(bench, "UPDATE cases SET status = 'closed', outcome = 'kept'")
    with pytest.raises(Violated, match="I-8"):
        check(bench.witness)


def test_an_entry_that_was_altered(bench: Bench) -> None:
    contained(bench)
    rewrite(bench, "UPDATE events SET content = CAST(replace(content, 'web', 'wob') AS BLOB) WHERE seq = 4")
    with pytest.raises(Violated, match="I-8"):
        check(bench.witness)


def test_an_end_that_was_cut_off(bench: Bench) -> None:
    contained(bench)
    rewrite(bench, "DELETE FROM events WHERE seq > 5")
    rewrite(bench, "UPDATE cases SET seq = 5, head = (SELECT hash FROM events WHERE seq = 5)")
    with pytest.raises(Violated, match="I-14"):
        check(bench.witness)


def test_more_than_the_budget(bench: Bench) -> None:
    contained(bench)
    bench.witness.settings = settings(guards=Guards(mode=Mode.AUTO, budget=Budget(per_account_10m=0)))
    with pytest.raises(Violated, match="I-9: 1 of 0"):
        check(bench.witness)
    bench.clock.turn(timedelta(seconds=1))
    bench.witness.refilled()
    with pytest.raises(Violated, match="I-9"):
        check(bench.witness)


def test_acting_without_the_approval_that_was_asked_for(bench: Bench) -> None:
    case = bench.settle(bench.open(bench.machine(), "isolate-carefully"))
    assert case.status is Status.AWAITING_APPROVAL
    allowed = Allowed(digest=case.plan_digest, sentences=())
    bench.store.append(case, [allowed], by="engine", at=bench.clock())
    with pytest.raises(Violated, match="I-10"):
        check(bench.witness)


def test_acting_under_a_kill_switch(bench: Bench) -> None:
    case = contained(bench)
    bench.store.switch("playbook:isolate", True, "stop", "local:ann", bench.clock())
    send(bench, mark_of(bench, case))
    with pytest.raises(Violated, match="I-11"):
        check(bench.witness)


def test_touching_what_is_protected(bench: Bench) -> None:
    case = contained(bench)
    bench.witness.settings = settings(guards=Guards(mode=Mode.AUTO, protected=("fake:machine/web in *",)))
    send(bench, mark_of(bench, case))
    with pytest.raises(Violated, match="I-12"):
        check(bench.witness)


def test_a_dry_run_that_writes(bench: Bench) -> None:
    resource = bench.machine()
    with pytest.raises(Violated, match="I-19"):
        i19_changes_nothing(bench.witness, lambda: bench.open(resource, "isolate"))


def test_a_recovery_that_does_something_the_second_time(bench: Bench) -> None:
    case = bench.open(bench.machine(), "isolate")
    with pytest.raises(Violated, match="I-20: a second recovery made 2 changes"):
        i20_recovery_is_idempotent(bench.witness, lambda: bench.advance(case))
    i20_recovery_is_idempotent(bench.witness, lambda: bench.advance(case))


def test_who_rests_and_who_does_not(bench: Bench) -> None:
    case = bench.open(bench.machine(), "isolate")
    assert not rests(case, bench.store.due(case.id), bench.clock())
    held = bench.settle(case)
    assert rests(held, bench.store.due(case.id), bench.clock())
    assert not rests(held, bench.clock(), bench.clock()), "a look is due"


def test_a_release_that_writes_over_what_somebody_else_did(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the three-way merge, but the whole before-image."""
    case = contained(bench)
    bench.world.meddle("web", labels={**bench.world.machine("web").labels, "owner": "somebody"})
    bench.witness.meddled(case.resource)
    monkeypatch.setattr(convergence, "three_way", lambda before, _target, now: (before, ()))
    bench.desk.release(case.id, "local:ann")
    assert bench.settle(case).outcome is Outcome.RELEASED
    with pytest.raises(Violated, match=r"I-4: .* wrote over labels\.owner"):
        check(bench.witness)


def test_acting_by_itself_on_what_the_source_did_not_confirm(bench: Bench) -> None:
    del bench.registry.rereads["fake:detection"]  # the engine cannot ask it; the witness knows that it could be asked
    case = bench.settle(bench.open(bench.machine(), "isolate", reader="fake:detection"))
    assert case.status is Status.CONTAINED
    check(bench.witness)
    bench.witness.stood_by.clear()
    bench.witness.registry = Registry([FakeProvider], {"fake": FakeProvider(FakeSettings(), bench.world)})
    with pytest.raises(Violated, match=r"I-21: .* its source had not just confirmed it"):
        check(bench.witness)
