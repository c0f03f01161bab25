"""quarantine run"""

from datetime import timedelta
from typing import Any

import click

from quarantine.cli import options


def named(command: Any) -> Any:
    """PLAYBOOK KIND/ID --scope --uid"""
    command = click.option("--uid", help="The provider's own id; another resource of the same name is not touched.")(
        command
    )
    command = click.option(
        "--scope", help="Where: ACCOUNT/REGION, CLUSTER/NAMESPACE. Needed if several are configured."
    )(command)
    command = click.argument("thing", metavar="KIND/ID", type=options.Thing())(command)
    return click.argument("playbook")(command)


def detailed(command: Any) -> Any:
    return click.option(
        "--detailed-exitcode", is_flag=True, help="Exit 3 if there is work, 5 if it would wait, 7 if a guard stops it."
    )(command)


@click.command("run", epilog="Example: quarantine run close-public-bucket aws:s3-bucket/acme-site --apply")
@named
@click.option("--apply", "act", is_flag=True, help="Do it. Without, only show what would be done.")
@click.option("--wait", type=options.Span(), default="120s", show_default=True, help="With --apply: work for so long.")
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
    act: bool,
    wait: timedelta,
    detailed_exitcode: bool,
    form: str,
) -> None:
    """Contain one resource by hand; without --apply, only show how."""
    app = options.load_app(ctx)
    from quarantine.cli import acting, dry_run, hand

    asked = hand.request(app, playbook, thing, scope, uid, options.who(app))
    dry = dry_run.make(app, asked)
    if act:
        ctx.exit(acting.act(app, dry, "", wait, form))
    dry_run.show(dry, form, dry_run.command_line("run", asked, "--apply"))
    ctx.exit(dry.code if detailed_exitcode else 0)
