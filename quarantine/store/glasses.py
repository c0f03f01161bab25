"""Break-glass: tokens that let one person do what needs two, once, and what became of each."""

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, Row, insert, select, update

from quarantine.errors import Misused
from quarantine.store import schema


@dataclass(frozen=True)
class Glass:
    """One token, without its secret; the store keeps only the SHA-256 of that."""

    id: str
    reason: str
    opened_by: str
    opened_at: datetime
    expires_at: datetime
    used_by: str | None = None
    used_at: datetime | None = None
    case: str | None = None
    reviewed_by: str | None = None
    reviewed_at: datetime | None = None


def write(connection: Connection, glass: Glass, sha256: str) -> None:
    row = {
        "id": glass.id,
        "sha256": sha256,
        "reason": glass.reason,
        "opened_by": glass.opened_by,
        "opened_at": glass.opened_at.timestamp(),
        "expires_at": glass.expires_at.timestamp(),
    }
    connection.execute(insert(schema.glasses).values(row))


def find(connection: Connection, sha256: str) -> Glass | None:
    row = connection.execute(select(schema.glasses).where(schema.glasses.c.sha256 == sha256)).one_or_none()
    return None if row is None else _glass(row)


def listing(connection: Connection) -> list[Glass]:
    """The newest first."""
    return [
        _glass(row) for row in connection.execute(select(schema.glasses).order_by(schema.glasses.c.opened_at.desc()))
    ]


def use(connection: Connection, glass: Glass) -> None:
    """`glass` with its use filled in. Raises Misused if it was used meanwhile, or has run out."""
    used_at = glass.used_at.timestamp() if glass.used_at is not None else 0.0
    table = schema.glasses.c
    done = connection.execute(
        update(schema.glasses)
        .where(table.id == glass.id, table.used_at.is_(None), table.expires_at > used_at)
        .values(used_by=glass.used_by, used_at=used_at, case_id=glass.case)
    )
    if done.rowcount != 1:
        raise Misused(
            "this break-glass token was used already, or has run out. Open another: quarantine break-glass open"
        )


def review(connection: Connection, glass: Glass) -> None:
    """`glass` with its review filled in. Raises Misused if it was reviewed already."""
    reviewed_at = glass.reviewed_at.timestamp() if glass.reviewed_at is not None else 0.0
    table = schema.glasses.c
    done = connection.execute(
        update(schema.glasses)
        .where(table.id == glass.id, table.used_at.is_not(None), table.reviewed_at.is_(None))
        .values(reviewed_by=glass.reviewed_by, reviewed_at=reviewed_at)
    )
    if done.rowcount != 1:
        raise Misused(f"{glass.id} was reviewed already, or never used. See: quarantine break-glass list --all")


def _glass(row: Row[tuple[object, ...]]) -> Glass:
    glass = Glass(row.id, row.reason, row.opened_by, schema.moment(row.opened_at), schema.moment(row.expires_at))
    if row.used_at is not None:
        glass = replace(glass, used_by=row.used_by, used_at=schema.moment(row.used_at), case=row.case_id)
    if row.reviewed_at is not None:
        glass = replace(glass, reviewed_by=row.reviewed_by, reviewed_at=schema.moment(row.reviewed_at))
    return glass
