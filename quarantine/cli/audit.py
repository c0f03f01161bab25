"""quarantine audit"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from quarantine.cli import options
from quarantine.errors import Misconfigured

if TYPE_CHECKING:
    from quarantine.app import App
    from quarantine.audit import Record, Report
    from quarantine.journal import Noted
    from quarantine.note import Verifier
    from quarantine.reconciliation import Ours, Reconciled


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


@command.command("rotate")
@options.reasoned(required=True)
@options.everywhere
@click.pass_context
def rotate(ctx: click.Context, reason: str) -> None:
    """Make another key for the record, and print its public part.

    The change is an entry signed by both keys, so a verifier who trusts the old one follows it. Run it where the key's
    file is; servers there go on with the new one by themselves.
    """
    from quarantine import sealer
    from quarantine.people import Word

    app = options.load_app(ctx)
    by = options.who(app)
    app.desk.must(by, Word.RULE)
    if app.sealer is None:
        raise Misconfigured(f"the ledger key is not here: run this on the host that has {app.ledger_key}")
    app.sealer.seal()
    old = sealer.key_of(app.ledger_key).verifier
    new = sealer.rotate(app.store, app.ledger_key, by, app.clock(), reason)
    app.sealer.seal()
    click.echo(str(new.verifier))
    past = f"{app.ledger_key}{sealer.PAST}{old.id.hex()}"
    options.tell(
        f"The key {new.verifier.id.hex()} follows {old.id.hex()}. Keep the printed line in place of the old one."
    )
    options.tell(f"Destroy the old key when nothing runs that has it: {past}")


@command.command("log")
@options.formatted
@options.everywhere
@click.pass_context
def journal(ctx: click.Context, form: str) -> None:
    """What was done to the installation itself: kill switches, budgets, tokens, break-glass, keys."""
    from quarantine.cli.output import listing

    entries = options.load_app(ctx).store.journal()
    records = [entry.model_dump(mode="json", exclude={"case"}) for entry in entries]
    listing(form, records, ("seq", "at", "by", "event"), lambda: _show_journal(entries))
    if form == "table" and not entries:
        options.tell("Nothing yet.")


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
    """Print a proof of one entry of a case, for somebody who has nothing but the public key.

    The case `installation` is what `audit log` shows.
    """
    app = options.load_app(ctx)
    from quarantine.errors import NotFound
    from quarantine.journal import JOURNAL

    whole = case_id == JOURNAL or case_id.startswith("c-")
    found = case_id if case_id == JOURNAL else app.store.find(case_id if whole else f"c-{case_id}")
    proof = app.store.proof(found, seq)
    if proof is None:
        raise NotFound(f"case {found} has no signed entry{f' {seq}' if seq else ''}: see quarantine audit verify")
    click.echo(proof, nl=False)


@command.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--as",
    "kind",
    type=click.Choice(["bundle", "ocsf"]),
    default="bundle",
    show_default=True,
    help="bundle: all of it, to be verified. ocsf: what was done, as Remediation Activity, for a SIEM.",
)
@click.option("--evidence", "with_evidence", is_flag=True, help="With the captured bytes, not only their digests.")
@options.everywhere
@click.pass_context
def export(ctx: click.Context, file: Path, kind: str, with_evidence: bool) -> None:
    """Write the whole record into FILE, to be verified elsewhere: see `verify --bundle`.

    A bundle is a ZIP of JSON lines, with everything that verification needs except the key. The same record gives the
    same file. OCSF is JSON lines of class 7001 in version 1.5.0. For one case as a page: quarantine report.
    """
    if kind == "ocsf" and with_evidence:
        raise click.UsageError("evidence goes into a bundle only", ctx)
    app = options.load_app(ctx)
    from quarantine.text import many

    if kind == "ocsf":
        count = _activities(app, file)
        click.echo(str(file))
        options.tell(f"{many(count, 'event')} of OCSF class 7001.")
        return
    entries, files = _bundled(app, file, with_evidence)
    click.echo(str(file))
    pieces = f" and {many(files, 'piece')} of evidence" if with_evidence else ""
    options.tell(f"{many(entries, 'entry', 'entries')}{pieces}. It holds what was found and done: mind who reads it.")
    options.tell(f"To check it anywhere: quarantine audit verify --bundle {file} --key KEY")


def _bundled(app: "App", file: Path, with_evidence: bool) -> tuple[int, int]:
    from quarantine import bundle
    from quarantine.sealer import anchors_in

    anchor = app.settings.ledger.anchor
    anchors = anchors_in(anchor) if anchor is not None and anchor.exists() else []
    with app.store.record() as record:
        wrapping = bundle.Wrapping(app.store.log_key() or "", anchors, app.evidence if with_evidence else None)
        return bundle.write(file, record, wrapping)


def _activities(app: "App", file: Path) -> int:
    import json

    from quarantine.errors import Misused
    from quarantine.journal import JOURNAL
    from quarantine.ledger import unseal
    from quarantine.ocsf import activities

    count = 0
    try:
        with file.open("x", encoding="utf-8") as target, app.store.record() as record:
            for chain in record.chains():
                events = [unseal(sealed.content) for sealed in chain.entries] if chain.case != JOURNAL else []
                for activity in activities(events) if events else ():
                    target.write(json.dumps(activity.record()) + "\n")
                    count += 1
    except FileExistsError:
        raise Misused(f"{file} is there already: nothing was written") from None
    except OSError as error:
        raise Misconfigured(f"{file} cannot be written: {error.strerror}") from error
    return count


@command.command("verify")
@click.option("--key", "verifier", metavar="KEY", help="The public key that you trust; else that of the key file here.")
@click.option(
    "--anchors",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Checkpoints that were kept elsewhere: the file that ledger.anchor names.",
)
@click.option(
    "--witness",
    "witnesses",
    metavar="KEY",
    multiple=True,
    help="The public key of a witness that must have seen it; else those of ledger.witnesses.",
)
@click.option(
    "--bundle",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="This file, of `audit export`: no database is asked.",
)
@click.option(
    "--proof",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Only this proof, of `audit prove`: no database is asked.",
)
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


@command.command("reconcile")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--principal",
    "principals",
    metavar="NAME",
    multiple=True,
    help="Us, as the provider names us. Whoever made a call whose receipt we have is us too.",
)
@click.option(
    "--bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="In place of the database."
)
@options.formatted
@options.everywhere
@click.pass_context
def reconcile(
    ctx: click.Context, files: tuple[Path, ...], principals: tuple[str, ...], bundle: Path | None, form: str
) -> None:
    """Compare the record with what the providers saw: every change of ours has an intent, and the other way round.

    FILEs are trails as they come: `aws cloudtrail lookup-events`, `az monitor activity-log list`, the audit log of a
    Kubernetes API server; also compressed with gzip. Only the time that they cover is compared.

    Exit codes: 0 they agree, 28 a call in our name that nobody intended, 29 a call of ours that no trail knows of.
    """
    from quarantine import reconciliation, trail
    from quarantine.bundle import Bundle
    from quarantine.cli.output import one

    ours = reconciliation.Ours()
    if bundle is not None:
        options.quiet(ctx)
        with Bundle(bundle) as record:
            _histories(record, ours)
    else:
        with options.load_app(ctx).store.record() as stored:
            _histories(stored, ours)
    trails = [trail.read(_text(path), path.name) for path in files]
    found = reconciliation.reconcile(ours, trails, principals)
    record_of = {
        "code": 28 if found.unintended else 29 if found.unseen else 0,
        "sentence": found.sentence,
        "principals": list(found.principals),
        "unintended": [str(call) for call in found.unintended],
        "unseen": [str(told) for told in found.unseen],
        "unanswered": [str(call) for call in found.unanswered],
    }
    one(form, record_of, tuple(record_of), lambda: _show_reconciled(found))
    ctx.exit(int(str(record_of["code"])))


def _histories(record: "Record", ours: "Ours") -> None:
    from quarantine.journal import JOURNAL
    from quarantine.ledger import unseal

    for chain in record.chains():
        history = [unseal(sealed.content) for sealed in chain.entries] if chain.case != JOURNAL else []
        if history:
            ours.add(history)


def _text(path: Path) -> str:
    import gzip

    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path} cannot be read: {error}") from error


def _show_reconciled(found: "Reconciled") -> None:
    from rich.text import Text

    from quarantine.cli import screen

    out = screen.stdout()
    word = Text("agrees", "green") if found.agrees else Text("differs", "bold red")
    out.prose(screen.safe(found.sentence), screen.joined(word, "  "))
    for title, style, items in (
        ("nobody intended", "bold red", found.unintended),
        ("no trail knows", "bold red", found.unseen),
        ("answer was lost", "yellow", found.unanswered),
    ):
        for item in items:
            out.prose(screen.safe(str(item)), screen.joined("  ", Text(title, style), "  "))
    out.prose(screen.safe(", ".join(found.principals) or "nobody"), screen.joined("  ", Text("we are", "dim"), "  "))


def _proven(proof: Path, verifier: str) -> "Report":
    from quarantine import ledger
    from quarantine.audit import Finding, Report
    from quarantine.journal import JOURNAL
    from quarantine.note import Unsigned, Verifier

    try:
        recorded, checkpoint = ledger.proven(proof.read_text("utf-8", errors="replace"), [Verifier.parse(verifier)])
    except Unsigned as error:
        return Report(Finding.KEY, str(error))
    name = recorded.case if recorded.case == JOURNAL else f"case {recorded.case}"
    sentence = (
        f"{name}, entry {recorded.seq}: {recorded.event.type} by {recorded.by} "
        f"at {recorded.at:%Y-%m-%d %H:%M:%S} UTC is one of {checkpoint.size} entries of {checkpoint.origin}"
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


def _show_journal(entries: "list[Noted]") -> None:
    from rich.text import Text

    from quarantine.cli import screen
    from quarantine.narrative import act_in_words, moment

    rows = [
        (
            Text(str(entry.seq), "dim"),
            Text(moment(entry.at)),
            screen.safe(entry.by),
            screen.safe(act_in_words(entry.event)),
        )
        for entry in entries
    ]
    screen.stdout().table(("ENTRY", "AT", "BY", "WHAT"), rows)


def _show(report: "Report") -> None:
    from rich.text import Text

    from quarantine.cli import screen

    whole = report.finding == 0
    word = Text("whole" if whole else report.finding.name.lower(), "green" if whole else "bold red")
    screen.stdout().prose(screen.safe(report.sentence), screen.joined(word, "  "))
