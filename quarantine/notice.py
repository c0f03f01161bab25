"""Which events a person must be told of, and in which words. Pure.

A notice has a key, and nobody is told the same key twice. One with a topic is a page: others of the same topic are
quiet for a while, so that a storm is one page and not thousands.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from quarantine.case import Approved, Asked, Case, EscalationAsked, Held, Overstayed, Recorded, Status
from quarantine.config import NoticeKind
from quarantine.model import Moment, Value
from quarantine.text import safe_text

QUIET = timedelta(hours=1)
"""How long a page speaks for all others of its topic."""

_WAITS = frozenset({"protected_set", "refusals", "freshness", "group", "budget"})
"""The guards that hold until a person says something. The others end by themselves, or were set by a person."""


class Notice(Value):
    """One thing to tell."""

    key: str
    kind: NoticeKind
    case: str = ""
    at: Moment
    text: str
    """Our own words only: chat programs read markup in it, and `facts` hold what others wrote."""
    facts: dict[str, str]
    """Each through `safe_text`."""
    topic: str = ""


def notices(before: Case, after: Case, recorded: Recorded) -> Iterator[Notice]:
    """What this event, which led from one to the other, gives to tell."""
    event = recorded.event
    if after.status is Status.NEEDS_HUMAN and before.status is not Status.NEEDS_HUMAN:
        text = f"case {after.id} ({after.playbook}) needs a person: {after.reason}. {_look(after)}"
        yield _of_case(NoticeKind.NEEDS_HUMAN, after, recorded, text)
    if isinstance(event, Asked) and event.guard == "storm":
        text = f"{_opener(after)} is storming: each of its cases waits for a person. {_LIST}"
        yield _page(NoticeKind.STORM, f"storm|{after.opened_by}", after, recorded, text)
    elif isinstance(event, Asked):
        text = (
            f"case {after.id} ({after.playbook}) asks for approval until {event.expires_at:%H:%M} UTC. {_look(after)}"
        )
        yield _of_case(NoticeKind.APPROVAL_ASKED, after, recorded, text)
    if isinstance(event, Overstayed):
        text = f"case {after.id} ({after.playbook}) has been held for long: a person decides. {_look(after)}"
        yield _of_case(NoticeKind.OVERSTAYED, after, recorded, text)
    if isinstance(event, EscalationAsked) and after.escalation is not None:
        to, until = after.escalation.playbook, after.escalation.expires_at
        text = f"case {after.id}: escalation to {to} asks for approval until {until:%H:%M} UTC. {_look(after)}"
        yield _of_case(NoticeKind.APPROVAL_ASKED, after, recorded, text)
    if isinstance(event, Approved) and event.break_glass:
        text = f"BREAK-GLASS: one person approved case {after.id} ({after.playbook}) alone. {_REVIEW}"
        yield _of_case(NoticeKind.BREAK_GLASS, after, recorded, text, alone=recorded.by, glass=event.glass)
    if isinstance(event, Asked) and event.guard == "breaker":
        text = f"the breaker of {after.playbook} is open: its last runs went wrong, and each further one asks. {_LIST}"
        yield _page(NoticeKind.BREAKER, f"breaker|{after.playbook}", after, recorded, text)
    if isinstance(event, Held) and event.guard in _WAITS and not after.requested:
        text = f"{event.guard} holds cases of {_opener(after)} until a person decides. The first: {_look(after)}"
        yield _page(NoticeKind.HELD, f"held|{event.guard}|{after.opened_by}", after, recorded, text)


def glass_opened(glass: str, by: str, reason: str, at: datetime, expires_at: datetime) -> Notice:
    """Somebody made a token with which one person may act alone."""
    text = f"BREAK-GLASS: a token was made, for one approval by one person, until {expires_at:%H:%M} UTC. {_REVIEW}"
    facts = {"glass": glass, "opened_by": safe_text(by), "reason": safe_text(reason)}
    return Notice(key=f"{NoticeKind.BREAK_GLASS}|{glass}", kind=NoticeKind.BREAK_GLASS, at=at, text=text, facts=facts)


_REVIEW = "See: quarantine break-glass list"
_LIST = "See: quarantine case list --waiting"


def _look(case: Case) -> str:
    return f"See: quarantine case show {case.id}"


def _opener(case: Case) -> str:
    return safe_text(case.opened_by)


def _of_case(kind: NoticeKind, case: Case, recorded: Recorded, text: str, **more: str) -> Notice:
    key = f"{kind}|{case.id}|{recorded.seq}"
    facts = _facts(case) | {name: safe_text(value) for name, value in more.items()}
    return Notice(key=key, kind=kind, case=case.id, at=recorded.at, text=text, facts=facts)


def _page(kind: NoticeKind, topic: str, case: Case, recorded: Recorded, text: str) -> Notice:
    # The number of the hour in the key: of two that are written in the same moment, one wins.
    key = f"{topic}|{int(recorded.at.timestamp() // QUIET.total_seconds())}"
    return Notice(key=key, kind=kind, case=case.id, at=recorded.at, text=text, facts=_facts(case), topic=topic)


def _facts(case: Case) -> dict[str, str]:
    further = case.escalation
    facts = {
        "case": case.id,
        "status": case.status,
        "reason": case.reason or "",
        "sentence": further.sentence if further is not None else case.sentence,
        "playbook": case.playbook,
        "resource": case.resource,
        "severity": case.finding.severity,
        "finding": case.finding.title or case.finding.type,
        "opened_by": case.opened_by,
        "plan": further.digest if further is not None else case.plan_digest,
        "expires_at": "" if case.asks_until is None else case.asks_until.isoformat(),
    }
    return {name: safe_text(value) for name, value in facts.items() if value != ""}
