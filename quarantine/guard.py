"""The guards: what stands between a plan and a provider. Each is a small pure function of (plan, facts).

A guard allows, holds (the case waits, and mostly a person may approve past it) or refuses (the case closes), and
says why in one sentence. Zero is zero, empty is nothing, and an exception in a guard is a no.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from quarantine.action import Group
from quarantine.case import Consent, Outcome
from quarantine.config import Guards, Mode
from quarantine.errors import GuardFailed
from quarantine.model import Finding, Resource, Sighting, Standing
from quarantine.people import same_person
from quarantine.plan import Nature, Plan
from quarantine.playbook import Approval, Playbook

FRESH = timedelta(seconds=30)
"""How old what was read may be when the first change is intended: the resource, the finding, and so the guards' yes."""

LATELY = timedelta(minutes=10)
"""The shorter of the two spans that a budget is for."""

ASK_AGAIN = timedelta(minutes=1)
"""After which a source that could not be asked is asked again, while a person is asked already."""
UNSEEN_FOR = timedelta(seconds=2)
"""After which it is looked again whether a witness has seen a plan by now."""


@dataclass(frozen=True)
class Run:
    """How an earlier case of the same playbook went."""

    failed: bool = False
    false_positive: bool = False


@dataclass(frozen=True)
class Tallies:
    """What was counted: of other cases, in the last 24 hours, since a person last refilled the budget."""

    spent: int = 0
    """Automatic containments in this account."""
    spent_lately: int = 0
    """Those of them within `LATELY`."""
    spent_everywhere: int = 0
    spent_in_group: Mapping[str, int] = field(default_factory=dict)
    """By the key of a group."""
    storm: int = 0
    """New cases from the same source within `storm.within`, this one among them."""
    runs: tuple[Run, ...] = ()
    """The last ones of the same playbook that acted, the newest first; at most `breaker.of_last`."""
    wave: tuple[datetime, ...] = ()
    """When earlier cases of the same schedule and playbook acted, the oldest first."""
    contained: int = 0
    """How often this resource was contained, by any playbook."""


@dataclass(frozen=True)
class Member:
    """Something that the plan would contain, and the others that do the same work."""

    resource: Resource
    group: Group


@dataclass(frozen=True)
class Facts:
    """Everything that the guards look at, read shortly before they are asked. What could not be read is not here:
    reading it raised, and the case stopped."""

    now: datetime
    playbook: Playbook
    mode: Mode
    finding: Finding
    requested_by: str | None
    """The person who asked for this by hand; None for a webhook or a schedule."""
    requested_digest: str
    """The digest of the saved plan that this person applied; empty if there was none."""
    consent: Consent | None
    second_person: bool
    identity: Mapping[str, str]
    """For each account that the plan touches: the account in which the provider says we are."""
    pinned: frozenset[str]
    tags: Mapping[str, str]
    protected: tuple[str, ...]
    fresh_within: timedelta
    killed: str | None
    """The sentence of the kill switch that is on for this plan."""
    limits: Guards
    tallies: Tallies
    groups: tuple[Member, ...] = ()
    """Of the resource, and of what else the plan would change: the node of a pod."""
    scheduled: bool = False
    """Opened by the clock, not by a detector's alert or a person."""
    ours: bool = False
    """The plan acts on shared objects that we made, and on nothing else."""
    unentitled: str | None = None
    """Why the person who approved, or who asked by hand, may not do so any more: a token was revoked meanwhile."""
    source_answers: bool = False
    """The source of the finding can be asked for it again."""
    sighting: Sighting | None = None
    """What it said the last time."""
    reports: int = 1
    """How many different findings are about the resource, from whatever source."""
    witnessed: bool | None = None
    """A witness of the record has seen that this plan was made; None where there is no witness at all."""
    users: tuple[str, ...] = ()
    """The open cases that may be using a resource of the plan, where it is a shared object of ours."""

    @property
    def confirmed(self) -> bool:
        """Has the source of the finding said just now that it is active? By the clock of a worker that is ahead of
        ours, just now is not for ever."""
        said = self.sighting
        return said is not None and said.standing is Standing.ACTIVE and abs(self.now - said.at) <= FRESH

    @property
    def as_of(self) -> datetime:
        """Since when nothing of what a yes rests on was read anew."""
        return min(self.sighting.at, self.now) if self.sighting is not None and self.confirmed else self.now

    @property
    def hoped(self) -> "Facts":
        """The same, had the source just confirmed it: what tells whether its word decides anything."""
        return replace(self, sighting=Sighting(reader=self.finding.reader, standing=Standing.ACTIVE, at=self.now))


