"""quarantine demo"""

import click

from quarantine.cli import options
from quarantine.errors import Misconfigured


@click.command("demo")
@click.option("--keep", is_flag=True, help="Keep the folder with configuration, record and logs.")
@options.everywhere
@click.pass_context
def command(ctx: click.Context, keep: bool) -> None:
    """See all of it in under a minute, on an AWS that runs here.

    A public bucket is reported, contained, watched and given back: by this same program, as a server and as commands,
    against a moto server on this machine. Needs no account and touches none. Exit 0 only if every check held.
    """
    from importlib.util import find_spec

    if find_spec("moto") is None or find_spec("flask") is None:
        raise Misconfigured("the demo needs moto, as an AWS to try things on: pip install 'cloud-quarantine[demo]'")
    from quarantine.cli.demo_story import tell_it

    ctx.exit(tell_it(keep))
