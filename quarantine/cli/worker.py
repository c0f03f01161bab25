"""quarantine worker"""

import signal
import threading
from typing import TYPE_CHECKING

import click

from quarantine.cli import options

if TYPE_CHECKING:
    from quarantine.app import App


@click.command("worker")
@options.everywhere
@click.pass_context
def command(ctx: click.Context) -> None:
    """Carry cases on and run schedules, one of many on PostgreSQL.

    It listens on no port. Start as many as you like, beside `quarantine serve --no-worker` or without any server.
    SIGTERM and Ctrl-C finish what is under way; what a worker leaves when it dies, another one takes over.
    """
    app = options.load_app(ctx)
    from quarantine.errors import Misconfigured

    if not app.settings.distributed:
        raise Misconfigured(
            "on SQLite there is one process, and 'quarantine serve' is all of it. For more workers use PostgreSQL: "
            "set database: postgresql+psycopg://user@host/name"
        )
    _work(app)


def _work(app: "App") -> None:
    import logging

    from quarantine.log import set_up
    from quarantine.scheduler import Scheduler

    log = logging.getLogger("quarantine.worker")
    set_up()
    app.check()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    for webhook in app.webhooks:
        webhook.check()
    scheduler = Scheduler(app.settings.schedules, app.poller, app.store, app.worker.wake)
    sealer = app.sealer
    app.worker.start()
    if sealer:
        sealer.start()
        app.herald.start()
    app.notifier.start()
    scheduler.start()
    log.info(
        "working",
        extra={
            "as": app.name,
            "mode": str(app.settings.guards.mode),
            "turns": app.settings.worker.threads,
            "providers": sorted(app.registry.configured),
        },
    )
    stopped.wait()
    app.worker.end()
    log.info("stopping")
    scheduler.stop()
    app.worker.stop()
    app.notifier.stop()
    if sealer:
        sealer.stop()
        app.herald.stop()
    app.store.close()
    log.info("stopped")
