"""The gate: what is durable when a call goes out, and who may send one at all."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from quarantine.case import Case, Outcome, Reason, Status
from quarantine.store.sql import Store
from tests.core.bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def seen_at(bench: Bench, case: Case, call: str) -> list[list[str]]:
    """What another program reads of the case at the moment at which the platform gets this call."""
    other, seen = Store(bench.store.url, bench.clock), list[list[str]]()
    bench.world.fail(call, lambda: seen.append([item.event.type for item in other.history(case.id)]))
    return seen


def test_the_intent_is_durable_before_the_first_call(bench: Bench) -> None:
    case = bench.open(bench.machine(), "isolate")
    (seen,) = watched(bench, case, "policy.create")
    assert seen[-1] == "intended"


def test_a_receipt_is_durable_before_the_next_call(bench: Bench) -> None:
    case = bench.open(bench.machine(), "isolate")
    (seen,) = watched(bench, case, "machine.patch_labels")
    assert seen[-2:] == ["intended", "changed"]


def test_the_intent_of_a_release_is_durable_before_its_first_call(bench: Bench) -> None:
    case = bench.settle(bench.open(bench.machine(), "isolate"))
    bench.desk.release(case.id, "local:ann")
    (seen,) = watched(bench, case, "machine.patch_labels")
    assert seen[-1] == "release_intended"


def watched(bench: Bench, case: Case, call: str) -> list[list[str]]:
    seen = seen_at(bench, case, call)
    assert bench.settle(case).status in (Status.CONTAINED, Status.CLOSED)
    return seen


def at(bench: Bench, place: str, happens: Callable[[], None]) -> None:
    """Once, when a worker comes to this place."""

    def failpoint(name: str) -> None:
        if name == place:
            bench.failpoint = lambda _: None
            happens()

    bench.failpoint = failpoint


def test_a_worker_that_lost_its_lease_sends_nothing(bench: Bench) -> None:
    """It is frozen between its intent and its call, and everything is over when it wakes."""
    case = bench.open(bench.machine(), "close")

    def freeze_and_let_another_finish() -> None:
        bench.clock.turn(bench.settings.worker.lease + timedelta(seconds=1))
        second = bench.worker()
        assert bench.settle(case, second).status is Status.CONTAINED
        bench.desk.release(case.id, "local:ann")
        assert bench.settle(case, second).outcome is Outcome.RELEASED

    at(bench, "before machine.set_ports", freeze_and_let_another_finish)
    bench.advance(case)
    assert bench.changes() == ["machine.set_ports", "machine.set_ports"], "one to contain, one to release"
    assert bench.world.machine("web").ports == {"22": "0.0.0.0/0", "443": "10.0.0.0/8"}
    assert bench.store.load(case.id).outcome is Outcome.RELEASED


def test_no_call_is_sent_that_could_outlast_the_lease(bench: Bench) -> None:
    case = bench.open(bench.machine(), "close")
    at(bench, "before machine.set_ports", lambda: bench.clock.turn(bench.settings.worker.lease - timedelta(seconds=19)))
    bench.advance(case)
    assert bench.changes() == []
    assert bench.settle(case).status is Status.CONTAINED, "with the next lease it is"


class Blind(Store):
    """A store whose switches cannot be read while it is blind."""

    blind = False

    def switches(self) -> list:  # type: ignore[type-arg]
        if self.blind:
            raise OSError("the page is damaged")
        return super().switches()


def test_a_kill_switch_that_cannot_be_read_is_on(bench: Bench) -> None:
    store = Blind(bench.store.url, bench.clock, lambda name: bench.failpoint(name))
    bench.store = store
    case = bench.open(bench.machine(), "close")

    def lose_sight() -> None:
        store.blind = True

    at(bench, "after commit of intended", lose_sight)
    engine = bench.worker()
    assert bench.settle(case, engine).reason is Reason.STOPPED
    assert bench.changes() == []
    store.blind = False
    bench.desk.retry(case.id, "local:ann")
    assert bench.settle(case, engine).status is Status.CONTAINED


def test_nothing_is_changed_outside_of_the_engine(bench: Bench) -> None:
    resource = bench.machine()
    cloud = bench.registry.provider("fake").connect(resource.scope)
    with pytest.raises(PermissionError, match="outside of the engine"):
        cloud.change("machine.set_ports", "machine.set_ports", id=resource.id, ports={})
    with pytest.raises(PermissionError, match=r"use cloud\.change"):
        cloud.read("machine.set_ports", "machine.set_ports", id=resource.id, ports={})
    assert bench.changes() == []


def test_what_was_committed_survives_a_power_cut(bench: Bench) -> None:
    """SQLite's FULL: with NORMAL a power cut may take the last commits, and an intent must not be lost."""
    with bench.store._engine.connect() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
