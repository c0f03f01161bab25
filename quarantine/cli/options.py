"""The options that several verbs share, and the words that they are parsed into. Imports nothing heavy."""

import functools
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from quarantine.app import App

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_CONFIG = Path("config.yaml")
TOKEN = "QUARANTINE_TOKEN"  # noqa: S105 - the name of the variable
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
"""One that is read."""
FORMATS = ("table", "json", "jsonl", "yaml", "csv", "name")


@dataclass
class Setting:
    """What was said before or after the verb."""

    config: Path | None = None
    debug: bool = False


def everywhere(command: Command) -> Command:
    """--config and --debug: before the verb and after it."""
    command = click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_keep_debug,
        help="Log to stderr, and show tracebacks.",
    )(command)
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        envvar="QUARANTINE_CONFIG",
        expose_value=False,
        is_eager=True,
        callback=_keep_config,
        help="Configuration: else $QUARANTINE_CONFIG, else ./config.yaml.",
    )(command)


def _setting(ctx: click.Context) -> Setting:
    root = ctx.find_root()
    if not isinstance(root.obj, Setting):
        root.obj = Setting()
    return root.obj


def _keep_config(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    typed = ctx.get_parameter_source(str(parameter.name)) is click.core.ParameterSource.COMMANDLINE
    # The environment says it again after the verb; it must not win over what was typed before the verb.
    if value is not None and (typed or _setting(ctx).config is None):
        _setting(ctx).config = value


def _keep_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    _setting(ctx).debug |= value


def debugging(ctx: click.Context) -> bool:
    return _setting(ctx).debug


def config_path(ctx: click.Context) -> Path:
    return _setting(ctx).config or DEFAULT_CONFIG


def load_app(ctx: click.Context) -> "App":
    """The app of the configuration that was named. Raises Misconfigured, with what to do if there is none."""
    from quarantine import app
    from quarantine.errors import Misconfigured

    quiet(ctx)
    path = config_path(ctx)
    if not path.exists():
        raise Misconfigured(
            f"there is no configuration {path}: write one with 'quarantine init', or name one with --config FILE"
        )
    return app.load(path)


def load_app_or_defaults(ctx: click.Context) -> "App":
    """The same, or the app of an empty configuration where none was named and none is here."""
    if _setting(ctx).config is not None or DEFAULT_CONFIG.exists():
        return load_app(ctx)
    from quarantine.app import App
    from quarantine.config import Settings
    from quarantine.document import Document

    quiet(ctx)
    return App(Settings(), Document("the defaults", {}, {}))


def quiet(ctx: click.Context) -> None:
    """Logs are for operators of the server; here the command itself says what happens."""
    import logging

    logging.getLogger("quarantine").addHandler(logging.NullHandler())
    if debugging(ctx):
        from quarantine.log import set_up

        set_up()


def colourful(stream: Any) -> bool:
    """Colour only where a person looks, and not where they said no (https://no-color.org)."""
    return bool(not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty())


def formatted(command: Command) -> Command:
    """-o"""
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(FORMATS),
        default="table",
        show_default=True,
        help="How stdout is written.",
    )(command)


def reasoned(required: bool = False) -> Callable[[Command], Command]:
    """--reason"""
    help_text = "Goes into the record."
    if required:
        return click.option("--reason", required=True, help=help_text)
    return click.option("--reason", default="", help=help_text)


def waiting(command: Command) -> Command:
    """--wait and --no-wait"""

    @click.option("--wait", type=Span(), default="120s", show_default=True, help="Carry the case on for so long.")
    @click.option("--no-wait", is_flag=True, help="Only say it; a server carries the case on.")
    @functools.wraps(command)
    def wrapped(*arguments: Any, wait: timedelta, no_wait: bool, **named: Any) -> Any:
        return command(*arguments, wait=None if no_wait else wait, **named)

    return wrapped  # type: ignore[return-value]


class Span(click.ParamType[timedelta]):
    """30s, 5m, 1h, 90d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(\d{1,6})(s|m|h|d)", str(value))
        if not found:
            self.fail(f"'{value}': write a number and a unit: 30s, 5m, 1h, 90d", param, ctx)
        return timedelta(seconds=int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]])


class Thing(click.ParamType[tuple[str, str]]):
    """KIND/ID: aws:s3-bucket/my-bucket."""

    name = "kind/id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        kind, _, identifier = str(value).partition("/")
        if not re.fullmatch(r"[a-z0-9]+:[a-z0-9-]+", kind) or not identifier:
            self.fail(f"'{value}': write a kind and an id, such as aws:s3-bucket/my-bucket", param, ctx)
        return kind, identifier


def who(app: "App") -> str:
    """The person at the keyboard: the bearer of the token in $QUARANTINE_TOKEN, else by the operating system's word.

    Raises Forbidden if the variable is there and holds no token that counts: nobody is taken for another by mistake.
    """
    secret = os.environ.get(TOKEN)
    return local_person() if secret is None else app.desk.speaker(secret.strip()).name


def local_person() -> str:
    """Who runs this, by the operating system's word and not by an environment variable."""
    import pwd

    number = os.getuid()
    try:
        return f"local:{pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"local:{number}"


def tell(sentence: str) -> None:
    """Talk: one line on stderr."""
    from quarantine.text import safe_text

    click.echo(safe_text(sentence, 2000), err=True)
