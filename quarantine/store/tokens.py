"""Tokens of people: who has which, and what became of each."""

import json
from datetime import datetime

from sqlalchemy import Connection, Row, insert, select, update

from quarantine.errors import Misused, NotFound
from quarantine.people import Grant, Token
from quarantine.store import schema

_table = schema.tokens.c


def write(connection: Connection, token: Token, sha256: str) -> None:
    row = {
        "id": token.id,
        "sha256": sha256,
        "person": token.person,
        "grants": json.dumps([str(grant) for grant in token.grants]),
        "created_by": token.created_by,
        "created_at": token.created_at.timestamp(),
        "expires_at": token.expires_at.timestamp(),
    }
    connection.execute(insert(schema.tokens).values(row))


def shown(connection: Connection, sha256: str, now: datetime) -> Token | None:
    """The token of this secret, whether it counts or not. That it was used is remembered."""
    used = update(schema.tokens).where(_table.sha256 == sha256).values(used_at=now.timestamp())
    connection.execute(used)
    row = connection.execute(select(schema.tokens).where(_table.sha256 == sha256)).one_or_none()
    return None if row is None else _token(row)


def get(connection: Connection, identifier: str) -> Token | None:
    row = connection.execute(select(schema.tokens).where(_table.id == identifier)).one_or_none()
    return None if row is None else _token(row)


def listing(connection: Connection) -> list[Token]:
    """The newest first."""
    return [_token(row) for row in connection.execute(select(schema.tokens).order_by(_table.created_at.desc()))]


def revoke(connection: Connection, identifier: str, by: str, now: datetime) -> None:
    """Raises NotFound; Misused if it was revoked already."""
    gone = update(schema.tokens).where(_table.id == identifier, _table.revoked_at.is_(None))
    if connection.execute(gone.values(revoked_by=by, revoked_at=now.timestamp())).rowcount == 1:
        return
    if get(connection, identifier) is None:
        raise NotFound(f"there is no token {identifier}. See: quarantine token list --all")
    raise Misused(f"token {identifier} was revoked already")


def _token(row: Row[tuple[object, ...]]) -> Token:
    return Token(
        id=row.id,
        person=row.person,
        grants=tuple(Grant.parse(grant) for grant in json.loads(row.grants)),
        created_by=row.created_by,
        created_at=schema.moment(row.created_at),
        expires_at=schema.moment(row.expires_at),
        revoked_by=row.revoked_by,
        revoked_at=None if row.revoked_at is None else schema.moment(row.revoked_at),
        used_at=None if row.used_at is None else schema.moment(row.used_at),
    )
