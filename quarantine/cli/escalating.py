"""Adds a further plan to a contained case, after it was shown."""

from dataclasses import dataclass
from datetime import timedelta

from quarantine.app import App
from quarantine.case import Case, Escalation
from quarantine.cli import acting, approving, options
from quarantine.cli.exit_code import ExitCode
from quarantine.errors import GuardFailed, Misused
from quarantine.guard import Hold, Judgement, Refuse, judge
from quarantine.planner import Draft
from quarantine.playbook import Playbook


@dataclass(frozen=True)
class Said:
    """What a person said with it."""

    digest: str
    yes: bool
    reason: str


def escalate(app: App, case_id: str, name: str, said: Said, wait: timedelta | None, form: str) -> ExitCode:
    """Show what would be done more, have it agreed to, and carry it out as far as it goes."""
    case, playbook, by = app.store.load(case_id), app.shelf.find(name), options.who(app)
    app.desk.may_escalate(case, playbook)
    draft = app.planner.draft(playbook, case.resource)
    judgement = _judged(app, case, playbook, by, draft)
    plan = draft.plan
    if said.digest and not (len(said.digest) >= 8 and plan.digest.startswith(said.digest)):
        raise Misused(f"the plan is {plan.digest[:12]} now, not {said.digest}: look at this one")
    approving.show(case, plan, app.clock(), judgement, {} if said.digest else app.planner.bystanders(plan))
    if not plan.needed:
        options.tell("It shows the target already: there is nothing to do.")
        return ExitCode.DONE
    stopped = judgement.stopped
    if stopped is not None and not (isinstance(stopped, Hold) and (stopped.asks or stopped.passable)):
        options.tell(f"{judgement.guard}: {stopped.sentence}")
        return ExitCode.STOPPED
    if not approving.agreed(plan, approving.Word(said.digest, said.yes), f"quarantine case escalate {case.id} {name}"):
        options.tell("Nothing was escalated.")
        return ExitCode.STOPPED
    after = app.desk.escalate(case.id, by, playbook, plan.digest, said.reason)
    code = acting.carried(app, after, wait, form, after=case.seq)
    return code if wait is None else _ended(app.store.load(case.id), playbook, code)


def _ended(case: Case, playbook: Playbook, code: ExitCode) -> ExitCode:
    """A case that is contained is well, and yet the escalation may have come to nothing."""
    if code is not ExitCode.DONE or playbook.name in case.playbooks:
        return code
    return ExitCode.STOPPED


def _judged(app: App, case: Case, playbook: Playbook, by: str, draft: Draft) -> Judgement:
    now = app.clock()
    wanted = Escalation(
        by=by, playbook=playbook.name, playbook_digest=playbook.digest, requested_digest="", expires_at=now
    )
    try:
        return judge(draft.plan, app.planner.further_facts(case, wanted, draft, now))
    except GuardFailed as error:
        return Judgement((), "guard_error", Refuse(str(error)))
