"""The embedded claim loop: threads that settle deliveries and carry due cases on, until they are told to stop."""

import logging
import threading
import time
from datetime import timedelta

from quarantine.engine import Engine
from quarantine.errors import Unavailable
from quarantine.intake import Intake
from quarantine.owner import certainly_dead
from quarantine.store.sql import Lease, Store

log = logging.getLogger(__name__)

LOOK = 0.02
"""Seconds between two looks for what other processes have committed. A look takes some ten microseconds."""


class Bell:
    """Calls threads that rest. Who reads `rung` before it looks for work, and rests with that, misses no call."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.rung = 0

    def ring(self) -> None:
        """One of those who rest comes: a case is carried by one, and the others would only be in its way."""
        with self._changed:
            self.rung += 1
            self._changed.notify()

    def ring_for_all(self) -> None:
        with self._changed:
            self.rung += 1
            self._changed.notify_all()

    def rest(self, rung: int, seconds: float) -> None:
        """Until the next call, or for so long."""
        with self._changed:
            if self.rung == rung:
                self._changed.wait(seconds)


class Worker:
    """Several threads on one store. `wake` makes them look at once instead of at the next beat."""

    def __init__(
        self,
        name: str,
        store: Store,
        engine: Engine,
        intake: Intake,
        *,
        threads: int,
        lease: timedelta,
        beat: timedelta,
    ) -> None:
        self._name = name
        self._store = store
        self._engine = engine
        self._intake = intake
        self._lease = lease
        self._beat = beat.total_seconds()
        self._stopping = threading.Event()
        self._delivered, self._due = Bell(), Bell()
        self._threads = [
            threading.Thread(target=self._listen, name="news", daemon=True),
            threading.Thread(target=self._settle, name="intake", daemon=True),
        ]
        self._threads += [threading.Thread(target=self._carry, name=f"worker-{n}", daemon=True) for n in range(threads)]

    def start(self) -> None:
        """Take over at once what a predecessor on this machine held when it died; then look for work."""
        for owner in self._store.owners():
            if certainly_dead(owner, self._name):
                self._store.free_all(owner)
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Take no new turn from now on. Those under way go on until `stop` has waited for them."""
        self._stopping.set()

    def stop(self, patience: float = 20) -> None:
        """Finish the turns under way, then end. `patience`: seconds; what takes longer goes on after the next start."""
        self.end()
        for bell in (self._delivered, self._due):
            bell.ring_for_all()
        deadline = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(0, deadline - time.monotonic()))

    def wake(self) -> None:
        """There is something to do."""
        self._delivered.ring()
        self._due.ring()

    def _listen(self) -> None:
        """What the command line says in another process is heard at once, and not at the next beat."""
        with self._store.news() as changed:
            while not self._stopping.wait(LOOK):
                try:
                    if changed():
                        self.wake()
                except Exception:
                    log.exception("news_not_read")

    def _settle(self) -> None:
        while not self._stopping.is_set():
            rung = self._delivered.rung
            try:
                if self._intake.settle_waiting(self._stopping.is_set, self._due.ring):
                    self._due.ring()  # who gave way to what was not looked at may go on
                    continue
            except Unavailable as error:
                log.warning("intake_waits", extra={"why": str(error)})
            except Exception:
                log.exception("intake_failed")
            self._delivered.rest(rung, self._beat)

    def _carry(self) -> None:
        while not self._stopping.is_set():
            rung = self._due.rung
            lease: Lease | None = None
            try:
                self._engine.give_back()
                lease = self._store.claim(self._name, self._lease)
                if lease is not None:
                    self._due.ring()  # there may be more of it
                    self._engine.carry(lease, self._stopping.is_set)
                    continue
            except Unavailable as error:
                log.warning("turn_ended", extra={"case": lease.case if lease else None, "why": str(error)})
            except Exception:
                # The lease is kept: nobody else may act on this case before it has run out.
                log.exception("turn_failed", extra={"case": lease.case if lease else None})
            self._due.rest(rung, self._beat)
