"""The webhook door, and in the same process, unless others do that, the scheduler and the workers."""

import ipaddress
import logging
import signal
import socket

import uvicorn

from quarantine.app import App
from quarantine.config import Scheme, Server
from quarantine.dispatch import Dispatcher
from quarantine.errors import Misconfigured
from quarantine.log import set_up
from quarantine.scheduler import Scheduler
from quarantine.web.ingest import GroupCommit, Ingest
from quarantine.worker import Worker

log = logging.getLogger(__name__)


def serve(app: App, worker: Worker | Dispatcher | None) -> None:
    """Run until SIGTERM or SIGINT. Without a `worker` no provider is connected to: findings are stored for others.

    Raises Misconfigured before anything is started.
    """
    set_up()
    app.check()
    _refuse_open_bearers(app)
    for source in app.settings.sources.values():
        source.secret.reveal()
    for webhook in app.webhooks if worker else ():
        webhook.check()
    store, server = app.store, app.settings.server
    commit = GroupCommit(store, worker.wake if worker else lambda: None)
    ingest = Ingest(store, app.intake, app.settings.sources, server, commit, app.clock)
    scheduler = Scheduler(app.settings.schedules, app.poller, store, worker.wake) if worker else None
    web = uvicorn.Server(
        uvicorn.Config(
            ingest.application(),
            log_config=None,
            access_log=False,
            server_header=False,
            ssl_certfile=server.tls_certificate,
            ssl_keyfile=server.tls_key,
            timeout_graceful_shutdown=10,
        )
    )
    door = _door(server)
    # uvicorn stops on these signals and then raises them again: without a handler of ours that would end the process
    # before the workers have finished what is under way.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    sealer = app.sealer
    commit.start()
    if sealer:
        sealer.start()
        app.herald.start()
    if worker and scheduler:
        worker.start()
        app.notifier.start()
        scheduler.start()
    log.info(
        "serving",
        extra={
            "listen": "{}:{}".format(*door.getsockname()[:2]),
            "mode": str(app.settings.guards.mode),
            "playbooks": len(app.shelf.playbooks),
            "sources": sorted(app.settings.sources),
            "providers": sorted(app.registry.configured),
            "parts": "door, scheduler and workers in one" if worker else "door only: start `quarantine worker` too",
        },
    )
    try:
        web.run(sockets=[door])
    finally:
        if scheduler:
            scheduler.stop()
        commit.stop()
        if worker:
            worker.stop()
            app.notifier.stop()
        if sealer:
            sealer.stop()
            app.herald.stop()
        log.info("stopped")


def _door(server: Server) -> socket.socket:
    """The listening socket. Raises Misconfigured."""
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    try:
        return socket.create_server((server.host, server.port), family=family, backlog=2048)
    except OSError as error:
        problem = f"{server.host}:{server.port} cannot be listened on: {error.strerror}"
        raise Misconfigured(f"{problem}. Is another server running there? Set server.port") from error


def _refuse_open_bearers(app: App) -> None:
    """A bearer token must not cross a network in the clear."""
    server = app.settings.server
    if server.tls_certificate is not None or _loopback(server.host):
        return
    for name, source in app.settings.sources.items():
        if source.scheme is Scheme.BEARER:
            raise Misconfigured(
                f"source '{name}' uses a bearer token, which needs TLS: set server.tls_certificate and server.tls_key, "
                f"or listen on 127.0.0.1"
            )


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
