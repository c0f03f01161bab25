"""What opens the commitments of entries: the only part of the record that is ever deleted, and only by a redaction."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from quarantine.commitment import Disclosure
from quarantine.ledger import Sealed
from quarantine.notice import Notice
from quarantine.store import schema

_ADD = insert(schema.disclosures)
_table = schema.disclosures.c
_OF_CASE = select(_table.seq, _table.commitment, _table.content).where(
    _table.case_id == bindparam("case"), _table.seq > bindparam("after")
)


def keep(connection: Connection, sealed: Sealed) -> None:
    """Beside the entry, in its transaction."""
    if sealed.disclosures:
        connection.execute(_ADD, rows_of(sealed))


def rows_of(sealed: Sealed) -> list[dict[str, Any]]:
    return [
        {"case_id": sealed.case, "seq": sealed.seq, "commitment": item.commitment, "content": item.content}
        for item in sealed.disclosures
    ]


def of_case(connection: Connection, case_id: str, after: int) -> dict[int, tuple[Disclosure, ...]]:
    """What is there for the entries of a case after the `after`-th, by their numbers."""
    found: defaultdict[int, tuple[Disclosure, ...]] = defaultdict(tuple)
    for seq, commitment, content in connection.execute(_OF_CASE, {"case": case_id, "after": after}):
        found[seq] += (Disclosure(commitment, bytes(content)),)
    return found


def erase(connection: Connection, case_id: str, commitments: Sequence[str]) -> int:
    """How many of them were there."""
    these = (_table.case_id == case_id) & _table.commitment.in_(commitments)
    return connection.execute(delete(schema.disclosures).where(these)).rowcount


def erase_copies(connection: Connection, case_id: str) -> None:
    """What came in and what people were told of this case, beside its record. Digests and times stay."""
    intake, notices = schema.intake.c, schema.notices.c
    names_it = intake.results.contains(f'"{case_id}"', autoescape=True)
    came = update(schema.intake).where(intake.status == "settled", names_it)
    connection.execute(came.values(body=b""))
    told = select(notices.key, notices.channel, notices.content).where(notices.case_id == case_id)
    for key, channel, content in connection.execute(told).all():
        notice = Notice.model_validate_json(content)
        facts = {name: text for name, text in notice.facts.items() if name not in _FREE}
        this = (notices.key == key) & (notices.channel == channel)
        again = notice.model_copy(update={"facts": facts}).model_dump_json()
        connection.execute(update(schema.notices).where(this).values(content=again))


_FREE = frozenset({"finding", "sentence"})
"""The facts of a notice that others may have written."""
