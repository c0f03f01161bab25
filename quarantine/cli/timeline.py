"""Events in words: a verb, what it was about, and the colour of its meaning."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.text import Text

from quarantine.case import (
    Allowed,
    Applied,
    Approved,
    Asked,
    Captured,
    Changed,
    Closed,
    Contained,
    Drifted,
    EffectArrivedLate,
    Escalated,
    EscalationAsked,
    EscalationEnded,
    EscalationRequested,
    Event,
    Halted,
    Held,
    Intended,
    NotApplied,
    Opened,
    OperationFailed,
    Outcome,
    Paused,
    Planned,
    Probed,
    Reconciled,
    Recorded,
    Released,
    ReleaseIntended,
    ReleaseRequested,
    Repeated,
    Reread,
    Resumed,
    Retried,
    Reviewed,
    Skipped,
    TakenOver,
    Verified,
    Voided,
)
from quarantine.cli.screen import Screen, gap, safe, value_text
from quarantine.model import Sighting, Value
from quarantine.state import Difference
from quarantine.text import many, safe_text

_STYLES: dict[type[Value], str] = {
    Held: "yellow",
    Asked: "yellow",
    Voided: "yellow",
    Drifted: "yellow",
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


def about(recorded: Recorded) -> str:
    """What happened, with its data; may hold text from outside."""
    event = recorded.event
    match event:
        case Opened():
            by = "asked by hand" if event.requested else event.finding.title or event.finding.type
            return f"{event.playbook}: {by}"
        case Repeated():
            return f"{event.finding.source} reported it again"
        case Reread():
            return said(event.sighting)
        case Planned():
            todo = sum(step.needed for step in event.plan.steps)
            return f"{todo} of {many(len(event.plan.steps), 'step')} to do, plan {event.digest[:12]}"
        case Held():
            return f"{event.guard}: {event.sentence}"
        case Asked():
            return f"{event.sentence}, until {event.expires_at:%H:%M:%S} UTC"
        case Approved() if event.break_glass:
            return _because(f"BREAK-GLASS {event.glass}: alone, plan {event.digest[:12]}", event.reason)
        case Approved():
            return _because(f"plan {event.digest[:12]}", event.reason)
        case Allowed():
            return f"all {len(event.sentences)} guards say yes"
        case Captured():
            return many(len(event.evidence), "artifact") + " kept"
        case Intended():
            return f"{event.action} on {event.resource.id}"
        case Changed():
            return f"{event.call}, receipt {safe_text(event.receipt or event.operation or 'none', 24)}"
        case Applied():
            return "every call went through"
        case Probed():
            return "looked; reads may be stale, so once more"
        case Verified():
            return "read back from the provider, and as intended"
        case Contained():
            return "it holds, and is watched"
        case Drifted():
            return f"somebody changed {changed(event.differences)}"
        case EscalationRequested():
            return _because(f"to {event.playbook}", event.reason)
        case EscalationAsked():
            return f"{event.sentence}, plan {event.digest[:12]}"
        case Escalated():
            steps = many(len(event.plan.steps), "step")
            return f"{event.plan.playbook}: {steps} more, all {len(event.sentences)} guards say yes"
        case EscalationEnded():
            return event.sentence
        case Reviewed():
            return _because(f"what was done with {event.glass}", event.reason)
        case ReleaseRequested():
            return _because("everything goes back", event.reason)
        case ReleaseIntended():
            return _keeping(f"{event.action} on {event.resource.id}", event.kept)
        case Released():
            return _keeping("read back, and as before", event.kept)
        case TakenOver():
            return f"worker {event.owner} fell silent; calls of it may still arrive"
        case EffectArrivedLate():
            return f"{event.call} of an earlier worker went through, receipt {event.receipt}"
        case Halted():
            return f"{event.reason}: {event.sentence}"
        case Resumed():
            return _because(f"to {event.to}", event.reason)
        case Closed():
            return _because(str(event.outcome), event.sentence)
        case NotApplied() | Paused() | OperationFailed() | Voided() | Retried() | Reconciled() | Skipped():
            return event.sentence


def said(sighting: Sighting) -> str:
    """What the source of a finding said when it was asked again."""
    return _because(f"{sighting.reader}: {sighting.standing.replace('_', ' ')}", sighting.trouble)


def changed(differences: Sequence[Difference]) -> str:
    """`settings: {...} to null` for one, only the names for several."""
    if len(differences) == 1:
        only = differences[0]
        before = "absent" if only.absent_before else value_text(only.before, 120)
        after = "absent" if only.absent_after else value_text(only.after, 120)
        return f"{'.'.join(only.path)}: {before} to {after}"
    return ", ".join(".".join(item.path) for item in differences) or "what must hold besides"


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


def _because(what: str, reason: str) -> str:
    return f"{what}: {reason}" if reason else what


def _keeping(what: str, kept: Sequence[Difference]) -> str:
    return f"{what}; stays as somebody else set it: {changed(kept)}" if kept else what