@dataclass(frozen=True)
class Allow:
    sentence: str


@dataclass(frozen=True)
class Hold:
    """The case waits. `asks`: a person is asked to approve; `passable`: an approval gets past it; `until`: then the
    guards are asked again, also while a person is asked."""

    sentence: str
    passable: bool = True
    asks: bool = False
    until: datetime | None = None


@dataclass(frozen=True)
class Refuse:
    sentence: str
    outcome: Outcome = Outcome.REFUSED
    """How the case ends."""


Decision = Allow | Hold | Refuse
Guard = Callable[[Plan, Facts], Decision]

PROTECTED_TAG = "cloud-quarantine/protected"
ALWAYS_PROTECTED = (
    "kubernetes:*/* in */kube-system",
    "kubernetes:*/* in */kube-public",
    "kubernetes:*/* in */kube-node-lease",
    "kubernetes:*/* in */calico-system",
    "kubernetes:*/* in */cilium",
    "kubernetes:*/* in */cloud-quarantine",
)
"""Control planes, networking and ourselves. Configuration adds to this and never takes away."""


def kill_switch(plan: Plan, facts: Facts) -> Decision:
    if facts.killed is not None:
        return Hold(f"the kill switch is on: {facts.killed}. Turn it off with: quarantine kill off", passable=False)
    return Allow("no kill switch is on")


def account_pin(plan: Plan, facts: Facts) -> Decision:
    for step in plan.steps:
        account = step.resource.account
        if account not in facts.pinned:
            return Refuse(f"{account} is not a configured account: add it under 'providers:' if it is yours")
        actual = facts.identity.get(account)
        if actual != account:
            return Refuse(f"the credentials for {account} lead to {actual or 'nowhere'}: nothing is touched")
    return Allow(f"the credentials lead to {', '.join(sorted({step.resource.account for step in plan.steps}))}")


def protected_set(plan: Plan, facts: Facts) -> Decision:
    for step in plan.steps:
        for pattern in (*ALWAYS_PROTECTED, *facts.protected):
            if fnmatchcase(str(step.resource), pattern):
                return Refuse(f"{step.resource} is protected by '{pattern}'")
    if PROTECTED_TAG in facts.tags and facts.consent is None:
        return Hold(f"{plan.resource} carries the tag {PROTECTED_TAG}: a person decides")
    return Allow("nothing in the plan is protected")


def refusals(plan: Plan, facts: Facts) -> Decision:
    for step, refusal in plan.refusals:
        instead = f" What would work: {'; '.join(refusal.alternatives)}." if refusal.alternatives else ""
        return Hold(f"{step.action} cannot work here: {refusal.reason}.{instead}", passable=False)
    return Allow("every action can work here")


def in_use(plan: Plan, facts: Facts) -> Decision:
    if facts.users:
        return Refuse(f"{plan.resource} may be in use by case {', '.join(facts.users)}: release that first")
    return Allow("no open case uses what the plan removes")


def sample(plan: Plan, facts: Facts) -> Decision:
    if facts.finding.sample:
        return Refuse("this is a sample finding, which never acts")
    if not facts.finding.active:
        return Refuse("the source says that this finding is resolved, archived or suppressed")
    return Allow("the finding is real and active")


