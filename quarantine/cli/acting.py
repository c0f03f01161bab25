"""Opens a case that a person asked for and carries it on: `run --apply`, `apply`, and what people say to cases."""

from datetime import timedelta

from quarantine.app import App
from quarantine.case import Case
from quarantine.cli import dry_run, exit_code, hand, output
from quarantine.cli.carry import carry
from quarantine.cli.case_view import show_head, show_next
from quarantine.cli.dry_run import DryRun
from quarantine.cli.exit_code import ExitCode
from quarantine.cli.options import tell
from quarantine.cli.screen import stderr, stdout
from quarantine.cli.timeline import Timeline
from quarantine.errors import Moved, QuarantineError
from quarantine.people import Word

COLUMNS = ("id", "status", "reason", "outcome", "sentence")


def act(app: App, dry: DryRun, plan_digest: str, wait: timedelta, form: str) -> ExitCode:
    """Open the case, and say how it ended. A live case of the same playbook and resource is shown instead."""
    asked = dry.asked
    app.desk.must(asked.by, Word.ACT, asked.resource, *(step.resource for step in dry.plan.steps))
    event = hand.opened(app, asked, plan_digest)
    known = app.store.live(event.finding, asked.playbook.name)
    if known is not None:
        tell(f"Case {known} is open for this already; no other was opened.")
        return ended(app.store.load(known), form)
    dry_run.table(stderr(), dry)
    stderr().blank()
    try:
        case = app.store.open(event, asked.by, app.clock())
    except Moved:
        raise Moved("another case of this playbook was opened for it just now. See: quarantine case list") from None
    return carried(app, case, wait, form)


def carried(app: App, case: Case, wait: timedelta | None, form: str, after: int = 0) -> ExitCode:
    """Carry the case on, tell its events, and show how it stands. With no `wait`, only show it."""
    if wait is None:
        ended(case, form)
        return ExitCode.DONE
    screen = stderr()
    timeline = Timeline(screen, clock=False)
    case = carry(app, case.id, wait, timeline.add, after)
    _sealed(app)
    screen.blank()
    return ended(case, form)


def _sealed(app: App) -> None:
    """Where no server runs, nobody else signs what was done here."""
    try:
        if not app.settings.distributed and app.sealer is not None:
            app.sealer.seal()
    except QuarantineError as error:
        tell(f"The record is not signed yet: {error}")


def ended(case: Case, form: str) -> ExitCode:
    """The case on stdout, the next commands on stderr."""
    output.one(form, case.model_dump(mode="json"), COLUMNS, lambda: show_head(stdout(), case))
    if form == "table":
        show_next(stderr(), case)
    return exit_code.of_case(case)
