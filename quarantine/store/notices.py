"""The outbox: what people are told, written with the event that gives cause, one row for each channel."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, and_, func, select, update

from quarantine.notice import QUIET, Notice
from quarantine.store import schema

Channels = Mapping[str, Collection[str]]
"""Which kinds of notice each channel takes."""


@dataclass(frozen=True)
class Letter:
    """One notice on its way through one channel."""

    channel: str
    notice: Notice
    attempts: int
    """The one that is made now among them."""


@dataclass(frozen=True)
class Sending:
    """How far a notice is with one channel."""

    channel: str
    key: str
    kind: str
    case: str
    at: datetime
    attempts: int
    due_at: datetime | None
    """None when nobody tries any more: it was sent, or given up."""
    sent_at: datetime | None
    failure: str


def write(
    connection: Connection, insert_new: Callable[[Table], Any], notice: Notice, channels: Channels, now: float
) -> None:
    """Due at once in every channel that takes its kind; nothing if it, or a page of its topic, was written already."""
    table = schema.notices.c
    if notice.topic:
        since = (notice.at - QUIET).timestamp()
        if connection.execute(select(table.key).where(table.topic == notice.topic, table.at > since).limit(1)).scalar():
            return
    for channel, kinds in channels.items():
        if notice.kind in kinds:
            row = {
                "key": notice.key,
                "channel": channel,
                "kind": str(notice.kind),
                "topic": notice.topic,
                "case_id": notice.case,
                "at": notice.at.timestamp(),
                "content": notice.model_dump_json(),
                "due_at": now,
                "attempts": 0,
                "failure": "",
            }
            connection.execute(insert_new(schema.notices).values(row))


def due(connection: Connection, channel: str, now: float) -> bool:
    """Is there anything to send?"""
    table = schema.notices.c
    query = select(func.count()).where(table.channel == channel, table.due_at <= now)
    return bool(connection.execute(query).scalar())


def take(connection: Connection, channel: str, now: float, until: float) -> Letter | None:
    """The notice that is due longest, for nobody else before `until`: whoever dies meanwhile leaves it to be sent."""
    table = schema.notices.c
    query = (
        select(table.key, table.content, table.attempts)
        .where(table.channel == channel, table.due_at <= now)
        .order_by(table.due_at, table.at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    changes = {"due_at": until, "attempts": row.attempts + 1}
    connection.execute(update(schema.notices).where(_is(row.key, channel)).values(changes))
    return Letter(channel, Notice.model_validate_json(row.content), row.attempts + 1)


def settle(connection: Connection, letter: Letter, sent_at: float | None, due_at: float | None, failure: str) -> None:
    """It was sent, or is due again, or, with neither, nobody tries any more."""
    changes = {"sent_at": sent_at, "due_at": due_at, "failure": failure}
    where = _is(letter.notice.key, letter.channel) & schema.notices.c.sent_at.is_(None)
    connection.execute(update(schema.notices).where(where).values(changes))


def listing(connection: Connection, *, only_given_up: bool) -> list[Sending]:
    """The oldest first."""
    query = select(schema.notices).order_by(schema.notices.c.at, schema.notices.c.key, schema.notices.c.channel)
    if only_given_up:
        query = query.where(schema.notices.c.due_at.is_(None), schema.notices.c.sent_at.is_(None))
    rows = connection.execute(query)
    return [
        Sending(
            channel=row.channel,
            key=row.key,
            kind=row.kind,
            case=row.case_id,
            at=schema.moment(row.at),
            attempts=row.attempts,
            due_at=None if row.due_at is None else schema.moment(row.due_at),
            sent_at=None if row.sent_at is None else schema.moment(row.sent_at),
            failure=row.failure,
        )
        for row in rows
    ]


def _is(key: str, channel: str) -> Any:
    return and_(schema.notices.c.key == key, schema.notices.c.channel == channel)
