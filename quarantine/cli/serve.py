"""quarantine serve"""

import click

from quarantine.cli import options


@click.command("serve")
@click.option("--no-worker", is_flag=True, help="Only take findings; `quarantine worker` does the rest (PostgreSQL).")
@options.everywhere
@click.pass_context
def command(ctx: click.Context, no_worker: bool) -> None:
    """Take findings, run schedules and carry cases on, until stopped.

    One process: the webhook door, the scheduler and the workers. SIGTERM and Ctrl-C finish what is under way. With
    --no-worker it is the door alone, and needs no credentials of any provider.
    """
    app = options.load_app(ctx)
    from quarantine.errors import Misconfigured
    from quarantine.web.server import serve

    if no_worker and not app.settings.distributed:
        raise Misconfigured(
            "--no-worker leaves the work to 'quarantine worker', which needs PostgreSQL: set database: "
            "postgresql+psycopg://user@host/name, or start without --no-worker"
        )
    serve(app, None if no_worker else app.worker)
