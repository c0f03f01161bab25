"""The door of a witness: one call, for logs alone."""

import logging
import signal
import socket

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from quarantine.errors import Misconfigured
from quarantine.witness import LARGEST, Witness

log = logging.getLogger(__name__)


def application(witness: Witness) -> Starlette:
    async def add_checkpoint(request: Request) -> Response:
        body = bytearray()
        try:
            async for piece in request.stream():
                body += piece
                if len(body) > LARGEST:
                    return PlainTextResponse("too large\n", 413)
        except ClientDisconnect:
            return Response(status_code=400)
        try:
            answer = await run_in_threadpool(witness.ask, bytes(body))
        except (OSError, Misconfigured) as error:
            log.error("not_witnessed", extra={"error": str(error)})  # noqa: TRY400 - an operator needs no trace
            return PlainTextResponse("the state cannot be kept; the witness's log says why\n", 503)
        log.info("asked", extra={"status": answer.status, "answer": answer.text.strip()})
        # As a header, since a media type of text would get a charset, which the protocol does not have.
        kind = "text/x.tlog.size" if answer.size else "text/plain; charset=utf-8"
        return Response(answer.text, answer.status, {"Content-Type": kind})

    return Starlette(routes=[Route("/add-checkpoint", add_checkpoint, methods=["POST"])])


def serve(witness: Witness, host: str, port: int) -> None:
    """Run until SIGTERM or SIGINT. Raises Misconfigured."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        door = socket.create_server((host, port), family=family)
    except OSError as error:
        raise Misconfigured(f"{host}:{port} cannot be listened on: {error.strerror}") from error
    log.info("witnessing", extra={"listen": "{}:{}".format(*door.getsockname()[:2]), "key": str(witness.verifier)})
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # uvicorn stops on these, and then raises them again
    config = uvicorn.Config(application(witness), log_config=None, access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[door])
