"""quarantine audit"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from quarantine.cli import options
from quarantine.errors import Misconfigured

if TYPE_CHECKING:
    from quarantine.app import App
    from quarantine.ledger import Report
    from quarantine.note import Verifier
    from quarantine.store.sql import Store


@click.group("audit")
@options.everywhere
def command() -> None:
    """Check the record of everything that was done."""


@command.command("key")
@options.everywhere
@click.pass_context
def key(ctx: click.Context) -> None:
    """Print the public key that the record is signed with. Keep it where nobody here can change it."""
    from quarantine.errors import Misused

    known = options.load_app(ctx).store.log_key()
    if known is None:
        raise Misused("nothing is signed yet: quarantine serve makes the key when it starts")
    click.echo(known)


@command.command("checkpoint")
@options.everywhere
@click.pass_context
def checkpoint(ctx: click.Context) -> None:
    """Print the last signed state of the record, to be kept elsewhere: see `verify --anchors`."""
    from quarantine.errors import Misused

    last = options.load_app(ctx).store.last_checkpoint()
    if last is None:
        raise Misused("nothing is signed yet: quarantine serve signs what is written")
    click.echo(last[1])


@command.command("prove")
@click.argument("case_id", metavar="CASE")
@click.option("--entry", "seq", type=click.IntRange(1), help="Which of its entries; the last one if left out.")
@options.everywhere
@click.pass_context
def prove(ctx: click.Context, case_id: str, seq: int | None) -> None:
    """Print a proof of one entry of a case, for somebody who has nothing but the public key."""
    app = options.load_app(ctx)
    from quarantine.errors import NotFound

    found = app.store.find(case_id if case_id.startswith("c-") else f"c-{case_id}")
    proof = app.store.proof(found, seq)
    if proof is None:
        raise NotFound(f"case {found} has no signed entry{f' {seq}' if seq else ''}: see quarantine audit verify")
    click.echo(proof, nl=False)


@command.command("verify")
@click.option("--key", "verifier", metavar="KEY", help="The public key that you trust; else that of the key file here.")
@click.option(
    "--anchors",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Checkpoints that were kept elsewhere: the file that ledger.anchor names.",
)
@click.option(
    "--proof",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Only this proof, of `audit prove`: no database is asked.",
)
@options.formatted
@options.everywhere
@click.pass_context
def verify(ctx: click.Context, verifier: str | None, anchors: Path | None, proof: Path | None, form: str) -> None:
    """Is the record whole, unaltered, and signed?

    Exit codes: 0 yes, 20 altered, 21 missing or doubled, 22 cut off, 23 another history was anchored, 24 the end is not
    signed, 25 no trusted key has signed it, 27 malformed.
    """
    from quarantine.cli.output import one

    if proof is not None:
        report = _proven(ctx, proof, verifier)
    else:
        app = options.load_app(ctx)
        report = _verified(app, verifier, anchors)
    record = {
        "finding": report.finding.name.lower(),
        "code": int(report.finding),
        "sentence": report.sentence,
        "entries": report.entries,
        "cases": report.cases,
    }
    one(form, record, tuple(record), lambda: _show(report))
    ctx.exit(int(report.finding))


def _proven(ctx: click.Context, proof: Path, verifier: str | None) -> "Report":
    from quarantine import ledger
    from quarantine.note import Unsigned, Verifier

    if verifier is None:
        raise click.UsageError("give the public key that you trust, with --key", ctx)
    try:
        recorded, checkpoint = ledger.proven(proof.read_text("utf-8", errors="replace"), [Verifier.parse(verifier)])
    except Unsigned as error:
        return ledger.Report(ledger.Finding.KEY, str(error))
    sentence = (
        f"case {recorded.case}, entry {recorded.seq}: {recorded.event.type} by {recorded.by} "
        f"at {recorded.at:%Y-%m-%d %H:%M:%S} UTC is one of {checkpoint.size} entries of {checkpoint.origin}"
    )
    return ledger.Report(ledger.Finding.OK, sentence, 1, 1)


def _trusted(app: "App", verifier: str | None) -> "list[Verifier]":
    """The key that was given; else the public part of the key that only this host has. Never one from the database."""
    from quarantine.note import Unsigned, Verifier
    from quarantine.sealer import key_of

    if verifier is None:
        return [key_of(app.ledger_key).verifier]
    try:
        return [Verifier.parse(verifier)]
    except Unsigned as error:
        raise Misconfigured(str(error)) from None


def _verified(app: "App", verifier: str | None, anchors: Path | None) -> "Report":
    from quarantine import ledger
    from quarantine.sealer import anchors_in

    report = _whole(app.store)
    if report.finding is not ledger.Finding.OK:
        return report
    checkpoints = app.store.checkpoints()
    try:
        trusted = _trusted(app, verifier) if checkpoints or verifier else []
    except Misconfigured as error:
        return ledger.Report(ledger.Finding.KEY, f"no trusted key: {error}. Or give it with --key")
    kept = anchors_in(anchors) if anchors else []
    signed = ledger.verify_tree(app.store.kept(), checkpoints, trusted, app.clock(), kept)
    sentence = signed.sentence if signed.finding else f"{report.sentence}; {signed.sentence}"
    return replace(report, finding=signed.finding, sentence=sentence)


def _whole(store: "Store") -> "Report":
    """Is every case's chain whole?"""
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
