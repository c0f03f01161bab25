"""A plan as a person reads it before saying yes: each changed value, what stays possible, what is needed for it."""

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from quarantine.cli.screen import Screen, joined, safe, value_text
from quarantine.guard import Hold, Judgement
from quarantine.plan import Nature, Plan, PlannedStep
from quarantine.state import Difference

_STYLES = {"+": "green", "~": "yellow", "-": "red"}
_NATURES = {Nature.CAPTURE: "evidence", Nature.REVERSIBLE: "can be undone", Nature.ONE_WAY: "cannot be undone"}


def show_subject(screen: Screen, plan: Plan) -> None:
    """Which playbook on what."""
    screen.prose(safe(plan.resource, "bold"), joined(safe(plan.playbook, "bold"), "  on  "))


def show_plan(screen: Screen, plan: Plan, digest: str, judgement: Judgement | None = None) -> None:
    """Its digest, its steps, what is needed for it; and what the guards say, if they were asked."""
    screen.line(Text(f"plan {digest[:12]}", "dim"))
    for step in plan.steps:
        screen.blank()
        _show_step(screen, plan, step)
    permissions = sorted({permission for step in plan.steps for permission in step.permissions})
    facts = [("needs", safe(", ".join(permissions), "dim"))]
    if judgement is not None and plan.needed:
        facts.append((judgement.guard or "guards", _said(judgement)))
    screen.blank()
    screen.facts(facts, indent=2)


def _said(judgement: Judgement) -> Text:
    """The guard that stops it, else that all agree."""
    stopped = judgement.stopped
    if stopped is None:
        return Text(f"all {len(judgement.allowed)} say yes", "green")
    return safe(stopped.sentence, "yellow" if isinstance(stopped, Hold) else "red")


def total(plan: Plan) -> str:
    """The one line that sums a plan up."""
    acts = [step for step in plan.steps if step.nature is not Nature.CAPTURE]
    refused = sum(step.refusal is not None for step in acts)
    to_do = sum(step.needed and step.refusal is None for step in acts)
    already = sum(not step.needed and step.refusal is None for step in acts)
    captures = len(plan.steps) - len(acts)
    others = ((already, "contained already"), (refused, "cannot work here"), (captures, "to keep as evidence"))
    return ", ".join([f"{to_do} to contain", *(f"{count} {what}" for count, what in others if count)])


def changes(differences: tuple[Difference, ...]) -> Iterator[tuple[str, str, str]]:
    """(`+`, `~` or `-`, name, values) for each single value: something where nothing was is one line for each key."""
    for item in differences:
        name = ".".join(item.path)
        nothing_before = item.absent_before or item.before is None
        nothing_after = item.absent_after or item.after is None
        if nothing_before and not nothing_after:
            yield from (("+", key, value_text(value)) for key, value in _leaves(name, item.after))
        elif nothing_after and not nothing_before:
            yield from (("-", key, value_text(value)) for key, value in _leaves(name, item.before))
        else:
            yield "~", name, f"{value_text(item.before)} → {value_text(item.after)}"


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}", inner)
    else:
        yield name, value


def _show_step(screen: Screen, plan: Plan, step: PlannedStep) -> None:
    number = Text(f"  {step.index + 1}  ", "dim")
    nature = Text(f"  {_NATURES[step.nature]}", "yellow" if step.nature is Nature.ONE_WAY else "dim")
    elsewhere = safe(f"  {step.resource}") if step.resource != plan.resource else ""
    screen.line(number, safe(step.action), nature, elsewhere)
    if step.settings:
        given = ", ".join(f"{name}: {value_text(value)}" for name, value in step.settings.items())
        screen.prose(safe(given, "dim"), Text("     with  ", "dim"))
    if step.refusal is not None:
        screen.prose(safe(step.refusal.reason), Text("     cannot work here  ", "bold red"))
        for alternative in step.refusal.alternatives:
            screen.prose(safe(alternative), Text("     instead  ", "dim"))
        return
    if not step.needed and step.nature is not Nature.CAPTURE:
        screen.line(Text("     it is so already", "green"))
    rows = [
        (Text(mark, _STYLES[mark]), safe(name), safe(values, _STYLES[mark] if mark != "~" else ""))
        for mark, name, values in changes(step.differences)
    ]
    if rows:
        screen.table((), rows, indent=5)
    for caveat in step.caveats:
        screen.prose(safe(caveat.text), Text("     !  ", "yellow"))
