"""quarantine plan"""

from pathlib import Path

import click

from quarantine.cli import options
from quarantine.cli.run import detailed, named


@click.command("plan", epilog="Example: quarantine plan close-public-bucket aws:s3-bucket/acme-site --out plan.json")
@named
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Save it, for `quarantine apply`.")
@detailed
@options.formatted
@options.everywhere
@click.pass_context
def command(
    ctx: click.Context,
    playbook: str,
    thing: tuple[str, str],
    scope: str | None,
    uid: str | None,
    out: Path | None,
    detailed_exitcode: bool,
    form: str,
) -> None:
    """Show what would be done; with --out, save it for `apply`."""
    app = options.load_app(ctx)
    from quarantine.cli import dry_run, hand, plan_file

    asked = hand.request(app, playbook, thing, scope, uid, options.who(app))
    dry = dry_run.make(app, asked)
    if out is None:
        dry_run.show(dry, form, dry_run.command_line("plan", asked, "--out", "plan.json"))
    else:
        saved = plan_file.save(out, dry.plan, app.clock())
        dry_run.show(dry, form, f"quarantine apply {out}    until {saved.expires_at:%H:%M:%S} UTC")
    ctx.exit(dry.code if detailed_exitcode else 0)
