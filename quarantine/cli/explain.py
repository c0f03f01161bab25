"""quarantine explain"""

from typing import TYPE_CHECKING, Any, BinaryIO

import click

from quarantine.cli import options

if TYPE_CHECKING:
    from quarantine.cli.explanation import Explanation


@click.command("explain", epilog="Example: quarantine explain finding.json --source security-hub")
@click.argument("file", metavar="FILE|-", type=click.File("rb"))
@click.option("--source", required=True, help="The source that it would come from: one of 'sources:'.")
@options.formatted
@options.everywhere
@click.pass_context
def command(ctx: click.Context, file: BinaryIO, source: str, form: str) -> None:
    """Why does a finding lead to this, or to nothing?

    Takes what the webhook would get. Says which playbooks were tried and which clause was false, what would be done
    with which permissions, and which guard would hold it. Reads the resource at its provider; changes nothing.
    """
    app = options.load_app(ctx)
    from quarantine.cli import explanation, output
    from quarantine.cli.screen import stdout

    found = explanation.explain(app, source, file.read())
    records: list[dict[str, Any]] = [item.record for item in found]
    output.listing(form, records, ("id", "resource", "verdict", "playbook", "sentence"), lambda: _show(found))
    if form == "table" and not found:
        stdout().line("There is no finding in it.")


def _show(found: list["Explanation"]) -> None:
    from quarantine.cli.explanation import show
    from quarantine.cli.screen import stdout

    screen = stdout()
    for number, item in enumerate(found):
        if number:
            screen.blank()
        show(screen, item)
