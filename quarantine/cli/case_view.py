"""A case as a person reads it, and what can be done next."""

from collections.abc import Sequence
from datetime import datetime
from types import MappingProxyType

from rich.text import Text

from quarantine.case import Allowed, Captured, Case, Recorded, Stage, Status
from quarantine.cli.plan_view import Bystanders, show_plan, show_subject
from quarantine.cli.screen import Screen, age, joined, safe, severity_text, status_text
from quarantine.cli.timeline import Timeline
from quarantine.narrative import said
from quarantine.store.sql import Line
from quarantine.text import moment

COLUMNS = (
    "id", "status", "reason", "outcome", "severity", "playbook", "kind", "resource", "scope", "opened_at", "updated_at",
    "since", "asks_until", "sentence", "glass_broken"
)  # fmt: skip


def record(line: Line) -> dict[str, str | bool | None]:
    """A line of the list, for programs."""
    values = {name: getattr(line, name) for name in COLUMNS}
    return {
        name: value.isoformat()
        if isinstance(value, datetime)
        else value
        if value is None or isinstance(value, bool)
        else str(value)
        for name, value in values.items()
    }


def show_list(screen: Screen, lines: Sequence[Line], now: datetime) -> None:
    """One line for each case; two where the terminal is too narrow for one."""
    header = ("CASE", "STATUS", "SEVERITY", "PLAYBOOK", "RESOURCE", "AGE")
    rows = [
        (
            Text(line.id, "bold"),
            _standing(line),
            severity_text(line.severity),
            safe(line.playbook),
            safe(f"{line.kind}/{line.resource}"),
            Text(age(now - line.opened_at)),
        )
        for line in lines
    ]
    if screen.fits([tuple(Text(title) for title in header), *rows]):
        screen.table(header, rows)
        return
    under = [joined(resource, Text(f"  {playbook.plain}", "dim")) for _, _, _, playbook, resource, _ in rows]
    short = [(case, status, severity, old) for case, status, severity, _, _, old in rows]
    screen.table(("CASE", "STATUS", "SEVERITY", "AGE"), short, under)


def show_queue(screen: Screen, lines: Sequence[Line], now: datetime) -> None:
    """What waits for a person, and since when; below each, what it waits for."""
    header = ("CASE", "STATUS", "FOR", "STILL", "SEVERITY", "PLAYBOOK", "RESOURCE")
    rows = [
        (
            Text(line.id, "bold"),
            _standing(line),
            Text(age(now - line.since)),
            Text(age(line.asks_until - now) if line.asks_until is not None else "-"),
            severity_text(line.severity),
            safe(line.playbook),
            safe(f"{line.kind}/{line.resource}"),
        )
        for line in lines
    ]
    screen.table(header, rows, [safe(line.sentence, "dim") for line in lines])


def _standing(line: Line) -> Text:
    status = status_text(line.status, line.reason or line.outcome)
    if line.asks_until is not None and line.status is Status.CONTAINED:
        status = joined(status, Text(", escalation asked", "yellow"))
    return joined(status, Text(" BREAK-GLASS", "bold red")) if line.glass_broken else status


def show_case(
    screen: Screen, case: Case, events: Sequence[Recorded], now: datetime, bystanders: Bystanders = MappingProxyType({})
) -> None:
    """Everything about one case."""
    show_head(screen, case)
    screen.blank()
    screen.facts(_facts(case, events, now), indent=2)
    if case.plan is not None:
        _title(screen, "Plan")
        show_plan(screen, case.plan, case.plan_digest, bystanders=bystanders)
    if case.escalation is not None and case.escalation.plan is not None:
        _title(screen, "Escalation, to be approved")
        show_subject(screen, case.escalation.plan)
        show_plan(screen, case.escalation.plan, case.escalation.digest)
    _title(screen, "Timeline")
    Timeline(screen, clock=True, indent=2).show(events)
    _show_evidence(screen, events)


def show_head(screen: Screen, case: Case) -> None:
    """The case in two lines: where it stands and what it is about, and why if it waits."""
    why = case.reason or case.outcome
    screen.line(Text(case.id, "bold"), "  ", status_text(case.status, why), "  ", severity_text(case.finding.severity))
    screen.line("  ", safe(case.playbook), "  on  ", safe(case.resource))
    if case.glass_broken:
        screen.line("  ", Text("BREAK-GLASS: one person did alone what needs two", "bold red"))
    if case.escalation is not None:
        wanted = f"escalation to {case.escalation.playbook}, wanted by {case.escalation.by}"
        screen.prose(safe(f"{wanted}: {case.escalation.sentence or 'not looked at yet'}", "yellow"), "  ")
    if case.sentence:
        screen.prose(safe(case.sentence), "  ")


