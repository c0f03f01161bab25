"""The crash harness finds what it is there for: one planted defect after the other, on a provider it knows nothing of.

The fake platform is used as any provider is: what happens at it is seen from outside, and it says nothing by itself.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quarantine.action import Mark
from quarantine.case import Outcome, Reconciled, Verified
from quarantine.convergence import Convergence
from quarantine.errors import Unknown
from quarantine.testing.crash import Deaths, Lives, Loss, Message, Scene, live
from quarantine.testing.fake.machine_isolate import MachineIsolate
from quarantine.testing.fake.machine_stop import MachineStop
from quarantine.testing.fake.provider import FakeProvider, FakeSettings
from quarantine.testing.fake.world import FakeWorld
from quarantine.testing.installation import HandClock, Installation
from quarantine.testing.invariants import Violated, check
from tests.core.bench import PLAYBOOKS

LABELS = {"app": "shop", "tier": "front"}


class FakeScene(Scene):
    """With the platform, which the harness does not see."""

    world: FakeWorld


def scene(folder: Path) -> FakeScene:
    clock = HandClock()
    world = FakeWorld(clock)
    resource = world.add("web", labels=LABELS, ports={"22": "0.0.0.0/0"})
    there = Installation(folder, FakeProvider(FakeSettings(), world), PLAYBOOKS, clock=clock)
    made = FakeScene(there, resource, raw=lambda: shown(world), left=world.names)
    made.world = world
    return made


def shown(world: FakeWorld) -> list[object]:
    machine = world.machine("web")
    return [machine.labels, machine.ports, machine.power, len(world.policies())]


def after(method: Callable[..., Any], then: Callable[..., object]) -> Callable[..., Any]:
    """The method, and something else that nobody ordered."""

    def both(self: Any, cloud: Any, *arguments: Any) -> None:
        method(self, cloud, *arguments)
        then(cloud, *arguments)

    return both


def everywhere(lives: Lives) -> None:
    for number in range(len(lives.places)):
        lives.harmed(number)


@pytest.mark.parametrize("playbook", ["isolate", "close", "stop"])
def test_without_a_defect_it_finds_nothing(playbook: str, memory: Path) -> None:
    lives = Lives(playbook, scene, memory)
    everywhere(lives)
    for loss in lives.losses():
        lives.harmed(loss=loss)
    assert lives.runs == len(lives.places) + len(lives.losses())


def test_what_no_observation_shows_and_is_not_given_back(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops_it(cloud: Any, *_: Any) -> None:
        if cloud.world.machine("web").power == "running":
            cloud.invoke("machine.stop", {"id": "web"})

    monkeypatch.setattr(MachineIsolate, "apply", after(MachineIsolate.apply, stops_it))
    with pytest.raises(AssertionError, match="not given back as it was"):
        Lives("isolate", scene, memory)


def test_an_object_that_only_a_second_try_leaves(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: set[str] = set()
    original = MachineIsolate.apply

    def apply(self: Any, cloud: Any, *arguments: Any) -> None:
        if cloud.mark.key in tried:
            cloud.world.add("leftover")
        tried.add(cloud.mark.key)
        original(self, cloud, *arguments)

    monkeypatch.setattr(MachineIsolate, "apply", apply)
    lives = Lives("isolate", scene, memory)
    with pytest.raises(AssertionError, match="what stays is not what stays of an unharmed life"):
        everywhere(lives)


def test_a_change_that_is_made_twice_in_one_try(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def again(cloud: Any, resource: Any, *_: Any) -> None:
        cloud.invoke("machine.stop", {"id": resource.id, "uid": resource.uid})

    monkeypatch.setattr(MachineStop, "apply", after(MachineStop.apply, again))
    with pytest.raises(Violated, match=r"I-7: machine\.stop .* took effect 2 times and was tried 1"):
        Lives("stop", scene, memory)


def test_a_change_that_only_who_comes_after_a_death_makes_twice(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Convergence.reconcile

    def zealous(self: Any, turn: Any, step: Any, progress: Any, last: str = "") -> bool:
        """Writes the same labels once more when it has found that all is done."""
        moved = original(self, turn, step, progress, last)
        cloud = self._planner.cloud(step.resource)
        cloud._mark = Mark(installation=self._installation, case=turn.case.id, step=step.index, key=progress.key)
        cloud.invoke("machine.patch_labels", {"id": "web", "labels": cloud.world.machine("web").labels})
        return moved

    monkeypatch.setattr(Convergence, "reconcile", zealous)
    lives = Lives("isolate", scene, memory)
    with pytest.raises(AssertionError, match="a change was lost or doubled"):
        everywhere(lives)


def test_a_lost_request_that_is_taken_for_done(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trusting(self: Any, turn: Any, step: Any, *_: Any, **__: Any) -> bool:
        turn.add(Reconciled(step=step.index, sentence="it will have happened"))
        turn.add(Verified(step=step.index))
        return True

    lives = Lives("close", scene, memory)
    monkeypatch.setattr(Convergence, "reconcile", trusting)
    with pytest.raises(AssertionError, match="is called contained, and is not"):
        lives.harmed(loss=lives.losses()[0])


@pytest.mark.parametrize(
    ("label", "found"),
    [({}, r"I-2: machine\.patch_labels carries no mark"), ({"seen": "yes"}, "a dry run has changed something")],
    ids=["nothing", "something"],
)
def test_a_look_that_writes(label: dict[str, str], found: str, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = MachineIsolate.observe

    def observe(self: Any, cloud: Any, resource: Any) -> Any:
        cloud.invoke("machine.patch_labels", {"id": "web", "labels": label})
        return original(self, cloud, resource)

    monkeypatch.setattr(MachineIsolate, "observe", observe)
    with pytest.raises(AssertionError, match=found):
        Lives("isolate", scene, memory)


@pytest.mark.parametrize("every", [True, False], ids=["all of it", "one value of it"])
def test_what_is_in_place_and_no_case_names_it(every: bool, memory: Path) -> None:
    made, contained = scene(memory), dict[str, str]()
    made.installation.messages = lambda _: contained.update(made.world.machine("web").labels)
    assert live(made, "isolate").outcome is Outcome.RELEASED
    check(made.installation.witness)
    ours = {"quarantine": contained["quarantine"]}
    made.world.meddle("web", labels=ours if every else LABELS | ours)
    with pytest.raises(Violated, match="I-3: fake:machine-isolate is in place"):
        check(made.installation.witness)


def test_a_message_that_is_never_sent_is_not_lost(memory: Path) -> None:
    lives = Lives("isolate", scene, memory)
    with pytest.raises(AssertionError, match="no such message was ever sent") as failure:
        lives.harmed(loss=Loss("machine.delete", 0, Message.ANSWER))
    assert "machine.delete" in failure.value.__notes__[0]


def test_a_case_that_comes_to_no_end(memory: Path) -> None:
    lives = Lives("isolate", scene, memory)
    with pytest.raises(AssertionError, match="no end"):
        lives.harmed(*[0] * 20)


def test_a_playbook_that_has_nothing_to_do_there(memory: Path) -> None:
    def contained_already(folder: Path) -> Scene:
        made = scene(folder)
        made.world.meddle("web", ports={})
        return made

    with pytest.raises(AssertionError, match="changes nothing"):
        Lives("close", contained_already, memory)


def test_a_death_is_of_its_place_and_the_next_counts_from_there() -> None:
    deaths = Deaths(1, 0)
    deaths("a")
    died = []
    for place in ("b", "c", "d"):
        try:
            deaths(place)
        except BaseException:  # noqa: BLE001 - what the program must not catch
            died.append(place)
    assert died == deaths.died == ["b", "c"]


def test_what_is_lost_at_the_gate_is_unknown_and_only_once(memory: Path) -> None:
    lives = Lives("isolate", scene, memory)
    assert {loss.call for loss in lives.losses()} >= {"policy.create", "machine.patch_labels", "policy.delete"}
    made, seen = scene(memory), list[str]()

    def loses(place: str) -> None:
        if place == "after policy.create" and not seen:
            seen.append(place)
            raise Unknown(place)

    made.installation.messages = loses
    case = live(made, "isolate")
    assert made.installation.types(case).count("reconciled") == 0, "half of the step was left to do"
    assert made.installation.types(case).count("retried") == 1
