"""Why a finding leads to a case, or to none: the same parsing, matching, planning and guards as in earnest."""

from dataclasses import dataclass, field
from typing import Any

from rich.text import Text

from quarantine.app import App
from quarantine.case import Opened, Status
from quarantine.cli import hand
from quarantine.cli.plan_view import show_plan, show_subject, total
from quarantine.cli.screen import Screen, joined, safe, severity_text
from quarantine.errors import NotFound, QuarantineError
from quarantine.guard import Hold, Judgement, Refuse
from quarantine.intake import STICKY
from quarantine.match import Trial
from quarantine.model import Finding
from quarantine.plan import Plan
from quarantine.text import closest, moment


@dataclass
class Explanation:
    """One finding, and what would become of it."""

    finding: Finding
    trials: list[Trial] = field(default_factory=list)
    ignored: str = ""
    playbook: str = ""
    plan: Plan | None = None
    unread: str = ""
    """Why the provider could not be asked."""
    judgement: Judgement | None = None

    @property
    def verdict(self) -> str:
        if self.ignored:
            return "ignored"
        if self.unread:
            return "unread"
        if self.plan is not None and not self.plan.needed:
            return "not_needed"
        return "acts" if self.judgement is None or self.judgement.stopped is None else "stopped"

    @property
    def sentence(self) -> str:
        stopped = self.judgement.stopped if self.judgement else None
        return self.ignored or self.unread or (stopped.sentence if stopped else "")

    @property
    def record(self) -> dict[str, Any]:
        return {
            "id": self.finding.id,
            "resource": str(self.finding.resource),
            "verdict": self.verdict,
            "playbook": self.playbook,
            "guard": self.judgement.guard if self.judgement else "",
            "sentence": self.sentence,
            "tried": [{"playbook": trial.playbook.name, "false": trial.clause} for trial in self.trials],
            "finding": self.finding.model_dump(mode="json"),
            "plan": self.plan.model_dump(mode="json") if self.plan else None,
        }


def explain(app: App, source: str, body: bytes) -> list[Explanation]:
    """One for each finding in the body. Raises Malformed, NotFound."""
    if source not in app.settings.sources:
        known = list(app.settings.sources)
        hint = closest(source, known) or f" Configured: {', '.join(known) or 'none'}."
        raise NotFound(f"source '{source}' is not configured: add it under 'sources:'.{hint}")
    return [_explain(app, finding) for finding in app.intake.parse(source, body, app.clock())]


def _explain(app: App, finding: Finding) -> Explanation:
    found = Explanation(finding, trials=app.matcher.trials(finding))
    playbook = app.matcher.answer(finding)
    found.ignored = _ignored(app, finding)
    if playbook is None:
        found.ignored = found.ignored or "no playbook answers it"
        return found
    found.playbook = playbook.name
    event = Opened(finding=finding, playbook=playbook.name, playbook_digest=playbook.digest)
    try:
        draft = app.planner.draft(playbook, finding.resource)
        found.plan = draft.plan
        found.judgement = hand.judged(app, hand.would_be(app, event, f"source:{finding.source}"), draft)
    except QuarantineError as error:
        found.unread = str(error)
    return found


def _ignored(app: App, finding: Finding) -> str:
    """What the intake would say before any playbook is tried."""
    if finding.sample:
        return "it is a sample finding, which never acts"
    if not finding.active:
        return "the source says that it is resolved, archived or suppressed"
    last = app.store.last_case(finding)
    if last is not None and last.status is not Status.CLOSED:
        return f"case {last.id} has it already"
    if last is not None and last.outcome in STICKY:
        return f"case {last.id} answered it: {last.outcome}"
    return ""


def show(screen: Screen, found: Explanation) -> None:
    finding = found.finding
    screen.line(
        Text("Finding  ", "dim"), safe(finding.type or finding.id, "bold"), "  ", severity_text(finding.severity)
    )
    screen.prose(safe(finding.title), "         ")
    screen.prose(safe(finding.resource), "         ")
    since = f", first {moment(finding.first_seen_at)}" if finding.first_seen_at else ""
    screen.line("         ", safe(f"seen {moment(finding.seen_at)}{since}", "dim"))
    if finding.link:
        screen.line("         ", safe(finding.link, "dim"))
    _show_trials(screen, found)
    if found.plan is not None:
        screen.blank()
        show_subject(screen, found.plan)
        show_plan(screen, found.plan, found.plan.digest, found.judgement)
    screen.blank()
    _show_verdict(screen, found)


def _show_trials(screen: Screen, found: Explanation) -> None:
    screen.blank()
    if not found.trials:
        screen.line(Text("Tried    ", "dim"), safe(f"no playbook works on {found.finding.resource.kind}"))
        return
    width = max(len(trial.playbook.name) for trial in found.trials)
    for number, trial in enumerate(found.trials):
        lead = Text("Tried    " if number == 0 else "         ", "dim")
        if trial.answers:
            mark, why = Text("✓ ", "green"), "answers" if trial.playbook.name == found.playbook else "would answer too"
        else:
            mark, why = Text("✗ ", "red"), trial.clause
        screen.prose(safe(why), joined(lead, mark, safe(trial.playbook.name.ljust(width + 2))))


def _show_verdict(screen: Screen, found: Explanation) -> None:
    lead = Text("So       ", "dim")
    if found.ignored:
        screen.prose(safe(f"ignored: {found.ignored}", "yellow"), lead)
    elif found.unread:
        screen.prose(safe(f"the plan cannot be made now: {found.unread}", "yellow"), lead)
    elif found.plan is not None and not found.plan.needed:
        screen.prose(Text("nothing to do: it shows the target already", "green"), lead)
    elif found.judgement is not None and found.judgement.stopped is not None:
        screen.prose(safe(f"{_would(found.judgement.stopped)} ({found.judgement.guard})", "yellow"), lead)
    elif found.plan is not None:
        screen.prose(safe(f"it would act at once: {total(found.plan)}", "green"), lead)


def _would(stopped: Hold | Refuse) -> str:
    if isinstance(stopped, Refuse):
        return f"a case would be opened and closed, {stopped.outcome.replace('_', ' ')}"
    return "a case would be opened, and a person asked" if stopped.asks else "a case would be opened, and held"
