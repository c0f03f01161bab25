"""Die at every place: before and after each durable write, before and after each change. Then recover, and check.

    unharmed life    finding ──> plan ──> (yes) ──> contained ──> released       counts the places, says how it must end
    harmed lives     the same, and at one place the process ends, or a message is lost, or both, or it dies twice

The places are named by the store and by the gate themselves, so the list is complete by construction. A message is lost
at the gate: to the engine and to the action that is an `Unknown` of the SDK, on every provider.

A playbook gets its crash tests by inheriting `CrashContract`, on the most real server that there is:

class TestIsolatePod(CrashContract):
    playbook = shipped() / "kubernetes" / "isolate-pod.yaml"

    @pytest.fixture
    def scene(self, ...) -> Callable[[Path], Scene]: ...     # makes a fresh resource, for one life
"""

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

import pytest

from quarantine.action import reached
from quarantine.case import Case, Outcome, Status
from quarantine.engine import Engine
from quarantine.errors import Unknown
from quarantine.model import Resource
from quarantine.plan import Nature
from quarantine.testing.fake.world import Died
from quarantine.testing.installation import Installation, memory_folder
from quarantine.testing.invariants import check, i19_changes_nothing, i20_recovery_is_idempotent

RUNS = "crash runs"
"""The property of a test report that says how many lives a test has harmed: `name count`."""
WAITS = 1000
"""How often a life may look whether something has come to its end."""
ANN = "local:ann"


@dataclass
class Scene:
    """One life's own resource, and how to see what became of it without any of our code."""

    installation: Installation
    resource: Resource
    raw: Callable[[], object]
    """Everything that the playbook may touch, as the provider has it, byte for byte, and every object of ours that must
    not be left. Without what changes with each write (versions, times). If the playbook cannot be undone, then also
    without what differs between two resources (names, uids), for then lives are compared with each other.
    """
    left: Callable[[], object] = lambda: None
    """What of ours stays by declaration, such as a shared group; the same after every life."""
    end: Callable[[], object] = lambda: None
    """Removes the resource."""


Stage = Callable[[Path], Scene]
"""(an empty folder) -> the scene of one more life, in an `Installation` in that folder."""


class Deaths:
    """Lets so many places pass, then ends the process; the next number counts from there."""

    def __init__(self, *alive: int) -> None:
        self.places: list[str] = []
        self.died: list[str] = []
        self._alive = list(alive)
        self._passed = 0

    def __call__(self, place: str) -> None:
        self.places.append(place)
        self._passed += 1
        if self._alive and self._passed > self._alive[0]:
            self._alive.pop(0)
            self._passed = 0
            self.died.append(place)
            raise Died(place)


class Message(StrEnum):
    """Which one is lost; its value is the gate's word for the place."""

    REQUEST = "before"
    """The change does not happen."""
    ANSWER = "after"
    """The change has happened."""


@dataclass(frozen=True)
class Loss:
    """The so-manieth call of this name loses a message. For the caller, both kinds look the same."""

    call: str
    number: int
    message: Message


class Losing:
    """Loses one message, once."""

    def __init__(self, loss: Loss | None) -> None:
        self.met = loss is None
        self._loss = loss
        self._passed = 0

    def __call__(self, place: str) -> None:
        if self._loss is None or self.met or place != f"{self._loss.message} {self._loss.call}":
            return
        self._passed += 1
        if self._passed > self._loss.number:
            self.met = True
            raise Unknown(f"{self._loss.call}: no answer")


def live(scene: Scene, playbook: str) -> Case:
    """From the finding to the end, release included; whoever dies is followed by another one, who does it again."""
    there = scene.installation
    case: Case | None = None
    engine: Engine | None = there.engine
    for _ in range(12):
        try:
            case = case or there.open(scene.resource, playbook)
            engine = engine or there.worker()
            case = there.settle(case, engine, WAITS)
            if case.status is Status.AWAITING_APPROVAL:
                there.desk.approve(case.id, ANN)
            elif case.status is Status.CONTAINED:
                assert_held(there, case)
                there.desk.release(case.id, ANN)
            else:
                return case
        except Died:
            engine = None
            there.outlive_leases()
        case = there.store.load(case.id) if case is not None else None
    raise AssertionError("no end" if case is None else f"no end: {case.status} {case.reason} {case.sentence}")


def assert_held(there: Installation, case: Case) -> None:
    """What is called contained shows its target, whatever the engine has read."""
    for step in case.held:
        target = there.witness.restored(case.progress(step.index).target, step)
        assert reached(there.witness.observe(step), target), f"{step.action} is called contained, and is not"


@dataclass(frozen=True)
class End:
    """How a life has ended."""

    status: tuple[object, ...]
    raw: object
    left: object
    changes: Counter[tuple[int, bool, str]]
    """(step, whether it was a release, call) -> how many took effect."""


