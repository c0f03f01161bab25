"""The webhook door: check, store durably, then 202. Never an answer before the commit, never a silent drop.

size ── content type ── signature and time ── strict JSON and parser ── one group commit ── 202
 413         415              401                     422                     503
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from datetime import datetime

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from quarantine.config import Server, Source
from quarantine.errors import Malformed, QuarantineError
from quarantine.intake import Intake
from quarantine.signature import NotAuthentic, authentic
from quarantine.store.sql import Delivery, Store
from quarantine.text import safe_text

log = logging.getLogger(__name__)

MOST_AT_ONCE = 256
"""Deliveries in one commit."""
NOT_ACCEPTED = "not accepted: unknown source, wrong signature or old timestamp; the server's log says which"
RETRY_AFTER = {"Retry-After": "5"}
JSON = ("application/json", "application/cloudevents+json")
"""The second is CloudEvents' structured mode (CloudEvents 1.0.2, HTTP protocol binding, 3.2)."""


class TooLarge(QuarantineError):
    """The body is larger than server.largest_body."""


class GroupCommit:
    """One thread that stores deliveries: whatever waits when it is ready goes into one transaction."""

    def __init__(self, store: Store, wake: Callable[[], None]) -> None:
        self._store = store
        self._wake = wake
        self._queue: queue.SimpleQueue[tuple[Delivery, asyncio.Future[bool]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._queue.put(None)
        self._thread.join()

    async def store(self, delivery: Delivery) -> bool:
        """Is it new? Durable when this returns. Raises what the store raised."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._queue.put((delivery, future))
        return await future

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            ended = False
            while len(batch) < MOST_AT_ONCE and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    ended = True
                    break
                batch.append(following)
            self._commit(batch)
            if ended:
                return

    def _commit(self, batch: list[tuple[Delivery, "asyncio.Future[bool]"]]) -> None:
        try:
            fresh = self._store.receive([delivery for delivery, _ in batch])
        except Exception as error:
            log.exception("not_stored", extra={"deliveries": len(batch)})
            for _, future in batch:
                future.get_loop().call_soon_threadsafe(_fail, future, error)
            return
        for (_, future), new in zip(batch, fresh, strict=True):
            future.get_loop().call_soon_threadsafe(_succeed, future, new)
        self._wake()


def _succeed(future: "asyncio.Future[bool]", new: bool) -> None:
    if not future.done():
        future.set_result(new)


def _fail(future: "asyncio.Future[bool]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


class Ingest:
    """POST /v1/findings/{source}."""

    def __init__(
        self,
        store: Store,
        intake: Intake,
        sources: dict[str, Source],
        server: Server,
        commit: GroupCommit,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._intake = intake
        self._sources = sources
        self._server = server
        self._commit = commit
        self._clock = clock
        self._waiting = 0
        self._counted_at = 0.0

    def application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/findings/{source}", self.receive, methods=["POST"]),
                Route("/healthz", self.healthy, methods=["GET"]),
            ]
        )

    async def receive(self, request: Request) -> JSONResponse:
        name = request.path_params["source"]
        try:
            return await self._receive(request, name)
        except TooLarge:
            return _no(413, f"the body is larger than {self._server.largest_body} bytes")
        except NotAuthentic as error:
            log.warning("not_accepted", extra={"source": safe_text(name), "why": str(error)})
            return _no(401, NOT_ACCEPTED)
        except Malformed as error:
            log.warning("malformed", extra={"source": name, "why": safe_text(error)})
            return _no(422, safe_text(error))
        except ClientDisconnect:
            return _no(400, "the client went away")
        except Exception:
            log.exception("not_received", extra={"source": safe_text(name)})
            return _no(503, "it could not be stored: send it again", RETRY_AFTER)

    async def _receive(self, request: Request, name: str) -> JSONResponse:
        body = await self._body(request)
        received = self._clock()
        source = self._sources.get(name)
        delivery = authentic(source, request.headers, body, received, self._server.clock_skew)
        if request.headers.get("content-encoding", "identity") != "identity":
            return _no(415, "send it uncompressed")
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in JSON:
            return _no(415, f"send {' or '.join(JSON)}")
        findings = self._intake.parse(name, body, received)
        if await self._full():
            return _no(503, "too many findings are waiting: send it again later", RETRY_AFTER)
        fresh = await self._commit.store(Delivery(name, delivery, received, body))
        status = "accepted" if fresh else "duplicate"
        return JSONResponse({"status": status, "delivery": delivery, "findings": len(findings)}, 202)

    async def _body(self, request: Request) -> bytes:
        """The raw bytes, never more than allowed, whatever the sender declared."""
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > self._server.largest_body:
                raise TooLarge
            parts.append(part)
        return b"".join(parts)

    async def _full(self) -> bool:
        """Counted at most once a second: the limit protects the disk, it need not be exact."""
        now = self._clock().timestamp()
        if abs(now - self._counted_at) >= 1:
            self._counted_at, self._waiting = now, await asyncio.to_thread(self._store.waiting_count)
        return self._waiting >= self._server.longest_queue

    async def healthy(self, _: Request) -> JSONResponse:
        try:
            waiting = await asyncio.to_thread(self._store.waiting_count)
        except Exception:
            log.exception("unhealthy")
            return _no(503, "the store cannot be read")
        return JSONResponse({"status": "ok", "waiting": waiting})


def _no(status: int, problem: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": problem}, status, headers=headers)
