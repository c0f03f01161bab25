"""What the guards count, read in one transaction: either to decide, or in the one that lets a case act."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from quarantine.case import Case
from quarantine.config import Guards
from quarantine.guard import Run, Tallies
from quarantine.store import schema

DAY = timedelta(hours=24)
EVERYWHERE = "*"
"""The account of a refill that is for all of them."""


def count(connection: Connection, case: Case, identity: str, group: str, limits: Guards, now: datetime) -> Tallies:
    """What concerns this case; `identity` and `group` are keys as the tables have them."""
    table, day = schema.cases.c, (now - DAY).timestamp()
    others = table.id != case.id
    storm = select(func.count()).where(
        table.opened_by == case.opened_by, table.opened_at > (now - limits.storm.within).timestamp()
    )
    runs = (
        select(table.failed, table.false_positive)
        .where(table.playbook == case.playbook, table.acted_at.is_not(None), others)
        .order_by(table.acted_at.desc())
        .limit(limits.breaker.of_last)
    )
    wave = (
        select(table.acted_at)
        .where(table.playbook == case.playbook, table.opened_by == case.opened_by, table.acted_at > day, others)
        .order_by(table.acted_at)
    )
    contained = select(func.count()).where(table.identity == identity, table.contained_at > day, others)
    spent = _spent(connection, day)
    mine = [row for row in spent if row.account == case.resource.account and row.case_id != case.id]
    return Tallies(
        spent=tuple(_moment(row.at) for row in mine if row.at > _refilled(connection, case.resource.account)),
        spent_everywhere=sum(row.at > _refilled(connection, EVERYWHERE) for row in spent if row.case_id != case.id),
        spent_in_group=sum(bool(group) and row.group == group for row in mine),
        storm=int(connection.execute(storm).scalar() or 0),
        runs=tuple(Run(bool(row.failed), bool(row.false_positive)) for row in connection.execute(runs)),
        wave=tuple(_moment(at) for at in connection.execute(wave).scalars()),
        contained=int(connection.execute(contained).scalar() or 0),
    )


def used(connection: Connection, now: datetime) -> dict[str, list[datetime]]:
    """By account, and under `*` for all of them: the automatic containments that count against the budget."""
    spent = _spent(connection, (now - DAY).timestamp())
    found = {EVERYWHERE: [_moment(row.at) for row in spent if row.at > _refilled(connection, EVERYWHERE)]}
    for account in sorted({row.account for row in spent}):
        since = _refilled(connection, account)
        found[account] = [_moment(row.at) for row in spent if row.account == account and row.at > since]
    return found


def _spent(connection: Connection, since: float) -> list[Any]:
    return list(connection.execute(select(schema.spends).where(schema.spends.c.at >= since).order_by("at")))


def _refilled(connection: Connection, account: str) -> float:
    """When a person last refilled the budget of this account, or all budgets."""
    table = schema.refills.c
    query = select(func.max(table.at)).where(table.account.in_({account, EVERYWHERE}))
    return float(connection.execute(query).scalar() or 0)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
