"""quarantine serve"""

import click

from quarantine.cli import options


@click.command("serve")
@options.everywhere
@click.pass_context
def command(ctx: click.Context) -> None:
    """Take findings, run schedules and carry cases on, until stopped.

    One process: the webhook door, the scheduler and the workers. SIGTERM and Ctrl-C finish what is under way.
    """
    app = options.load_app(ctx)
    from quarantine.web.server import serve

    serve(app)
