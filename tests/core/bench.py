"""A fake platform with a whole installation on it, and playbooks for it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from quarantine.action import Provider
from quarantine.model import Resource
from quarantine.planner import Planner
from quarantine.playbook import Approval, Match, Playbook, Step
from quarantine.testing.fake.cloud import Truth
from quarantine.testing.fake.provider import FakeProvider, FakeSettings
from quarantine.testing.fake.world import EVERYONE, Died, FakeWorld
from quarantine.testing.installation import Installation
from quarantine.testing.witness import Witness


def playbook(name: str, *steps: str | Step, approval: Approval = Approval.NONE) -> Playbook:
    return Playbook(
        name=name,
        description="For tests.",
        match=Match(resource="fake:machine", type=(name,)),
        approval=approval,
        steps=tuple(Step(action=step) if isinstance(step, str) else step for step in steps),
    )


PLAYBOOKS = (
    playbook("isolate", "fake:machine-isolate"),
    playbook("close", "fake:machine-close"),
    playbook("fence", "fake:machine-fence"),
    playbook("isolate-and-close", "fake:machine-capture", "fake:machine-isolate", "fake:machine-close"),
    playbook("stop", "fake:machine-capture", "fake:machine-stop", approval=Approval.REQUIRED),
    playbook("delete", "fake:machine-delete", approval=Approval.REQUIRED),
    playbook("isolate-and-stop", "fake:machine-isolate", "fake:machine-stop", approval=Approval.REQUIRED),
    playbook("isolate-carefully", "fake:machine-isolate", approval=Approval.REQUIRED),
    playbook("isolate-peers", Step(action="fake:machine-isolate", relation="peers")),
    playbook("isolate-web-and-peers", "fake:machine-isolate", Step(action="fake:machine-isolate", relation="peers")),
)


@dataclass
class Bench(Installation):
    """An installation whose platform is a FakeWorld on the same clock, which tells the witness of its effects."""

    provider: Provider = field(init=False)
    playbooks: Sequence[Playbook | Path] = field(init=False)

    def __post_init__(self) -> None:
        self.world = FakeWorld(self.clock)
        self.provider = FakeProvider(FakeSettings(), self.world)
        self.playbooks = PLAYBOOKS
        super().__post_init__()

    def new_witness(self) -> Witness:
        witness = Witness(
            self.store,
            self.registry,
            self.settings,
            truth=lambda resource: Truth(self.world, resource.scope),
            clock=self.clock,
            in_place=self.world.in_place,
        )
        self.world.witness = witness
        return witness

    def new_planner(self) -> Planner:
        return Planner(self.registry, self.shelf, self.settings, self.store)

    def machine(self, name: str = "web") -> Resource:
        ports = {"22": EVERYONE, "443": "10.0.0.0/8"}
        return self.world.add(name, labels={"app": "shop", "tier": "front"}, ports=ports)

    @contextmanager
    def death(self, place: str) -> Iterator[None]:
        """Inside `with`, who first comes to this place dies there."""

        def failpoint(name: str) -> None:
            if name == place:
                self.failpoint = lambda _: None
                raise Died(name)

        self.failpoint = failpoint
        with pytest.raises(Died):
            yield

    def once(self, place: str, then: Callable[[], object]) -> None:
        """When somebody first comes to this place."""

        def failpoint(name: str) -> None:
            if name == place:
                self.failpoint = lambda _: None
                then()

        self.failpoint = failpoint

    def changes(self) -> list[str]:
        return [sent.call for sent in self.world.sent]
