"""quarantine report"""

import os
from pathlib import Path

import click

from quarantine.cli import options
from quarantine.errors import Misconfigured, Misused


@click.command("report")
@click.argument("case_id", metavar="CASE")
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@options.everywhere
@click.pass_context
def command(ctx: click.Context, case_id: str, file: Path | None) -> None:
    """Write one case as a page that explains itself, with its proof.

    What happened, what was changed from what to what, who decided, what stayed possible, the timeline, the evidence and
    the proof. Into FILE, else to stdout. The page loads nothing and runs nothing.
    """
    app = options.load_app(ctx)
    from quarantine.report import Papers, page

    found = app.store.find(case_id)
    papers = Papers(app.store.entries(found), app.store.proof(found, None), app.store.log_key() or "")
    text = page(papers)
    if file is None:
        click.echo(text, nl=False)
        return
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as target:
            target.write(text)
    except FileExistsError:
        raise Misused(f"{file} is there already: nothing was written") from None
    except OSError as error:
        raise Misconfigured(f"{file} cannot be written: {error.strerror}") from error
    click.echo(str(file))