class Lives:
    """The unharmed life of one playbook, and any number of harmed ones that must end like it."""

    def __init__(self, name: str, stage: Stage, folder: Path, life: Callable[[Scene, str], Case] = live) -> None:
        self.name = name
        self.runs = 0
        self.died: set[str] = set()
        """Where it has died by now."""
        self._stage = stage
        self._folder = folder
        self._life = life
        counting = Deaths()
        self._undone = True
        self._unharmed = self._live(counting, Losing(None))
        self.places = counting.places
        self._calls = [call for call in map(_changed, self.places) if call]
        assert self._unharmed.status[0] is Status.CLOSED, self._unharmed.status
        assert self._calls, f"{name} changes nothing"
        assert not self._undone or self._unharmed.status[1] is Outcome.RELEASED, self._unharmed.status

    def losses(self) -> list[Loss]:
        """Each change of the unharmed life, with its request lost and with its answer lost."""
        numbered = [(call, self._calls[:place].count(call)) for place, call in enumerate(self._calls)]
        return [Loss(call, number, message) for call, number in numbered for message in Message]

    def missed(self) -> list[int]:
        """The places where none has died yet."""
        return [number for number, place in enumerate(self.places) if place not in self.died]

    def harmed(self, *deaths: int, loss: Loss | None = None) -> None:
        """Die at these places, and lose this message; nothing is lost by it, doubled or stuck."""
        self.runs += 1
        dying, losing = Deaths(*deaths), Losing(loss)
        try:
            ended = self._live(dying, losing)
            assert ended.status[:2] == self._unharmed.status[:2], f"{ended.status[2:]}"
            assert ended.changes == self._unharmed.changes, "a change was lost or doubled"
            assert ended.left == self._unharmed.left, "what stays is not what stays of an unharmed life"
            if not self._undone:
                assert ended.raw == self._unharmed.raw, "it ends otherwise than an unharmed life"
            assert deaths or losing.met, "no such message was ever sent"
            self.died.update(dying.died)
        except Exception as error:
            error.add_note(f"{self.name}: died {dying.died} {deaths}, lost {loss}")
            raise

    def _live(self, dying: Deaths, losing: Losing) -> End:
        folder = self._folder / f"{self.name}-{self.runs}"
        folder.mkdir()
        scene = self._stage(folder)
        there, before = scene.installation, scene.raw()
        if not self.runs:
            i19_changes_nothing(there.witness, lambda: there.planner.draft(there.shelf.find(self.name), scene.resource))
            assert scene.raw() == before, "a dry run has changed something"
        there.failpoint, there.messages = dying, losing
        case = self._life(scene, self.name)
        there.failpoint, there.messages = (lambda _: None), (lambda _: None)
        check(there.witness)
        i20_recovery_is_idempotent(there.witness, lambda: there.worker().advance(case.id))
        effects = Counter((item.mark.step, item.release, item.call) for item in there.witness.effects)
        end = End((case.status, case.outcome, case.reason, case.sentence), scene.raw(), scene.left(), effects)
        assert case.plan is not None, case.sentence
        self._undone = all(step.nature is not Nature.ONE_WAY for step in case.plan.steps)
        if self._undone:
            assert end.raw == before, f"it was not given back as it was: {before} -> {end.raw} ({case.sentence})"
        there.store.close()
        scene.end()
        return end


def _changed(place: str) -> str:
    """The change that the gate has just let through, if the gate is the place."""
    when, _, call = place.partition(" ")
    return call if when == Message.ANSWER and not call.startswith("commit of ") else ""


class CrashContract:
    """A playbook whose case ends well wherever the process dies and whichever message is lost."""

    playbook: ClassVar[Path]
    pairs: ClassVar[int] = 8
    """How many double deaths `make test` tries."""
    most_pairs: ClassVar[int] = 200
    """And how many `make soak`, of a life that has more of them; other ones with another SEED=..."""

    @pytest.fixture
    def scene(self) -> Stage:
        raise NotImplementedError("give a fixture `scene`: a function that makes a fresh resource, for one life")

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Iterator[Path]:
        with memory_folder(tmp_path) as folder:
            yield folder

    @pytest.fixture
    def lives(self, scene: Stage, folder: Path, record_property: Callable[[str, object], None]) -> Iterator[Lives]:
        lives = Lives(self.playbook.stem, scene, folder)
        yield lives
        record_property(RUNS, f"{lives.name} {lives.runs}")

    def test_dying_anywhere_loses_nothing_and_doubles_nothing(self, lives: Lives) -> None:
        for number in range(len(lives.places)):
            lives.harmed(number)
        for _ in range(10):  # a life whose provider was quicker this time may have ended before it came to its place
            for number in lives.missed():
                lives.harmed(number)
        assert not lives.missed(), [lives.places[number] for number in lives.missed()]

    def test_a_lost_message_is_looked_up_and_the_change_is_made_once(self, lives: Lives) -> None:
        for loss in lives.losses():
            lives.harmed(loss=loss)

    def test_dying_anywhere_while_a_message_is_lost(self, lives: Lives) -> None:
        chance = random.Random(lives.name)  # noqa: S311 - the same sample each time
        for loss in lives.losses():
            lives.harmed(chance.randrange(len(lives.places)), loss=loss)

    def test_dying_and_dying_again_while_recovering(self, lives: Lives) -> None:
        chance = random.Random(lives.name)  # noqa: S311
        for _ in range(self.pairs):
            lives.harmed(chance.randrange(len(lives.places)), chance.randrange(30))

    @pytest.mark.soak
    def test_every_death_with_every_lost_message(self, lives: Lives) -> None:
        for number in range(len(lives.places)):
            for loss in lives.losses():
                lives.harmed(number, loss=loss)

    @pytest.mark.soak
    def test_every_pair_of_deaths(self, lives: Lives) -> None:
        chance = random.Random(os.environ.get("SEED", lives.name))  # noqa: S311
        pairs = [(first, second) for first in range(len(lives.places)) for second in range(len(lives.places) - first)]
        for first, second in chance.sample(pairs, min(self.most_pairs, len(pairs))):
            lives.harmed(first, second)