def next_commands(case: Case) -> list[tuple[str, str]]:
    """(command, what it does), the likeliest first."""
    verbs = {
        Status.AWAITING_APPROVAL: ("approve", "deny"),
        Status.PROPOSED: ("approve", "deny", "retry"),
        Status.CONTAINED: ("release", "keep"),
        Status.NEEDS_HUMAN: ("retry", "release" if case.touched and case.reversible else "", "handled"),
    }
    meanings = {
        "approve": "do exactly this plan",
        "deny": "close it, and do not ask again" if case.escalation is None else "do nothing further",
        "release": "give everything back as it was",
        "keep": "accept it as the new normal",
        "retry": "go on where it stopped",
        "handled": "it was dealt with outside",
    }
    named = verbs.get(case.status, ())
    if case.escalation is not None and case.escalation.plan is not None:
        named = ("approve", "deny", "release")
    said = [(f"quarantine case {verb} {case.id}", meanings[verb]) for verb in named if verb]
    if not said and case.status is not Status.CLOSED:
        return [(f"quarantine case watch {case.id}", "look on")]
    return said


def show_next(screen: Screen, case: Case) -> None:
    commands = next_commands(case)
    if commands:
        screen.blank()
        rows = [(Text("Next" if number == 0 else "", "dim"), Text(command), Text(meaning, "dim"))
                for number, (command, meaning) in enumerate(commands)]  # fmt: skip
        screen.table((), rows)


def _facts(case: Case, events: Sequence[Recorded], now: datetime) -> list[tuple[str, Text]]:
    finding = case.finding
    reports = "" if case.findings == 1 else f", {case.findings} times"
    allowed = next((item.event for item in reversed(events) if isinstance(item.event, Allowed)), None)
    kept = [item for progress in case.steps.values() if progress.stage is Stage.RELEASED for item in progress.kept]
    return [
        ("finding", safe(" ".join(part for part in (finding.type, finding.title) if part) or finding.id)),
        ("reported", safe(f"by {finding.source}{reports}, seen {_when(finding.seen_at, now)}")),
        ("source", safe(f"{said(case.sighting)}, asked {_when(case.sighting.at, now)}" if case.sighting else "")),
        ("resource", safe(case.resource.uid if case.resource.uid not in (None, case.resource.id) else "")),
        ("opened", safe(f"by {case.opened_by}, {_when(case.opened_at, now)}")),
        ("approved", safe(f"by {case.consent.by}, plan {case.consent.digest[:12]}") if case.consent else Text("")),
        ("escalated", safe(", ".join(f"to {item.wanted.playbook} by {item.wanted.by}" for item in case.additions))),
        ("allowed", safe("; ".join(allowed.sentences)) if allowed else Text("")),
        ("released", safe(f"by {case.released_by}") if case.released_by else Text("")),
        ("stays", safe(", ".join(".".join(item.path) for item in kept))),
    ]  # fmt: skip


def _show_evidence(screen: Screen, events: Sequence[Recorded]) -> None:
    captured = [recorded.event for recorded in events if isinstance(recorded.event, Captured)]
    if not captured:
        return
    _title(screen, "Evidence")
    for event in captured:
        taken, what = event.custody, f"{event.custody.action} of {event.custody.resource.id}"
        at = f"  {moment(taken.ended_at)}, as {taken.principal}, by {taken.worker} with {taken.tool}"
        screen.prose(joined(safe(what), safe(at, "dim")), "  ")
        for item in event.evidence:
            cut = f", the beginning of {item.cut_from}" if item.cut_from is not None else ""
            size = safe(f"  {item.media_type}, {item.size} bytes{cut}", "dim")
            screen.line("    ", safe(item.name), size)
            screen.line(Text(f"      sha256 {item.sha256}", "dim"))


def _title(screen: Screen, title: str) -> None:
    screen.blank()
    screen.line(Text(title, "bold"))


def _when(then: datetime, now: datetime) -> str:
    return f"{moment(then)} ({age(now - then)} ago)"
