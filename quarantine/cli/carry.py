"""Carries a case on from the command line, with the same engine and leases as a server, until it rests.

If a server has the case, this only looks on.
"""

import threading
import time
from collections.abc import Callable
from datetime import timedelta

from quarantine.app import App
from quarantine.case import Case, Recorded, Status
from quarantine.cli.options import tell

RESTING = frozenset({Status.PROPOSED, Status.AWAITING_APPROVAL, Status.CONTAINED, Status.NEEDS_HUMAN, Status.CLOSED})
LOOK = 0.1  # seconds between two looks at the record
LONGEST_NAP = 0.5  # seconds; a server may move the case meanwhile

Told = Callable[[Recorded], None]


class Follower:
    """Tells each event of a case once, as it is recorded, from a thread of its own."""

    def __init__(self, app: App, case_id: str, told: Told, after: int = 0) -> None:
        self._store = app.store
        self._case = case_id
        self._told = told
        self._seen = after
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)

    def __enter__(self) -> "Follower":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.look()

    def look(self) -> None:
        for recorded in self._store.history(self._case, after=self._seen):
            self._told(recorded)
            self._seen = recorded.seq

    def _follow(self) -> None:
        while not self._over.wait(LOOK):
            self.look()


def carry(app: App, case_id: str, wait: timedelta, told: Told, after: int = 0) -> Case:
    """The case when it rests, or when `wait` is over. Tells every event after the `after`-th."""
    deadline = time.monotonic() + wait.total_seconds()
    try:
        with Follower(app, case_id, told, after):
            return _until_rest(app, case_id, deadline)
    except KeyboardInterrupt:
        tell(f"Nothing is lost: a server carries case {case_id} on, or: quarantine case watch {case_id}")
        raise


def rests(app: App, case: Case) -> bool:
    """Does nothing happen now by itself?"""
    due = app.store.due(case.id)
    return case.status in RESTING and (due is None or due > app.clock())


def _until_rest(app: App, case_id: str, deadline: float) -> Case:
    while True:
        due = app.store.due(case_id)
        case = app.store.load(case_id)
        if rests(app, case):
            return case
        left = deadline - time.monotonic()
        if left <= 0:
            tell(f"Case {case_id} is not done yet. Look on with: quarantine case watch {case_id}")
            return case
        if due is not None and due > app.clock():
            time.sleep(max(0.01, min((due - app.clock()).total_seconds(), left, LONGEST_NAP)))
        elif app.engine.advance(case_id) is None:  # another worker has it
            time.sleep(LOOK)