def mode(plan: Plan, facts: Facts) -> Decision:
    if facts.mode is Mode.OBSERVE:
        return Hold(
            "the mode is observe: this is what would be done. To be asked instead, set guards.mode: ask",
            passable=False,
        )
    if facts.requested_by is not None:
        if facts.requested_digest not in ("", plan.digest) and facts.consent is None:
            return Hold("the resource or the playbook changed after the plan was saved: look at this one", asks=True)
        return Allow(f"{facts.requested_by} asked for exactly this")
    if facts.mode is Mode.ASK:
        return _ask(facts, "the mode is ask")
    if not plan.reversible:
        return _ask(facts, "the mode is auto, which is for what can be undone")
    return Allow("the mode is auto")


def approval(plan: Plan, facts: Facts) -> Decision:
    if facts.playbook.approval is Approval.NONE and plan.reversible:
        return Allow(f"{facts.playbook.name} needs no approval of its own")
    if facts.requested_by is not None and not facts.second_person and facts.consent is None:
        return Allow(f"{facts.requested_by} asked by hand, and approvals.second_person is off")
    why = "what it does cannot be undone" if not plan.reversible else f"{facts.playbook.name} always asks"
    return _ask(facts, why)


def consent(plan: Plan, facts: Facts) -> Decision:
    given = facts.consent
    if facts.unentitled is not None:
        return Hold(f"{facts.unentitled}: somebody else must approve", asks=True)
    if given is None:
        return Allow("no approval was needed")
    if given.digest != plan.digest:
        return Hold("the approval was for another plan", asks=True)
    if given.expires_at <= facts.now:
        return Hold(f"the approval by {given.by} ran out at {given.expires_at:%H:%M:%S} UTC", asks=True)
    if given.break_glass:
        return Allow(f"{given.by} approved this plan alone, by breaking the glass")
    if same_person(given.by, facts.requested_by) and facts.second_person:
        return Hold(f"{given.by} asked for it: somebody else must approve", asks=True)
    alone = "" if facts.second_person else " (approvals.second_person is off)"
    return Allow(f"{given.by} approved this plan{alone}")


_ENDED = {
    Standing.RESOLVED: Outcome.NOT_NEEDED,
    Standing.SUPPRESSED: Outcome.SUPPRESSED,
    Standing.FALSE_POSITIVE: Outcome.FALSE_POSITIVE,
}


def source(plan: Plan, facts: Facts) -> Decision:
    """Pull before act: nothing is done by itself that the finding's source does not stand by now."""
    said, automatic = facts.sighting, _automatic(facts)
    if not facts.source_answers:
        return Allow("the source only pushes: it cannot be asked again")
    if said is None:
        return Hold("its source has not been asked again") if automatic else Allow("a person decided")
    word = f"{said.reader} {_SAYS[said.standing]} (asked at {said.at:%H:%M:%S} UTC)"
    if not automatic:
        return Allow(f"{word}, and a person decided")
    if said.standing is Standing.ACTIVE:
        return Allow(word) if facts.confirmed else Hold(f"{word}: that is too long ago to act on")
    if said.standing is Standing.UNREAD:
        return Hold(f"{word}: {said.trouble}", asks=True, until=facts.now + ASK_AGAIN)
    if said.standing is Standing.UNKNOWN:
        return Hold(f"{word}: a person decides", asks=True)
    if facts.reports > 1:
        return Hold(f"{word}, but {facts.reports} findings are about {plan.resource}: a person decides", asks=True)
    return Refuse(word, _ENDED[said.standing])


_SAYS = {
    Standing.ACTIVE: "confirms the finding",
    Standing.RESOLVED: "says that the finding is resolved",
    Standing.SUPPRESSED: "says that the finding is suppressed or archived",
    Standing.FALSE_POSITIVE: "says that the finding is a false positive",
    Standing.UNKNOWN: "has no such finding about this resource",
    Standing.UNREAD: "could not be asked for the finding again",
}


def freshness(plan: Plan, facts: Facts) -> Decision:
    if facts.confirmed:
        return Allow("its source has confirmed the finding just now")
    age = facts.now - facts.finding.seen_at
    if facts.requested_by is not None:
        return Allow("a person asked just now")
    if age > facts.fresh_within:
        return Hold(f"the finding was last seen {_minutes(age)} ago, longer than {_minutes(facts.fresh_within)}")
    if age < -timedelta(minutes=5):
        return Hold(f"the finding claims to be from {_minutes(-age)} in the future")
    return Allow(f"the finding was seen {_minutes(age)} ago")


