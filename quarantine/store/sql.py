"""The store: cases, their events, leases, holds, switches and the intake, on SQLite or PostgreSQL.

Every write is one short transaction, and none is open while a provider is called. A failpoint stands before and after
each commit; it is injected by the crash tests and nothing can switch it on in production.
"""

import hashlib
import json
import sqlite3
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy import (
    Connection,
    Row,
    Table,
    bindparam,
    create_engine,
    delete,
    event,
    func,
    insert,
    inspect,
    literal,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from quarantine.case import Case, Event, Opened, Recorded, Redacted, Status, fold
from quarantine.commitment import COMMITS, new_salt
from quarantine.config import Guards, NoticeKind
from quarantine.errors import Fenced, Misconfigured, Moved, NotFound, Superseded, Unavailable
from quarantine.guard import Tallies
from quarantine.journal import (
    JOURNAL,
    GlassOpened,
    KeyRotated,
    Noted,
    Refilled,
    SwitchedOff,
    SwitchedOn,
    TokenCreated,
    TokenRevoked,
)
from quarantine.ledger import START, Sealed, seal, unseal, unseal_noted
from quarantine.merkle import Frontier
from quarantine.model import Finding, Resource
from quarantine.notice import Notice
from quarantine.notice import notices as worth_telling
from quarantine.people import Token, Word, token_of
from quarantine.store import disclosures, glasses, journal, notices, schema, tallies, tokens, tree
from quarantine.store.glasses import Glass
from quarantine.store.notices import Channels, Letter, Sending
from quarantine.store.record import StoredRecord

Clock = Callable[[], datetime]

_ALONE = text("SELECT pg_advisory_xact_lock(4867013)")
_NOW = text("SELECT extract(epoch FROM clock_timestamp())")

# What every step of a case says is built once: building a statement costs more than SQLite takes to carry it out.
_CASE = select(schema.cases).where(schema.cases.c.id == bindparam("case")).with_for_update()
_CHANGE_CASE = update(schema.cases).where(schema.cases.c.id == bindparam("case"))
_ADD_EVENT = insert(schema.events)
_EVENTS = (
    select(schema.events.c.seq, schema.events.c.content, schema.events.c.hash)
    .where(schema.events.c.case_id == bindparam("case"), schema.events.c.seq > bindparam("after"))
    .order_by(schema.events.c.seq)
)
_LINKED = select(schema.findings.c.case_id).where(schema.findings.c.sha256 == bindparam("key"))
_OURS = (
    (schema.cases.c.id == bindparam("case"))
    & (schema.cases.c.epoch == bindparam("term"))
    & (schema.cases.c.owner == bindparam("whose"))
)
_DUE = schema.cases.c.due_at <= bindparam("now")
_EARLY = schema.cases.c.early_at <= bindparam("now")
_NOBODYS = schema.cases.c.lease_until.is_(None) | (schema.cases.c.lease_until < bindparam("now"))
_FREE_CASE = (
    select(schema.cases.c.id, schema.cases.c.epoch, schema.cases.c.owner)
    .where(_NOBODYS)
    .order_by(schema.cases.c.due_at)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_THIS = _FREE_CASE.where(schema.cases.c.id == bindparam("case"))
_THIS_IF_DUE = _THIS.where(_DUE | _EARLY)
_NEXT = _FREE_CASE.where(_DUE)
_DELIVERED = select(schema.intake.c.id).where(schema.intake.c.status == "waiting").limit(1).exists()
_NEXT_EARLY = _FREE_CASE.where(_EARLY, ~_DELIVERED)
_NEVER_ACTED = select(schema.cases.c.id).where(_DUE, _NOBODYS, schema.cases.c.acted_at.is_(None)).limit(1).exists()
_FIRST_TURN = select(literal(1)).where(_DELIVERED | _NEVER_ACTED)
_FREE_ALL = (
    update(schema.cases)
    .where(schema.cases.c.owner == bindparam("whose"))
    .values(owner=None, lease_until=None)
    .returning(schema.cases.c.id, schema.cases.c.due_at, schema.cases.c.early_at)
)
_FREE = (
    update(schema.cases)
    .where(_OURS)
    .values(owner=None, lease_until=None)
    .returning(schema.cases.c.id, schema.cases.c.due_at, schema.cases.c.early_at)
)
_LEFT = select(schema.cases.c.lease_until).where(_OURS)
_LOG = select(schema.installation.c.value).where(schema.installation.c.name == "log")
_SWITCHES = select(schema.switches).order_by(schema.switches.c.scope)
_WAITING = (
    select(schema.intake)
    .where(schema.intake.c.status == "waiting")
    .order_by(schema.intake.c.id)
    .limit(bindparam("most"))
)

_SETTLE = (
    update(schema.intake)
    .where(schema.intake.c.id == bindparam("number"), schema.intake.c.status == "waiting")
    .values(status="settled", results=bindparam("found"))
)

LOG_ONLY: Channels = {"log": frozenset(NoticeKind)}
"""Where nothing else is configured, notices go into the log."""

_AT_REST = frozenset({Status.CLOSED, Status.NEEDS_HUMAN})
"""Nothing happens to such a case by itself."""


@dataclass(frozen=True)
class Lease:
    """The right to carry one case on, until a time. `epoch` grows with each claim and fences off late workers."""

    case: str
    owner: str
    epoch: int
    until: datetime
    taken_from: str = ""
    """The worker that had it before and let it run out; empty if it was given back."""


@dataclass(frozen=True)
class Hold:
    """One resource under one action: at most one case at a time."""

    identity: str
    action: str

    @property
    def key(self) -> str:
        return hashlib.sha256(self.identity.encode()).hexdigest()


@dataclass(frozen=True)
class Also:
    """What else is written in the same transaction as events."""

    due: datetime | None = None
    """When to look at the case again; None for not by itself. A closed case, or one for a person, is never due."""
    early: datetime | None = None
    """From when on to look at it already, if nothing else waits."""
    keep_due: bool = False
    """Leave the due time as it is."""
    hold: Hold | None = None
    unhold: tuple[Hold, ...] = ()
    spend: "Spend | None" = None
    uses: Glass | None = None
    """A break-glass token, with its use filled in."""
    reviews: Glass | None = None
    erases: tuple[str, ...] = ()
    """Commitments whose values go, and every copy of them."""


@dataclass(frozen=True)
class Spend:
    """A case begins to act by itself; counted once. `check` says no where the last place has gone meanwhile."""

    account: str
    groups: tuple[str, ...]
    limits: Guards
    check: Callable[[Tallies], str]


class Spent(Moved):
    """Another case took the last place."""


@dataclass(frozen=True)
class Delivery:
    """What one sender sent at once, as it came."""

    source: str
    delivery: str
    received_at: datetime
    body: bytes = field(repr=False)
    id: int = 0


@dataclass(frozen=True)
class Settles:
    """A case that is all that comes of a delivery: `results` are what became of that, by the case's id."""

    delivery: Delivery
    results: Callable[[str], list[dict[str, Any]]]


@dataclass(frozen=True)
class Switch:
    """A kill switch that is on: for `all`, `provider:aws`, `playbook:NAME` or `source:NAME`."""

    scope: str
    reason: str
    by: str
    at: datetime


@dataclass(frozen=True)
class Line:
    """One case as a list shows it."""

    id: str
    status: Status
    reason: str | None
    outcome: str | None
    playbook: str
    kind: str
    resource: str
    scope: str
    severity: str
    opened_at: datetime
    updated_at: datetime
    since: datetime
    """When it came to its status."""
    sentence: str
    asks_until: datetime | None
    """Until when a person may approve what is asked; None if nothing is."""
    glass_broken: bool


class Held(Moved):
    """Another case holds this resource under this action."""

    def __init__(self, case: str) -> None:
        super().__init__(f"case {case} already holds this resource under this action")
        self.case = case


DELIVERIES = "deliveries"
"""The topic of what came in and nobody has looked at; every other topic is a case's id."""


class Hints(Protocol):
    """Wakes workers, wherever they run. A hint may get lost: what is due is in the tables."""

    def give(self, connection: Connection, topic: str) -> None:
        """There will be something to do as soon as this transaction is committed, and only then."""

    def repeat(self, connection: Connection, topics: Sequence[str]) -> int:
        """The same for each of these that no hint waits for. How many."""


class NoHints:
    """For one process that wakes itself."""

    def give(self, connection: Connection, topic: str) -> None:
        return None

    def repeat(self, connection: Connection, topics: Sequence[str]) -> int:
        return 0


def _nothing(_: str) -> None:
    return None


class Store:
    """One database. Safe to share between threads; several processes may open the same one."""

    def __init__(
        self,
        url: str,
        clock: Clock | None = None,
        failpoint: Callable[[str], None] = _nothing,
        hints: Hints | None = None,
        channels: Channels = LOG_ONLY,
    ) -> None:
        """With no `clock`, leases and due times run on the database's own clock. `channels` get the notices.

        Every method raises Unavailable.
        """
        self.url = url
        self._channels = channels
        self._clock = clock
        self._failpoint = failpoint
        self._hints = hints or NoHints()
        self._sqlite = url.startswith("sqlite")
        if self._sqlite:
            self._engine = create_engine(url, pool_size=10, max_overflow=-1, connect_args={"timeout": _PATIENCE})
            _tune_sqlite(self._engine)
        else:
            self._engine = create_engine(
                url, pool_pre_ping=True, pool_size=10, max_overflow=20, connect_args=patience(url)
            )

    def close(self) -> None:
        self._engine.dispose()

    def durability(self) -> dict[str, str]:
        """How the database keeps what was committed, in its own words."""
        names = ("journal_mode", "synchronous") if self._sqlite else ("fsync", "synchronous_commit")
        ask = "PRAGMA" if self._sqlite else "SHOW"
        with self._read() as connection:
            return {name: str(connection.execute(text(f"{ask} {name}")).scalar()) for name in names}

    # -- the schema ------------------------------------------------------------------------------------------

    def migrate(self) -> None:
        """Bring the tables up to date. Raises Misconfigured if they are newer than this program, or unreachable."""
        try:
            if self._revision() == schema.VERSION:
                return  # the usual case, and Alembic takes longer to import than most commands take
            self._migrate()
        except SQLAlchemyError as error:
            raise Misconfigured(f"the database cannot be opened: {_plain(error)}") from error

    @property
    def place(self) -> str:
        """The database's URL, without a password."""
        return self._engine.url.render_as_string(hide_password=True)

    def is_there(self) -> bool:
        """Has somebody made our tables in it? Raises Misconfigured if it cannot be opened."""
        try:
            return self._sqlite_is_there() and self._revision() is not None
        except SQLAlchemyError as error:
            raise Misconfigured(f"the database cannot be opened: {_plain(error)}") from error

    def _sqlite_is_there(self) -> bool:
        """Asking a SQLite that is not there makes one."""
        return not self._sqlite or Path(self._engine.url.database or "").is_file()

    def _revision(self) -> str | None:
        with self._engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()

    def _migrate(self) -> None:
        from alembic import command
        from alembic.config import Config
        from alembic.runtime.migration import MigrationContext

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self._engine.begin() as connection:
            if not self._sqlite:
                connection.execute(_ALONE)
            current = MigrationContext.configure(connection).get_current_revision()
            if current is not None and current > schema.VERSION:
                raise Misconfigured(
                    f"the database is at schema {current}, this program knows {schema.VERSION}: upgrade the program"
                )
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """A transaction for tables beside ours, on PostgreSQL: alone among all who migrate."""
        with self._write("beside") as connection:
            connection.execute(_ALONE)
            yield connection

    def installation(self) -> str:
        """The id of this installation: made once, carried by everything that we create at a provider."""
        with self._write("installation") as connection:
            found = connection.execute(
                select(schema.installation.c.value).where(schema.installation.c.name == "id")
            ).scalar()
            if found is None:
                found = uuid.uuid4().hex
                connection.execute(insert(schema.installation).values(name="id", value=found))
            return str(found)

    # -- cases and events ------------------------------------------------------------------------------------

    def open(
        self,
        opened: Opened,
        by: str,
        at: datetime,
        linked: str | None = None,
        settles: "Settles | None" = None,
    ) -> Case:
        """A new case, due at once. Raises Moved if a live case of this resource and playbook is there already.

        With `linked`, the case that the finding was linked to when it was looked at, or empty for none: Moved too if
        that is another one by now. `settles`: the delivery of which this is all, in the same transaction.
        """
        finding = opened.finding
        case = fold([Recorded(case=f"c-{uuid.uuid4().hex[:12]}", seq=1, at=at, by=by, event=opened)])
        sealed = seal(Recorded(case=case.id, seq=1, at=at, by=by, event=opened), START, new_salt)
        with self._write("open") as connection:
            now = self._now(connection)
            try:
                row = {"id": case.id, "opened_at": at.timestamp(), "epoch": 0, "head": sealed.hash, "due_at": now}
                connection.execute(insert(schema.cases), {**row, **_projection(case)})
            except IntegrityError as error:
                raise Moved(f"{case.resource} already has a live case of {case.playbook}") from error
            # After the insert: whoever else opens one for this resource and playbook waits for us, or is seen here.
            if linked is not None and (_linked(connection, finding) or "") != linked:
                raise Moved(f"the finding about {case.resource} was linked to another case meanwhile")
            _insert_event(connection, sealed, opened.type)
            self._remember(connection, finding, case.id, at)
            if settles is not None:
                connection.execute(_SETTLE, _settled(settles.delivery, settles.results(case.id)))
            self._hints.give(connection, case.id)
        return case

    def append(
        self,
        case: Case | str,
        new: Sequence[Event],
        by: str,
        at: datetime,
        lease: Lease | None = None,
        also: Also = Also(),
    ) -> Case:
        """Add events to a case, in one transaction with everything in `also`.

        Raises Fenced if `lease` is given and no longer ours, Misused if the case as it now stands does not allow an
        event, Held if another case holds the resource, Moved if what `also` erases is not there.
        """
        known = case if isinstance(case, Case) else None
        case_id = case if isinstance(case, str) else case.id
        name = ",".join(item.type for item in new) or "due"
        with self._write(name) as connection:
            row = connection.execute(_CASE, {"case": case_id}).one_or_none()
            if row is None:
                raise NotFound(f"there is no case {case_id}. See: quarantine case list")
            if lease is not None and (row.epoch, row.owner) != (lease.epoch, lease.owner):
                raise Fenced(f"case {case_id} was taken over by {row.owner or 'another worker'}")
            current = self._catch_up(connection, case_id, known, row.seq)
            head = row.head
            told: list[Notice] = []
            for item in new:
                recorded = Recorded(case=case_id, seq=current.seq + 1, at=at, by=by, event=item)
                was, current = current, fold([recorded], current)
                told += worth_telling(was, current, recorded)
                sealed = seal(recorded, head, new_salt)
                head = sealed.hash
                _insert_event(connection, sealed, item.type)
            if also.erases:
                current = _erased(connection, case_id, also.erases)
            values: dict[str, Any] = {**_projection(current), "head": head}
            spoken_meanwhile = lease is not None and known is not None and row.seq != known.seq
            if current.status in _AT_REST:
                values |= {"due_at": None, "early_at": None}
            elif not also.keep_due and not (spoken_meanwhile and row.due_at is not None):
                # What somebody said during a worker's turn is not put off by what that worker goes on to wait for.
                values |= {"due_at": _seconds(also.due), "early_at": _seconds(also.early)}
            connection.execute(_CHANGE_CASE, {"case": case_id, **values})
            self._write_also(connection, current, also, at)
            for notice in told:
                notices.write(connection, self._insert_new, notice, self._channels, self._now(connection))
            if lease is None and not also.keep_due and values["due_at"] is not None:
                self._hints.give(connection, case_id)  # whoever has the lease goes on by itself
        return current

    def load(self, case_id: str) -> Case:
        """Raises NotFound."""
        return fold(self.history(case_id))

    def history(self, case_id: str, after: int = 0) -> list[Recorded]:
        """Every event of a case after the `after`-th, in order. Raises NotFound."""
        with self._read() as connection:
            found = _events(connection, case_id, after)
        if not found and after == 0:
            raise NotFound(f"there is no case {case_id}. See: quarantine case list")
        return found

    def entries(self, case_id: str) -> list[Sealed]:
        """Every entry of a case as it is stored, in order; none says its place in the tree. Raises NotFound."""
        with self._read() as connection:
            found = _entries(connection, case_id, 0)
        if not found:
            raise NotFound(f"there is no case {case_id}. See: quarantine case list")
        return found

    def find(self, prefix: str) -> str:
        """The id of the only case whose id begins so, with or without its `c-`. Raises NotFound."""
        prefix = prefix if prefix.startswith("c-") else f"c-{prefix}"
        with self._read() as connection:
            ids = connection.execute(
                select(schema.cases.c.id).where(schema.cases.c.id.startswith(prefix, autoescape=True)).limit(3)
            ).scalars()
            found = list(ids)
        if len(found) == 1:
            return str(found[0])
        problem = "no case begins with" if not found else "several cases begin with"
        raise NotFound(f"{problem} '{prefix}'. See: quarantine case list")

    def lines(self, statuses: Iterable[Status] = (), limit: int = 200, *, asking: bool = False) -> list[Line]:
        """The newest cases first; with `asking`, only those where a person is asked to approve something."""
        query = select(schema.cases).order_by(schema.cases.c.opened_at.desc(), schema.cases.c.id).limit(limit)
        wanted = [str(status) for status in statuses]
        if wanted:
            query = query.where(schema.cases.c.status.in_(wanted))
        if asking:
            query = query.where(schema.cases.c.asks_until.is_not(None))
        with self._read() as connection:
            return [_line(row) for row in connection.execute(query)]

    def counts(self) -> dict[str, int]:
        """How many cases there are in each status."""
        query = select(schema.cases.c.status, func.count()).group_by(schema.cases.c.status)
        with self._read() as connection:
            return {str(status): int(count) for status, count in connection.execute(query)}

    def live(self, finding: Finding, playbook: str) -> str | None:
        """The live case of this resource and playbook."""
        query = select(schema.cases.c.id).where(
            schema.cases.c.live_key == _live_key(finding.resource.identity, playbook)
        )
        with self._read() as connection:
            return connection.execute(query).scalar()

    def last_case(self, finding: Finding) -> Case | None:
        """The case that this very finding was last linked to."""
        with self._read() as connection:
            case_id = _linked(connection, finding)
        return None if case_id is None else self.load(case_id)

    @contextmanager
    def record(self) -> Iterator[StoredRecord]:
        """Everything that was recorded, as it is at this moment, whoever goes on writing."""
        with self._read() as connection:
            if not self._sqlite:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            yield StoredRecord(connection)

    def journal(self) -> list[Noted]:
        """What was done to the installation itself, in order."""
        with self._read() as connection:
            return [unseal_noted(sealed.content) for sealed in _entries(connection, JOURNAL, 0)]

    def forget(self) -> bool:
        """After something was erased: also from where SQLite keeps pages until it needs them. False: not yet."""
        if not self._sqlite:
            return False
        connection = self._engine.raw_connection()  # in no transaction
        try:
            return bool(connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)
        finally:
            connection.close()

    # -- the tree --------------------------------------------------------------------------------------------

    def unsealed(self) -> int:
        """How many entries have no place in the tree yet."""
        with self._read() as connection:
            return tree.waiting(connection)

    def seal(self, sign: Callable[[Frontier], str], at: datetime, most: int = 1000, key: str = "") -> int:
        """Give up to `most` entries their places in the tree, and have its state signed; how many still wait.

        `sign` makes the note of a checkpoint; no transaction is open while it does. Raises Superseded if `key`, the
        public one that signs, was followed by another one.
        """
        if self.unsealed():
            with self._write("seal") as connection:
                tree.grow(connection, most)
        with self._read() as connection:
            grown = tree.unsigned(connection)
        if grown is not None:
            note = sign(grown)
            with self._write("checkpoint") as connection:
                # A change of the key is in one transaction with its entry: no tree with that entry passes here.
                if key and connection.execute(_LOG).scalar() not in (None, key):
                    raise Superseded("another key signs the record by now")
                tree.checkpoint(connection, self._insert_new, grown.size, at, note)
        return self.unsealed()

    def rotate(self, old: str, new: str, act: KeyRotated, by: str, at: datetime) -> None:
        """From this entry on another key signs. Raises Superseded if `old` is not the one that does so far."""
        with self._write("rotate") as connection:
            journal.write(connection, self._insert_new, act, by, at)
            change = update(schema.installation).where(schema.installation.c.name == "log")
            if connection.execute(change.where(schema.installation.c.value == old).values(value=new)).rowcount != 1:
                raise Superseded("another key signs the record by now")

    def log_key(self, verifier: str | None = None) -> str | None:
        """The public key that this record is signed with; `verifier` becomes it if there is none yet."""
        with self._write("log key") as connection:
            if verifier is not None:
                connection.execute(self._insert_new(schema.installation).values(name="log", value=verifier))
            return connection.execute(_LOG).scalar()

    def last_checkpoint(self) -> tuple[datetime, str] | None:
        """When the last checkpoint was signed, and its note with the lines of witnesses."""
        with self._read() as connection:
            return tree.last_checkpoint(connection)

    def lag(self, size: int) -> tree.Lag:
        """What comes after the first `size` entries: not signed, not witnessed, or not anchored, as `size` says."""
        with self._read() as connection:
            return tree.lag(connection, size)

    def seen(self) -> dict[str, tuple[int, datetime]]:
        """By witness: the largest state of the record that it has cosigned, and when."""
        with self._read() as connection:
            return tree.seen(connection)

    def witnessed(self, case_id: str, kind: str, witnesses: Sequence[str]) -> bool:
        """Has one of these witnesses seen the last event of this type of a case?"""
        with self._read() as connection:
            return tree.witnessed(connection, case_id, kind, witnesses)

    def proof_since(self, old: int, size: int) -> list[bytes]:
        """The proof that the tree of this size begins with the first `old` entries. Raises IndexError."""
        with self._read() as connection:
            return tree.proof_since(connection, old, size)

    def cosign(self, size: int, witness: str, at: datetime, line: str) -> None:
        """Keep the line of a witness under the checkpoint of this size."""
        with self._write("cosign") as connection:
            tree.cosign(connection, self._insert_new, size, witness, at, line)

    def proof(self, case_id: str, seq: int | None) -> str | None:
        """The proof of an entry of a case, the last signed one if none is named; None if there is none."""
        with self._read() as connection:
            return tree.proof(connection, case_id, seq)

    # -- leases ----------------------------------------------------------------------------------------------

    def claim(self, owner: str, span: timedelta, case_id: str | None = None) -> Lease | None:
        """The lease on a due case, or on `case_id` whether due or not; None if there is none or it is taken."""
        if case_id is not None:
            return self._claim(owner, span, _THIS, case_id)
        for wanted in (_NEXT, _NEXT_EARLY):
            # On SQLite whoever looks in a transaction that may write holds up everybody who does.
            if not self._sqlite or self._finds(wanted):
                lease = self._claim(owner, span, wanted)
                if lease is not None:
                    return lease
        return None

    def others_wait(self) -> bool:
        """Is there a delivery that nobody has looked at, or a due case that nobody has and that never acted?"""
        return self._finds(_FIRST_TURN)

    def _finds(self, wanted: Any) -> bool:
        with self._read() as connection:
            return connection.execute(wanted, {"now": self._now(connection)}).one_or_none() is not None

    def claim_hinted(self, owner: str, span: timedelta, case_id: str) -> Lease | None:
        """The lease on this case; None if it is not due any more, or taken."""
        return self._claim(owner, span, _THIS_IF_DUE, case_id)

    def _claim(self, owner: str, span: timedelta, wanted: Any, case_id: str = "") -> Lease | None:
        with self._write("claim") as connection:
            now = self._now(connection)
            row = connection.execute(wanted, {"now": now, "case": case_id} if case_id else {"now": now}).one_or_none()
            if row is None:
                return None
            until = now + span.total_seconds()
            taken = {"owner": owner, "lease_until": until, "epoch": row.epoch + 1}
            connection.execute(_CHANGE_CASE, {"case": row.id, **taken})
        return Lease(row.id, owner, row.epoch + 1, schema.moment(until), row.owner or "")

    def renew(self, lease: Lease, span: timedelta) -> Lease:
        """The same lease, longer. Raises Fenced if it was taken over."""
        with self._write("renew") as connection:
            until = self._now(connection) + span.total_seconds()
            renewed = connection.execute(update(schema.cases).where(_OURS).values(lease_until=until), _of(lease))
            if renewed.rowcount != 1:
                raise Fenced(f"case {lease.case} was taken over")
        return replace(lease, until=schema.moment(until))

    def check(self, lease: Lease) -> timedelta:
        """What is left of a lease. Raises Fenced if it was taken over."""
        with self._read() as connection:
            row = connection.execute(_LEFT, _of(lease)).one_or_none()
            now = self._now(connection)
        if row is None or row.lease_until is None:
            raise Fenced(f"case {lease.case} was taken over")
        return timedelta(seconds=row.lease_until - now)

    def free(self, lease: Lease) -> None:
        """Give the lease back; harmless if it is no longer ours."""
        with self._write("free") as connection:
            self._free(connection, _FREE, _of(lease))

    def _free(self, connection: Connection, freeing: Any, whose: dict[str, Any]) -> None:
        """What is due when it is given back was made so during the turn: its own hint found it taken."""
        now = self._now(connection)
        for row in connection.execute(freeing, whose).all():
            if any(at is not None and at <= now for at in (row.due_at, row.early_at)):
                self._hints.give(connection, row.id)

    def owners(self) -> list[str]:
        """Everyone who holds a lease, lapsed or not."""
        query = select(schema.cases.c.owner).distinct().where(schema.cases.c.owner.is_not(None))
        with self._read() as connection:
            return [str(owner) for owner in connection.execute(query).scalars()]

    def free_all(self, owner: str) -> None:
        """Give back every lease of a worker that is certainly dead."""
        with self._write("free all") as connection:
            self._free(connection, _FREE_ALL, {"whose": owner})

    def sweep(self, limit: int = 100) -> int:
        """Hint again at what is due and nobody has, where no hint is under way: it got lost. How many.

        Of several that sweep at the same time one does, and the others find nothing.
        """
        with self._write("sweep") as connection:
            if not self._sqlite and not connection.execute(text("SELECT pg_try_advisory_xact_lock(4867015)")).scalar():
                return 0
            now, table = self._now(connection), schema.cases.c
            due = select(table.id).where(_DUE, _NOBODYS).order_by(table.due_at).limit(limit)
            topics = [str(case_id) for case_id in connection.execute(due, {"now": now}).scalars()]
            if connection.execute(select(_DELIVERED)).scalar():
                topics.append(DELIVERIES)
            return self._hints.repeat(connection, topics) if topics else 0

    def due(self, case_id: str) -> datetime | None:
        """When this case is due; None for not by itself."""
        with self._read() as connection:
            due = connection.execute(select(schema.cases.c.due_at).where(schema.cases.c.id == case_id)).scalar()
        return None if due is None else schema.moment(due)

    @contextmanager
    def news(self) -> Iterator[Callable[[], bool]]:
        """On SQLite, in one thread: has anybody committed anything since the last call? It reads no table."""
        connection = self._engine.raw_connection()
        seen = None

        def changed() -> bool:
            nonlocal seen
            before, seen = seen, connection.cursor().execute("PRAGMA data_version").fetchone()[0]
            return bool(before != seen)

        try:
            yield changed
        finally:
            connection.close()

    # -- intake ----------------------------------------------------------------------------------------------

    def receive(self, deliveries: Sequence[Delivery]) -> list[bool]:
        """Store deliveries in one transaction; for each, whether it is new. Durable when this returns."""
        fresh = [False] * len(deliveries)
        # In one order for everybody: two batches that share deliveries must not wait for each other in a circle.
        order = sorted(
            range(len(deliveries)), key=lambda number: (deliveries[number].source, deliveries[number].delivery)
        )
        with self._write("receive") as connection:
            for number in order:
                delivery = deliveries[number]
                row = self._insert_new(schema.intake).values(
                    source=delivery.source,
                    delivery=delivery.delivery,
                    received_at=delivery.received_at.timestamp(),
                    body=delivery.body,
                    sha256=hashlib.sha256(delivery.body).hexdigest(),
                    status="waiting",
                    results="[]",
                )
                fresh[number] = connection.execute(row.returning(schema.intake.c.id)).scalar() is not None
            if any(fresh):
                self._hints.give(connection, DELIVERIES)
        return fresh

    @contextmanager
    def settling(self) -> Iterator[bool]:
        """Whoever has this looks at the deliveries, in the order of their arrival; False: somebody else has it.

        It ends with the connection, so it never outlives its process; and after half a minute of silence, so that one
        that stands still does not hold up the others. On SQLite there is one process.
        """
        if self._sqlite:
            yield True
            return
        with _translated(), self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if not connection.execute(text("SELECT pg_try_advisory_lock(4867016)")).scalar():
                yield False
                return
            connection.execute(text("SET idle_session_timeout = '30s'"))
            try:
                yield True
            finally:
                with suppress(OperationalError):  # the server has ended the session, and the lock with it
                    connection.execute(text("SELECT pg_advisory_unlock(4867016)"))
                    connection.execute(text("RESET idle_session_timeout"))

    def waiting(self, limit: int = 50) -> list[Delivery]:
        """The oldest deliveries that no one has looked at."""
        with self._read() as connection:
            return [
                Delivery(row.source, row.delivery, schema.moment(row.received_at), bytes(row.body), row.id)
                for row in connection.execute(_WAITING, {"most": limit})
            ]

    def waiting_count(self) -> int:
        query = select(func.count()).select_from(schema.intake).where(schema.intake.c.status == "waiting")
        with self._read() as connection:
            return int(connection.execute(query).scalar() or 0)

    def settle(self, delivery: Delivery, results: list[dict[str, Any]]) -> None:
        """What became of a delivery: for each finding linked, duplicate, ignored or rejected, and why."""
        with self._write("settle") as connection:
            connection.execute(_SETTLE, _settled(delivery, results))

    def results(self, source: str, delivery: str) -> list[dict[str, Any]] | None:
        """What became of a delivery; None while it waits. Raises NotFound."""
        table = schema.intake.c
        query = select(table.status, table.results).where(table.source == source, table.delivery == delivery)
        with self._read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(f"nothing came from {source} as {delivery}")
        found: list[dict[str, Any]] = json.loads(row.results)
        return None if row.status == "waiting" else found

    def remember(self, finding: Finding, case_id: str, at: datetime) -> None:
        """This finding belongs to that case."""
        with self._write("remember") as connection:
            self._remember(connection, finding, case_id, at)

    def _remember(self, connection: Connection, finding: Finding, case_id: str, at: datetime) -> None:
        row = {"sha256": _sha256(finding.key), "case_id": case_id, "seen_at": at.timestamp()}
        self._put(connection, schema.findings, row)

    # -- guards' facts ---------------------------------------------------------------------------------------

    def holders(self, actions: Collection[str], scope: str) -> list[str]:
        """The cases of this scope that hold something under one of these actions."""
        with self._read() as connection:
            rows = connection.execute(
                select(schema.holds.c.case_id)
                .distinct()
                .join(schema.cases, schema.cases.c.id == schema.holds.c.case_id)
                .where(schema.holds.c.action.in_(actions), schema.cases.c.scope == scope)
                .order_by(schema.holds.c.case_id)
            )
            return [row.case_id for row in rows]

    def switches(self) -> list[Switch]:
        """Every kill switch that is on."""
        with self._read() as connection:
            rows = connection.execute(_SWITCHES).all()
        return [Switch(row.scope, row.reason, row.by, schema.moment(row.at)) for row in rows]

    def switch(self, scope: str, on: bool, reason: str, by: str, at: datetime) -> None:
        """Turn a kill switch on or off."""
        act = SwitchedOn(scope=scope, reason=reason) if on else SwitchedOff(scope=scope)
        with self._write("switch") as connection:
            journal.write(connection, self._insert_new, act, by, at)
            if on:
                row = {"scope": scope, "reason": reason, "by": by, "at": at.timestamp()}
                self._put(connection, schema.switches, row)
            else:
                connection.execute(delete(schema.switches).where(schema.switches.c.scope == scope))

    def tallies(
        self, case: Case, resource: Resource, groups: Collection[str], limits: Guards, now: datetime
    ) -> Tallies:
        """What the guards count for a case on this resource."""
        with self._read() as connection:
            return tallies.count(connection, case, _sha256(resource.identity), groups, limits, now)

    def budget_used(self, now: datetime) -> dict[str, list[datetime]]:
        """By account, and under `*` for all: the automatic containments of the last 24 hours since the last refill."""
        with self._read() as connection:
            return tallies.used(connection, now)

    def refill(self, account: str, reason: str, by: str, at: datetime) -> None:
        """Nothing that was spent before now counts any more, in this account or, with `*`, anywhere."""
        with self._write("refill") as connection:
            journal.write(connection, self._insert_new, Refilled(account=account, reason=reason), by, at)
            row = insert(schema.refills).values(account=account, reason=reason, by=by, at=at.timestamp())
            connection.execute(row)

    # -- notices ---------------------------------------------------------------------------------------------

    def take_notice(self, channel: str, lease: timedelta) -> Letter | None:
        """The next notice that this channel has to send; it is due again after `lease`, unless it is settled."""
        with self._read() as connection:
            if not notices.due(connection, channel, self._now(connection)):
                return None
        with self._write("take notice") as connection:
            now = self._now(connection)
            return notices.take(connection, channel, now, now + lease.total_seconds())

    def notice_sent(self, letter: Letter) -> None:
        with self._write("notice sent") as connection:
            notices.settle(connection, letter, self._now(connection), None, "")

    def notice_failed(self, letter: Letter, failure: str, again: timedelta | None) -> None:
        """Try again after this time; None: nobody tries any more."""
        with self._write("notice failed") as connection:
            due = None if again is None else self._now(connection) + again.total_seconds()
            notices.settle(connection, letter, None, due, failure)

    def notices(self, *, only_given_up: bool = False) -> list[Sending]:
        """How far notices are, the oldest first."""
        with self._read() as connection:
            return notices.listing(connection, only_given_up=only_given_up)

    # -- break-glass -----------------------------------------------------------------------------------------

    def open_glass(self, glass: Glass, sha256: str, notice: Notice) -> None:
        """Keep a token, by the digest of its secret, and tell everybody."""
        with self._write("open glass") as connection:
            opened = GlassOpened(glass=glass.id, reason=glass.reason, expires_at=glass.expires_at)
            journal.write(connection, self._insert_new, opened, glass.opened_by, glass.opened_at)
            glasses.write(connection, glass, sha256)
            notices.write(connection, self._insert_new, notice, self._channels, self._now(connection))

    def find_glass(self, sha256: str) -> Glass | None:
        with self._read() as connection:
            return glasses.find(connection, sha256)

    def glasses(self) -> list[Glass]:
        """Every token there ever was, the newest first."""
        with self._read() as connection:
            return glasses.listing(connection)

    # -- tokens of people ------------------------------------------------------------------------------------

    def add_token(self, token: Token, sha256: str) -> None:
        """Keep a token, by the digest of its secret."""
        with self._write("add token") as connection:
            grants = tuple(str(grant) for grant in token.grants)
            made = TokenCreated(token=token.id, person=token.person, grants=grants, expires_at=token.expires_at)
            journal.write(connection, self._insert_new, made, token.created_by, token.created_at)
            tokens.write(connection, token, sha256)

    def show_token(self, sha256: str, now: datetime) -> Token | None:
        """The token of a secret that somebody shows; that it was used is remembered."""
        with self._write("show token") as connection:
            return tokens.shown(connection, sha256, now)

    def revoke_token(self, identifier: str, by: str, now: datetime) -> None:
        """It counts no more, from the next word on. Raises NotFound, Misused."""
        with self._write("revoke token") as connection:
            tokens.revoke(connection, identifier, by, now)
            journal.write(connection, self._insert_new, TokenRevoked(token=identifier), by, now)

    def tokens(self) -> list[Token]:
        """Every token there ever was, the newest first."""
        with self._read() as connection:
            return tokens.listing(connection)

    def refusal(self, by: str, word: Word, resources: Iterable[Resource], now: datetime) -> str | None:
        """Why this person may not say this about these resources. Who speaks without a token may say anything."""
        identifier = token_of(by)
        if identifier is None:
            return None
        with self._read() as connection:
            token = tokens.get(connection, identifier)
        return f"there is no token {identifier}" if token is None else token.refusal(word, resources, now)

    # -- the scheduler's rows --------------------------------------------------------------------------------

    def take_slot(self, source: str, slot: datetime) -> bool:
        """Is this replica the one that runs `source` for this slot?"""
        try:
            with self._write("slot") as connection:
                connection.execute(insert(schema.slots).values(source=source, slot=slot.timestamp()))
        except IntegrityError:
            return False
        return True

    def cursor(self, name: str) -> str | None:
        """Where a poll left off."""
        with self._read() as connection:
            return connection.execute(select(schema.cursors.c.cursor).where(schema.cursors.c.name == name)).scalar()

    def move_cursor(self, name: str, cursor: str | None, at: datetime) -> None:
        with self._write("cursor") as connection:
            self._put(connection, schema.cursors, {"name": name, "cursor": cursor, "at": at.timestamp()})

    # -- below -----------------------------------------------------------------------------------------------

    @contextmanager
    def _write(self, name: str) -> Iterator[Connection]:
        self._failpoint(f"before commit of {name}")
        with _translated(), self._engine.begin() as connection:
            yield connection
        self._failpoint(f"after commit of {name}")

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with _translated(), self._engine.connect().execution_options(reads_only=True) as connection:
            yield connection

    def _put(self, connection: Connection, table: Table, row: dict[str, Any]) -> None:
        """The row, in place of the one that has its primary key, whoever wrote that a moment ago."""
        dialect = sqlite if self._sqlite else postgresql
        key = [column.name for column in table.primary_key]
        connection.execute(dialect.insert(table).values(row).on_conflict_do_update(index_elements=key, set_=row))

    def _insert_new(self, table: Table) -> Any:
        """An insert that leaves a row alone that is there already, whoever wrote it a moment ago."""
        dialect = sqlite if self._sqlite else postgresql
        return dialect.insert(table).on_conflict_do_nothing()

    def _now(self, connection: Connection) -> float:
        if self._clock is not None:
            return self._clock().timestamp()
        if self._sqlite:
            return time.time()  # one machine: the host's clock is the database's
        return float(connection.execute(_NOW).scalar() or 0)

    def _catch_up(self, connection: Connection, case_id: str, known: Case | None, seq: int) -> Case:
        if known is not None and known.seq == seq:
            return known
        missed = _events(connection, case_id, known.seq if known else 0)
        if any(isinstance(recorded.event, Redacted) for recorded in missed):
            return fold(_events(connection, case_id, 0))  # what is known may hold what was erased
        return fold(missed, known)

    def _write_also(self, connection: Connection, case: Case, also: Also, at: datetime) -> None:
        for hold in also.unhold:
            connection.execute(
                delete(schema.holds).where(
                    schema.holds.c.identity == hold.key,
                    schema.holds.c.action == hold.action,
                    schema.holds.c.case_id == case.id,
                )
            )
        if case.status is Status.CLOSED:
            connection.execute(delete(schema.holds).where(schema.holds.c.case_id == case.id))
        if also.hold is not None:
            self._take_hold(connection, case.id, also.hold)
        if also.spend is not None:
            self._spend(connection, case, also.spend, at)
        if also.uses is not None:
            glasses.use(connection, also.uses)
        if also.reviews is not None:
            glasses.review(connection, also.reviews)

    def _spend(self, connection: Connection, case: Case, spend: Spend, at: datetime) -> None:
        if connection.execute(select(schema.spends.c.at).where(schema.spends.c.case_id == case.id)).scalar():
            return
        if not self._sqlite:  # there a transaction that writes is alone already
            connection.execute(text("SELECT pg_advisory_xact_lock(4867014)"))
        identity = _sha256(case.resource.identity)
        refusal = spend.check(tallies.count(connection, case, identity, spend.groups, spend.limits, at))
        if refusal:
            raise Spent(refusal)
        groups = tallies.SEPARATOR.join(spend.groups)
        row = {"case_id": case.id, "account": spend.account, "group": groups, "at": at.timestamp()}
        connection.execute(insert(schema.spends).values(row))

    def _take_hold(self, connection: Connection, case_id: str, hold: Hold) -> None:
        holder = connection.execute(
            select(schema.holds.c.case_id).where(
                schema.holds.c.identity == hold.key, schema.holds.c.action == hold.action
            )
        ).scalar()
        if holder == case_id:
            return
        if holder is not None:
            raise Held(holder)
        try:
            connection.execute(insert(schema.holds).values(identity=hold.key, action=hold.action, case_id=case_id))
        except IntegrityError as error:
            raise Held("of another worker") from error


_SERVERS_PATIENCE = {
    "idle_in_transaction_session_timeout": "15s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "25000",
}
"""When PostgreSQL takes one of us for gone. Whoever is frozen in the middle of a transaction, or lost its power, holds
its locks until then: it must be less than the shortest lease, or nobody could take a case over."""


def patience(url: str) -> dict[str, int | str]:
    """When to take a silent PostgreSQL for gone, and when it is to take us for it, in libpq's words.

    What the URL says about one of them stands.
    """
    seconds = {"connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
    options = " ".join(f"-c {name}={value}" for name, value in _SERVERS_PATIENCE.items())
    # tcp_user_timeout is in milliseconds.
    usual: dict[str, int | str] = {**seconds, "tcp_user_timeout": 25_000, "options": options}
    return {name: value for name, value in usual.items() if name not in make_url(url).query}


_PATIENCE: Final = 30
"""Seconds that one of us waits for another to let go of a SQLite file."""


def _use_wal(connection: Any) -> None:
    """SQLite's own waiting leaves this one out: who finds another one at the same change is told "locked" at once."""

    def busy(error: BaseException) -> bool:
        return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY

    patiently = Retrying(
        retry=retry_if_exception(busy), stop=stop_after_delay(_PATIENCE), wait=wait_random(0.001, 0.05), reraise=True
    )
    patiently(connection.execute, "PRAGMA journal_mode=WAL")


def _tune_sqlite(engine: Any) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        _use_wal(connection)
        for pragma in (
            "synchronous=FULL",
            f"busy_timeout={_PATIENCE * 1000}",
            "recursive_triggers=ON",
            "secure_delete=ON",
        ):
            # FULL: with NORMAL a power cut may lose the last commits, and an intent must not be lost. Secure: what a
            # redaction erases is not left behind in pages that are free.
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reads_only = connection.get_execution_options().get("reads_only", False)
        connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


def _projection(case: Case) -> dict[str, Any]:
    live = case.status is not Status.CLOSED
    return {
        "status": str(case.status),
        "reason": None if case.reason is None else str(case.reason),
        "outcome": None if case.outcome is None else str(case.outcome),
        "playbook": case.playbook,
        "kind": case.resource.kind,
        "resource": case.resource.id,
        "scope": case.resource.scope,
        "severity": str(case.finding.severity),
        "opened_by": case.opened_by,
        "identity": _sha256(case.resource.identity),
        "acted_at": _seconds(case.acted_at),
        "contained_at": _seconds(case.contained_at),
        "failed": case.failed,
        "false_positive": case.false_positive,
        "sentence": (case.escalation.sentence if case.escalation is not None else "") or case.sentence,
        "since": case.since.timestamp(),
        "asks_until": _seconds(case.asks_until),
        "glass_broken": case.glass_broken,
        "updated_at": case.updated_at.timestamp(),
        "live_key": _live_key(case.named_as, case.playbook) if live else None,
        "seq": case.seq,
    }


def _live_key(identity: str, playbook: str) -> str:
    return _sha256(f"{playbook}|{identity}")


def _sha256(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def _linked(connection: Connection, finding: Finding) -> str | None:
    return connection.execute(_LINKED, {"key": _sha256(finding.key)}).scalar()


def _settled(delivery: Delivery, results: list[dict[str, Any]]) -> dict[str, Any]:
    return {"number": delivery.id, "found": json.dumps(results)}


def _insert_event(connection: Connection, sealed: Sealed, kind: str) -> None:
    row = {"case_id": sealed.case, "seq": sealed.seq, "type": kind, "content": sealed.content, "hash": sealed.hash}
    connection.execute(_ADD_EVENT, row)
    disclosures.keep(connection, sealed)


def _events(connection: Connection, case_id: str, after: int) -> list[Recorded]:
    return unseal(_entries(connection, case_id, after))


def _entries(connection: Connection, case_id: str, after: int) -> list[Sealed]:
    rows = [(seq, bytes(content), hashed) for seq, content, hashed in
            connection.execute(_EVENTS, {"case": case_id, "after": after})]  # fmt: skip
    # Most entries commit to nothing, and then nothing is asked for.
    hidden = any(COMMITS in content for _, content, _ in rows)
    known = disclosures.of_case(connection, case_id, after) if hidden else {}
    return [Sealed(case_id, seq, content, hashed, disclosures=known.get(seq, ())) for seq, content, hashed in rows]


def _erased(connection: Connection, case_id: str, commitments: tuple[str, ...]) -> Case:
    """The case as it is without these values. Raises Moved if somebody else has erased one of them."""
    if disclosures.erase(connection, case_id, commitments) != len(commitments):
        raise Moved(f"case {case_id}: some of it was erased meanwhile. Look again")
    disclosures.erase_copies(connection, case_id)
    return fold(_events(connection, case_id, 0))


def _of(lease: Lease) -> dict[str, Any]:
    return {"case": lease.case, "term": lease.epoch, "whose": lease.owner}


def _line(row: Row[Any]) -> Line:
    return Line(
        id=row.id,
        status=Status(row.status),
        reason=row.reason,
        outcome=row.outcome,
        playbook=row.playbook,
        kind=row.kind,
        resource=row.resource,
        scope=row.scope,
        severity=row.severity,
        opened_at=schema.moment(row.opened_at),
        updated_at=schema.moment(row.updated_at),
        since=schema.moment(row.since),
        sentence=row.sentence,
        asks_until=None if row.asks_until is None else schema.moment(row.asks_until),
        glass_broken=bool(row.glass_broken),
    )


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


@contextmanager
def _translated() -> Iterator[None]:
    """A database that is down, restarting, full or locked too long is no defect of this program."""
    try:
        yield
    except (OperationalError, InterfaceError, NoConnectionFree) as error:
        raise Unavailable(f"the database does not answer: {_plain(error)}. Look with: quarantine doctor") from error


def _plain(error: SQLAlchemyError) -> str:
    """The driver's own words, without the statement and without SQLAlchemy's link."""
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]
