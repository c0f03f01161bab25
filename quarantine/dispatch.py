"""Many workers on PostgreSQL, woken by Procrastinate. The only import of procrastinate, and only when it is needed.

    case due now ──┐ same transaction                        ┌─> worker A ─ claim ─ carry
    delivery ──────┴─> job "look at this" ─ commit, NOTIFY ──┴─> worker B ─ taken, or not due any more: nothing
    sweep, each beat: due, and nobody has it, and no job waits ─> the job again

A job is a hint and nothing more: what is to be done, and who may do it, stands in the case's row. So a job may
get lost, come twice or come late; jobs are deleted when they have ended, and those of dead workers too.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, make_url, text

from quarantine.config import Worker as Settings
from quarantine.engine import Engine
from quarantine.errors import Missing, Unavailable
from quarantine.intake import Intake
from quarantine.owner import certainly_dead
from quarantine.store.sql import DELIVERIES, Store, patience

if TYPE_CHECKING:
    from procrastinate import App

log = logging.getLogger(__name__)

ADVANCE = "quarantine.advance"
SETTLE = "quarantine.settle"
QUEUE = "quarantine"
TIDYING = 30.0
"""Seconds between two looks for jobs of dead workers."""
AGAIN = 1.0
"""Seconds until a new try, when Procrastinate's worker has ended because the database went away."""
PATIENCE_AT_START = 10.0
"""Seconds that a start waits for the connection. Without one it begins all the same, and tries on."""


class Hints:
    """Defers a job on the connection of a transaction: it is there when that is committed, and only then."""

    def give(self, connection: Connection, topic: str) -> None:
        from procrastinate.exceptions import AlreadyEnqueued, ConnectorException

        task, arguments = (SETTLE, {}) if topic == DELIVERIES else (ADVANCE, {"case_id": topic})
        job = self._app.configure_task(
            task,
            allow_unknown=True,
            queue=QUEUE,
            queueing_lock=_lock(topic),
            # What came in is looked at first: else a thousand cases in progress would hide the next alert.
            priority=1 if topic == DELIVERIES else 0,
            connection=connection.connection.driver_connection,
        )
        try:
            with connection.begin_nested():
                job.defer(**arguments)
        except AlreadyEnqueued:
            return
        except ConnectorException as error:
            raise Unavailable(f"the database does not answer: {error.__cause__ or error}") from error

    def repeat(self, connection: Connection, topics: Sequence[str]) -> int:
        waiting = "SELECT queueing_lock FROM procrastinate_jobs WHERE status = 'todo' AND queueing_lock = ANY(:locks)"
        there = set(connection.execute(text(waiting), {"locks": [_lock(topic) for topic in topics]}).scalars())
        lost = [topic for topic in topics if _lock(topic) not in there]
        for topic in lost:
            self.give(connection, topic)
        return len(lost)

    @cached_property
    def _app(self) -> "App":
        """Never opened: it only writes on connections that it is given."""
        procrastinate = _procrastinate()
        app: App = procrastinate.App(connector=procrastinate.SyncPsycopgConnector())
        return app


def prepare(store: Store) -> None:
    """Make Procrastinate's tables, unless they are there. Raises Missing, Unavailable."""
    with store.migrating() as connection:
        if connection.execute(text("SELECT to_regclass('procrastinate_jobs')")).scalar() is None:
            connection.connection.cursor().execute(_procrastinate().schema.SchemaManager.get_schema())


def _procrastinate() -> Any:
    try:
        import procrastinate
        import procrastinate.schema
    except ImportError as error:
        raise Missing("a PostgreSQL database needs: pip install 'cloud-quarantine[postgres]'") from error
    return procrastinate


