"""What happened, in words: the same ones in a terminal and in a report. What others wrote is in them, made safe."""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

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
    Halted,
    Held,
    Intended,
    NotApplied,
    Opened,
    OperationFailed,
    Overstayed,
    Paused,
    Planned,
    Probed,
    Reconciled,
    Recorded,
    Redacted,
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
from quarantine.journal import (
    Act,
    GlassOpened,
    KeyRotated,
    Refilled,
    SwitchedOff,
    SwitchedOn,
    TokenCreated,
    TokenRevoked,
)
from quarantine.model import Sighting
from quarantine.state import Difference
from quarantine.text import many, moment, safe_text


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
        case Overstayed():
            return event.sentence
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
        case Redacted():
            return _because(f"{what_was_erased(event)} erased", event.reason)
        case Closed():
            return _because(str(event.outcome), event.sentence)
        case NotApplied() | Paused() | OperationFailed() | Voided() | Retried() | Reconciled() | Skipped():
            return event.sentence


def what_was_erased(event: Redacted) -> str:
    """`2 values and 1 piece of evidence`."""
    values = many(len(event.commitments), "value") if event.commitments else ""
    pieces = f"{many(len(event.evidence), 'piece')} of evidence" if event.evidence else ""
    return " and ".join(part for part in (values, pieces) if part)


def act_in_words(act: Act) -> str:
    """What was done to the installation; may hold text from outside."""
    match act:
        case SwitchedOn():
            return _because(f"kill switch on for {act.scope}", act.reason)
        case SwitchedOff():
            return f"kill switch off for {act.scope}"
        case Refilled():
            return _because(f"budget of {'every account' if act.account == '*' else act.account} refilled", act.reason)
        case TokenCreated():
            grants = ", ".join(act.grants)
            return f"token {act.token} made for {act.person} ({grants}), until {act.expires_at:%Y-%m-%d}"
        case TokenRevoked():
            return f"token {act.token} revoked"
        case GlassOpened():
            return _because(f"break-glass {act.glass} opened, until {moment(act.expires_at)}", act.reason)
        case KeyRotated():
            old, new = (line.split("+")[1] for line in act.statement.splitlines()[2:4])
            return _because(f"the ledger key {new} follows {old}", act.reason)


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


def values(differences: Sequence[Difference], longest: int = 80) -> Iterator[tuple[str, str | None, str | None]]:
    """(name, before, after) for each single value; None for nothing. An object that came or went is several."""
    for item in differences:
        name = ".".join(item.path)
        nothing_before = item.absent_before or item.before is None
        nothing_after = item.absent_after or item.after is None
        if nothing_before and not nothing_after:
            yield from ((key, None, value_text(value, longest)) for key, value in _leaves(name, item.after))
        elif nothing_after and not nothing_before:
            yield from ((key, value_text(value, longest), None) for key, value in _leaves(name, item.before))
        else:
            yield name, value_text(item.before, longest), value_text(item.after, longest)


def changes(differences: Sequence[Difference]) -> Iterator[tuple[str, str, str]]:
    """(`+`, `~` or `-`, name, values) for each single value."""
    for name, before, after in values(differences):
        if before is None or after is None:
            yield "+" if before is None else "-", name, after or before or ""
        else:
            yield "~", name, f"{before} → {after}"


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}", inner)
    else:
        yield name, value


def gap(span: timedelta) -> str:
    """`+0.25 s` between two events, `+3.2 min`, `+2.0 h`."""
    seconds = span.total_seconds()
    if seconds < 10:
        return f"+{seconds:.2f} s"
    if seconds < 120:
        return f"+{seconds:.0f} s"
    return f"+{seconds / 60:.1f} min" if seconds < 7200 else f"+{seconds / 3600:.1f} h"


def value_text(value: Any, longest: int = 80) -> str:
    """A JSON value as people write it: text bare, everything else as JSON."""
    shown = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    return safe_text(shown, longest)


def _because(what: str, reason: str) -> str:
    return f"{what}: {reason}" if reason else what


def _keeping(what: str, kept: Sequence[Difference]) -> str:
    return f"{what}; stays as somebody else set it: {changed(kept)}" if kept else what
