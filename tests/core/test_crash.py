"""Die at every place: before and after each durable write, before and after each call. Then recover, and check.

The places are named by the store and by the gate themselves, so the list is complete by construction: a first run
counts them, and each of them is a test of its own kind of death. Beside it, messages are lost, and the next worker dies
as well. `make test` takes a sample of the pairs, `make soak` all deaths with each lost message, and more double deaths.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from quarantine.case import Case, Outcome, Stage, Status
from quarantine.engine import Engine
from quarantine.plan import restored
from quarantine.testing.fake.world import Died, Fault, Machine
from quarantine.testing.invariants import check, i20_recovery_is_idempotent
from tests.conftest import Tell
from tests.core.bench import Bench

PLAYBOOKS = [
    "isolate",
    "close",
    "fence",
    "isolate-and-close",
    "stop",
    "delete",
    "isolate-and-stop",
    "isolate-peers",
    "isolate-web-and-peers",
]
LOST = (Fault.LOSE_REQUEST, Fault.LOSE_ANSWER)
SAMPLE = 12
"""How many pairs of each playbook `make test` tries."""


class Deaths:
    """Lets so many places pass, then ends the process; the next number counts from there."""

    def __init__(self, *alive: int) -> None:
        self.places: list[str] = []
        self._alive = list(alive)
        self._passed = 0

    def __call__(self, place: str) -> None:
        self.places.append(place)
        self._passed += 1
        if self._alive and self._passed > self._alive[0]:
            self._alive.pop(0)
            self._passed = 0
            raise Died(place)


@dataclass(frozen=True)
class Loss:
    """The so-manieth call of this name loses a message."""

    call: str
    number: int
    fault: Fault


def life(bench: Bench, name: str, deaths: Deaths) -> Case:
    """From the finding to the end, release included; whoever dies is followed by another worker."""
    bench.world.add("peer", labels={"app": "shop"})
    resource = bench.machine()
    bench.world.meddle("web", peers=("peer",))
    if name == "fence":
        for call in ("policy.create", "machine.set_ports", "policy.delete"):
            bench.world.slow(call, timedelta(seconds=2))
    case = bench.open(resource, name)
    bench.failpoint = deaths
    engine: Engine | None = bench.engine
    for _ in range(12):
        try:
            engine = engine or bench.worker()
            case = bench.settle(case, engine)
            if case.status is Status.AWAITING_APPROVAL:
                bench.desk.approve(case.id, "local:ann")
            elif case.status is Status.CONTAINED:
                bench.desk.release(case.id, "local:ann")
            else:
                return case
        except Died:
            engine = None
            bench.clock.turn(bench.settings.worker.lease + timedelta(seconds=1))
        case = bench.store.load(case.id)
    raise AssertionError(f"no end: {case.status} {case.reason} {case.sentence}")


def world_after(bench: Bench) -> tuple[list[Machine], int]:
    """The machines, whatever their versions, and the number of policies."""
    machines = [bench.world.machine(name) for name in bench.world.names()]
    return [machine.model_copy(update={"version": 0}) for machine in machines], len(bench.world.policies())


class Lives:
    """The unharmed life of one playbook, and any number of harmed ones that must end like it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.runs = 0
        self._folder = folder
        bench, counting = self._bench(), Deaths()
        self._ended = life(bench, name, counting)
        self._after, self._changes = world_after(bench), bench.changes()
        self.places = counting.places
        assert len(self.places) > 20
        assert self._ended.status is Status.CLOSED, (self._ended.reason, self._ended.sentence)
        bench.store.close()

    def losses(self) -> list[Loss]:
        """Each change of the unharmed life, with its request lost and with its answer lost."""
        numbered = [(call, self._changes[:place].count(call)) for place, call in enumerate(self._changes)]
        return [Loss(call, number, fault) for call, number in numbered for fault in LOST]

    def harmed(self, *deaths: int, loss: Loss | None = None) -> None:
        """Die at these places, and lose this message; nothing is lost by it, doubled or stuck."""
        self.runs += 1
        bench, dying = self._bench(), Deaths(*deaths)
        if loss is not None:
            bench.world.fail(loss.call, *[Fault.PASS] * loss.number, loss.fault)
        case = life(bench, self.name, dying)
        where = f"{self.name}: died {[self.places[at] for at in deaths[:1]]} {deaths}, {loss}"
        bench.failpoint = lambda _: None
        check(bench.witness)
        i20_recovery_is_idempotent(bench.witness, lambda: bench.worker().advance(case.id))
        ended = case.status, case.outcome
        assert ended == (self._ended.status, self._ended.outcome), (where, case.reason, case.sentence)
        assert world_after(bench) == self._after, where
        if loss is None:
            assert sorted(bench.changes()) == sorted(self._changes), f"{where}: a change was lost or doubled"
        bench.store.close()

    def _bench(self) -> Bench:
        folder = self._folder / f"{self.name}-{self.runs}"
        folder.mkdir()
        return Bench(folder)


