"""What the guards count, read in one transaction: either to decide, or in the one that lets a case act."""

from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from quarantine.case import Case
from quarantine.config import Guards
from quarantine.guard import Run, Tallies
from quarantine.store import schema

DAY = timedelta(hours=24)
SEPARATOR = "\n"
"""Between the keys of the groups that one containment thins out."""
EVERYWHERE = "*"
"""The account of a refill that is for all of them."""

_CASES = schema.cases.c
_OTHERS = _CASES.id != bindparam("case")
_STORM = select(func.count()).where(_CASES.opened_by == bindparam("by"), _CASES.opened_at > bindparam("storm"))
_RUNS = (
    select(_CASES.failed, _CASES.false_positive)
    .where(_CASES.playbook == bindparam("playbook"), _CASES.acted_at.is_not(None), _OTHERS)
    .order_by(_CASES.acted_at.desc())
    .limit(bindparam("last"))
)
_WAVE = (
    select(_CASES.acted_at)
    .where(
        _CASES.playbook == bindparam("playbook"),
        _CASES.opened_by == bindparam("by"),
        _CASES.acted_at > bindparam("day"),
        _OTHERS,
    )
    .order_by(_CASES.acted_at)
)
_CONTAINED = select(func.count()).where(
    _CASES.identity == bindparam("identity"), _CASES.contained_at > bindparam("day"), _OTHERS
)
_SPENT = select(schema.spends).where(schema.spends.c.at >= bindparam("since")).order_by(schema.spends.c.at)
_REFILLS = schema.refills.c
_REFILLED = select(func.max(_REFILLS.at)).where(_REFILLS.account.in_([bindparam("account"), EVERYWHERE]))


def count(
    connection: Connection, case: Case, identity: str, groups: Collection[str], limits: Guards, now: datetime
) -> Tallies:
    """What concerns this case; `identity` and `groups` are keys as the tables have them."""
    of: dict[str, Any] = {
        "case": case.id,
        "by": case.opened_by,
        "playbook": case.playbook,
        "identity": identity,
        "day": (now - DAY).timestamp(),
        "storm": (now - limits.storm.within).timestamp(),
        "last": limits.breaker.of_last,
    }
    spent = [row for row in _spent(connection, of["day"]) if row.case_id != case.id]
    mine = [row for row in spent if row.account == case.resource.account]
    refilled, everywhere = _refilled(connection, case.resource.account), _refilled(connection, EVERYWHERE)
    return Tallies(
        spent=tuple(_moment(row.at) for row in mine if row.at > refilled),
        spent_everywhere=sum(row.at > everywhere for row in spent),
        spent_in_group=Counter(key for row in mine for key in row.group.split(SEPARATOR) if key in groups),
        storm=int(connection.execute(_STORM, of).scalar() or 0),
        runs=tuple(Run(bool(row.failed), bool(row.false_positive)) for row in connection.execute(_RUNS, of)),
        wave=tuple(_moment(at) for at in connection.execute(_WAVE, of).scalars()),
        contained=int(connection.execute(_CONTAINED, of).scalar() or 0),
    )


def used(connection: Connection, now: datetime) -> dict[str, list[datetime]]:
    """By account, and under `*` for all of them: the automatic containments that count against the budget."""
    spent = _spent(connection, (now - DAY).timestamp())
    everywhere = _refilled(connection, EVERYWHERE)
    found = {EVERYWHERE: [_moment(row.at) for row in spent if row.at > everywhere]}
    for account in sorted({row.account for row in spent}):
        since = _refilled(connection, account)
        found[account] = [_moment(row.at) for row in spent if row.account == account and row.at > since]
    return found


def _spent(connection: Connection, since: float) -> list[Any]:
    return list(connection.execute(_SPENT, {"since": since}))


def _refilled(connection: Connection, account: str) -> float:
    """When a person last refilled the budget of this account, or all budgets."""
    return float(connection.execute(_REFILLED, {"account": account}).scalar() or 0)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
