"""quarantine validate"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from quarantine.cli import options
from quarantine.cli.exit_code import ExitCode
from quarantine.errors import Misconfigured

if TYPE_CHECKING:
    from quarantine.app import App
    from quarantine.cli.screen import Screen


@click.command("validate")
@click.argument("paths", metavar="[PLAYBOOK.yaml]...", nargs=-1, type=click.Path(path_type=Path))
@options.everywhere
@click.pass_context
def command(ctx: click.Context, paths: tuple[Path, ...]) -> None:
    """Check the configuration and all playbooks, or single playbook files.

    Asks no provider. Every mistake is named with file, line and column.
    """
    if paths:
        ctx.exit(_check_files(ctx, paths))
    app = options.load_app(ctx)
    app.check()
    from quarantine.cli.screen import stdout

    _show(stdout(), app, options.config_path(ctx))


def _check_files(ctx: click.Context, paths: tuple[Path, ...]) -> int:
    from quarantine import playbook
    from quarantine.cli.program import complain

    registry = options.load_app_or_defaults(ctx).registry
    files = [file for path in paths for file in (sorted(path.rglob("*.yaml")) if path.is_dir() else [path])]
    wrong = 0
    for file in files:
        try:
            playbook.load(file, registry)
        except Misconfigured as error:
            complain(str(error))
            wrong += 1
    click.echo(f"{len(files) - wrong} of {len(files)} playbooks are right")
    return ExitCode.USAGE if wrong else ExitCode.DONE


def _show(screen: "Screen", app: "App", path: Path) -> None:
    from rich.text import Text

    from quarantine.cli.screen import safe

    shipped = app.shelf.playbooks.values()
    settings, registry = app.settings, app.registry
    screen.line(Text("right", "green"), "  ", safe(path))
    screen.blank()
    screen.facts(
        (
            ("mode", safe(settings.guards.mode)),
            ("playbooks", safe(f"{len(shipped)}")),
            ("providers", safe(_named(list(registry.configured)))),
            ("sources", safe(_named(list(settings.sources)))),
            ("schedules", safe(_named(list(settings.schedules)))),
            ("parsers", safe(_named(sorted(registry.parsers)))),
            ("polls", safe(_named(sorted(registry.polls)))),
            ("actions", safe(_named(sorted(registry.actions)))),
        ),
        indent=2,
    )
    if not registry.configured:
        options.tell("No provider is configured, so nothing can be touched: fill in 'providers:'.")


def _named(names: list[str]) -> str:
    return f"{len(names)}: {', '.join(names)}" if names else "none"
