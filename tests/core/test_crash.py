"""Every playbook of the fake platform dies everywhere, see quarantine/testing/crash.py; and that harness can fail."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from quarantine.case import Outcome, Stage
from quarantine.plan import restored
from quarantine.testing.crash import RUNS, CrashContract, Lives, Scene, live
from quarantine.testing.fake.world import Machine
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


def scene_of(playbook: str) -> Callable[[Path], Scene]:
    def scene(folder: Path) -> Scene:
        bench = Bench(folder)
        bench.world.add("peer", labels={"app": "shop"})
        resource = bench.machine()
        bench.world.meddle("web", peers=("peer",))
        if playbook == "fence":
            for call in ("policy.create", "machine.set_ports", "policy.delete"):
                bench.world.slow(call, timedelta(seconds=2))
        return Scene(bench, resource, lambda: world_of(bench))

    return scene


def world_of(bench: Bench) -> tuple[list[Machine], int]:
    """The machines, whatever their versions, and the number of policies."""
    machines = [bench.world.machine(name) for name in bench.world.names()]
    return [machine.model_copy(update={"version": 0}) for machine in machines], len(bench.world.policies())


class TestEveryPlaybookOfTheFakePlatform(CrashContract):
    pairs, most_pairs = 12, 1000

    @pytest.fixture(params=PLAYBOOKS)
    def lives(
        self, request: pytest.FixtureRequest, folder: Path, record_property: Callable[[str, object], None]
    ) -> Iterator[Lives]:
        lives = Lives(request.param, scene_of(request.param), folder)
        yield lives
        record_property(RUNS, f"{lives.name} {lives.runs}")


def test_the_unharmed_life_ends_as_it_should(memory: Path) -> None:
    scene = scene_of("isolate-and-close")(memory)
    bench = scene.installation
    assert isinstance(bench, Bench)
    assert live(scene, "isolate-and-close").outcome is Outcome.RELEASED
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
        TestEveryPlaybookOfTheFakePlatform().test_dying_anywhere_loses_nothing_and_doubles_nothing(
            Lives("isolate", scene_of("isolate"), memory)
        )
