"""Die at every place: before and after each durable write, before and after each call. Then recover, and check.

The places are named by the store and by the gate themselves, so the list is complete by construction: a first run
counts them, and each of them is a test of its own kind of death.
"""

from datetime import timedelta
from pathlib import Path

import pytest

from quarantine.case import Case, Intended, Outcome, Recorded, ReleaseIntended, Stage, Status
from quarantine.plan import restored
from quarantine.testing.fake.world import Died
from tests.core.bench import Bench

PLAYBOOKS = ["isolate", "close", "fence", "isolate-and-close", "stop", "isolate-and-stop"]


class Deaths:
    """Lets so many places pass, then ends the process."""

    def __init__(self, alive: int | None) -> None:
        self.places: list[str] = []
        self._alive = alive

    def __call__(self, place: str) -> None:
        self.places.append(place)
        if self._alive is not None and len(self.places) > self._alive:
            self._alive = None
            raise Died(place)


def life(bench: Bench, name: str, deaths: Deaths) -> Case:
    """From the finding to the end, release included; whoever dies is followed by another worker."""
    resource = bench.machine()
    if name == "fence":
        for call in ("policy.create", "machine.set_ports", "policy.delete"):
            bench.world.slow(call, timedelta(seconds=2))
    case = bench.open(resource, name)
    bench.failpoint = deaths
    engine = bench.engine
    for _ in range(12):
        try:
            case = bench.settle(case, engine)
            if case.status is Status.AWAITING_APPROVAL:
                bench.desk.approve(case.id, "local:ann")
            elif case.status is Status.CONTAINED:
                bench.desk.release(case.id, "local:ann")
            else:
                return case
        except Died:
            engine = bench.worker()
            bench.clock.turn(bench.settings.worker.lease + timedelta(seconds=1))
        case = bench.store.load(case.id)
    raise AssertionError(f"no end: {case.status} {case.reason} {case.sentence}")


def machine_after(bench: Bench) -> tuple[object, ...]:
    machine = bench.world.machine("web")
    return machine.labels, machine.ports, machine.power, len(bench.world.policies())


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_dying_anywhere_loses_nothing_and_doubles_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / "unharmed").mkdir()
    unharmed, counting = Bench(tmp_path / "unharmed"), Deaths(None)
    ended = life(unharmed, name, counting)
    assert len(counting.places) > 20
    assert ended.status is Status.CLOSED, (ended.reason, ended.sentence)
    for number, place in enumerate(counting.places):
        folder = tmp_path / str(number)
        folder.mkdir()
        bench = Bench(folder)
        case = life(bench, name, Deaths(number))
        where = f"died {place!r} ({number})"
        assert (case.status, case.outcome) == (ended.status, ended.outcome), (where, case.reason, case.sentence)
        assert machine_after(bench) == machine_after(unharmed), where
        assert sorted(bench.changes()) == sorted(unharmed.changes()), f"{where}: a change was lost or doubled"
        assert_intent_before_effect(bench, case, where)
        bench.assert_whole()
        bench.store.close()


def assert_intent_before_effect(bench: Bench, case: Case, where: str) -> None:
    events = bench.store.history(case.id)
    intended = [item for item in events if isinstance(item.event, (Intended, ReleaseIntended))]
    keys = {key_of(item) for item in intended}
    for sent in bench.world.sent:
        assert sent.mark is not None and sent.mark.key in keys, f"{where}: {sent.call} without an intent"


def key_of(recorded: Recorded) -> str:
    assert isinstance(recorded.event, (Intended, ReleaseIntended))
    return recorded.event.key


def test_the_unharmed_life_ends_as_it_should(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    case = life(bench, "isolate-and-close", Deaths(None))
    assert case.outcome is Outcome.RELEASED
    labels, ports, power, policies = machine_after(bench)
    assert (labels, power, policies) == ({"app": "shop", "tier": "front"}, "running", 0)
    assert ports == {"22": "0.0.0.0/0", "443": "10.0.0.0/8"}


@pytest.mark.parametrize("sabotage", ["no look before the second try", "the before-image is taken anew"])
def test_these_tests_can_fail(sabotage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two defects that a newcomer would write are found."""
    from quarantine import convergence

    if sabotage == "no look before the second try":
        # A retry that does not read first: it applies from the state in the intent.
        original = convergence.Convergence.reconcile

        def blind(self, turn, step, progress, last=""):  # type: ignore[no-untyped-def]
            action = self.action(step)
            before = restored(progress.before, action.state)
            target = restored(progress.target, action.state)
            if progress.stage is Stage.INTENDED:
                return self._apply(turn, step, before, target)
            return original(self, turn, step, progress, last)

        monkeypatch.setattr(convergence.Convergence, "reconcile", blind)
    else:
        from quarantine import case as case_module

        original_progress = case_module._progress

        def forgetful(progress, recorded):  # type: ignore[no-untyped-def]
            if isinstance(recorded.event, Intended):
                progress = progress.model_copy(update={"before": None, "intended": False})
            after = original_progress(progress, recorded)
            if isinstance(recorded.event, case_module.Applied):
                after = after.model_copy(update={"before": after.target})
            return after

        monkeypatch.setattr(case_module, "_progress", forgetful)
    with pytest.raises(AssertionError):
        test_dying_anywhere_loses_nothing_and_doubles_nothing("isolate", tmp_path)
