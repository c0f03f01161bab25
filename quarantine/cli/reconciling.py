"""quarantine audit reconcile"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from quarantine.cli import options
from quarantine.errors import Misconfigured

if TYPE_CHECKING:
    from quarantine.audit import Record
    from quarantine.reconciliation import Ours, Reconciled


@click.command("reconcile")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--principal",
    "principals",
    metavar="NAME",
    multiple=True,
    help="Us, as the provider names us. Whoever made a call whose receipt we have is us too.",
)
@click.option("--bundle", type=options.FILE, help="In place of the database.")
@options.formatted
@options.everywhere
@click.pass_context
def reconcile(
    ctx: click.Context, files: tuple[Path, ...], principals: tuple[str, ...], bundle: Path | None, form: str
) -> None:
    """Compare the record with what the providers saw.

    Every change of ours has an intent, and the other way round.

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
        history = unseal(chain.entries) if chain.case != JOURNAL else []
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