class Dispatcher:
    """This process's share of the work: so many turns at the same time, in threads, as hints come in."""

    def __init__(self, name: str, store: Store, engine: Engine, intake: Intake, settings: Settings) -> None:
        self._name = name
        self._store = store
        self._engine = engine
        self._intake = intake
        self._settings = settings
        self._beat = settings.poll.total_seconds()
        self._patience = 20.0
        self._stopping = threading.Event()
        self._open = threading.Event()
        self._interrupt: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._run, name="dispatch", daemon=True)

    def start(self) -> None:
        """Take over at once what a predecessor in this place held when it died; then look for work. Raises Missing."""
        _procrastinate()
        for owner in self._store.owners():
            if certainly_dead(owner, self._name):
                self._store.free_all(owner)
        self._thread.start()
        self._open.wait(PATIENCE_AT_START)

    def end(self) -> None:
        """Take no new turn from now on. Those under way go on until `stop` has waited for them."""
        self._stopping.set()

    def stop(self, patience: float = 20) -> None:
        """Take no new turn, finish those under way, then end. `patience`: seconds; the rest goes on elsewhere."""
        self._patience = patience
        self.end()
        with suppress(RuntimeError):  # its loop has ended by itself
            self._interrupt()
        self._thread.join(patience + 5)

    def wake(self) -> None:
        """Nothing to do: hints come with the transactions."""

    # -- the loop ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            while not self._stopping.is_set():
                try:
                    runner.run(self._work())
                except Exception as error:  # noqa: BLE001 - whatever it was, the next run begins from nothing
                    why = f"{type(error).__name__}: {error.__cause__ or error}"
                    log.warning("dispatch_interrupted", extra={"why": why})
                    self._stopping.wait(AGAIN)

    async def _work(self) -> None:
        """Until told to stop, or the database goes away."""
        procrastinate = _procrastinate()
        address = make_url(self._store.url).set(drivername="postgresql").render_as_string(hide_password=False)
        connector = procrastinate.PsycopgConnector(
            conninfo=address, kwargs=patience(self._store.url), min_size=1, max_size=4, timeout=10
        )
        app = procrastinate.App(connector=connector)
        app.task(self._advance, name=ADVANCE)
        app.task(self._settle, name=SETTLE)
        async with app.open_async():
            running = asyncio.ensure_future(
                app.run_worker_async(
                    name=self._name,
                    queues=[QUEUE],
                    concurrency=self._settings.threads + 1,  # one looks at what comes in
                    fetch_job_polling_interval=self._beat,
                    shutdown_graceful_timeout=self._patience,
                    delete_jobs="always",
                    install_signal_handlers=False,
                )
            )
            sides = [asyncio.ensure_future(self._sweep()), asyncio.ensure_future(self._tidy(app))]
            self._open.set()
            loop = asyncio.get_running_loop()
            self._interrupt = lambda: loop.call_soon_threadsafe(running.cancel)
            if self._stopping.is_set():
                running.cancel()
            try:
                await running
            except asyncio.CancelledError:
                if not self._stopping.is_set():
                    raise
            finally:
                for side in sides:
                    side.cancel()
                await asyncio.gather(*sides, return_exceptions=True)

    async def _advance(self, case_id: str) -> None:
        await _in_a_thread(self._turn, case_id)

    def _turn(self, case_id: str) -> None:
        lease = None
        try:
            lease = self._store.claim_hinted(self._name, self._settings.lease, case_id)
            if lease is not None:
                self._engine.carry(lease, self._stopping.is_set)
        except Unavailable as error:
            log.warning("turn_ended", extra={"case": case_id, "why": str(error)})
        except Exception:
            # The lease is kept: nobody else may act on this case before it has run out.
            log.exception("turn_failed", extra={"case": case_id})

    async def _settle(self) -> None:
        await _in_a_thread(self._look_at_deliveries)

    def _look_at_deliveries(self) -> None:
        try:
            self._intake.settle_waiting(self._stopping.is_set)
        except Unavailable as error:
            log.warning("intake_waits", extra={"why": str(error)})
        except Exception:
            log.exception("intake_failed")

    async def _sweep(self) -> None:
        while True:
            try:
                await _in_a_thread(self._engine.give_back)
                await _in_a_thread(self._store.sweep)
            except Unavailable as error:
                log.warning("sweep_waits", extra={"why": str(error)})
            except Exception:
                log.exception("sweep_failed")
            await asyncio.sleep(self._beat)

    async def _tidy(self, app: "App") -> None:
        """Jobs of workers that died stay `doing` for ever; the sweep has given their cases to others by then."""
        from procrastinate.exceptions import ProcrastinateException
        from procrastinate.jobs import Status

        while True:
            try:
                for job in await app.job_manager.get_stalled_jobs(queue=QUEUE):
                    await app.job_manager.finish_job(job, Status.FAILED, delete_job=True)
            except ProcrastinateException as error:
                log.warning("tidying_waits", extra={"why": str(error.__cause__ or error)})
            await asyncio.sleep(TIDYING)


async def _in_a_thread(function: Callable[..., Any], *arguments: Any) -> None:
    """Waits for it, in a thread of its own: Procrastinate limits how many, and none of them holds up an end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def tell(error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        problem = None
        try:
            function(*arguments)
        except BaseException as error:  # noqa: BLE001 - raised again, where it is waited for
            problem = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, problem)

    threading.Thread(target=run, name="turn", daemon=True).start()
    await done


def _lock(topic: str) -> str:
    """At most one job waits for each."""
    return topic if topic == DELIVERIES else f"case-{topic}"
