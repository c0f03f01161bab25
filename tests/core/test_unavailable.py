"""The database goes away for a moment at every durable write: the turn ends, the case does not, nobody is asked."""

from pathlib import Path

import pytest

from quarantine.case import Case, Status
from quarantine.errors import Unavailable
from quarantine.testing.invariants import check
from tests.core.bench import Bench
from tests.core.test_crash import world_of


class Outage:
    """Lets so many commits pass; the next one is refused, or its answer is lost."""

    def __init__(self, commits: int | None) -> None:
        self.places: list[str] = []
        self._left = commits

    def __call__(self, place: str) -> None:
        if " commit of " not in place:
            return
        self.places.append(place)
        if self._left is not None and len(self.places) > self._left:
            self._left = None
            raise Unavailable(place)


def life(bench: Bench, name: str, outage: Outage) -> Case:
    """From the finding to the end, by one worker that lives through it all."""
    case = bench.open(bench.machine(), name)
    bench.failpoint = outage
    for _ in range(12):
        try:
            bench.engine.give_back()
            case = bench.settle(case)
            if case.status is Status.AWAITING_APPROVAL:
                bench.desk.approve(case.id, "local:ann")
            elif case.status is Status.CONTAINED:
                bench.desk.release(case.id, "local:ann")
            else:
                return case
        except Unavailable:
            case = bench.store.load(case.id)
    raise AssertionError(f"no end: {case.status} {case.reason} {case.sentence}")


@pytest.mark.parametrize("name", ["fence", "isolate-and-close", "stop"])
def test_an_outage_at_any_commit_loses_nothing_and_asks_nobody(name: str, tmp_path: Path) -> None:
    (tmp_path / "unharmed").mkdir()
    unharmed, counting = Bench(tmp_path / "unharmed"), Outage(None)
    ended = life(unharmed, name, counting)
    assert len(counting.places) > 10
    for number, place in enumerate(counting.places):
        folder = tmp_path / str(number)
        folder.mkdir()
        bench = Bench(folder)
        case = life(bench, name, Outage(number))
        where = f"outage {place!r} ({number})"
        assert (case.status, case.outcome) == (ended.status, ended.outcome), (where, case.reason, case.sentence)
        assert "halted" not in bench.types(case), where
        if place != "after commit of claim":  # there nobody knows of the lease, and it has to run out
            assert "taken_over" not in bench.types(case), f"{where}: nobody else had it meanwhile"
        assert world_of(bench) == world_of(unharmed), where
        assert sorted(bench.changes()) == sorted(unharmed.changes()), f"{where}: a change was lost or doubled"
        check(bench.witness)
        bench.store.close()


def test_a_switch_that_cannot_be_read_for_a_moment_stops_the_change_and_not_the_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    case = bench.open(bench.machine(), "isolate")
    reads = bench.store.switches

    def unreadable() -> None:
        raise Unavailable("restarting")

    def before_the_call(place: str) -> None:
        if place.startswith("before ") and " commit of " not in place:
            monkeypatch.setattr(bench.store, "switches", unreadable)

    bench.failpoint = before_the_call
    with pytest.raises(Unavailable):
        bench.settle(case)
    assert bench.changes() == [], "a switch that cannot be read is on"

    bench.failpoint = lambda _: None
    monkeypatch.setattr(bench.store, "switches", reads)
    bench.engine.give_back()
    assert bench.settle(case).status is Status.CONTAINED
