"""Two records of the same changes, the provider's and ours: what one of them has and the other has not. Pure.

unintended     our principal made a call, or somebody in our name, and no intent of ours was open: an alarm
unseen         we recorded an answer to a call that the provider does not know of
unanswered     made under an open intent of ours, but its answer was lost: the case says what came of it
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from quarantine.case import (
    Changed,
    Closed,
    EffectArrivedLate,
    Intended,
    Recorded,
    Released,
    ReleaseIntended,
    Verified,
)
from quarantine.model import Resource
from quarantine.text import many, moment
from quarantine.trail import Call, Trail, plain_principal

SKEW = timedelta(seconds=60)
"""How far the provider's clock may be from ours; CloudTrail writes whole seconds."""


@dataclass(frozen=True)
class Answered:
    """A call that we recorded."""

    case: str
    seq: int
    at: datetime
    provider: str
    call: str
    receipt: str

    def __str__(self) -> str:
        return f"case {self.case}, entry {self.seq}: {self.call} at {moment(self.at)}, {self.receipt}"


@dataclass(frozen=True)
class Span:
    """When a step of a case was under way."""

    case: str
    resource: Resource
    begins: datetime
    ends: datetime | None

    def explains(self, call: Call) -> bool:
        """Was the call made meanwhile, for this case or, where a trail cannot say that, on its resource?"""
        late = self.ends is not None and call.at > self.ends + SKEW
        if late or call.at < self.begins - SKEW or call.provider != self.resource.provider:
            return False
        return call.case == self.case if call.case is not None else self.resource.id.lower() in call.target.lower()


class Ours:
    """What our record says of calls."""

    def __init__(self) -> None:
        self.answered: list[Answered] = []
        self.spans: list[Span] = []

    def add(self, history: Sequence[Recorded]) -> None:
        """The events of one case."""
        resources: dict[int, Resource] = {}
        begun: dict[int, datetime] = {}
        for item in history:
            event = item.event
            match event:
                case Intended() | ReleaseIntended():
                    resources[event.step] = event.resource
                    begun.setdefault(event.step, item.at)
                case Changed() | EffectArrivedLate() if event.receipt and event.step in resources:
                    provider = resources[event.step].provider
                    told = Answered(item.case, item.seq, item.at, provider, event.call, event.receipt)
                    self.answered.append(told)
                case Verified() | Released() if event.step in begun:
                    self.spans.append(Span(item.case, resources[event.step], begun.pop(event.step), item.at))
                case Closed():
                    ended = [Span(item.case, resources[step], at, item.at) for step, at in begun.items()]
                    self.spans += ended
                    begun.clear()
                case _:
                    pass
        self.spans += [Span(history[0].case, resources[step], at, None) for step, at in begun.items()]


@dataclass(frozen=True)
class Reconciled:
    """What came of it."""

    principals: tuple[str, ...]
    calls: int
    """Of ours, in the trails."""
    unintended: tuple[Call, ...]
    unseen: tuple[Answered, ...]
    unanswered: tuple[Call, ...]

    @property
    def agrees(self) -> bool:
        return not self.unintended and not self.unseen

    @property
    def sentence(self) -> str:
        if self.agrees:
            return f"{many(self.calls, 'call')} of ours, each of them intended and recorded"
        parts = []
        if self.unintended:
            parts.append(f"{many(len(self.unintended), 'call')} in our name that nobody intended")
        if self.unseen:
            parts.append(f"{many(len(self.unseen), 'call')} of ours that no trail knows of")
        return " and ".join(parts)


def reconcile(ours: Ours, trails: Iterable[Trail], principals: Iterable[str] = ()) -> Reconciled:
    """Join them. `principals` are ours; so is whoever made a call whose receipt we have."""
    known = list(trails)
    receipts = {told.receipt.lower(): told for told in ours.answered}
    calls = [call for trail in known for call in trail.calls]
    mine = {plain_principal(name) for name in principals}
    mine |= {call.principal for call in calls if _receipt(call, receipts)}
    found = [call for call in calls if call.principal in mine or call.case]
    unknown = [call for call in found if _receipt(call, receipts) is None]
    unanswered = tuple(call for call in unknown if any(span.explains(call) for span in ours.spans))
    unintended = tuple(call for call in unknown if call not in unanswered)
    return Reconciled(tuple(sorted(mine)), len(found), unintended, tuple(_unseen(ours, known)), unanswered)


def _receipt(call: Call, receipts: dict[str, Answered]) -> Answered | None:
    return next((receipts[name] for item in call.ids if (name := item.lower()) in receipts), None)


def _unseen(ours: Ours, trails: Sequence[Trail]) -> Iterable[Answered]:
    """Of the time that the trails of a provider cover, less the skew at both ends."""
    seen = {item.lower() for trail in trails for call in trail.calls for item in call.ids}
    for told in ours.answered:
        covered = any(
            trail.provider == told.provider and trail.begins + SKEW <= told.at <= trail.ends - SKEW for trail in trails
        )
        if covered and told.receipt.lower() not in seen:
            yield told
