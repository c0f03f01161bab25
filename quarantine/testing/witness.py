"""Sees every change at the moment it reaches a platform, and reads the ledger and the platform without the engine."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase

from quarantine.action import GONE, Absence, Action, Cloud, Mark, State
from quarantine.audit import Chain
from quarantine.case import Case, Intended, Progress, Recorded, ReleaseIntended, fold
from quarantine.config import Settings
from quarantine.errors import Gone
from quarantine.journal import JOURNAL
from quarantine.ledger import unseal
from quarantine.model import Resource
from quarantine.plan import Image, PlannedStep, restored
from quarantine.registry import Registry
from quarantine.state import difference
from quarantine.store.sql import Store

MANY = 1_000_000
Intent = Intended | ReleaseIntended


@dataclass(frozen=True)
class Effect:
    """One change that took effect at the platform."""

    call: str
    mark: Mark
    at: datetime
    inverse_began: bool
    """The undoing of this step had begun already, under a later intent."""
    resource: str
    """The identity of what it was meant for."""
    release: bool = False
    """It was sent under the intent of a release."""
    arguments: str = ""
    """What was sent, where that is known: two calls that differ in it are two changes."""


@dataclass
class Witness:
    """Trusts nothing that the engine concludes. Tests tell it what people and strangers do beside the engine."""

    store: Store
    registry: Registry
    settings: Settings
    truth: Callable[[Resource], Cloud]
    """A connection that shows how things are: never stale, never refused."""
    clock: Callable[[], datetime]
    in_place: Callable[[], Iterable[Mark]] | None = None
    """Under which marks something was written at the platform that is still to be seen there. Without it, `standing`
    finds out from the ledger and from what the resources really show."""

    effects: list[Effect] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """What was wrong at the moment when it happened."""
    refills: list[datetime] = field(default_factory=list)
    strangers: dict[str, datetime] = field(default_factory=dict)
    heads: dict[str, tuple[int, str]] = field(default_factory=dict)
    before_images: dict[tuple[str, int], str] = field(default_factory=dict)
    undone: set[tuple[str, int]] = field(default_factory=set)
    stood_by: set[str] = field(default_factory=set)
    chains: list[Chain] = field(default_factory=list)
    _histories: dict[str, list[Recorded]] = field(default_factory=dict)
    _folds: dict[str, Case] = field(default_factory=dict)

    # -- what it is told ---------------------------------------------------------------------------------------------

    def sends(self, call: str, mark: Mark | None) -> None:
        """A change reached the platform, and nothing has happened yet. Never raises: the engine would catch it."""
        if mark is None:
            self.wrong.append(f"I-2: {call} carries no mark")
            return
        self._follow(mark.case)
        intent = self.intent(mark)
        if intent is None:
            self.wrong.append(f"I-2: {call} of case {mark.case} was sent before its intent was committed")
            return
        self._stopped_by_a_switch(call, mark, intent)
        for pattern in self.settings.guards.protected:
            if fnmatchcase(str(intent.resource), pattern):
                self.wrong.append(f"I-12: {call} was sent to {intent.resource}, which is protected")

    def happens(self, call: str, mark: Mark | None, arguments: str = "") -> None:
        """A change takes effect. Never raises."""
        if mark is None:
            return  # said when it was sent
        self._follow(mark.case)
        intent = self.intent(mark)
        if intent is None:
            return
        last = [event for event in self.intents(mark.case) if event.step == mark.step][-1]
        release = isinstance(intent, ReleaseIntended)
        stale = not release and isinstance(last, ReleaseIntended)
        self.effects.append(Effect(call, mark, self.clock(), stale, intent.resource.identity, release, arguments))

    def meddled(self, resource: Resource) -> None:
        """Somebody else has changed it now: whether a release gives it back exactly cannot be told from outside."""
        self.strangers[resource.identity] = self.clock()

    def refilled(self) -> None:
        """A person has refilled every budget now."""
        self.refills.append(self.clock())

    # -- what it sees ------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Read the ledger, whole and as it is stored. What follows until the next look is of this moment."""
        with self.store.record() as record:
            self.chains = [chain._replace(entries=tuple(chain.entries)) for chain in record.chains()]
        for case, _, _, chain in self.chains:
            if case == JOURNAL:
                continue
            known = self._histories.setdefault(case, [])
            known += unseal(tuple(chain)[len(known) :])
            self._fold(case)

    def cases(self) -> list[Case]:
        """Every case, as the fold of its events."""
        return list(self._folds.values())

    def case(self, case_id: str) -> Case:
        return self._folds[case_id]

    def history(self, case_id: str) -> list[Recorded]:
        """The events of a case. Old ones are not read again: that they stay is an invariant of its own."""
        return self._histories[case_id]

    def _follow(self, case_id: str) -> None:
        """In the middle of a step: what one case has come to."""
        known = self._histories.setdefault(case_id, [])
        known += self.store.history(case_id, after=len(known))
        self._fold(case_id)

    def _fold(self, case_id: str) -> None:
        events, known = self._histories[case_id], self._folds.get(case_id)
        self._folds[case_id] = fold(events[known.seq if known else 0 :], known)

    def intents(self, case_id: str) -> list[Intent]:
        events = [recorded.event for recorded in self.history(case_id)]
        return [event for event in events if isinstance(event, (Intended, ReleaseIntended))]

    def intent(self, mark: Mark) -> Intent | None:
        """The committed intent that a change belongs to."""
        mine = (event for event in self.intents(mark.case) if (event.step, event.key) == (mark.step, mark.key))
        return next(mine, None)

    def observe(self, step: PlannedStep) -> State | Absence:
        """What a step's resource really shows."""
        try:
            state: State = self._action(step).observe(self.truth(step.resource), step.resource)
        except Gone:
            return GONE
        return state

    def standing(self) -> Iterator[Mark]:
        """Under which marks something of ours is to be seen at the platform now."""
        if self.in_place is not None:
            yield from self.in_place()
            return
        for case in self.cases():
            last = {event.step: event for event in self.intents(case.id) if isinstance(event, Intended)}
            for index, intent in last.items():
                assert case.plan is not None
                if self._shows(case.plan.steps[index], case.progress(index)):
                    yield Mark(installation=self.store.installation(), case=case.id, step=index, key=intent.key)

    def _shows(self, step: PlannedStep, progress: Progress) -> bool:
        """Does the resource show any value that only the target has? What is gone shows nothing."""
        before, target = self.restored(progress.before, step), self.restored(progress.target, step)
        written = {item.path for item in difference(before, target)}
        now = self.observe(step)
        return now is not GONE and bool(written - {item.path for item in difference(target, now)})

    def restored(self, image: Image, step: PlannedStep) -> State | Absence:
        return restored(image, self._action(step).state)

    def _action(self, step: PlannedStep) -> Action[Cloud, State]:
        built = self.registry.build(step.action, step.settings)
        assert isinstance(built, Action)
        return built

    def _stopped_by_a_switch(self, call: str, mark: Mark, intent: Intent) -> None:
        """I-11; only `everything` stops a release."""
        case, scopes = self.case(mark.case), {"everything"}
        if isinstance(intent, Intended):
            source = case.opened_by.partition(":")[2]
            scopes |= {"all", f"provider:{case.resource.provider}", f"playbook:{case.playbook}", f"source:{source}"}
        for switch in self.store.switches():
            if switch.scope in scopes:
                self.wrong.append(f"I-11: {call} of case {case.id} was sent although kill switch {switch.scope} was on")
