"""Short ways to the nouns: a resource, a finding, a playbook, a plan, a case. Every part can be said, none must be."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from quarantine.case import Case, Custody, Event, Opened, Recorded, fold
from quarantine.model import Finding, Resource, Severity
from quarantine.plan import Nature, Plan, PlannedStep
from quarantine.playbook import Match, Playbook, Step
from quarantine.state import Difference

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CASE = "c-0123456789ab"


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, at: datetime = NOW) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def pass_by(self, span: timedelta) -> None:
        self.at += span


def resource(id: str = "web-1", **parts: Any) -> Resource:  # noqa: A002
    return Resource(**{"kind": "fake:machine", "id": id, "scope": "local", "uid": f"uid-of-{id}", **parts})


def finding(**parts: Any) -> Finding:
    usual = {
        "source": "detector",
        "id": "finding-1",
        "title": "a shell in web-1",
        "type": "shell",
        "severity": Severity.HIGH,
        "resource": resource(),
        "seen_at": NOW,
    }
    return Finding(**{**usual, **parts})


def playbook(name: str = "close-machine", **parts: Any) -> Playbook:
    usual = {
        "name": name,
        "description": "Close every port of a machine.",
        "match": Match(resource="fake:machine"),
        "steps": (Step(action="fake:machine-close"),),
    }
    return Playbook(**{**usual, **parts})


def step(index: int = 0, **parts: Any) -> PlannedStep:
    usual = {
        "index": index,
        "action": "fake:machine-close",
        "resource": resource(),
        "nature": Nature.REVERSIBLE,
        "before": {"ports": {"22": "0.0.0.0/0"}},
        "target": {"ports": {}},
        "fingerprint": "f" * 64,
        "differences": (Difference(path=("ports", "22"), before="0.0.0.0/0", absent_after=True),),
        "permissions": ("machine.get", "machine.set_ports"),
        "needed": True,
    }
    return PlannedStep(**{**usual, **parts})


def plan(*steps: PlannedStep, **parts: Any) -> Plan:
    usual = {
        "playbook": "close-machine",
        "playbook_digest": playbook().digest,
        "resource": resource(),
        "steps": steps or (step(),),
    }
    return Plan(**{**usual, **parts})


def custody(**parts: Any) -> Custody:
    usual = {
        "action": "fake:machine-capture",
        "resource": resource(),
        "principal": "user/quarantine",
        "worker": "host:1:abc",
        "tool": "cloud-quarantine 1.0",
        "began_at": NOW,
        "ended_at": NOW,
    }
    return Custody(**{**usual, **parts})


def salt() -> str:
    """One that everybody knows, so that the same entry has the same bytes."""
    return "5a" * 16


def opened(**parts: Any) -> Opened:
    usual = {"finding": finding(), "playbook": "close-machine", "playbook_digest": playbook().digest}
    return Opened(**{**usual, **parts})


def recorded(events: Iterable[Event], start: int = 1, case: str = CASE, by: str = "engine") -> list[Recorded]:
    """The events in order, one second apart."""
    return [
        Recorded(case=case, seq=seq, at=NOW + timedelta(seconds=seq), by=by, event=event)
        for seq, event in enumerate(events, start)
    ]


def case(*events: Event, first: Opened | None = None) -> Case:
    """The case that these events make after an Opened."""
    return fold(recorded([first or opened(), *events]))
