"""quarantine audit"""

from typing import TYPE_CHECKING

import click

from quarantine.cli import options

if TYPE_CHECKING:
    from quarantine.ledger import Report
    from quarantine.store.sql import Store


@click.group("audit")
@options.everywhere
def command() -> None:
    """Check the record of everything that was done."""


@command.command("verify")
@options.formatted
@options.everywhere
@click.pass_context
def verify(ctx: click.Context, form: str) -> None:
    """Is the record whole and unaltered?

    Exit codes: 0 yes, 20 altered, 21 missing or doubled, 22 cut off, 27 malformed.
    """
    from quarantine.cli.output import one

    report = _verified(options.load_app(ctx).store)
    record = {
        "finding": report.finding.name.lower(),
        "code": int(report.finding),
        "sentence": report.sentence,
        "entries": report.entries,
        "cases": report.cases,
    }
    one(form, record, tuple(record), lambda: _show(report))
    ctx.exit(int(report.finding))


def _verified(store: "Store") -> "Report":
    from sqlalchemy.exc import DatabaseError

    from quarantine import ledger
    from quarantine.errors import Unavailable

    try:
        report = ledger.verify(store.chains())
        orphans = store.orphans()
    except (DatabaseError, Unavailable) as error:
        reason = getattr(error, "orig", None) or error
        return ledger.Report(ledger.Finding.MALFORMED, f"the database cannot be read: {reason}")
    if report.finding is ledger.Finding.OK and orphans:
        sentence = f"{len(orphans)} cases were deleted and their entries are still there: {', '.join(orphans[:5])}"
        return ledger.Report(ledger.Finding.MISSING, sentence, report.entries, report.cases)
    return report


def _show(report: "Report") -> None:
    from rich.text import Text

    from quarantine.cli import screen

    whole = report.finding == 0
    word = Text("whole" if whole else report.finding.name.lower(), "green" if whole else "bold red")
    screen.stdout().prose(screen.safe(report.sentence), screen.joined(word, "  "))
