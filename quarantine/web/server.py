"""The whole program in one process: the webhook door, the scheduler and the workers on one store."""

import ipaddress
import logging
import signal
import socket

import uvicorn

from quarantine.app import App
from quarantine.config import Scheme, Server
from quarantine.errors import Misconfigured
from quarantine.log import set_up
from quarantine.scheduler import Scheduler
from quarantine.web.ingest import GroupCommit, Ingest

log = logging.getLogger(__name__)


def serve(app: App) -> None:
    """Run until SIGTERM or SIGINT. Raises Misconfigured before anything is started."""
    set_up()
    app.check()
    _refuse_open_bearers(app)
    for source in app.settings.sources.values():
        source.secret.reveal()
    for webhook in app.webhooks:
        webhook.check()
    store, server = app.store, app.settings.server
    commit = GroupCommit(store, app.worker.wake)
    ingest = Ingest(store, app.intake, app.settings.sources, server, commit, app.clock)
    scheduler = Scheduler(app.settings.schedules, app.poller, store, app.worker.wake)
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
    commit.start()
    app.worker.start()
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
            "embedded": "door, scheduler and workers are this one process",
        },
    )
    try:
        web.run(sockets=[door])
    finally:
        scheduler.stop()
        commit.stop()
        app.worker.stop()
        app.notifier.stop()
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
