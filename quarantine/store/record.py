"""The record as the database has it: what a verification reads."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, func, select

from quarantine.audit import Chain
from quarantine.journal import JOURNAL
from quarantine.ledger import Sealed
from quarantine.store import journal, schema, tree

_case, _event, _leaf = schema.cases.c, schema.events.c, schema.leaves.c

_ENTRY = (_event.seq, _event.content, _event.hash, _leaf.position, _leaf.hash.label("leaf"))
_CHAINS = (
    select(_case.id, _case.seq.label("length"), _case.head, *_ENTRY)
    .select_from(
        schema.cases.outerjoin(schema.events, _event.case_id == _case.id).outerjoin(
            schema.leaves, _leaf.entry == _event.id
        )
    )
    .order_by(_case.id, _event.seq)
)
_ORPHANS = (
    select(_event.case_id.label("id"), *_ENTRY)
    .select_from(schema.events.outerjoin(schema.leaves, _leaf.entry == _event.id))
    .where(_event.case_id.not_in(select(_case.id)), _event.case_id != JOURNAL)
    .order_by(_event.case_id, _event.seq)
)
_JOURNAL = (
    select(*_ENTRY, _event.case_id.label("id"))
    .select_from(schema.events.outerjoin(schema.leaves, _leaf.entry == _event.id))
    .where(_event.case_id == JOURNAL)
    .order_by(_event.seq)
)
_STRAY = (
    select(func.min(_leaf.position))
    .select_from(schema.leaves.outerjoin(schema.events, _leaf.entry == _event.id))
    .where(_event.id.is_(None))
)


class StoredRecord:
    """See `audit.Record`. All of it is of one moment."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def chains(self) -> Iterator[Chain]:
        with self._connection.execute(_CHAINS, execution_options={"yield_per": 1000}) as rows:
            for (case, length, head), found in groupby(rows, lambda row: (row.id, row.length, row.head)):
                yield Chain(case, length, head, (_sealed(row) for row in found if row.seq is not None))
        seq, head = journal.head(self._connection)
        yield Chain(JOURNAL, seq, head, map(_sealed, self._connection.execute(_JOURNAL)))
        for case, left in groupby(self._connection.execute(_ORPHANS), lambda row: str(row.id)):
            yield Chain(case, None, "", (_sealed(row) for row in left))

    def stray(self) -> int | None:
        return self._connection.execute(_STRAY).scalar()

    def checkpoints(self) -> list[str]:
        return tree.notes(self._connection)


def _sealed(row: Row[*tuple[Any, ...]]) -> Sealed:
    return Sealed(row.id, row.seq, bytes(row.content), row.hash, row.position, bytes(row.leaf or b""))
