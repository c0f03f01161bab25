"""What the guards count, read in one transaction: either to decide, or in the one that lets a case act."""

from collections import Counter
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from quarantine.case import Case
from quarantine.config import Guards
from quarantine.guard import LATELY, Run, Tallies
from quarantine.store import schema

DAY = timedelta(hours=24)
SEPARATOR = "\n"
"""Between the keys of the groups that one containment thins out."""
EVERYWHERE = "*"
"""The account of a refill that is for all of them."""

SCHEDULE = "schedule:"
"""What opens cases by the clock is called so, and then its name."""

_CASES = schema.cases.c
_OTHERS = _CASES.id != bindparam("case")
_SPENDS = schema.spends.c
_REFILLS = schema.refills.c
_REFILLED = select(func.max(_REFILLS.at)).where(_REFILLS.account.in_([bindparam("account"), EVERYWHERE]))
_REFILLED_HERE = func.coalesce(_REFILLED.scalar_subquery(), 0.0)
_REFILLED_EVERYWHERE = func.coalesce(
    select(func.max(_REFILLS.at)).where(_REFILLS.account == EVERYWHERE).scalar_subquery(), 0.0
)
_MINE = _SPENDS.account == bindparam("account")
_VALID = _MINE & (_SPENDS.at > _REFILLED_HERE)
_COUNTS = select(
    # The database counts: in a burst of a thousand cases each one would read the rows of all the others.
    func.count().filter(_VALID).label("spent"),
    func.count().filter(_VALID, _SPENDS.at > bindparam("lately")).label("lately"),
    func.count().filter(_SPENDS.at > _REFILLED_EVERYWHERE).label("everywhere"),
    select(func.count())
    .where(_CASES.opened_by == bindparam("by"), _CASES.opened_at > bindparam("storm"))
    .scalar_subquery()
    .label("storm"),
    select(func.count())
    .where(_CASES.identity == bindparam("identity"), _CASES.contained_at > bindparam("day"), _OTHERS)
    .scalar_subquery()
    .label("contained"),
).where(_SPENDS.at >= bindparam("day"), _SPENDS.case_id != bindparam("case"))
_GROUPS = select(_SPENDS.group).where(
    _SPENDS.at >= bindparam("day"), _SPENDS.case_id != bindparam("case"), _MINE, _SPENDS.group != ""
)
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
_SPENT = select(schema.spends).where(schema.spends.c.at >= bindparam("since")).order_by(schema.spends.c.at)


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
        "account": case.resource.account,
        "lately": (now - LATELY).timestamp(),
    }
    counted = connection.execute(_COUNTS, of).one()
    # Waves are for what the clock opens: a detector's alerts of a day may be many.
    wave = connection.execute(_WAVE, of).scalars() if case.opened_by.startswith(SCHEDULE) else ()
    thinned = connection.execute(_GROUPS, of).all() if groups else ()
    return Tallies(
        spent=counted.spent,
        spent_lately=counted.lately,
        spent_everywhere=counted.everywhere,
        spent_in_group=Counter(key for row in thinned for key in row.group.split(SEPARATOR) if key in groups),
        storm=counted.storm,
        runs=tuple(Run(bool(row.failed), bool(row.false_positive)) for row in connection.execute(_RUNS, of)),
        wave=tuple(schema.moment(at) for at in wave),
        contained=counted.contained,
    )


def used(connection: Connection, now: datetime) -> dict[str, list[datetime]]:
    """By account, and under `*` for all of them: the automatic containments that count against the budget."""
    spent = _spent(connection, (now - DAY).timestamp())
    everywhere = _refilled(connection, EVERYWHERE)
    found = {EVERYWHERE: [schema.moment(row.at) for row in spent if row.at > everywhere]}
    for account in sorted({row.account for row in spent}):
        since = _refilled(connection, account)
        found[account] = [schema.moment(row.at) for row in spent if row.account == account and row.at > since]
    return found


def _spent(connection: Connection, since: float) -> list[Any]:
    return list(connection.execute(_SPENT, {"since": since}))


def _refilled(connection: Connection, account: str) -> float:
    """When a person last refilled the budget of this account, or all budgets."""
    return float(connection.execute(_REFILLED, {"account": account}).scalar() or 0)
