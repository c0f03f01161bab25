"""quarantine token: who may say what, without sharing an account of the operating system."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from quarantine.cli import options

if TYPE_CHECKING:
    from quarantine.people import Grant, Token

COLUMNS = (
    "id", "person", "state", "grants", "expires_at", "used_at", "created_by", "created_at", "revoked_by", "revoked_at"
)  # fmt: skip


class Granted(click.ParamType["Grant"]):
    """ROLE or ROLE@SCOPE."""

    name = "role"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "Grant":
        from quarantine.people import Grant

        if isinstance(value, Grant):
            return value
        try:
            return Grant.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.group("token")
@options.everywhere
def command() -> None:
    """Who may say what: tokens of people."""


@command.command("create")
@click.argument("person")
@click.option(
    "--role",
    "grants",
    type=Granted(),
    multiple=True,
    metavar="ROLE[@SCOPE]",
    help="viewer, operator, approver, auditor or admin; may be repeated. approver@aws:123456789012: only there.",
)
@click.option("--for", "span", type=options.Span(), default="90d", show_default=True, help="At most 366d.")
@options.everywhere
@click.pass_context
def create(ctx: click.Context, person: str, grants: tuple["Grant", ...], span: timedelta) -> None:
    """Make a token for PERSON. It is shown once, and kept nowhere.

    Two tokens of one person are one person: nobody approves what they asked for with another token.
    """
    app = options.load_app(ctx)
    token, secret = app.desk.make_token(options.who(app), person, grants, span)
    click.echo(secret)
    options.tell(f"{token.id}: {_said(token)}, for {token.person}, until {token.expires_at:%Y-%m-%d}.")
    options.tell(f"To use it, put it into ${options.TOKEN}. To end it: quarantine token revoke {token.id}")


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="Those too that were revoked or have run out.")
@options.formatted
@options.everywhere
@click.pass_context
def list_tokens(ctx: click.Context, everything: bool, form: str) -> None:
    """Who has one, for what, and when it was last used."""
    from quarantine.cli.output import listing

    app = options.load_app(ctx)
    now = app.clock()
    tokens = [token for token in app.store.tokens() if everything or token.dead(now) is None]
    listing(form, [_record(token, now) for token in tokens], COLUMNS, lambda: _show(tokens, now))


@command.command("revoke")
@click.argument("identifier", metavar="ID")
@options.everywhere
@click.pass_context
def revoke(ctx: click.Context, identifier: str) -> None:
    """It counts no more, nor do approvals given with it."""
    app = options.load_app(ctx)
    app.desk.revoke_token(options.who(app), identifier)
    options.tell(f"Token {identifier} is revoked.")


def _said(token: "Token") -> str:
    return ", ".join(str(grant) for grant in token.grants)


def _state(token: "Token", now: datetime) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "in force" if token.dead(now) is None else "ran out"


def _record(token: "Token", now: datetime) -> dict[str, Any]:
    values = {name: getattr(token, name) for name in COLUMNS if name not in ("state", "grants")}
    values |= {"state": _state(token, now), "grants": _said(token)}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


def _show(tokens: Sequence["Token"], now: datetime) -> None:
    from rich.text import Text

    from quarantine.cli import screen
    from quarantine.text import moment

    if not tokens:
        options.tell("No tokens. To make one: quarantine token create PERSON --role operator")
        return
    rows = [
        (
            Text(token.id, "bold"),
            screen.safe(token.person),
            Text(_state(token, now), "green" if token.dead(now) is None else "dim"),
            screen.safe(_said(token)),
            Text(f"{token.expires_at:%Y-%m-%d}"),
            Text("never" if token.used_at is None else moment(token.used_at)),
        )
        for token in tokens
    ]
    screen.stdout().table(("TOKEN", "PERSON", "STATE", "FOR", "UNTIL", "LAST USED"), rows)
