"""quarantine audit verify"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from quarantine.cli import options
from quarantine.errors import Misconfigured

if TYPE_CHECKING:
    from quarantine.app import App
    from quarantine.audit import Report
    from quarantine.note import Verifier


@click.command("verify")
@click.option("--key", "verifier", metavar="KEY", help="The public key that you trust; else that of the key file here.")
@click.option(
    "--anchors",
    type=options.FILE,
    help="Checkpoints that were kept elsewhere: the file that ledger.anchor names.",
)
@click.option(
    "--witness",
    "witnesses",
    metavar="KEY",
    multiple=True,
    help="The public key of a witness that must have seen it; else those of ledger.witnesses.",
)
@click.option("--bundle", type=options.FILE, help="This file, of `audit export`: no database is asked.")
@click.option("--proof", type=options.FILE, help="Only this proof, of `audit prove`: no database is asked.")
@options.formatted
@options.everywhere
@click.pass_context
def verify(
    ctx: click.Context,
    verifier: str | None,
    anchors: Path | None,
    witnesses: tuple[str, ...],
    bundle: Path | None,
    proof: Path | None,
    form: str,
) -> None:
    """Is the record whole, unaltered, and signed?

    Exit codes: 0 yes, 20 altered, 21 missing or doubled, 22 cut off, 23 another history was anchored, 24 the end is not
    signed, 25 no trusted key has signed it, 26 evidence is not what was recorded, 27 malformed.
    """
    from dataclasses import asdict

    from quarantine.cli.output import one

    if bundle is not None and proof is not None:
        raise click.UsageError("give one of --bundle and --proof", ctx)
    if (bundle or proof) and verifier is None:
        raise click.UsageError("give the public key that you trust, with --key", ctx)
    if proof is not None:
        report = _proven(proof, verifier or "")
    elif bundle is not None:
        report = _unwrapped(ctx, bundle, (verifier or "", *witnesses), anchors)
    else:
        report = _verified(options.load_app(ctx), verifier, witnesses, anchors)
    record = {**asdict(report), "finding": report.finding.name.lower(), "code": int(report.finding)}
    one(form, record, tuple(record), lambda: _show(report))
    ctx.exit(int(report.finding))


def _proven(proof: Path, verifier: str) -> "Report":
    from quarantine import ledger
    from quarantine.audit import Finding, Report
    from quarantine.journal import JOURNAL
    from quarantine.note import Unsigned, Verifier
    from quarantine.text import moment

    try:
        recorded, checkpoint = ledger.proven(proof.read_text("utf-8", errors="replace"), [Verifier.parse(verifier)])
    except Unsigned as error:
        return Report(Finding.KEY, str(error))
    name = recorded.case if recorded.case == JOURNAL else f"case {recorded.case}"
    sentence = (
        f"{name}, entry {recorded.seq}: {recorded.event.type} by {recorded.by} "
        f"at {moment(recorded.at)} is one of {checkpoint.size} entries of {checkpoint.origin}"
    )
    return Report(Finding.OK, sentence, 1, 1)


def _unwrapped(ctx: click.Context, path: Path, keys: tuple[str, ...], anchors: Path | None) -> "Report":
    from quarantine.audit import Damaged, Finding, Report, Trust, verify_signed
    from quarantine.bundle import Bundle
    from quarantine.model import now
    from quarantine.sealer import anchors_in

    options.quiet(ctx)
    kept = anchors_in(anchors) if anchors else []
    try:
        key, *witnesses = map(_given, keys)
        with Bundle(path) as bundle:
            return verify_signed(bundle, Trust([key], now(), [*bundle.anchors(), *kept], witnesses), bundle)
    except Misconfigured as error:
        return Report(Finding.KEY, str(error))
    except Damaged as error:
        return Report(Finding.MALFORMED, str(error))


def _verified(app: "App", verifier: str | None, witnesses: tuple[str, ...], anchors: Path | None) -> "Report":
    from sqlalchemy.exc import DatabaseError

    from quarantine.audit import Finding, Report, Trust, verify_signed
    from quarantine.errors import Unavailable
    from quarantine.sealer import anchors_in

    kept = anchors_in(anchors) if anchors else []
    try:
        trusted = _trusted(app, verifier)
        watching = [_given(key) for key in witnesses or (item.key for item in app.settings.ledger.witnesses.values())]
    except Misconfigured as error:
        return Report(Finding.KEY, f"no trusted key: {error}. Or give it with --key")
    try:
        with app.store.record() as record:
            return verify_signed(record, Trust(trusted, app.clock(), kept, watching), app.evidence)
    except (DatabaseError, Unavailable) as error:
        return Report(Finding.MALFORMED, f"the database cannot be read: {getattr(error, 'orig', None) or error}")


def _trusted(app: "App", verifier: str | None) -> "list[Verifier]":
    """The key that was given; else the public part of the key that only this host has. Never one from the database."""
    from quarantine.sealer import key_of

    if verifier is not None:
        return [_given(verifier)]
    if not app.ledger_key.exists() and app.store.log_key() is None:
        return []  # nothing was ever signed here
    return [key_of(app.ledger_key).verifier]


def _given(verifier: str) -> "Verifier":
    from quarantine.note import Unsigned, Verifier

    try:
        return Verifier.parse(verifier)
    except Unsigned as error:
        raise Misconfigured(str(error)) from None


def _show(report: "Report") -> None:
    from rich.text import Text

    from quarantine.cli import screen

    whole = report.finding == 0
    word = Text("whole" if whole else report.finding.name.lower(), "green" if whole else "bold red")
    screen.stdout().prose(screen.safe(report.sentence), screen.joined(word, "  "))
