"""Two records of the same changes: the audit log of an API server, of our user, and our ledger. They must agree."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from quarantine.case import Changed, Drifted, EffectArrivedLate, Intended, Recorded, ReleaseIntended
from quarantine.plan import restored
from quarantine.state import difference
from quarantine_kubernetes import Kubernetes
from tests.testbed.poll import until

QUESTIONS = ("selfsubjectreviews", "selfsubjectaccessreviews")  # asked with POST; nothing is stored
READS = ("get", "list", "watch")
_STATES = {action.name: action.state for action in Kubernetes.actions}


@dataclass(frozen=True)
class Mutation:
    """One call that was to change something, as the API server logged it. Also one that it refused."""

    audit_id: str
    case: str  # which one it says it is for; empty if it does not say
    permission: str
    name: str
    at: datetime
    code: int
    body: str

    def __str__(self) -> str:
        return f"{self.permission} ({self.name}, audit id {self.audit_id}, answered {self.code})"

    @property
    def effective(self) -> bool:
        return self.code < 300


def mutations(audit: Iterable[Mapping[str, Any]], since: datetime | None = None) -> list[Mutation]:
    """In order of arrival. `audit` are the events of one user."""
    found = [
        _mutation(event)
        for event in audit
        if event["verb"] not in READS
        and event["stage"] == "ResponseComplete"
        and event["objectRef"]["resource"] not in QUESTIONS
    ]
    return sorted((each for each in found if since is None or each.at >= since), key=lambda each: each.at)


def disagreements(seen: Sequence[Mutation], ledger: Mapping[str, Sequence[Recorded]]) -> list[str]:
    """What one of them has and the other one has not, in sentences. `ledger` are the histories of all cases."""
    found = [sentence for each in seen if (sentence := _unexplained(each, ledger.get(each.case, ())))]
    for case, history in ledger.items():
        mine = [each for each in seen if each.case == case]
        found += _unseen(case, history, mine)
        found += _doubled(case, history, mine)
    return found


def assert_agree(
    audit: Callable[[], Iterable[Mapping[str, Any]]], ledger: Mapping[str, Sequence[Recorded]], since: datetime
) -> None:
    """An audit event may show a moment after the answer to its call."""
    found: list[str] = []

    def agree() -> bool:
        found[:] = disagreements(mutations(audit(), since), ledger)
        return not found

    try:
        until(agree)
    except AssertionError as error:
        raise AssertionError("\n".join(found)) from error


def _mutation(event: Mapping[str, Any]) -> Mutation:
    target = event["objectRef"]
    named = re.fullmatch(r"cloud-quarantine case/(\S+)", event.get("userAgent", ""))
    resource = "/".join(part for part in (target["resource"], target.get("subresource")) if part)
    kind = ".".join(part for part in (resource, target.get("apiGroup")) if part)
    made = (event.get("responseObject") or {}).get("metadata") or {}
    return Mutation(
        audit_id=event["auditID"],
        case=named[1] if named else "",
        permission=f"{event['verb']} {kind}",
        name=f"{target.get('namespace', '')}/{target.get('name') or made.get('name', '')}",
        at=datetime.fromisoformat(event["requestReceivedTimestamp"]),
        code=event["responseStatus"]["code"],
        body=json.dumps(event.get("requestObject"), sort_keys=True),
    )


def _unexplained(call: Mutation, history: Sequence[Recorded]) -> str | None:
    """Behind every call stands an intent that was on disk before; and what came of it was recorded, or looked up."""
    before = [recorded for recorded in history if recorded.at <= call.at]
    intent = _last_intent(before)
    if intent is None:
        return f"nobody intended {call}"
    receipts = [recorded for recorded in history if _receipt(recorded) == call.audit_id]
    if not receipts:
        after = [recorded.event.type for recorded in history[len(before) :]]
        looked_up = any(kind in ("reconciled", "retried", "not_applied", "halted") for kind in after)
        return None if looked_up else f"nobody knows what came of {call}"
    (recorded,) = receipts
    if isinstance(recorded.event, Changed):
        if recorded.event.permission != call.permission:
            return f"{recorded.event.permission} was recorded, and {call} was made"
        if recorded.event.step != intent.event.step:  # type: ignore[union-attr]
            return f"{call} was made for a step that was not begun"
    return None


def _unseen(case: str, history: Sequence[Recorded], calls: Sequence[Mutation]) -> list[str]:
    """What the ledger says was done and the API server has not seen."""
    known = {call.audit_id for call in calls}
    found = [
        f"case {case} has a receipt {receipt} of a call that nobody saw"
        for recorded in history
        if (receipt := _receipt(recorded)) is not None and receipt not in known
    ]
    for intent, following in _intents(history):
        if _changes_nothing(intent):
            continue  # what was proven did not hold any more, and all that we write was as it must be
        if not any(intent.at <= call.at and (following is None or call.at < following.at) for call in calls):
            found.append(f"case {case} intended {intent.event.action}, and no call followed")  # type: ignore[union-attr]
    return found


def _changes_nothing(intent: Recorded) -> bool:
    assert isinstance(intent.event, Intended | ReleaseIntended)
    state = _STATES[intent.event.action]
    return not difference(restored(intent.event.before, state), restored(intent.event.target, state))


def _doubled(case: str, history: Sequence[Recorded], calls: Sequence[Mutation]) -> list[str]:
    """The same change twice under one intent, although nobody has undone it in between."""
    found = []
    borders = [recorded.at for recorded in history if isinstance(recorded.event, Intended | ReleaseIntended | Drifted)]
    for begin, end in pairwise([*borders, None]):
        under = Counter(
            (call.permission, call.name, call.body)
            for call in calls
            if call.effective and begin is not None and begin <= call.at and (end is None or call.at < end)
        )
        for (permission, name, _), times in under.items():
            if times > 1:
                found.append(f"case {case}: {permission} ({name}) was made {times} times")
    return found


def _intents(history: Sequence[Recorded]) -> list[tuple[Recorded, Recorded | None]]:
    """Each with the one that follows it."""
    found = [recorded for recorded in history if isinstance(recorded.event, Intended | ReleaseIntended)]
    return [*pairwise(found), *((last, None) for last in found[-1:])]


def _last_intent(history: Sequence[Recorded]) -> Recorded | None:
    return next((one for one in reversed(history) if isinstance(one.event, Intended | ReleaseIntended)), None)


def _receipt(recorded: Recorded) -> str | None:
    return recorded.event.receipt if isinstance(recorded.event, Changed | EffectArrivedLate) else None
