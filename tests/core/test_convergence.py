"""One step's way to its target, where the platform does not tell the truth at once."""

from datetime import timedelta
from pathlib import Path

import pytest

from quarantine.case import Outcome, Reason, Status
from quarantine.testing.fake.machine_close import MachineClose
from quarantine.testing.fake.machine_isolate import MachineIsolate
from quarantine.testing.fake.world import Fault
from tests.core.bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_an_open_outcome_is_not_concluded_before_the_provider_had_its_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request is late, not lost: whoever sent it again at once would have sent it twice."""
    monkeypatch.setattr(MachineClose, "settles_within", timedelta(seconds=10))
    case = bench.open(bench.machine(), "close")
    bench.world.fail("machine.set_ports", Fault.ARRIVE_LATE)
    assert bench.advance(case).status is Status.CONTAINING
    bench.clock.turn(timedelta(seconds=9))
    assert bench.advance(case).status is Status.CONTAINING
    bench.world.arrive()
    assert bench.settle(case).status is Status.CONTAINED
    assert bench.changes() == ["machine.set_ports"]


def test_where_reads_may_be_stale_two_equal_looks_are_needed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer was lost and the first look shows the state before: it did happen all the same."""
    monkeypatch.setattr(MachineClose, "consistent_within", timedelta(seconds=10))
    case = bench.open(bench.machine(), "close")
    bench.world.fail("machine.set_ports", Fault.LOSE_ANSWER)

    def then_look_away(place: str) -> None:
        if place == "before machine.set_ports":
            bench.world.stale(1)

    bench.failpoint = then_look_away
    assert bench.settle(case).status is Status.CONTAINED
    assert bench.changes() == ["machine.set_ports"]


def test_what_does_not_show_is_not_contained(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MachineIsolate, "settles_within", timedelta(seconds=10))
    bench.world.settle_after(timedelta(hours=1))
    case = bench.settle(bench.open(bench.machine(), "isolate"))
    assert (case.status, case.reason) == (Status.NEEDS_HUMAN, Reason.UNVERIFIED)
    assert "labels" in case.sentence
    bench.clock.turn(timedelta(hours=1))
    bench.desk.retry(case.id, "local:ann")
    assert bench.settle(case).status is Status.CONTAINED


def test_what_shows_in_time_is_contained(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MachineIsolate, "settles_within", timedelta(seconds=10))
    bench.world.settle_after(timedelta(seconds=8))
    assert bench.settle(bench.open(bench.machine(), "isolate")).status is Status.CONTAINED


def test_what_does_not_show_is_not_released(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    case = bench.settle(bench.open(bench.machine(), "close"))
    bench.world.settle_after(timedelta(hours=1))
    bench.desk.release(case.id, "local:ann")
    halted = bench.settle(case)
    assert (halted.status, halted.reason) == (Status.NEEDS_HUMAN, Reason.UNVERIFIED)
    bench.clock.turn(timedelta(hours=1))
    bench.desk.retry(case.id, "local:ann")
    assert bench.settle(case).outcome is Outcome.RELEASED
