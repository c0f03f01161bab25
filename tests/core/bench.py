"""A whole installation on one file: engine, store, guards and the fake platform, on a clock that tests turn."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from quarantine.case import Case, Status
from quarantine.config import Approvals, Budget, Guards, Mode, Settings, Watch
from quarantine.desk import Desk
from quarantine.engine import Engine
from quarantine.evidence import EvidenceStore
from quarantine.intake import Intake
from quarantine.ledger import Finding as Verdict
from quarantine.ledger import verify
from quarantine.match import Matcher
from quarantine.model import Finding, Resource, Severity
from quarantine.planner import Planner
from quarantine.playbook import Approval, Match, Playbook, Shelf, Step
from quarantine.registry import Registry
from quarantine.store.notices import Channels
from quarantine.store.sql import LOG_ONLY, Store
from quarantine.testing.fake.cloud import Truth
from quarantine.testing.fake.provider import FakeProvider, FakeSettings
from quarantine.testing.fake.world import EVERYONE, FakeWorld
from quarantine.testing.witness import Witness

START = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)


@dataclass
class HandClock:
    """Stands still until it is turned."""

    at: datetime = START

    def __call__(self) -> datetime:
        return self.at

    def turn(self, span: timedelta) -> None:
        self.at += span


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


def settings(mode: Mode = Mode.AUTO, **changes: Any) -> Settings:
    guards = Guards(mode=mode, budget=Budget(per_account_10m=100, per_account_24h=100, global_24h=100))
    return Settings.model_validate({"guards": guards, "approvals": Approvals(), "watch": Watch(), **changes})


@dataclass
class Bench:
    """One installation. `worker()` is a further engine on the same store, as after a crash."""

    folder: Path
    settings: Settings = field(default_factory=settings)
    clock: HandClock = field(default_factory=HandClock)
    failpoint: Callable[[str], None] = lambda _: None
    url: str = ""
    channels: Channels = field(default_factory=lambda: LOG_ONLY)

    def __post_init__(self) -> None:
        self.world = FakeWorld(self.clock)
        self.registry = Registry([FakeProvider], {"fake": FakeProvider(FakeSettings(), self.world)})
        self.shelf = Shelf({item.name: item for item in PLAYBOOKS}, {})
        url = self.url or f"sqlite:///{self.folder / 'cases.db'}"
        self.store = Store(url, self.clock, lambda name: self.failpoint(name), channels=self.channels)
        self.store.migrate()
        self.desk = Desk(self.store, self.settings.approvals, self.clock)
        self.intake = Intake(self.store, self.registry, Matcher(PLAYBOOKS), {}, self.clock)
        self.evidence = EvidenceStore(self.folder / "evidence")
        self.planner = Planner(self.registry, self.shelf, self.settings, self.store)
        self.witness = Witness(
            self.store,
            self.registry,
            self.settings,
            truth=lambda resource: Truth(self.world, resource.scope),
            in_place=self.world.in_place,
            clock=self.clock,
        )
        self.world.witness = self.witness
        self.workers = 0
        self.engine = self.worker()

    def worker(self) -> Engine:
        self.workers += 1
        planner = Planner(self.registry, self.shelf, self.settings, self.store)
        return Engine(
            self.store,
            self.registry,
            self.shelf,
            planner,
            self.evidence,
            self.settings,
            name=f"worker-{self.workers}",
            clock=self.clock,
            failpoint=lambda name: self.failpoint(name),
            pause=lambda _: None,
        )

    def machine(self, name: str = "web") -> Resource:
        ports = {"22": EVERYONE, "443": "10.0.0.0/8"}
        return self.world.add(name, labels={"app": "shop", "tier": "front"}, ports=ports)

    def open(self, resource: Resource, name: str, by: str = "source:detector", **changes: Any) -> Case:
        """A case under the playbook of this name, from a finding of now."""
        found = Finding(
            source="detector",
            id=f"finding-{name}-{resource.id}",
            type=name,
            severity=Severity.HIGH,
            resource=resource,
            seen_at=self.clock(),
        ).model_copy(update=changes)
        result = self.intake.link(found, by)
        assert result.case is not None, result.sentence
        return self.store.load(result.case)

    def advance(self, case: Case) -> Case:
        moved = self.engine.advance(case.id)
        assert moved is not None, "another worker holds the case"
        return moved

    def settle(self, case: Case, engine: Engine | None = None, turns: int = 100) -> Case:
        """Carry on, and turn the clock to each due time, until the case rests or is only watched."""
        resting = {Status.CLOSED, Status.NEEDS_HUMAN, Status.CONTAINED, Status.PROPOSED, Status.AWAITING_APPROVAL}
        for _ in range(turns):
            moved = (engine or self.engine).advance(case.id)
            if moved is None:
                self.clock.turn(self.settings.worker.lease + timedelta(seconds=1))
                continue
            due = self.store.due(case.id)
            if moved.status in resting and (due is None or due > self.clock()):
                return moved
            if due is not None and due > self.clock():
                self.clock.turn(due - self.clock())
        raise AssertionError(f"no rest after {turns} turns: {self.store.load(case.id).status}")

    def types(self, case: Case) -> list[str]:
        return [recorded.event.type for recorded in self.store.history(case.id)]

    def changes(self) -> list[str]:
        return [sent.call for sent in self.world.sent]

    def assert_whole(self) -> None:
        report = verify(self.store.chains())
        assert report.finding is Verdict.OK, report.sentence
