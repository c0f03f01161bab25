"""The policy that ends the sessions of a role, whoever began them: all that are older than it, or later ones too."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from quarantine.action import Caveat, Refusal, Token
from quarantine.errors import Transient
from quarantine_aws import deny_policy, iam_role
from quarantine_aws.deny_policy import Policy
from quarantine_aws.iam_role import RoleDenial
from quarantine_aws.inline_policy import Place

_FORMAT: Final = "%Y-%m-%dT%H:%M:%SZ"


class Sessions(StrEnum):
    OLDER = "older"
    """Those that were begun before: who may assume the role again goes on with a new one."""
    ALL = "all"
    """Later ones too: the role is of no use to anybody until it is given back."""


class Revocation(RoleDenial):
    asked_at: Annotated[datetime | None, Token] = None
    """What time it was at AWS when this was read: sessions are compared with that clock, not with ours."""
    since: Annotated[datetime | None, Token] = None
    """Sessions that were begun before this are denied everything already."""


def place(role: str, sessions: Sessions) -> Place:
    """Two names, so that an escalation from the older sessions to all stands beside the first policy."""
    return Place("Role", role, f"{deny_policy.NAME}-{sessions}-sessions")


def asked_at(answer: Mapping[str, Any]) -> datetime:
    """The time in the answer's headers, to the second."""
    told = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        return parsedate_to_datetime(told).astimezone(UTC)
    except ValueError as error:
        raise Transient(f"the answer of IAM does not say what time it is there: {told!r}") from error


def document(sessions: Sessions, moment: datetime, installation: str) -> dict[str, Any]:
    """`aws:TokenIssueTime` is in every request that is made with temporary credentials, and in no other (IAM User
    Guide, "Revoking IAM role temporary security credentials"; "AWS global condition context keys").

    Nobody but the policy knows the time later on, so its Sid seals it: with another time in it, it is not ours whole.
    """
    if sessions is Sessions.ALL:
        return deny_policy.deny_all(deny_policy.sid(installation))
    stamp = moment.astimezone(UTC).strftime(_FORMAT)
    seal = hashlib.sha256(f"{installation} {stamp}".encode()).hexdigest()[:16]
    condition = {"DateLessThan": {"aws:TokenIssueTime": stamp}}
    return deny_policy.deny_all(f"{deny_policy.sid(installation)}{seal}", condition)


def read(found: Any, sessions: Sessions, installation: str) -> tuple[Policy | None, datetime | None]:
    """How the document that was found stands, and the time in it."""
    if found is None:
        return None, None
    since = _since(found)
    wanted = document(sessions, since or datetime.fromtimestamp(0, UTC), installation)
    return deny_policy.standing(found, wanted, installation), since


def _since(found: Any) -> datetime | None:
    for statement in deny_policy.statements(found):
        condition = statement.get("Condition")
        compared = condition.get("DateLessThan") if isinstance(condition, dict) else None
        stamp = compared.get("aws:TokenIssueTime") if isinstance(compared, dict) else None
        try:
            return datetime.strptime(str(stamp), _FORMAT).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


def refusal(before: Revocation) -> Refusal | None:
    return iam_role.refusal(before, "stop or isolate what has the role")


_OLDER: Final = (
    "Whoever may assume the role begins a new session at once, and everything that has the role by right has to: until"
    " then its instances, tasks and functions are denied everything. Sessions begun later are not denied."
)
_ALL: Final = "Everything that has the role by right is denied everything too, until the release."
_ALREADY: Final = (
    "Sessions that were begun before {since:%Y-%m-%d %H:%M:%S} UTC are denied already; later ones are not."
)


def caveats(before: Revocation, sessions: Sessions) -> tuple[Caveat, ...]:
    said = dict(iam_role.CAVEATS)
    said["later-sessions" if sessions is Sessions.OLDER else "everybody"] = (
        _OLDER if sessions is Sessions.OLDER else _ALL
    )
    if before.since is not None:
        said["already-revoked"] = _ALREADY.format(since=before.since)
    return tuple(Caveat(id=key, text=text) for key, text in said.items())
