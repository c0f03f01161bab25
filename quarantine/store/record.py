"""The record as the database has it: what a verification reads."""

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Row, func, null, select

from quarantine.audit import Chain
from quarantine.commitment import Beside, Disclosure
from quarantine.journal import JOURNAL
from quarantine.ledger import Sealed
from quarantine.store import journal, schema, tree

_case, _event, _leaf, _disclosed = schema.cases.c, schema.events.c, schema.leaves.c, schema.disclosures.c

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
_NO_ROW = (null().label("length"), null().label("head"))
_ORPHANS = (
    select(_event.case_id.label("id"), *_NO_ROW, *_ENTRY)
    .select_from(schema.events.outerjoin(schema.leaves, _leaf.entry == _event.id))
    .where(_event.case_id.not_in(select(_case.id)), _event.case_id != JOURNAL)
    .order_by(_event.case_id, _event.seq)
)
_JOURNAL = (
    select(_event.case_id.label("id"), *_NO_ROW, *_ENTRY)
    .select_from(schema.events.outerjoin(schema.leaves, _leaf.entry == _event.id))
    .where(_event.case_id == JOURNAL)
    .order_by(_event.seq)
)
_DISCLOSURES = (
    select(_disclosed.case_id, _disclosed.seq, _disclosed.commitment, _disclosed.content)
    .join(schema.cases, _case.id == _disclosed.case_id)
    .join(schema.events, (_event.case_id == _disclosed.case_id) & (_event.seq == _disclosed.seq))
    .order_by(_disclosed.case_id, _disclosed.seq, _disclosed.commitment)
)
_LOOSE = (
    select(_disclosed.case_id, _disclosed.seq)
    .select_from(
        schema.disclosures.outerjoin(
            schema.events, (_event.case_id == _disclosed.case_id) & (_event.seq == _disclosed.seq)
        )
    )
    .where(_event.id.is_(None))
    .limit(1)
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
        options = {"yield_per": 1000}
        with (
            self._connection.execute(_CHAINS, execution_options=options) as rows,
            self._connection.execute(_DISCLOSURES, execution_options=options) as disclosed,
        ):
            beside = Beside(((case, seq), Disclosure(name, bytes(raw))) for case, seq, name, raw in disclosed)
            for (case, length, head), found in groupby(rows, itemgetter(0, 1, 2)):
                yield Chain(case, length, head, (_sealed(row, beside) for row in found if row[3] is not None))
        seq, head = journal.head(self._connection)
        yield Chain(JOURNAL, seq, head, (_sealed(row) for row in self._connection.execute(_JOURNAL)))
        for case, left in groupby(self._connection.execute(_ORPHANS), itemgetter(0)):
            yield Chain(case, None, "", (_sealed(row) for row in left))

    def stray(self) -> int | None:
        return self._connection.execute(_STRAY).scalar()

    def loose(self) -> str | None:
        row = self._connection.execute(_LOOSE).first()
        return None if row is None else f"case {row.case_id}, entry {row.seq}"

    def checkpoints(self) -> list[str]:
        return tree.notes(self._connection)


def _sealed(row: Row[*tuple[Any, ...]], beside: Beside | None = None) -> Sealed:
    # By their places: a million times by name is seconds.
    case, _, _, seq, content, hashed, position, leaf = row
    disclosures = () if beside is None else beside.take((case, seq))
    return Sealed(case, seq, bytes(content), hashed, position, bytes(leaf or b""), disclosures)
