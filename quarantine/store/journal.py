"""The journal in the database: its entries stand among the events, its head in a row of its own."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from quarantine.commitment import new_salt
from quarantine.journal import JOURNAL, Act, Noted
from quarantine.ledger import START, seal
from quarantine.store import schema


def head(connection: Connection) -> tuple[int, str]:
    """How many entries it has, and the hash of the last one."""
    row = connection.execute(select(schema.journal)).one_or_none()
    return (0, START) if row is None else (row.seq, row.head)


def write(connection: Connection, insert_new: Any, act: Act, by: str, at: datetime) -> None:
    """Add an entry, in the transaction of what it tells of."""
    connection.execute(insert_new(schema.journal).values(only=1, seq=0, head=START))
    row = connection.execute(select(schema.journal).with_for_update()).one()
    sealed = seal(Noted(seq=row.seq + 1, at=at, by=by, event=act), row.head, new_salt)
    entry = {"case_id": JOURNAL, "seq": sealed.seq, "type": act.type, "content": sealed.content, "hash": sealed.hash}
    connection.execute(insert(schema.events), entry)
    connection.execute(update(schema.journal).values(seq=sealed.seq, head=sealed.hash))
