"""The guards: what stands between a plan and a provider. Each is a small pure function of (plan, facts).

A guard allows, holds (the case waits, and mostly a person may approve past it) or refuses (the case closes), and
says why in one sentence. Zero is zero, empty is nothing, and an exception in a guard is a no.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from quarantine.case import Consent
from quarantine.config import Budget, Mode
from quarantine.errors import GuardFailed
from quarantine.model import Finding
from quarantine.plan import Plan
from quarantine.playbook import Approval, Playbook


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
    spent: tuple[datetime, ...]
    """The times of automatic containments in this account in the last 24 hours."""
    spent_everywhere: int
    budget: Budget
    users: tuple[str, ...] = ()
    """The open cases that may be using a resource of the plan, where it is a shared object of ours."""


@dataclass(frozen=True)
class Allow:
    sentence: str


@dataclass(frozen=True)
class Hold:
    """The case waits. `asks`: a person is asked to approve; `passable`: an approval gets past it."""

    sentence: str
    passable: bool = True
    asks: bool = False


@dataclass(frozen=True)
class Refuse:
    sentence: str


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
    if given is None:
        return Allow("no approval was needed")
    if given.digest != plan.digest:
        return Hold("the approval was for another plan", asks=True)
    if given.expires_at <= facts.now:
        return Hold(f"the approval by {given.by} ran out at {given.expires_at:%H:%M:%S} UTC", asks=True)
    if given.by == facts.requested_by and facts.second_person:
        return Hold(f"{given.by} asked for it: somebody else must approve", asks=True)
    alone = "" if facts.second_person else " (approvals.second_person is off)"
    return Allow(f"{given.by} approved this plan{alone}")


def freshness(plan: Plan, facts: Facts) -> Decision:
    age = facts.now - facts.finding.seen_at
    if facts.requested_by is not None:
        return Allow("a person asked just now")
    if age > facts.fresh_within:
        return Hold(f"the finding was last seen {_minutes(age)} ago, longer than {_minutes(facts.fresh_within)}")
    if age < -timedelta(minutes=5):
        return Hold(f"the finding claims to be from {_minutes(-age)} in the future")
    return Allow(f"the finding was seen {_minutes(age)} ago")


def budget(plan: Plan, facts: Facts) -> Decision:
    if facts.requested_by is not None or facts.consent is not None:
        return Allow("a person decided, so the budget for automatic acts is not touched")
    recent = sum(1 for at in facts.spent if facts.now - at < timedelta(minutes=10))
    for used, limit, what in (
        (recent, facts.budget.per_account_10m, "10 minutes in this account"),
        (len(facts.spent), facts.budget.per_account_24h, "24 hours in this account"),
        (facts.spent_everywhere, facts.budget.global_24h, "24 hours everywhere"),
    ):
        if used >= limit:
            return Hold(f"the budget is spent: {used} of {limit} automatic containments in {what}")
    return Allow(f"automatic containment {recent + 1} of {facts.budget.per_account_10m} in 10 minutes")


GUARDS: tuple[Guard, ...] = (
    kill_switch,
    sample,
    account_pin,
    protected_set,
    refusals,
    in_use,
    mode,
    approval,
    consent,
    freshness,
    budget,
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


def _minutes(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    return f"{seconds} s" if abs(seconds) < 120 else f"{seconds // 60} min"
