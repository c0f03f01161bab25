"""quarantine audit export"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from quarantine.cli import options
from quarantine.errors import Misconfigured

if TYPE_CHECKING:
    from quarantine.app import App


@click.command("export")
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
    """Write the whole record into one file.

    A bundle is a ZIP of JSON lines, with everything that `verify --bundle` needs except the key. The same record gives
    the same file. OCSF is JSON lines of class 7001 in version 1.5.0. For one case as a page: quarantine report.
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
                events = unseal(chain.entries) if chain.case != JOURNAL else []
                for activity in activities(events) if events else ():
                    target.write(json.dumps(activity.record()) + "\n")
                    count += 1
    except FileExistsError:
        raise Misused(f"{file} is there already: nothing was written") from None
    except OSError as error:
        raise Misconfigured(f"{file} cannot be written: {error.strerror}") from error
    return count
