"""Events in words: a verb, what it was about, and the colour of its meaning."""

from collections.abc import Iterable
from datetime import datetime

from rich.text import Text

from quarantine.case import (
    Approved,
    Asked,
    Closed,
    Contained,
    Drifted,
    EffectArrivedLate,
    EscalationAsked,
    EscalationEnded,
    Event,
    Halted,
    Held,
    NotApplied,
    OperationFailed,
    Outcome,
    Overstayed,
    Reconciled,
    Recorded,
    Released,
    Retried,
    Reviewed,
    TakenOver,
    Verified,
    Voided,
)
from quarantine.cli.screen import Screen, safe
from quarantine.model import Value
from quarantine.narrative import about, gap

_STYLES: dict[type[Value], str] = {
    Held: "yellow",
    Asked: "yellow",
    Voided: "yellow",
    Drifted: "yellow",
    Overstayed: "yellow",
    Retried: "yellow",
    NotApplied: "yellow",
    OperationFailed: "yellow",
    TakenOver: "yellow",
    EffectArrivedLate: "yellow",
    EscalationAsked: "yellow",
    EscalationEnded: "yellow",
    Reviewed: "green",
    Verified: "green",
    Reconciled: "green",
    Contained: "bold green",
    Released: "green",
    Halted: "bold red",
}
_GOOD = frozenset({Outcome.RELEASED, Outcome.KEPT, Outcome.NOT_NEEDED, Outcome.ONE_WAY_DONE})
_VERB = 20
"""Cells for the verb: the longest is `escalation requested`."""


def verb(event: Event) -> Text:
    style = _STYLES.get(type(event), "")
    if isinstance(event, Closed):
        style = "bold green" if event.outcome in _GOOD else "bold yellow"
    if isinstance(event, Approved) and event.break_glass:
        style = "bold red"
    return Text(event.type.replace("_", " "), style)


class Timeline:
    """Prints events one under the other: the time, the time since the one before, the verb, what it was about."""

    def __init__(self, screen: Screen, *, clock: bool, indent: int = 0) -> None:
        """With `clock`, the time of day; without, only seconds since the first event."""
        self._screen = screen
        self._clock = clock
        self._indent = " " * indent
        self._first: datetime | None = None
        self._last: datetime | None = None

    def show(self, events: Iterable[Recorded]) -> None:
        for recorded in events:
            self.add(recorded)

    def add(self, recorded: Recorded) -> None:
        lead = Text(self._indent)
        if self._clock:
            if self._last is None or self._last.date() != recorded.at.date():
                self._screen.line(self._indent, Text(f"{recorded.at:%Y-%m-%d}, in UTC", "dim"))
            lead.append(f"{recorded.at:%H:%M:%S} ")
            passed = "" if self._last is None else gap(recorded.at - self._last)
            lead.append(f"{passed:>8}  ", "dim")
        else:
            since = 0.0 if self._first is None else (recorded.at - self._first).total_seconds()
            lead.append(f"{since:6.2f} s  ", "dim")
        self._first, self._last = self._first or recorded.at, recorded.at
        word = verb(recorded.event)
        lead.append_text(word)
        lead.append(" " * (_VERB - word.cell_len + 2))
        said = safe(about(recorded))
        if recorded.by != "engine":
            said.append_text(safe(f"  by {recorded.by}", "dim"))
        self._screen.prose(said, lead)
