"""Workers on one database and one AWS, what goes wrong with them, and the books that must balance at the end.

On SQLite each is a whole server. On PostgreSQL each is a `quarantine worker`, beside a server that only takes findings.

feed ── findings come in, contained buckets are released ──┐
kill, freeze, crash ── at random places of the work ───────┤
rest ── until every case is contained or released ─────────┴──> balance
"""

import random
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from quarantine.case import Case, Intended, Outcome, Reason, ReleaseIntended, Retried, Status, TakenOver
from quarantine.config import Approvals
from quarantine.desk import Desk
from quarantine.errors import QuarantineError
from quarantine.model import now
from quarantine.store.sql import Line, Store
from tests.acceptance.conftest import CLOSED, Aws
from tests.acceptance.product import Product, asff
from tests.testbed.aws import ACCOUNT, REGION, aws_environment
from tests.testbed.call import Call
from tests.testbed.fault import Held
from tests.testbed.poll import until

PLENTY = 100_000
LEASE = 30
"""Seconds: the shortest that the configuration allows."""
RELEASED = 0.6
"""The share of cases that somebody releases; the others stay contained."""


def changes(call: Call) -> bool:
    """Does it change a bucket?"""
    return call.operation in ("PutPublicAccessBlock", "DeletePublicAccessBlock")


@dataclass
class Counts:
    """What happened in one run."""

    seed: int
    cases: int = 0
    contained: int = 0
    released: int = 0
    waiting_for_silence: int = 0
    """Releases that wait until a request that was never answered cannot arrive any more."""
    kills: int = 0
    freezes: int = 0
    crashes: int = 0
    calls: int = 0
    """That changed a bucket."""
    needed: int = 0
    retried: int = 0
    never_sent: int = 0
    """Attempts of which the call never left: the worker died before."""
    taken_over: int = 0
    told: int = 0
    """Cases for a person: the answer to a call came when its case was closed already."""

    def __str__(self) -> str:
        return ", ".join(f"{item.name} {getattr(self, item.name)}" for item in fields(self))


