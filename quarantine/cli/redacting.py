"""quarantine audit redact"""

import sys
from typing import TYPE_CHECKING

import click

from quarantine.cli import options
from quarantine.errors import Misused

if TYPE_CHECKING:
    from quarantine.redaction import Erasable


@click.command("redact")
@click.argument("case_id", metavar="CASE")
@click.argument("names", metavar="[WHAT]...", nargs=-1)
@options.reasoned()
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.formatted
@options.everywhere
@click.pass_context
def redact(ctx: click.Context, case_id: str, names: tuple[str, ...], reason: str, yes: bool, form: str) -> None:
    """Erase sensitive values of a case for ever, and record who did and why.

    \b
      quarantine audit redact CASE                                        shows what there is
      quarantine audit redact CASE 3:finding.record --reason ...          one value
      quarantine audit redact CASE 3 7:evidence/1b4f0e98 --reason ...     all of entry 3, a piece of evidence
      quarantine audit redact CASE all --reason ...

    The record holds commitments to such values and stays whole: `audit verify` goes on to check it, and a value that is
    gone without this is found. What came in and what people were told of the case goes too. Not reached: backups,
    bundles and pages that were written before, what was sent, and logs.
    """
    from quarantine import redaction

    app = options.load_app(ctx)
    found = app.store.find(case_id)
    entries = app.store.entries(found)
    for sha256 in redaction.erased_evidence(entries):
        app.evidence.erase(sha256)  # where it was recorded, and interrupted
    there = redaction.erasable(entries)
    if not names:
        _show(there, form)
        return
    by = options.who(app)
    items = redaction.chosen(there, names)
    if not yes:
        _ask(items)
    event = redaction.redacted(items, reason)
    app.desk.redact(found, by, event)
    for sha256 in event.evidence:
        app.evidence.erase(sha256)
    whole = app.store.forget()
    if app.sealer is not None:
        app.sealer.seal()
    _show(items, form)
    options.tell("Erased, and recorded. Backups, bundles and pages from before still hold it: erase it there too.")
    if not whole:
        options.tell(_LATER)


_LATER = (
    "The database has freed the place, and may keep it readable on its disk until it needs it: on PostgreSQL, run "
    "VACUUM on disclosures, intake and notices; on SQLite, run this again when nothing else reads."
)


def _ask(items: "list[Erasable]") -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Misused("nobody is here to ask. If it is meant, add --yes")
    for item in items:
        options.tell(item.name)
    if not click.confirm("Erase these for ever?", default=False, err=True):
        raise Misused("nothing was erased")


def _show(items: "list[Erasable]", form: str) -> None:
    from rich.text import Text

    from quarantine.cli import screen
    from quarantine.cli.output import listing

    records = [{"name": item.name, "bytes": item.size, "entry": item.entry, "what": item.what} for item in items]
    rows = [(Text(item.name), Text(str(item.size))) for item in items]
    listing(form, records, ("name", "bytes", "entry", "what"), lambda: screen.stdout().table(("WHAT", "BYTES"), rows))
    if form == "table" and not items:
        options.tell("There is nothing to erase: its sensitive values are gone, or it never had any.")
