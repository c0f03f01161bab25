"""quarantine break-glass: one person alone, in an emergency, in the open, and reviewed after."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from quarantine.cli import options

if TYPE_CHECKING:
    from quarantine.store.glasses import Glass

COLUMNS = ("id", "state", "case", "used_by", "used_at", "opened_by", "opened_at", "expires_at", "reviewed_by", "reason")


@click.group("break-glass")
@options.everywhere
def command() -> None:
    """Let one person do what needs two, in an emergency."""


@command.command("open")
@click.option("--for", "span", type=options.Span(), default="15m", show_default=True, help="At most 1h.")
@options.reasoned(required=True)
@options.everywhere
@click.pass_context
def open_glass(ctx: click.Context, span: timedelta, reason: str) -> None:
    """Make a token for one approval by one person. Everybody is told.

    Only for those whom the setting approvals.break_glass names. The token is shown once, and kept nowhere.
    """
    app = options.load_app(ctx)
    from quarantine.cli.approving import TOKEN

    glass, token = app.desk.break_open(options.who(app), span, reason)
    click.echo(token)
    options.tell(f"{glass.id}: for one approval, until {glass.expires_at:%H:%M:%S} UTC. It was told to everybody.")
    options.tell(f"To use it, put it into ${TOKEN}: quarantine case approve CASE --break-glass --reason WHY")


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="Every token there ever was.")
@options.formatted
@options.everywhere
@click.pass_context
def list_glasses(ctx: click.Context, everything: bool, form: str) -> None:
    """What was done alone and not reviewed yet."""
    from quarantine.cli.output import listing

    app = options.load_app(ctx)
    glasses = [glass for glass in app.store.glasses() if everything or _state(glass) == "not reviewed"]
    listing(form, [_record(glass) for glass in glasses], COLUMNS, lambda: _show(glasses))


@command.command("reviewed")
@click.argument("glass_id", metavar="ID")
@options.reasoned(required=True)
@options.everywhere
@click.pass_context
def reviewed(ctx: click.Context, glass_id: str, reason: str) -> None:
    """You have looked at what was done, and it was somebody else who did it."""
    app = options.load_app(ctx)
    case = app.desk.reviewed(glass_id, options.who(app), reason)
    options.tell(f"{glass_id} is reviewed. It stays in the record of case {case.id}.")


def _state(glass: "Glass") -> str:
    if glass.used_at is None:
        from quarantine.model import now

        return "open" if glass.expires_at > now() else "never used"
    return "not reviewed" if glass.reviewed_at is None else "reviewed"


def _record(glass: "Glass") -> dict[str, Any]:
    values = {"state": _state(glass), **{name: getattr(glass, name) for name in COLUMNS if name != "state"}}
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in values.items()}


def _show(glasses: Sequence["Glass"]) -> None:
    from rich.text import Text

    from quarantine.cli import screen

    if not glasses:
        options.tell("Nothing waits for a review.")
        return
    rows = [
        (
            Text(glass.id, "bold"),
            Text(_state(glass), "bold red" if _state(glass) in ("not reviewed", "open") else "dim"),
            screen.safe(glass.case or ""),
            screen.safe(glass.used_by or ""),
            screen.safe(glass.opened_by),
            screen.safe(glass.reason),
        )
        for glass in glasses
    ]
    screen.stdout().table(("TOKEN", "STATE", "CASE", "USED BY", "OPENED BY", "REASON"), rows)
    if any(_state(glass) == "not reviewed" for glass in glasses):
        options.tell(
            "Look at each: quarantine case show CASE. Then another person says: quarantine break-glass reviewed TOKEN"
        )