def evidence(plan: Plan, facts: Facts) -> Decision:
    """What cannot be undone destroys evidence, so some is taken first. Our own shared objects hold none."""
    if facts.ours:
        return Allow("what is removed is our own")
    for step in plan.steps:
        if step.nature is Nature.CAPTURE:
            return Allow("evidence is taken first")
        if step.nature is Nature.ONE_WAY and step.needed:
            return Hold(f"{step.action} cannot be undone, and no evidence is taken before it", asks=True)
    return Allow("nothing that would be evidence is destroyed")


def anchor(plan: Plan, facts: Facts) -> Decision:
    """Where a playbook wants it, whoever holds this installation cannot act first and write the record afterwards."""
    if not facts.playbook.anchor_before_act:
        return Allow("the playbook wants no witness beforehand")
    if facts.witnessed is None:
        return Hold(f"{facts.playbook.name} wants a witness, and ledger.witnesses names none", passable=False)
    if not facts.witnessed:
        again = facts.now + UNSEEN_FOR
        return Hold("a witness has to see the plan before it is carried out", passable=False, until=again)
    return Allow("a witness has seen the plan")


def storm(plan: Plan, facts: Facts) -> Decision:
    limit = facts.limits.storm
    if not _automatic(facts) or facts.tallies.storm <= limit.cases:
        return Allow("the source is not storming")
    return Hold(
        f"{facts.finding.source} opened {facts.tallies.storm} cases within {_minutes(limit.within)}, more than "
        f"{limit.cases}: a person decides on each",
        asks=True,
    )


def breaker(plan: Plan, facts: Facts) -> Decision:
    limit, runs = facts.limits.breaker, facts.tallies.runs
    failures, wrong = sum(run.failed for run in runs), sum(run.false_positive for run in runs)
    if _automatic(facts) and failures >= limit.failures:
        return Hold(f"{failures} of the last {len(runs)} runs of {facts.playbook.name} went wrong", asks=True)
    if _automatic(facts) and wrong >= limit.false_positives:
        return Hold(f"{wrong} of the last {len(runs)} runs of {facts.playbook.name} were false positives", asks=True)
    return Allow(f"{failures} of the last {len(runs)} runs of {facts.playbook.name} went wrong")


def repeats(plan: Plan, facts: Facts) -> Decision:
    times = facts.tallies.contained
    if _automatic(facts) and times >= facts.limits.same_resource_24h:
        return Hold(f"{plan.resource} was contained {times} times in 24 hours already: look why", asks=True)
    return Allow(f"it was contained {times} times in the last 24 hours")


