"""What a person sees before they say yes, and how they say it: to exactly what was shown, and never by reflex.

At a terminal they are asked, and nothing is the default. A script names the plan with --plan, or says --yes, which is
not enough for what cannot be undone.
"""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import click
from rich.text import Text

from quarantine.case import Case
from quarantine.cli.options import tell
from quarantine.cli.plan_view import Bystanders, show_plan, show_subject
from quarantine.cli.screen import Screen, age, safe, stderr
from quarantine.errors import Misused
from quarantine.guard import Judgement
from quarantine.narrative import said
from quarantine.plan import Nature, Plan
from quarantine.text import safe_text

TOKEN = "QUARANTINE_BREAK_GLASS"  # noqa: S105 - the name of the variable


@dataclass(frozen=True)
class Word:
    """How a person said it on the command line: the beginning of a digest, --yes, or nothing yet."""

    digest: str
    yes: bool


def plan_of(case: Case) -> Plan:
    """The plan that is there to be approved: that of an escalation, or of the case. Raises Misused."""
    plan = case.plan if case.escalation is None else case.escalation.plan
    if plan is None:
        raise Misused(f"case {case.id} has no plan yet. See: quarantine case show {case.id}")
    return plan


def show(
    case: Case,
    plan: Plan,
    now: datetime,
    judgement: Judgement | None = None,
    bystanders: Bystanders = MappingProxyType({}),
) -> None:
    """On stderr: what, why it waits, how long still, each change, what stays possible, and who else feels it."""
    screen = stderr()
    show_subject(screen, plan)
    show_plan(screen, plan, plan.digest, judgement, bystanders)
    further = case.escalation
    sentence = case.sentence if further is None else further.sentence
    by = further.by if further is not None else case.opened_by
    left = case.asks_until
    screen.facts(
        [
            ("case", safe(f"{case.id}, opened by {case.opened_by}")),
            ("asked by", safe(by) if by != case.opened_by else Text("")),
            ("finding", safe(case.finding.title or case.finding.type)),
            ("source", safe(said(case.sighting) if case.sighting is not None else "")),
            ("waits", safe(sentence)),
            ("until", safe(f"{left:%H:%M:%S} UTC, {age(left - now)} from now") if left is not None else Text("")),
        ],
        indent=2,
    )
    _warn(screen, plan)


def agreed(plan: Plan, word: Word, command: str) -> bool:
    """Did the person say yes to this plan? Raises Misused if there is no word, and nobody who could be asked."""
    if word.digest:
        return True  # that it is this plan's is checked where it is written down
    bound = f"{command} --plan {plan.digest[:12]}"
    if word.yes:
        if plan.reversible:
            return True
        raise Misused(f"--yes is not enough for what cannot be undone. If it is meant: {bound}")
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Misused(f"nobody is here to ask. If it is meant: {bound}")
    return _asked(plan)


def break_glass_token() -> str:
    """The token, from the environment or typed unseen. Raises Misused."""
    token = os.environ.get(TOKEN, "")
    if not token and sys.stdin.isatty():
        token = click.prompt("The break-glass token", hide_input=True, err=True)
    if not token:
        raise Misused(f"give the token in ${TOKEN}: the one that 'quarantine break-glass open' has shown")
    return token


def _asked(plan: Plan) -> bool:
    _forget_what_was_typed()
    stderr().blank()
    if plan.reversible:
        return click.confirm("Do exactly this?", default=False, err=True)
    word = _word(plan)
    typed = click.prompt(f"This cannot be undone. To do it, type {word}", default="", show_default=False, err=True)
    if typed.strip() != word:
        tell(f"That was not {word}.")
        return False
    return True


def _word(plan: Plan) -> str:
    """What nobody types by reflex: the name of the resource, or, if that cannot be typed, the plan's."""
    name = plan.resource.id
    plain = name.isascii() and name.isprintable() and " " not in name and 3 <= len(name) <= 64
    return safe_text(name) if plain else plan.digest[:8]


def _forget_what_was_typed() -> None:
    """A key that was pressed before the plan stood there is no answer to it."""
    import termios

    with suppress(termios.error, OSError, ValueError):
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


def _warn(screen: Screen, plan: Plan) -> None:
    lasting = [step.action for step in plan.steps if step.nature is Nature.ONE_WAY and step.needed]
    if lasting:
        screen.blank()
        screen.prose(safe(f"{', '.join(lasting)} on {plan.resource}"), Text("Cannot be undone  ", "bold red"))