@dataclass
class Fleet:
    """Runs inside `with running(...)`."""

    aws: Aws
    doors: list[Product]
    """What takes findings."""
    workers: list[Product]
    """What acts on them."""
    store: Store
    counts: Counts
    chance: random.Random
    before: dict[str, bytes] = field(default_factory=dict)
    """Bucket -> everything that it was configured with, when the finding about it was accepted."""
    unwanted: set[str] = field(default_factory=set)
    """Cases that somebody releases as soon as they are contained."""
    decided: set[str] = field(default_factory=set)
    frozen: Product | None = None

    def __post_init__(self) -> None:
        self._desk = Desk(self.store, Approvals(), now)
        self._database = create_engine(self.store.url, poolclass=NullPool)

    # -- the work ----------------------------------------------------------------------------------------------------

    def feed(self, buckets: int) -> None:
        """So many public buckets more, each found; and what is contained may be released."""
        for _ in range(buckets):
            bucket = self.aws.public_bucket(f"soak-{self.counts.seed}-{len(self.before)}")
            self.before[bucket] = self.aws.image(bucket)
            self._deliver(bucket)
        self._release()

    def _deliver(self, bucket: str) -> None:
        """As a sender does: the same message, again, until somebody says that it is kept."""
        record = asff(bucket, ACCOUNT)

        def accepted() -> bool:
            try:
                door = self.chance.choice([door for door in self.doors if door is not self.frozen])
                return door.send(record, delivery=f"msg-{bucket}").status == 202
            except OSError:
                return False

        until(accepted, seconds=60)

    def _awake(self) -> list[Product]:
        return [worker for worker in self.workers if worker is not self.frozen]

    def _release(self) -> None:
        for line in self._lines(Status.CONTAINED):
            if line.id not in self.decided:
                self.decided.add(line.id)
                if self.chance.random() < RELEASED:
                    self.unwanted.add(line.id)
            if line.id in self.unwanted:
                try:
                    self._desk.release(line.id, "local:ann")
                except (QuarantineError, SQLAlchemyError):
                    continue  # the next time

    def _lines(self, *statuses: Status) -> list[Line]:
        try:
            return self.store.lines(statuses, limit=PLENTY)
        except (QuarantineError, SQLAlchemyError):
            return []

    # -- what goes wrong ---------------------------------------------------------------------------------------------

    def kill(self, server: Product | None = None) -> None:
        """kill -9 somewhere in the work: anywhere, or while a change waits before or after its effect; then a start."""
        doors = [door for door in self.doors if door not in self.workers]
        server = server or self.chance.choice([*self.workers, *doors])
        how = "anywhere"
        if server in self.workers:
            how = self.chance.choice(("anywhere", "before the effect", "after the effect"))
        held: Held | None = None
        if how == "anywhere":
            self.work(self.chance.randrange(60))
        else:
            held = (self.aws.proxy.hold if how == "before the effect" else self.aws.proxy.hold_answer)(changes)
            self._wait(held.reached.is_set)
        server.kill()
        self.counts.kills += 1
        if held is not None:
            # Let go: the request was on its way already, and arrives although nobody is there to hear the answer.
            gone = held.abandon if held.reached.is_set() and self.chance.random() < 0.5 else held.let_go
            gone()
        server.start()

    def freeze(
        self, meanwhile: Callable[[Product], None] = lambda _: None, ways: Sequence[str] = ("arrives", "late", "lost")
    ) -> None:
        """SIGSTOP while a change is on its way, until another server has taken the case over; then SIGCONT.

        The change arrives at once, only after the takeover, or never. `meanwhile` gets a server that goes on.
        """
        held = self.aws.proxy.hold(changes)
        while not held.reached.is_set():
            self.feed(1)
            self._wait(held.reached.is_set)
        assert held.call is not None
        case = case_of(held.call)
        pid = self._owner(case).rsplit(":", 2)[1]
        frozen = next(worker for worker in self.workers if str(worker.pid) == pid)
        self._freeze_outside_of_a_commit(frozen)
        self.counts.freezes += 1
        way = self.chance.choice(ways)
        if way != "late":
            (held.let_go if way == "arrives" else held.abandon)()
        self.frozen = frozen
        meanwhile(self.chance.choice(self._awake()))
        until(lambda: self._owner(case).rsplit(":", 2)[1:2] != [pid], seconds=LEASE + 30)
        held.let_go()
        frozen.thaw()
        self.frozen = None

    def _freeze_outside_of_a_commit(self, server: Product) -> None:
        """Whoever stands still while it writes to SQLite holds the one lock there is: nobody could take over."""

        def frozen() -> bool:
            server.freeze()
            until(lambda: stands_still(server.pid), seconds=30)  # a call of the kernel that was begun is ended before
            if not self.store.url.startswith("sqlite"):
                return True
            with closing(sqlite3.connect(self.store.url.removeprefix("sqlite:///"), timeout=1)) as connection:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError:
                    server.thaw()
                    return False
                connection.rollback()
            return True

        until(frozen, seconds=30)

    def work(self, calls: int) -> None:
        """Until the provider got so many calls more, or there is no work."""
        goal = self.aws.proxy.arrived + calls
        self._wait(lambda: self.aws.proxy.arrived >= goal)

    def _wait(self, condition: Callable[[], bool], seconds: float = 3) -> None:
        """For a while: without work there is nothing to wait for."""
        try:
            until(condition, seconds)
        except AssertionError:
            return

    def _owner(self, case: str) -> str:
        """Who carries a case on; empty for nobody."""
        query = text("SELECT owner FROM cases WHERE id = :id")
        with self._database.connect() as connection:
            return str(connection.execute(query, {"id": case}).scalar() or "")

    # -- the end -----------------------------------------------------------------------------------------------------

    def rest(self, seconds: float) -> None:
        """Until nothing is left to do."""

        def at_rest() -> bool:
            self._release()
            lines = self._lines()
            busy = [line for line in lines if not self._ended(line)]
            return len(lines) >= len(self.before) and not busy and self.store.waiting_count() == 0

        try:
            until(at_rest, seconds)
        except AssertionError as error:
            left = [self.store.load(line.id) for line in self._lines() if not self._ended(line)]
            error.add_note(f"SEED={self.counts.seed}: {len(self._lines())} cases for {len(self.before)} buckets")
            for case in left[:10]:
                error.add_note(f"{case.id} {case.status} {case.reason} {case.sentence} {self._types(case)}")
            raise

    def _ended(self, line: Line) -> bool:
        if line.status is Status.CONTAINED:
            return line.id in self.decided and line.id not in self.unwanted
        case = self.store.load(line.id)
        return case.status is Status.CLOSED or waits_for_silence(case) or tells_of_a_late_effect(case)

    def balance(self) -> None:
        """Every case is where it should be, every bucket as its case says, and every call has its intent."""
        found = [self.store.load(line.id) for line in self._lines()]
        told = [case for case in found if tells_of_a_late_effect(case)]
        cases = [case for case in found if case not in told]
        for case in told:
            assert "effect_arrived_late" in self._types(self.store.load(case.after)), case
        self.counts.told = len(told)
        assert sorted(case.resource.id for case in cases) == sorted(self.before), (
            "one case for each finding, and no more"
        )
        calls: dict[str, list[Call]] = {bucket: [] for bucket in self.before}
        for call in self.aws.proxy.recorded(changes):
            if call.forwarded:
                calls[call.path.strip("/").partition("/")[0]].append(call)
        for case in cases:
            self._balance(case, calls[case.resource.id])
        verified = self.doors[0].run("audit", "verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        self.counts.cases = len(cases)

    def _balance(self, case: Case, calls: list[Call]) -> None:
        bucket, where = case.resource.id, f"SEED={self.counts.seed} {case.id}: {self._types(case)}"
        if case.status is Status.CLOSED:
            assert case.outcome is Outcome.RELEASED, (case.outcome, case.sentence, where)
            assert self.aws.image(bucket) == self.before[bucket], (
                f"{bucket} is left changed under a closed case: {where}"
            )
            self.counts.released += 1
        else:
            assert case.status in (Status.CONTAINED, Status.RELEASING), (case.reason, case.sentence, where)
            assert self.aws.block(bucket) == CLOSED, where
            self.counts.contained += case.status is Status.CONTAINED
            self.counts.waiting_for_silence += case.status is Status.RELEASING
        events = self.store.history(case.id)
        intents = [item for item in events if isinstance(item.event, (Intended, ReleaseIntended))]
        retried = [item for item in events if isinstance(item.event, Retried)]
        assert len(calls) <= len(intents) + len(retried), f"a call without an intent or a retry of its own: {where}"
        assert len(calls) >= len(intents), f"less calls than changes: {where}"
        for number, call in enumerate(sorted(calls, key=lambda item: item.index)):
            attempts = [item for item in (*intents, *retried) if item.at <= call.at]
            assert len(attempts) > number, f"{call.operation} at {call.at} before its intent: {where}"
            assert case_of(call) == case.id, where
        self.counts.calls += len(calls)
        self.counts.needed += len(intents)
        self.counts.retried += len(retried)
        self.counts.never_sent += len(intents) + len(retried) - len(calls)
        self.counts.taken_over += sum(isinstance(item.event, TakenOver) for item in events)

    def _types(self, case: Case) -> str:
        return " ".join(item.event.type for item in self.store.history(case.id))


def stands_still(pid: int) -> bool:
    """Has every thread of the process stopped?"""
    states = [
        (thread / "stat").read_text().rpartition(")")[2].split()[0] for thread in Path(f"/proc/{pid}/task").iterdir()
    ]
    return set(states) == {"T"}


def waits_for_silence(case: Case) -> bool:
    """Is a release put off until no request without an answer can arrive any more? That is longer than a test."""
    return case.status is Status.RELEASING and any("may arrive until" in step.paused for step in case.steps.values())


def tells_of_a_late_effect(case: Case) -> bool:
    return case.reason is Reason.UNKNOWN and bool(case.after) and "arrived after that case was closed" in case.sentence


def case_of(call: Call) -> str:
    """The case that a call says in its user agent that it is for."""
    found = re.search(r"case/(c-[0-9a-f]+)", call.headers.get("user-agent", ""))
    assert found is not None, f"{call.operation} says no case: {call.headers}"
    return found[1]


@contextmanager
def running(aws: Aws, folder: Path, workers: int, database: str, seed: int) -> Iterator[Fleet]:
    """So many workers, on this database."""
    budget = dict.fromkeys(("per_account_10m", "per_account_24h", "global_24h"), PLENTY)
    settings: dict[str, Any] = {
        "database": database,
        "guards": {"mode": "auto", "budget": budget, "storm": {"cases": PLENTY}},
        "worker": {"lease": f"{LEASE}s"},
        "providers": {"aws": {"endpoint_url": aws.proxy.url, "accounts": {ACCOUNT: {"regions": [REGION]}}}},
    }
    environment = aws_environment(aws.proxy.url)
    del environment["AWS_ENDPOINT_URL"]
    with ExitStack() as stack:

        def started(name: str, *verb: str) -> Product:
            home = folder / name
            home.mkdir()
            product = stack.enter_context(Product(home, settings, environment, server=verb))
            product.detector = aws.security_hub_has
            return product

        if database.startswith("sqlite"):
            acting = doors = [started(f"server-{number}", "serve") for number in range(workers)]
        else:
            doors = [started("door", "serve", "--no-worker")]  # first, since it brings the schema
            acting = [started(f"worker-{number}", "worker") for number in range(workers)]
        fleet = Fleet(aws, doors, acting, doors[0].store, Counts(seed), random.Random(seed))
        try:
            yield fleet
        except BaseException as error:
            error.add_note(f"SEED={seed} repeats the random choices; {fleet.counts}")
            raise
