"""quarantine budget: how much may still be done without a person."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from quarantine.cli import options

if TYPE_CHECKING:
    from quarantine.config import Budget

COLUMNS = ("account", "used_10m", "limit_10m", "used_24h", "limit_24h")
EVERYWHERE = "*"


@click.group("budget")
@options.everywhere
def command() -> None:
    """How many containments may still start by themselves."""


@command.command("show")
@options.formatted
@options.everywhere
@click.pass_context
def show(ctx: click.Context, form: str) -> None:
    """What was used in the last 24 hours, since the last refill."""
    from quarantine.cli.output import listing
    from quarantine.model import now

    app = options.load_app(ctx)
    moment = now()
    used = app.store.budget_used(moment)
    records = [_record(account, times, app.settings.guards.budget, moment) for account, times in used.items()]
    listing(form, records, COLUMNS, lambda: _show(records))


@command.command("refill")
@click.argument("account", required=False)
@click.option("--all", "everywhere", is_flag=True, help="For every account, and the number for all of them.")
@options.reasoned(required=True)
@options.everywhere
@click.pass_context
def refill(ctx: click.Context, account: str | None, everywhere: bool, reason: str) -> None:
    """Begin to count anew. Cases that wait for it go on with `quarantine case retry`."""
    from quarantine.model import now
    from quarantine.people import Word

    if (account is None) != everywhere:
        raise click.UsageError("name one account, or give --all", ctx)
    app = options.load_app(ctx)
    by = options.who(app)
    app.desk.must(by, Word.LOOSEN)
    app.store.refill(account or EVERYWHERE, reason, by, now())
    options.tell("The budget of every account is full again." if everywhere else f"The budget of {account} is full.")


def _record(account: str, times: Sequence[datetime], limit: "Budget", moment: datetime) -> dict[str, object]:
    recent = sum(1 for at in times if moment - at < timedelta(minutes=10))
    if account == EVERYWHERE:
        return {
            "account": account, "used_10m": recent, "limit_10m": None, "used_24h": len(times),
            "limit_24h": limit.global_24h,
        }  # fmt: skip
    return {
        "account": account, "used_10m": recent, "limit_10m": limit.per_account_10m, "used_24h": len(times),
        "limit_24h": limit.per_account_24h,
    }  # fmt: skip


def _show(records: Sequence[dict[str, object]]) -> None:
    from quarantine.cli import screen

    rows = []
    for record in records:
        name = "all accounts" if record["account"] == EVERYWHERE else str(record["account"])
        short = (
            f"{record['used_10m']}" if record["limit_10m"] is None else f"{record['used_10m']} of {record['limit_10m']}"
        )
        rows.append(
            (screen.safe(name), screen.safe(short), screen.safe(f"{record['used_24h']} of {record['limit_24h']}"))
        )
    screen.stdout().table(("ACCOUNT", "IN 10 MINUTES", "IN 24 HOURS"), rows)
