"""quarantine apply"""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from quarantine.cli import options

if TYPE_CHECKING:
    from quarantine.plan import Plan


@click.command("apply")
@click.argument("file", metavar="PLAN.json", type=click.Path(path_type=Path))
@click.option("--wait", type=options.Span(), default="120s", show_default=True, help="Work for so long.")
@options.formatted
@options.everywhere
@click.pass_context
def command(ctx: click.Context, file: Path, wait: timedelta, form: str) -> None:
    """Do exactly the plan that `plan --out` saved.

    If the resource or the playbook changed since, it says so and does nothing. For a playbook that can be undone, this
    is the approval.
    """
    app = options.load_app(ctx)
    from quarantine.cli import acting, dry_run, hand, plan_file
    from quarantine.cli.exit_code import ExitCode

    saved = plan_file.load(file, app.clock())
    meant = saved.plan.resource
    asked = hand.request(app, saved.plan.playbook, (meant.kind, meant.id), meant.scope, meant.uid, options.who(app))
    dry = dry_run.make(app, asked)
    if dry.plan.digest != saved.digest:
        _say_what_changed(saved.plan, dry.plan)
        ctx.exit(ExitCode.STOPPED)
    ctx.exit(acting.act(app, dry, saved.digest, wait, form))


def _say_what_changed(saved: "Plan", now: "Plan") -> None:
    from rich.text import Text

    from quarantine.cli.screen import safe, stderr

    screen = stderr()
    screen.line(Text("The plan is not what it was, so nothing was done.", "yellow"))
    for sentence in _changes(saved, now):
        screen.prose(safe(sentence), "  ")
    screen.line("Look at the new one with: quarantine plan ... --out")


def _changes(saved: "Plan", now: "Plan") -> list[str]:
    """What differs, as far as it can be said in words."""
    from quarantine.narrative import value_text

    found = []
    if saved.playbook_digest != now.playbook_digest:
        found.append(f"The playbook {now.playbook} was changed.")
    if len(saved.steps) != len(now.steps):
        found.append(f"It had {len(saved.steps)} steps and has {len(now.steps)}.")
    for old, new in zip(saved.steps, now.steps, strict=False):
        before, after = old.before or {}, new.before or {}
        found += [
            f"{new.action}: {name} was {value_text(before.get(name))} and is {value_text(after.get(name))}."
            for name in [*before, *(name for name in after if name not in before)]
            if before.get(name) != after.get(name)
        ]
    return found or ["What it would do, or what it needs, is another thing now."]