def group(plan: Plan, facts: Facts) -> Decision:
    if not facts.groups:
        return Allow("no group is thinned out")
    healthy = ", ".join(f"{item.group.healthy} of {item.group.size} of {item.group.key}" for item in facts.groups)
    if not _automatic(facts):
        return Allow(f"a person decided, with {healthy} healthy")
    for member in facts.groups:
        if member.group.healthy <= 1:
            return Hold(f"{member.resource} is the last healthy member of {member.group.key}", asks=True)
    for group in (member.group for member in facts.groups):
        limit, spent = max(1, group.size * facts.limits.budget.group_percent // 100), facts.tallies.spent_in_group
        if spent.get(group.key, 0) >= limit:
            return Hold(f"{spent[group.key]} of {group.size} of {group.key} were contained in 24 hours")
    return Allow(f"{healthy} are healthy")


def wave(plan: Plan, facts: Facts) -> Decision:
    """Runs by the clock begin with a few; the next wave comes when the last has held for a while."""
    earlier = facts.tallies.wave
    if not facts.scheduled or not _automatic(facts) or not earlier:
        return Allow("it is not held back by a wave")
    number = _wave_that_is_full(len(earlier), facts.limits.waves.sizes)
    ripe = earlier[-1] + facts.limits.waves.bake
    if number and facts.now < ripe:
        return Hold(f"wave {number} of this schedule must hold until {ripe:%H:%M:%S} UTC", until=ripe)
    return Allow(f"{len(earlier)} of this schedule were contained before it")


def budget(plan: Plan, facts: Facts) -> Decision:
    if not _automatic(facts):
        return Allow("a person decided, so the budget for automatic acts is not touched")
    tallies, limit = facts.tallies, facts.limits.budget
    for used, most, what in (
        (tallies.spent_lately, limit.per_account_10m, "10 minutes in this account"),
        (tallies.spent, limit.per_account_24h, "24 hours in this account"),
        (tallies.spent_everywhere, limit.global_24h, "24 hours everywhere"),
    ):
        if used >= most:
            return Hold(
                f"the budget is spent: {used} of {most} automatic containments in {what}. "
                "A person approves this one, or refills it: quarantine budget refill"
            )
    return Allow(f"automatic containment {tallies.spent_lately + 1} of {limit.per_account_10m} in 10 minutes")


COUNTING: tuple[Guard, ...] = (storm, repeats, group, wave, budget)
"""Those that count other cases. They are asked once more in the transaction that lets a case act, so that two workers
cannot both take the last place."""

GUARDS: tuple[Guard, ...] = (
    kill_switch,
    sample,
    account_pin,
    protected_set,
    refusals,
    in_use,
    storm,  # before those that ask anyway: a burst is told as one
    mode,
    approval,
    consent,
    evidence,
    anchor,
    freshness,
    breaker,
    *COUNTING[1:],
    source,  # last: where another one stops it the source is not asked, and that is no reason to give
)


@dataclass(frozen=True)
class Judgement:
    """What the guards say together: the sentences of those that allow, and the first that does not."""

    allowed: tuple[str, ...]
    guard: str = ""
    stopped: Hold | Refuse | None = None


def judge(plan: Plan, facts: Facts) -> Judgement:
    """Ask every guard, in order. A refusal counts before a hold, and a hold that cannot be passed before one that can.

    An approval of exactly this plan gets past holds that are passable. Raises GuardFailed when a guard raises.
    """
    decisions: list[tuple[str, Decision]] = []
    for guard in GUARDS:
        try:
            decisions.append((guard.__name__, guard(plan, facts)))
        except Exception as error:
            raise GuardFailed(f"guard {guard.__name__} failed, so nothing is done: {error}") from error
    consented = facts.consent is not None and isinstance(dict(decisions)["consent"], Allow)
    allowed = tuple(f"{name}: {decision.sentence}" for name, decision in decisions if isinstance(decision, Allow))
    for kind in (_refuses, _stands, _passable):
        for name, decision in decisions:
            if kind(decision, consented) and not isinstance(decision, Allow):
                return Judgement(allowed, name, decision)
    return Judgement(allowed)


def _refuses(decision: Decision, consented: bool) -> bool:
    return isinstance(decision, Refuse)


def _stands(decision: Decision, consented: bool) -> bool:
    return isinstance(decision, Hold) and not decision.passable


def _passable(decision: Decision, consented: bool) -> bool:
    return isinstance(decision, Hold) and not consented


def _ask(facts: Facts, why: str) -> Decision:
    if facts.consent is not None:
        return Allow(f"{why}, and a person was asked")
    return Hold(f"{why}: a person has to approve this plan", asks=True)


def _automatic(facts: Facts) -> bool:
    return facts.requested_by is None and facts.consent is None


def _wave_that_is_full(done: int, sizes: tuple[int, ...]) -> int:
    """The number of the wave that ends with the `done`-th; 0 in the middle of one."""
    number, end = 0, 0
    while end < done:
        number, end = number + 1, end + sizes[min(number, len(sizes) - 1)]
    return number if end == done else 0


def spends(plan: Plan, facts: Facts) -> str:
    """Why a counting guard says no now; empty if none does."""
    for guard in COUNTING:
        decision = guard(plan, facts)
        if not isinstance(decision, Allow):
            return decision.sentence
    return ""


def _minutes(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    return f"{seconds} s" if abs(seconds) < 120 else f"{seconds // 60} min"
