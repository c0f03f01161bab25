"""A plan as a person reads it before saying yes: each changed value, what stays possible, what is needed for it."""

from collections.abc import Mapping
from types import MappingProxyType

from rich.text import Text

from quarantine.cli.screen import Screen, joined, safe
from quarantine.guard import Hold, Judgement
from quarantine.narrative import changes, value_text
from quarantine.plan import Nature, Plan, PlannedStep

_STYLES = {"+": "green", "~": "yellow", "-": "red"}
_NATURES = {Nature.CAPTURE: "evidence", Nature.REVERSIBLE: "can be undone", Nature.ONE_WAY: "cannot be undone"}


def show_subject(screen: Screen, plan: Plan) -> None:
    """Which playbook on what."""
    screen.prose(safe(plan.resource, "bold"), joined(safe(plan.playbook, "bold"), "  on  "))


Bystanders = Mapping[int, tuple[str, ...]]
"""By step, in sentences: who else would feel it now."""


def show_plan(
    screen: Screen,
    plan: Plan,
    digest: str,
    judgement: Judgement | None = None,
    bystanders: Bystanders = MappingProxyType({}),
) -> None:
    """Its digest, its steps, what is needed for it; what the guards say, and who else would feel it, if asked."""
    screen.line(Text(f"plan {digest[:12]}", "dim"))
    for step in plan.steps:
        screen.blank()
        _show_step(screen, plan, step)
        for sentence in bystanders.get(step.index, ()):
            screen.prose(safe(sentence), Text("     now  ", "dim"))
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
