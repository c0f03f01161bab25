"""quarantine audit"""

from typing import TYPE_CHECKING

import click

from quarantine.cli import options
from quarantine.cli.exporting import export
from quarantine.cli.reconciling import reconcile
from quarantine.cli.redacting import redact
from quarantine.cli.standing import status
from quarantine.cli.verifying import verify
from quarantine.errors import Misconfigured

if TYPE_CHECKING:
    from quarantine.journal import Noted


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
    """Show what was done to the installation itself.

    Kill switches, budgets, tokens, break-glass, keys.
    """
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
    """Print the last signed state, to be kept elsewhere.

    It is an anchor for `verify --anchors`.
    """
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
    """Print a proof of one entry of a case.

    It is for somebody who has nothing but the public key: see `verify --proof`.

    The case `installation` is what `audit log` shows.
    """
    app = options.load_app(ctx)
    from quarantine.errors import NotFound
    from quarantine.journal import JOURNAL

    found = case_id if case_id == JOURNAL else app.store.find(case_id)
    proof = app.store.proof(found, seq)
    if proof is None:
        raise NotFound(f"case {found} has no signed entry{f' {seq}' if seq else ''}: see quarantine audit verify")
    click.echo(proof, nl=False)


def _show_journal(entries: "list[Noted]") -> None:
    from rich.text import Text

    from quarantine.cli import screen
    from quarantine.narrative import act_in_words
    from quarantine.text import moment

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


for _more in (export, verify, status, redact, reconcile):
    command.add_command(_more)
