"""The tree over all entries, in the database: its leaves in their order, its frontier, and the signed checkpoints.

An entry waits in `unsealed` from the transaction that wrote it until whoever seals has given it a place. So the order
is that in which transactions became visible, and no transaction that commits late is overlooked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from quarantine.ledger import proof_of, written_at
from quarantine.merkle import SIZE, Frontier, consistency, leaf
from quarantine.note import Checkpoint
from quarantine.store import schema


def waiting(connection: Connection) -> int:
    """How many entries have no place yet."""
    return int(connection.execute(select(func.count()).select_from(schema.unsealed)).scalar_one())


def grow(connection: Connection, most: int) -> bool:
    """Give places to waiting entries; were there any? Whoever else seals at the moment is left alone with it."""
    alone = select(schema.tree).with_for_update(skip_locked=True)
    row = connection.execute(alone).one_or_none()
    if row is None:
        return False
    first = select(schema.unsealed.c.entry).order_by(schema.unsealed.c.entry).limit(most)
    query = (
        select(schema.events.c.id, schema.events.c.content)
        .where(schema.events.c.id.in_(first))
        .order_by(schema.events.c.id)
    )
    found = connection.execute(query).all()
    if not found:
        return False
    hashes = [leaf(bytes(content)) for _, content in found]
    rows: list[dict[str, Any]] = [
        {"position": row.size + number, "entry": entry, "hash": hashed}
        for number, ((entry, _), hashed) in enumerate(zip(found, hashes, strict=True))
    ]
    connection.execute(insert(schema.leaves), rows)
    connection.execute(delete(schema.unsealed).where(schema.unsealed.c.entry.in_([entry for entry, _ in found])))
    grown = Frontier(row.size, _hashes(row.frontier)).extended(hashes)
    connection.execute(update(schema.tree).values(size=grown.size, frontier=b"".join(grown.hashes)))
    return True


@dataclass(frozen=True)
class Lag:
    """What a state of the tree does not cover."""

    entries: int
    since: datetime | None
    """When the oldest of them was written; None if there is none."""


def lag(connection: Connection, size: int) -> Lag:
    """What comes after the first `size` entries of the tree, sealed or not."""
    first = connection.execute(
        select(schema.events.c.content)
        .join(schema.leaves, schema.leaves.c.entry == schema.events.c.id)
        .where(schema.leaves.c.position == size)
    ).scalar()
    oldest = connection.execute(
        select(schema.events.c.content)
        .join(schema.unsealed, schema.unsealed.c.entry == schema.events.c.id)
        .order_by(schema.events.c.id)
        .limit(1)
    ).scalar()
    grown = connection.execute(select(schema.tree.c.size)).scalar_one()
    written = [written_at(bytes(content)) for content in (first, oldest) if content is not None]
    return Lag(max(0, grown - size) + waiting(connection), min(written, default=None))


def unsigned(connection: Connection) -> Frontier | None:
    """The tree, if no checkpoint of this size was signed yet."""
    row = connection.execute(select(schema.tree)).one()
    last = connection.execute(select(func.max(schema.checkpoints.c.size))).scalar()
    return Frontier(row.size, _hashes(row.frontier)) if row.size > (last or 0) else None


def checkpoint(connection: Connection, insert_new: Any, size: int, at: datetime, note: str) -> None:
    """Keep a signed checkpoint, unless another sealer has signed the same state a moment ago."""
    row = {"size": size, "at": at.timestamp(), "note": note}
    connection.execute(insert_new(schema.checkpoints).values(row))


def last_checkpoint(connection: Connection) -> tuple[datetime, str] | None:
    """When it was signed, and its note with the lines of witnesses."""
    query = select(schema.checkpoints).order_by(schema.checkpoints.c.size.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return schema.moment(row.at), row.note + _lines(connection, row.size)


def _lines(connection: Connection, size: int) -> str:
    table = schema.cosignatures.c
    return "".join(connection.execute(select(table.line).where(table.size == size).order_by(table.witness)).scalars())


def notes(connection: Connection) -> list[str]:
    """Every checkpoint with the lines of witnesses, the smallest first."""
    lines: dict[int, str] = {}
    table = schema.cosignatures.c
    for row in connection.execute(select(table.size, table.line).order_by(table.size, table.witness)):
        lines[row.size] = lines.get(row.size, "") + row.line
    query = select(schema.checkpoints).order_by(schema.checkpoints.c.size)
    return [row.note + lines.get(row.size, "") for row in connection.execute(query)]


def seen(connection: Connection) -> dict[str, tuple[int, datetime]]:
    """By witness: the largest state that it has cosigned, and when."""
    found: dict[str, tuple[int, datetime]] = {}
    for row in connection.execute(select(schema.cosignatures).order_by(schema.cosignatures.c.size)):
        found[row.witness] = row.size, schema.moment(row.at)
    return found


def witnessed(connection: Connection, case_id: str, kind: str, witnesses: Sequence[str]) -> bool:
    """Is the last event of this type of a case in a state that one of these witnesses has cosigned?"""
    last = (
        select(schema.leaves.c.position)
        .select_from(schema.events.outerjoin(schema.leaves, schema.leaves.c.entry == schema.events.c.id))
        .where(schema.events.c.case_id == case_id, schema.events.c.type == kind)
        .order_by(schema.events.c.seq.desc())
        .limit(1)
    )
    position = connection.execute(last).scalar()
    largest = select(func.max(schema.cosignatures.c.size)).where(schema.cosignatures.c.witness.in_(witnesses))
    return position is not None and position < (connection.execute(largest).scalar() or 0)


def cosign(connection: Connection, insert_new: Any, size: int, witness: str, at: datetime, line: str) -> None:
    """Keep the line of a witness under the checkpoint of this size."""
    row = {"size": size, "witness": witness, "at": at.timestamp(), "line": line}
    connection.execute(insert_new(schema.cosignatures).values(row))


def proof_since(connection: Connection, old: int, size: int) -> list[bytes]:
    """The proof that the tree of this size begins with the first `old` entries. Reads every leaf."""
    hashes = select(schema.leaves.c.hash).where(schema.leaves.c.position < size).order_by(schema.leaves.c.position)
    return consistency([bytes(found) for found in connection.execute(hashes).scalars()], old)


def _hashes(frontier: bytes) -> tuple[bytes, ...]:
    raw = bytes(frontier) if not isinstance(frontier, str) else frontier.encode()
    return tuple(raw[at : at + SIZE] for at in range(0, len(raw), SIZE))


def proof(connection: Connection, case_id: str, seq: int | None) -> str | None:
    """The proof of this entry, or of the last one of its case, in the last checkpoint; None if it covers none."""
    last = last_checkpoint(connection)
    if last is None:
        return None
    size = Checkpoint.in_note(last[1]).size
    entries = (
        select(schema.leaves.c.position, schema.events.c.content)
        .join(schema.events, schema.leaves.c.entry == schema.events.c.id)
        .where(schema.events.c.case_id == case_id, schema.leaves.c.position < size)
        .order_by(schema.events.c.seq.desc())
    )
    row = connection.execute(entries if seq is None else entries.where(schema.events.c.seq == seq)).first()
    if row is None:
        return None
    hashes = select(schema.leaves.c.hash).where(schema.leaves.c.position < size).order_by(schema.leaves.c.position)
    leaves = [bytes(found) for found in connection.execute(hashes).scalars()]
    return proof_of(bytes(row.content), row.position, leaves, last[1])
