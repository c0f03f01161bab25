"""quarantine version"""

import click

from quarantine import __version__
from quarantine.cli import options


@click.command("version")
@options.everywhere
def command() -> None:
    """Say which version this is."""
    click.echo(f"quarantine {__version__}")
