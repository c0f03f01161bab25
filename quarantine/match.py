"""Which playbook answers a finding: an index by kind of resource first, then the conditions."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from quarantine.expression import Condition
from quarantine.model import Finding
from quarantine.playbook import Playbook


@dataclass(frozen=True)
class Trial:
    """One playbook tried on one finding: it answers, or `clause` says what was false."""

    playbook: Playbook
    clause: str = ""

    @property
    def answers(self) -> bool:
        return not self.clause


class Candidate:
    """A playbook with its condition compiled once."""

    def __init__(self, playbook: Playbook) -> None:
        self.playbook = playbook
        self.sources = frozenset(playbook.match.source)
        self.types = frozenset(playbook.match.type)

    @cached_property
    def condition(self) -> Condition | None:
        return Condition(self.playbook.match.when) if self.playbook.match.when else None

    def clause(self, finding: Finding, seen: tuple[dict[str, Any], dict[str, Any]]) -> str:
        """The first clause that is false, or nothing."""
        match = self.playbook.match
        if self.sources and finding.source not in self.sources:
            return f"source is {finding.source}, not {' or '.join(match.source)}"
        if self.types and finding.type not in self.types:
            return f"type is {finding.type!r}, not {' or '.join(match.type)}"
        if finding.posture and not self.types:
            return f"it says how something is set up: a playbook for that names its type, {finding.type!r}"
        if not finding.severity.at_least(match.severity):
            return f"severity is {finding.severity}, below {match.severity}"
        if self.condition is None:
            return ""
        holds, why = self.condition.holds(*seen)
        return "" if holds else why


class Matcher:
    """All playbooks, ready to be asked."""

    def __init__(self, playbooks: Iterable[Playbook]) -> None:
        self._by_kind: dict[str, list[Candidate]] = defaultdict(list)
        for playbook in sorted(playbooks, key=_most_particular_first):
            self._by_kind[playbook.match.resource].append(Candidate(playbook))

    def trials(self, finding: Finding) -> list[Trial]:
        """Every playbook for this kind of resource, tried."""
        seen = activation(finding)
        return [
            Trial(candidate.playbook, candidate.clause(finding, seen))
            for candidate in self._by_kind.get(finding.resource.kind, ())
        ]

    def answer(self, finding: Finding) -> Playbook | None:
        """The most particular playbook that answers: one resource has one case, so one playbook."""
        seen = activation(finding)
        for candidate in self._by_kind.get(finding.resource.kind, ()):
            if not candidate.clause(finding, seen):
                return candidate.playbook
        return None


def activation(finding: Finding) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a condition sees. `finding.rule` is another word for its type; the rest of a scope has two names."""
    resource = finding.resource
    return (
        {
            "source": finding.source,
            "id": finding.id,
            "title": finding.title,
            "type": finding.type,
            "rule": finding.type,
            "severity": str(finding.severity),
            "sample": finding.sample,
            "posture": finding.posture,
            "record": finding.record,
        },
        {
            "kind": resource.kind,
            "id": resource.id,
            "uid": resource.uid or "",
            "scope": resource.scope,
            "account": resource.account,
            "namespace": resource.area,
            "region": resource.area,
        },
    )


def _most_particular_first(playbook: Playbook) -> tuple[int, str]:
    match = playbook.match
    given = (match.when is not None) + bool(match.source) + bool(match.type)
    return (-given, playbook.name)
