"""The tables. `events` is the truth and only ever grows; `cases` is its projection, written in the same transaction.

Times are seconds since 1970 in UTC, so that both databases compare them alike.
"""

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

VERSION = "0001"
"""The newest migration that this program knows. It refuses a database that is further."""

metadata = MetaData()

_Number = BigInteger().with_variant(Integer, "sqlite")

installation = Table(
    "installation",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

intake = Table(
    "intake",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=True),
    Column("source", String(64), nullable=False),
    Column("delivery", String(256), nullable=False),
    Column("received_at", Float, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("results", Text, nullable=False),
    UniqueConstraint("source", "delivery"),
    Index("intake_waiting", "status", "id"),
)

cases = Table(
    "cases",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("status", String(32), nullable=False),
    Column("reason", String(32)),
    Column("outcome", String(32)),
    Column("playbook", String(64), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("resource", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("severity", String(16), nullable=False),
    Column("opened_by", String(256), nullable=False),
    Column("identity", String(64), nullable=False),
    Column("opened_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("acted_at", Float),
    Column("contained_at", Float),
    Column("failed", Boolean, nullable=False),
    Column("false_positive", Boolean, nullable=False),
    Column("sentence", Text, nullable=False),
    Column("since", Float, nullable=False),
    Column("asks_until", Float),
    Column("glass_broken", Boolean, nullable=False),
    Column("live_key", Text, unique=True),
    Column("seq", Integer, nullable=False),
    Column("head", String(64), nullable=False),
    Column("due_at", Float),
    Column("early_at", Float),
    Column("owner", String(128)),
    Column("lease_until", Float),
    Column("epoch", Integer, nullable=False),
    Index("cases_due", "due_at"),
    Index("cases_early", "early_at"),
    Index("cases_newest", "opened_at"),
    Index("cases_opened", "opened_by", "opened_at"),
    Index("cases_acted", "playbook", "acted_at"),
    Index("cases_contained", "identity", "contained_at"),
)

events = Table(
    "events",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=True),
    Column("case_id", String(32), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("type", String(32), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("hash", String(64), nullable=False),
    UniqueConstraint("case_id", "seq"),
)

disclosures = Table(
    "disclosures",
    metadata,
    Column("case_id", String(32), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("commitment", String(64), nullable=False),
    Column("content", LargeBinary, nullable=False),
    PrimaryKeyConstraint("case_id", "seq", "commitment"),
)
"""The sensitive values that entries commit to, beside those entries. A redaction deletes them, and nothing else."""

unsealed = Table(
    "unsealed",
    metadata,
    Column("entry", _Number, primary_key=True, autoincrement=False),
)
"""Entries that are not in the tree yet; a trigger adds each one. Never more than a second old while a sealer runs."""

leaves = Table(
    "leaves",
    metadata,
    Column("position", _Number, primary_key=True, autoincrement=False),
    Column("entry", _Number, nullable=False, unique=True),
    Column("hash", LargeBinary, nullable=False),
)

tree = Table(
    "tree",
    metadata,
    Column("only", Integer, primary_key=True, autoincrement=False),
    Column("size", _Number, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
)
"""One row: locking it makes whoever seals the only one."""

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("size", _Number, primary_key=True, autoincrement=False),
    Column("at", Float, nullable=False),
    Column("note", Text, nullable=False),
)

cosignatures = Table(
    "cosignatures",
    metadata,
    Column("size", _Number, nullable=False),
    Column("witness", String(256), nullable=False),
    Column("at", Float, nullable=False),
    Column("line", Text, nullable=False),
    PrimaryKeyConstraint("size", "witness"),
)
"""Lines under a checkpoint, by those who watch over the record."""

journal = Table(
    "journal",
    metadata,
    Column("only", Integer, primary_key=True, autoincrement=False),
    Column("seq", Integer, nullable=False),
    Column("head", String(64), nullable=False),
)
"""One row, made with the first entry: the head of the chain that belongs to no case."""

findings = Table(
    "findings",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("case_id", String(32), nullable=False),
    Column("seen_at", Float, nullable=False),
)

holds = Table(
    "holds",
    metadata,
    Column("identity", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("case_id", String(32), nullable=False),
    PrimaryKeyConstraint("identity", "action"),
)

spends = Table(
    "spends",
    metadata,
    Column("case_id", String(32), primary_key=True),
    Column("account", Text, nullable=False),
    Column("group", Text, nullable=False),
    Column("at", Float, nullable=False),
    Index("spends_at", "at"),
)

refills = Table(
    "refills",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=True),
    Column("account", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", String(256), nullable=False),
    Column("at", Float, nullable=False),
)

switches = Table(
    "switches",
    metadata,
    Column("scope", String(160), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("by", String(256), nullable=False),
    Column("at", Float, nullable=False),
)

notices = Table(
    "notices",
    metadata,
    Column("key", String(256), nullable=False),
    Column("channel", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("topic", String(256), nullable=False),
    Column("case_id", String(32), nullable=False),
    Column("at", Float, nullable=False),
    Column("content", Text, nullable=False),
    Column("due_at", Float),
    Column("attempts", Integer, nullable=False),
    Column("sent_at", Float),
    Column("failure", Text, nullable=False),
    PrimaryKeyConstraint("key", "channel"),
    Index("notices_due", "channel", "due_at"),
    Index("notices_topic", "topic", "at"),
)

glasses = Table(
    "glasses",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("reason", Text, nullable=False),
    Column("opened_by", String(256), nullable=False),
    Column("opened_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("used_by", String(256)),
    Column("used_at", Float),
    Column("case_id", String(32)),
    Column("reviewed_by", String(256)),
    Column("reviewed_at", Float),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("person", String(64), nullable=False),
    Column("grants", Text, nullable=False),
    Column("created_by", String(256), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("revoked_by", String(256)),
    Column("revoked_at", Float),
    Column("used_at", Float),
)

slots = Table(
    "slots",
    metadata,
    Column("source", String(64), nullable=False),
    Column("slot", Float, nullable=False),
    PrimaryKeyConstraint("source", "slot"),
)

cursors = Table(
    "cursors",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("cursor", Text),
    Column("at", Float, nullable=False),
)

RECORDS = ("events", "leaves", "checkpoints", "cosignatures")
"""Tables of which a row is never changed or deleted. This is against mistakes: the proof is in the tree."""


def moment(seconds: float) -> datetime:
    """A time as it is in a table."""
    return datetime.fromtimestamp(seconds, UTC)
