"""A whole installation on one file, for one provider, on a clock that tests turn: engine, store, guards, a witness.

Nothing of it is a stand-in except the clock: it is what `quarantine serve` is made of. The provider may be a fake one,
or a real one that is connected to a real server.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from quarantine.action import Cloud, Provider
from quarantine.audit import Finding as Verdict
from quarantine.audit import verify
from quarantine.case import Case
from quarantine.config import Approvals, Budget, Guards, Mode, Settings, Watch
from quarantine.desk import Desk
from quarantine.engine import Engine
from quarantine.evidence import EvidenceStore, Folder
from quarantine.intake import Intake
from quarantine.match import Matcher
from quarantine.model import Finding, Resource, Severity
from quarantine.planner import Planner
from quarantine.playbook import Playbook, Shelf, load
from quarantine.registry import Registry
from quarantine.store.notices import Channels
from quarantine.store.sql import LOG_ONLY, Store
from quarantine.testing.invariants import rests
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


def settings(mode: Mode = Mode.AUTO, **changes: Any) -> Settings:
    """Acts by itself, and within a budget that no test exhausts by accident."""
    guards = Guards(mode=mode, budget=Budget(per_account_10m=100, per_account_24h=100, global_24h=100))
    return Settings.model_validate({"guards": guards, "approvals": Approvals(), "watch": Watch(), **changes})


@contextmanager
def memory_folder(otherwise: Path) -> Iterator[Path]:
    """A folder in memory where the machine has that: a process that dies loses no page, only a power cut would."""
    shared = Path("/dev/shm")  # noqa: S108 - the folder in it has a name that nobody can guess
    if not shared.is_dir():
        yield otherwise
        return
    folder = Path(tempfile.mkdtemp(dir=shared))
    yield folder
    shutil.rmtree(folder)


@dataclass
class Installation:
    """One installation. `worker()` is a further engine on the same store, as after a crash."""

    folder: Path
    """Where the database and the evidence are; it exists and is empty."""
    provider: Provider
    playbooks: Sequence[Playbook | Path]
    """A path is loaded, and checked, as at the start of the program."""
    settings: Settings = field(default_factory=settings)
    clock: HandClock = field(default_factory=HandClock)
    failpoint: Callable[[str], None] = lambda _: None
    """Called with a name before and after each durable write and each change at the provider."""
    messages: Callable[[str], None] = lambda _: None
    """Called after it, before and after each change alone: raising errors.Unknown there loses the message."""
    passing: Callable[[timedelta], object] = lambda _: None
    """What time does at the provider when the clock is turned: operations come to their end."""
    url: str = ""
    """Of the database; without it, a SQLite file in the folder."""
    channels: Channels = field(default_factory=lambda: LOG_ONLY)

    def __post_init__(self) -> None:
        self.registry = Registry([type(self.provider)], {self.provider.name: self.provider})
        loaded = [load(item, self.registry) if isinstance(item, Path) else item for item in self.playbooks]
        self.shelf = Shelf({item.name: item for item in loaded}, {})
        url = self.url or f"sqlite:///{self.folder / 'cases.db'}"
        self.store = Store(url, self.clock, lambda name: self.failpoint(name), channels=self.channels)
        self.store.migrate()
        self.desk = Desk(self.store, self.settings.approvals, self.clock)
        self.intake = Intake(self.store, self.registry, Matcher(loaded), {}, self.clock)
        self.evidence = EvidenceStore(Folder(self.folder / "evidence"))
        self.witness = self.new_witness()
        self.planner = self.new_planner()
        self.workers = 0
        self.engine = self.worker()

    def new_witness(self) -> Witness:
        truth = Planner(self.registry, self.shelf, self.settings, self.store)
        return Witness(self.store, self.registry, self.settings, truth=truth.cloud, clock=self.clock)

    def new_planner(self) -> Planner:
        return WitnessedPlanner(self.witness, self.registry, self.shelf, self.settings, self.store)

    def worker(self) -> Engine:
        self.workers += 1
        return Engine(
            self.store,
            self.registry,
            self.shelf,
            self.new_planner(),
            self.evidence,
            self.settings,
            name=f"worker-{self.workers}",
            clock=self.clock,
            failpoint=self._at_gate,
            pause=lambda _: None,
        )

    def turn(self, span: timedelta) -> None:
        """Time passes, here and at the provider."""
        self.clock.turn(span)
        self.passing(span)

    def open(self, resource: Resource, name: str, by: str = "source:detector", **changes: Any) -> Case:
        """A case under the playbook of this name, from a finding of now; `changes` are of the finding."""
        found = Finding(
            source="detector",
            id=f"finding-{name}-{resource.id}",
            type=name,
            severity=Severity.HIGH,
            resource=resource,
            seen_at=self.clock(),
        ).model_copy(update=changes)
        result = self.intake.link(found, by, self.shelf.find(name))
        assert result.case is not None, result.sentence
        return self.store.load(result.case)

    def advance(self, case: Case) -> Case:
        moved = self.engine.advance(case.id)
        assert moved is not None, "another worker holds the case"
        return moved

    def settle(self, case: Case, engine: Engine | None = None, turns: int = 100) -> Case:
        """Carry on, and turn the clock to each due time, until the case rests or is only watched."""
        for _ in range(turns):
            moved = (engine or self.engine).advance(case.id)
            if moved is None:
                self.outlive_leases()
                continue
            due, now = self.store.due(case.id), self.clock()
            if rests(moved, due, now):
                return moved
            if due is not None and due > now:
                self.turn(due - now)
        raise AssertionError(f"no rest after {turns} turns: {self.store.load(case.id).status}")

    def outlive_leases(self) -> None:
        """Turn the clock until whoever has died holds nothing any more."""
        self.turn(self.settings.worker.lease + timedelta(seconds=1))

    def types(self, case: Case) -> list[str]:
        return [recorded.event.type for recorded in self.store.history(case.id)]

    def assert_whole(self) -> None:
        with self.store.record() as record:
            report = verify(record)
        assert report.finding is Verdict.OK, report.sentence

    def _at_gate(self, place: str) -> None:
        self.failpoint(place)
        self.messages(place)


class WitnessedPlanner(Planner):
    """Its connections tell a witness of each change, in the moment when it is sent and when it was accepted."""

    def __init__(self, witness: Witness, *whatever: Any) -> None:
        super().__init__(*whatever)
        self._witness = witness

    def cloud(self, resource: Resource) -> Cloud:
        cloud = super().cloud(resource)
        witnessed = _witnessed(type(cloud))
        other = witnessed.__new__(witnessed)
        other.__dict__.update(cloud.__dict__, witness=self._witness)
        return other


class _Witnessed(Cloud):
    """Goes in front of a connection's own class."""

    witness: Witness

    def invoke(self, call: str, arguments: Mapping[str, Any]) -> Any:
        if self.reads(call):
            return super().invoke(call, arguments)  # type: ignore[safe-super]
        self.witness.sends(call, self._mark)
        answer = super().invoke(call, arguments)  # type: ignore[safe-super]
        self.witness.happens(call, self._mark, repr(sorted(arguments.items())))
        return answer


@cache
def _witnessed(kind: type[Cloud]) -> type[Cloud]:
    return type(kind.__name__, (_Witnessed, kind), {})