@pytest.fixture(scope="module")
def crash_runs(tell: Tell) -> Iterator[Counter[str]]:
    """How many were made, by playbook."""
    runs: Counter[str] = Counter()
    yield runs
    tell(f"{runs.total()} crash runs: {', '.join(f'{name} {count}' for name, count in runs.items())}")


@pytest.fixture(params=PLAYBOOKS)
def lives(request: pytest.FixtureRequest, memory: Path, crash_runs: Counter[str]) -> Iterator[Lives]:
    lives = Lives(request.param, memory)
    yield lives
    crash_runs[lives.name] += lives.runs


def test_dying_anywhere_loses_nothing_and_doubles_nothing(lives: Lives) -> None:
    for number in range(len(lives.places)):
        lives.harmed(number)


def test_dying_anywhere_while_a_message_is_lost(lives: Lives) -> None:
    chance = random.Random(lives.name)
    for loss in lives.losses():
        lives.harmed(chance.randrange(len(lives.places)), loss=loss)


def test_dying_and_dying_again_while_recovering(lives: Lives) -> None:
    chance = random.Random(lives.name)
    for _ in range(SAMPLE):
        lives.harmed(chance.randrange(len(lives.places)), chance.randrange(30))


@pytest.mark.soak
def test_every_death_with_every_lost_message(lives: Lives) -> None:
    for number in range(len(lives.places)):
        for loss in lives.losses():
            lives.harmed(number, loss=loss)


@pytest.mark.soak
def test_every_pair_of_deaths(lives: Lives, seed: int) -> None:
    """All pairs of the short lives; of the long ones a thousand, other ones with another SEED."""
    pairs = [(first, second) for first in range(len(lives.places)) for second in range(len(lives.places) - first)]
    for first, second in random.Random(seed).sample(pairs, min(1000, len(pairs))):
        lives.harmed(first, second)


def test_the_unharmed_life_ends_as_it_should(memory: Path) -> None:
    bench = Bench(memory)
    case = life(bench, "isolate-and-close", Deaths())
    assert case.outcome is Outcome.RELEASED
    machine, policies = bench.world.machine("web"), bench.world.policies()
    assert (machine.labels, machine.power, policies) == ({"app": "shop", "tier": "front"}, "running", {})
    assert machine.ports == {"22": "0.0.0.0/0", "443": "10.0.0.0/8"}


@pytest.mark.parametrize("sabotage", ["no look before the second try", "the before-image is taken anew"])
def test_these_tests_can_fail(sabotage: str, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
            if isinstance(recorded.event, case_module.Intended):
                progress = progress.model_copy(update={"before": None, "intended": False})
            after = original_progress(progress, recorded)
            if isinstance(recorded.event, case_module.Applied):
                after = after.model_copy(update={"before": after.target})
            return after

        monkeypatch.setattr(case_module, "_progress", forgetful)
    with pytest.raises(AssertionError):
        test_dying_anywhere_loses_nothing_and_doubles_nothing(Lives("isolate", memory))
