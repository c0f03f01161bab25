"""quarantine witness"""

from pathlib import Path

import click

from quarantine.cli import options
from quarantine.errors import Misconfigured


@click.command("witness")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--log", "logs", metavar="KEY", multiple=True, required=True, help="A log's public key: see audit key.")
@click.option("--name", default="witness", show_default=True, help="In its key, when that is made: best host/name.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=8687, show_default=True, help="0 takes a free one.")
@options.everywhere
@click.pass_context
def command(ctx: click.Context, folder: Path, logs: tuple[str, ...], name: str, host: str, port: int) -> None:
    """Watch over the record of another installation, until stopped.

    Run it on another host, under other people's hands. It sees the size and the root of each log, makes sure that none
    is ever rewritten, and signs that with a key of its own, kept in FOLDER with the last state of each log. Give --log
    twice when a log changes its key. Needs no configuration.
    """
    import re

    from quarantine.log import set_up
    from quarantine.model import now
    from quarantine.note import Unsigned, Verifier
    from quarantine.sealer import key_of, make_key
    from quarantine.web.witness import serve
    from quarantine.witness import Witness

    if not re.fullmatch(r"[^\s+]{1,200}", name):
        raise click.BadParameter("a name has no space and no plus", ctx, param_hint="--name")
    try:
        known = [Verifier.parse(log) for log in logs]
    except Unsigned as error:
        raise Misconfigured(str(error)) from None
    path = folder / "witness.key"
    witness = Witness(folder, key_of(path) if path.exists() else make_key(path, name), known, now)
    set_up()
    options.tell(f"The public key of this witness, for ledger.witnesses and audit verify --witness: {witness.verifier}")
    try:
        serve(witness, host, port)
    finally:
        witness.close()
