"""quarantine case: look at cases, and say something to one."""

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from quarantine.cli import options

if TYPE_CHECKING:
    from quarantine.app import App
    from quarantine.case import Case

STATUSES = (
    "new", "proposed", "awaiting_approval", "containing", "contained", "releasing", "needs_human", "closed"
)  # fmt: skip


@click.group("case")
@options.everywhere
def command() -> None:
    """Look at cases, and decide. An id may be abbreviated."""


def _of_case(function: Any) -> Any:
    return click.argument("case_id", metavar="CASE")(function)


@command.command("list")
@click.option("--status", "statuses", type=click.Choice(STATUSES), multiple=True, help="Only these; may be repeated.")
@click.option("--open", "only_open", is_flag=True, help="Only those that are not closed.")
@click.option("--needs-human", is_flag=True, help="What stopped and needs a person: why, and for how long.")
@click.option("--waiting", is_flag=True, help="What waits for an approval: why, and for how long still.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=200, show_default=True)
@options.formatted
@options.everywhere
@click.pass_context
def list_cases(
    ctx: click.Context,
    statuses: tuple[str, ...],
    only_open: bool,
    needs_human: bool,
    waiting: bool,
    limit: int,
    form: str,
) -> None:
    """The newest first."""
    if sum((bool(statuses), only_open, needs_human, waiting)) > 1:
        raise click.UsageError("give one of --status, --open, --needs-human and --waiting", ctx)
    app = options.load_app(ctx)
    from quarantine.case import Status
    from quarantine.cli import case_view, output, screen

    wanted = [Status(status) for status in statuses] or [s for s in Status if s is not Status.CLOSED or not only_open]
    wanted = [Status.NEEDS_HUMAN] if needs_human else wanted
    lines = app.store.lines(wanted if len(wanted) < len(Status) else (), limit, asking=waiting)
    records = [case_view.record(line) for line in lines]
    show = case_view.show_queue if needs_human or waiting else case_view.show_list
    output.listing(form, records, case_view.COLUMNS, lambda: show(screen.stdout(), lines, app.clock()))
    if form == "table" and not lines:
        options.tell("No cases.")


@command.command("show")
@_of_case
@options.formatted
@options.everywhere
@click.pass_context
def show(ctx: click.Context, case_id: str, form: str) -> None:
    """Everything about one case: finding, plan, timeline, evidence."""
    app = options.load_app(ctx)
    from quarantine.case import Status, fold
    from quarantine.cli import acting, case_view, output, screen

    events = app.store.history(app.store.find(case_id))
    case = fold(events)
    record = {**case.model_dump(mode="json"), "events": [event.model_dump(mode="json") for event in events]}
    waiting = case.plan if case.status is Status.AWAITING_APPROVAL and form == "table" else None
    bystanders = app.planner.bystanders(waiting) if waiting is not None else {}
    output.one(
        form,
        record,
        acting.COLUMNS,
        lambda: case_view.show_case(screen.stdout(), case, events, app.clock(), bystanders),
    )
    if form == "table":
        case_view.show_next(screen.stderr(), case)


@command.command("watch")
@_of_case
@click.option("-o", "--output", "form", type=click.Choice(["table", "jsonl"]), default="table", show_default=True)
@options.everywhere
@click.pass_context
def watch(ctx: click.Context, case_id: str, form: str) -> None:
    """Follow the events of a case until it rests. Changes nothing."""
    app = options.load_app(ctx)
    from quarantine.cli import exit_code
    from quarantine.cli.watching import follow

    ctx.exit(exit_code.of_case(follow(app, app.store.find(case_id), form)))


def _says(name: str, say: Callable[["App", str, str, str], "Case"], help_text: str) -> None:
    """One verb that a person says to a case."""

    @command.command(name, help=help_text)
    @_of_case
    @options.reasoned()
    @options.waiting
    @options.formatted
    @options.everywhere
    @click.pass_context
    def verb(ctx: click.Context, case_id: str, reason: str, wait: timedelta | None, form: str) -> None:
        app = options.load_app(ctx)
        from quarantine.cli import acting

        found = app.store.find(case_id)
        before = app.store.load(found).seq
        ctx.exit(acting.carried(app, say(app, found, options.who(app), reason), wait, form, after=before))


def _bound(function: Any) -> Any:
    """--plan and --yes"""
    function = click.option("--yes", is_flag=True, help="Without a question; not for what cannot be undone.")(function)
    help_text = "Only if the plan is still this one: at least the first 8 digits of its digest."
    return click.option("--plan", "digest", default="", help=help_text)(function)


@command.command("approve")
@_of_case
@_bound
@click.option("--break-glass", "alone", is_flag=True, help="Alone, in an emergency: see quarantine break-glass.")
@options.reasoned()
@options.waiting
@options.formatted
@options.everywhere
@click.pass_context
def approve(
    ctx: click.Context,
    case_id: str,
    digest: str,
    yes: bool,
    alone: bool,
    reason: str,
    wait: timedelta | None,
    form: str,
) -> None:
    """Say yes to the plan of a case, and carry it out.

    It is shown first, with what stays possible. Without a terminal, say which one is meant with --plan, or --yes.
    """
    app = options.load_app(ctx)
    from quarantine.cli import acting, approving
    from quarantine.cli.exit_code import ExitCode
    from quarantine.errors import Misused

    case, by = app.store.load(app.store.find(case_id)), options.who(app)
    if alone and not reason.strip():
        raise Misused("say why, with --reason: whoever reviews it reads it")
    shown = app.desk.may_approve(case, by, digest, alone=alone)
    plan = approving.plan_of(case)
    # Whoever names the plan has looked at it: then no provider can keep the word from being heard.
    approving.show(case, plan, app.clock(), bystanders={} if digest else app.planner.bystanders(plan))
    if not approving.agreed(plan, approving.Word(digest, yes), f"quarantine case approve {case.id}"):
        options.tell("Nothing was approved.")
        ctx.exit(ExitCode.APPROVAL)
    token = approving.break_glass_token() if alone else ""
    after = app.desk.approve(case.id, by, shown, reason, token)
    ctx.exit(acting.carried(app, after, wait, form, after=case.seq))


@command.command("escalate")
@_of_case
@click.argument("playbook")
@_bound
@options.reasoned()
@options.waiting
@options.formatted
@options.everywhere
@click.pass_context
def escalate(
    ctx: click.Context,
    case_id: str,
    playbook: str,
    digest: str,
    yes: bool,
    reason: str,
    wait: timedelta | None,
    form: str,
) -> None:
    """Do more to what is contained: add the plan of PLAYBOOK.

    It is shown first, guarded and approved like any plan. What cannot be undone needs another person's yes. A release
    undoes everything that can be undone, backwards.
    """
    app = options.load_app(ctx)
    from quarantine.cli import escalating

    ctx.exit(
        escalating.escalate(app, app.store.find(case_id), playbook, escalating.Said(digest, yes, reason), wait, form)
    )


@command.command("release")
@_of_case
@click.option("--false-positive", is_flag=True, help="There was nothing to contain. The playbook asks from now on.")
@options.reasoned()
@options.waiting
@options.formatted
@options.everywhere
@click.pass_context
def release(
    ctx: click.Context, case_id: str, false_positive: bool, reason: str, wait: timedelta | None, form: str
) -> None:
    """Give everything back as it was."""
    app = options.load_app(ctx)
    from quarantine.cli import acting

    found = app.store.find(case_id)
    before = app.store.load(found).seq
    case = app.desk.release(found, options.who(app), reason, false_positive)
    ctx.exit(acting.carried(app, case, wait, form, after=before))


_says("deny", lambda app, case, by, reason: app.desk.deny(case, by, reason), "Say no: the case closes.")
_says("retry", lambda app, case, by, reason: app.desk.retry(case, by, reason), "Go on where the case stopped.")
_says(
    "keep", lambda app, case, by, reason: app.desk.keep(case, by, reason), "Accept the containment as the new normal."
)
_says("handled", lambda app, case, by, reason: app.desk.handled(case, by, reason), "Close it: dealt with outside.")
