"""quarantine kill: works on the store alone. No server runs, no playbook or provider is loaded."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from quarantine.cli import options
from quarantine.errors import Misused

if TYPE_CHECKING:
    from quarantine.app import App
    from quarantine.store.sql import Switch

COLUMNS = ("scope", "at", "by", "reason")


class Scope(click.ParamType[str]):
    """all, everything, provider:NAME, playbook:NAME, source:NAME."""

    name = "scope"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        kind, colon, name = str(value).partition(":")
        narrow = kind in ("provider", "playbook", "source") and colon and name
        if value not in ("all", "everything") and not narrow:
            self.fail(f"'{value}': write all, everything, provider:NAME, playbook:NAME or source:NAME", param, ctx)
        return str(value)


def scoped(command: Any) -> Any:
    return click.option(
        "--scope",
        type=Scope(),
        default="all",
        show_default=True,
        metavar="all|everything|provider:X|playbook:X|source:X",
        help="What it stops. Only `everything` stops releases too.",
    )(command)


def named(command: Any) -> Any:
    help_text = "Without any configuration: the installation in this database."
    return click.option("--database", metavar="URL", help=help_text)(command)


@click.group("kill")
@options.everywhere
def command() -> None:
    """Stop containments at once, or let them go on."""


@command.command("on")
@scoped
@options.reasoned(required=True)
@named
@options.everywhere
@click.pass_context
def switch_on(ctx: click.Context, scope: str, reason: str, database: str | None) -> None:
    """Stop: before every change the switch is asked, also in the middle of a case.

    It works with a configuration that is broken, as long as it still says where the data is.
    """
    from quarantine.model import now
    from quarantine.people import Word

    app = _app(ctx, database)
    by = options.who(app)
    app.desk.must(by, Word.STOP)
    app.store.switch(scope, True, reason, by, now())
    options.tell(f"{scope} is stopped." + ("" if scope == "everything" else " Releases go on."))
    _warn_of_a_typo(app, scope)
    options.tell("To let it go on: quarantine kill off" + ("" if scope == "all" else f" --scope {scope}"))


@command.command("off")
@scoped
@options.everywhere
@click.pass_context
def switch_off(ctx: click.Context, scope: str) -> None:
    """Let it go on. Cases that were stopped wait for `quarantine case retry`."""
    from quarantine.model import now
    from quarantine.people import Word

    app = options.load_app(ctx)
    store, by = app.store, options.who(app)
    app.desk.must(by, Word.LOOSEN)
    on = [switch.scope for switch in store.switches()]
    if scope not in on:
        raise Misused(f"no kill switch is on for {scope}. On: {', '.join(on) or 'none'}")
    store.switch(scope, False, "", by, now())
    left = [other for other in on if other != scope]
    options.tell(f"{scope} may go on." + (f" Still on: {', '.join(left)}" if left else ""))


@command.command("status")
@named
@options.formatted
@options.everywhere
@click.pass_context
def status(ctx: click.Context, form: str, database: str | None) -> None:
    """Show the kill switches that are on."""
    from quarantine.cli.output import listing

    switches = _app(ctx, database).store.switches()
    records = [{"scope": s.scope, "at": s.at.isoformat(), "by": s.by, "reason": s.reason} for s in switches]
    listing(form, records, COLUMNS, lambda: _show(switches))


def _app(ctx: click.Context, database: str | None) -> "App":
    """The installation, also where its configuration is broken or was not found; and never another one by mistake."""
    from pathlib import Path

    from quarantine import config
    from quarantine.app import App
    from quarantine.config import Settings
    from quarantine.document import Document
    from quarantine.errors import Misconfigured
    from quarantine.store.sql import Store

    path = options.config_path(ctx)
    if database is not None:
        options.quiet(ctx)
        settings, document = Settings(database=database, data=Path()), Document("--database", {}, {})
    else:
        try:
            return options.load_app(ctx)
        except Misconfigured as broken:
            options.tell(f"Warning: {broken}")
            try:
                settings, document = config.load_place(path)
            except Misconfigured:
                raise Misconfigured(
                    f"{path} does not say where the data is. Say it: quarantine kill on --reason ... --database URL"
                ) from None
    store = Store(settings.database_url)
    if not store.is_there():
        raise Misconfigured(f"there is no installation in {store.place}: nothing was stopped")
    options.tell(f"This is the installation in {store.place}.")
    store.close()
    return App(settings, document)


def _show(switches: list["Switch"]) -> None:
    from rich.text import Text

    from quarantine.cli import screen
    from quarantine.text import moment

    if not switches:
        options.tell("No kill switch is on.")
        return
    rows = [
        (screen.safe(s.scope, "bold red"), Text(moment(s.at)), screen.safe(s.by), screen.safe(s.reason))
        for s in switches
    ]
    screen.stdout().table(("STOPPED", "SINCE", "BY", "REASON"), rows)


def _warn_of_a_typo(app: "App", scope: str) -> None:
    """A switch for a name that nothing has stops nothing."""
    from quarantine.text import closest

    kind, _, name = scope.partition(":")
    known = sorted(_known(app, kind))
    if name and name not in known:
        hint = closest(name, known) or f" Known: {', '.join(known) or 'none'}."
        options.tell(f"Warning: the configuration has no {kind} '{name}'.{hint}")


def _known(app: "App", kind: str) -> Iterable[str]:
    if kind == "provider":
        return app.settings.providers
    if kind == "source":
        return {*app.settings.sources, *app.settings.schedules}
    from quarantine.playbook import shipped

    folders = [shipped(), *app.settings.playbooks]
    return {path.stem for folder in folders for path in ([folder] if folder.is_file() else folder.rglob("*.yaml"))}
