"""A plan that was made and not carried out, with what the guards say to it: what `run` and `plan` show."""

import shlex
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from quarantine.app import App
from quarantine.cli import hand, output
from quarantine.cli.exit_code import ExitCode
from quarantine.cli.hand import Request
from quarantine.cli.plan_view import Bystanders, show_plan, show_subject, total
from quarantine.cli.screen import Screen, safe, stderr, stdout
from quarantine.guard import Hold, Judgement
from quarantine.plan import Plan

COLUMNS = ("digest", "playbook", "resource", "needed", "guard", "sentence")


@dataclass(frozen=True)
class DryRun:
    """What would be done, and whether it would."""

    asked: Request
    plan: Plan
    judgement: Judgement
    bystanders: Bystanders

    @property
    def code(self) -> ExitCode:
        """For --detailed-exitcode."""
        if not self.plan.needed:
            return ExitCode.DONE
        stopped = self.judgement.stopped
        if stopped is None:
            return ExitCode.PENDING
        return ExitCode.APPROVAL if isinstance(stopped, Hold) and stopped.asks else ExitCode.STOPPED

    @property
    def record(self) -> dict[str, Any]:
        stopped = self.judgement.stopped
        return {
            "digest": self.plan.digest,
            "playbook": self.plan.playbook,
            "resource": str(self.plan.resource),
            "needed": self.plan.needed,
            "reversible": self.plan.reversible,
            "guard": self.judgement.guard,
            "sentence": "" if stopped is None else stopped.sentence,
            "allowed": list(self.judgement.allowed),
            "bystanders": {str(step): list(sentences) for step, sentences in self.bystanders.items()},
            "plan": self.plan.model_dump(mode="json"),
        }


def make(app: App, asked: Request) -> DryRun:
    """Reads only. Raises Gone, and whatever a provider answers."""
    draft = app.planner.draft(asked.playbook, asked.resource)
    event = hand.opened(app, asked)
    judgement = hand.judged(app, hand.would_be(app, event, asked.by), draft)
    return DryRun(asked, draft.plan, judgement, app.planner.bystanders(draft.plan))


def show(dry: DryRun, form: str, next_command: str) -> None:
    """The plan on stdout; the next command on stderr."""
    output.one(form, dry.record, COLUMNS, lambda: table(stdout(), dry))
    if form == "table" and dry.plan.needed:
        screen = stderr()
        screen.blank()
        screen.line(Text("Next  ", "dim"), safe(next_command))  # never broken: it is copied


def table(screen: Screen, dry: DryRun) -> None:
    show_subject(screen, dry.plan)
    show_plan(screen, dry.plan, dry.plan.digest, dry.judgement, dry.bystanders)
    screen.blank()
    screen.line(Text(total(dry.plan), "bold"), Text("   nothing was changed", "dim"))


def command_line(verb: str, asked: Request, *more: str) -> str:
    """The command that names the same playbook and resource."""
    resource = asked.resource
    words = ["quarantine", verb, asked.playbook.name, f"{resource.kind}/{resource.id}", "--scope", resource.scope]
    words += ["--uid", resource.uid] if resource.uid is not None else []
    return " ".join(shlex.quote(word) for word in [*words, *more])
