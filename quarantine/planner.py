"""Reads what a decision needs: the plan for a resource as it is now, and the facts that the guards look at."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from quarantine.action import Absence, Action, Capture, Cloud, Group, Identity, OneWay, Provider, State, reached
from quarantine.case import Case, Escalation
from quarantine.config import Settings
from quarantine.errors import Gone, Malformed, Missing, NotFound, ProviderError
from quarantine.gate import stopping
from quarantine.guard import Facts, Judgement, Member, judge, storm
from quarantine.model import Finding, Resource, Sighting, Standing
from quarantine.people import Word
from quarantine.plan import Nature, Plan, PlannedStep, fingerprint, restored, stored
from quarantine.playbook import Playbook, Shelf, Step
from quarantine.registry import Registry
from quarantine.state import difference
from quarantine.store.sql import Store


@dataclass(frozen=True)
class Draft:
    """A plan with what was seen beside it."""

    plan: Plan
    tags: Mapping[str, str]
    seen: Mapping[int, State] = field(default_factory=dict)
    """What each action has read for it, by step."""


@dataclass(frozen=True)
class Judged:
    """What the guards say, and the facts that they said it to."""

    facts: Facts
    judgement: Judgement
    asked: Sighting | None = None
    """What the finding's source said, where it was asked again for this."""


def _once(read: Callable[..., Any], *arguments: Any) -> Any:
    return read(*arguments)


class Planner:
    """Makes plans, and has them judged. Only reads."""

    def __init__(self, registry: Registry, shelf: Shelf, settings: Settings, store: Store) -> None:
        self._registry = registry
        self._shelf = shelf
        self._settings = settings
        self._store = store
        self._clouds: dict[tuple[str, str], Cloud] = {}
        self._principals: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()
        self._looking = threading.local()

    @contextmanager
    def look(self) -> Iterator[None]:
        """What is asked twice within, by this thread, is asked once: a plan and the facts beside it are one look."""
        self._looking.glances = {}
        try:
            yield
        finally:
            del self._looking.glances

    def cloud(self, resource: Resource) -> Cloud:
        """The connection to a resource's scope, which only reads. Raises NotFound, Unreachable."""
        return self._cloud(resource.provider, resource.scope)

    def _cloud(self, provider: str, scope: str) -> Cloud:
        key = (provider, scope)
        with self._lock:
            if key not in self._clouds:
                connected = self._registry.provider(provider).connect(scope)
                self._clouds[key] = connected.belonging_to(self._store.installation())
            cloud = self._clouds[key]
        glances: dict[tuple[str, str], Cloud] | None = getattr(self._looking, "glances", None)
        return cloud if glances is None else glances.setdefault(key, cloud.glance())

    def draft(self, playbook: Playbook, resource: Resource) -> Draft:
        """What the playbook would do to the resource as it is now. Raises Gone, and whatever a provider answers."""
        provider = self._registry.provider(resource.provider)
        try:
            found, tags = provider.resolve(self.cloud(resource), resource)
        except Gone as error:
            raise Gone(f"{resource} is not there: {error}") from error
        if resource.uid is not None and found.uid != resource.uid:
            raise Gone(f"{resource}: the one that was meant is gone, another has its name now")
        steps: list[PlannedStep] = []
        seen: dict[int, State] = {}
        for step in playbook.steps:
            doing = self._registry.build(step.action, step.settings)
            needs = self._registry.permissions(doing, found.kind, step.relation)
            for target in self._targets(step, found):
                steps.append(self._planned(len(steps), step, doing, target, needs, seen))
        plan = Plan(playbook=playbook.name, playbook_digest=playbook.digest, resource=found, steps=tuple(steps))
        return Draft(plan, tags, seen)

    def bystanders(self, plan: Plan) -> dict[int, tuple[str, ...]]:
        """By step: who else would feel it, as it is now, or why that cannot be said. Only reads."""
        found: dict[int, tuple[str, ...]] = {}
        for step in plan.steps:
            doing = self._registry.build(step.action, step.settings)
            if not isinstance(doing, Action) or not step.needed or step.refusal is not None:
                continue
            before = restored(step.before, doing.state)
            if isinstance(before, Absence):
                continue
            try:
                found[step.index] = doing.bystanders(self.cloud(step.resource), step.resource, before)
            except (ProviderError, Malformed, Missing, NotFound) as error:
                found[step.index] = (f"Who else would feel it cannot be said: {error}",)
        return found

    def judged(self, case: Case, draft: Draft, now: datetime, reading: Callable[..., Any] = _once) -> Judged:
        """What the guards say to this plan now. `reading` repeats what a provider could not answer for the moment.

        The finding's source is asked again where its word decides: the plan would be carried out, or a person be
        asked for the first time. In a storm it is not, or its limits would be spent on what a person looks at anyway.
        """
        facts: Facts = reading(self.facts, case, draft, now)
        if facts.source_answers and not facts.confirmed:
            hoped = judge(draft.plan, facts.hoped)
            asks = hoped.stopped is not None and getattr(hoped.stopped, "asks", False)
            if hoped.stopped is None or (asks and facts.sighting is None and hoped.guard != storm.__name__):
                said = self._reread(case.finding, now, reading)
                return Judged(replace(facts, sighting=said), judge(draft.plan, replace(facts, sighting=said)), said)
        return Judged(facts, judge(draft.plan, facts))

    def _reread(self, finding: Finding, now: datetime, reading: Callable[..., Any]) -> Sighting:
        """What its source says of the finding; whatever keeps it from saying is UNREAD, and why."""
        reread = self._registry.rereads[finding.reader]

        def ask() -> Standing:
            cloud = self._cloud(finding.reader.partition(":")[0], reread.scope(finding))
            return reread.ask(cloud, finding, now)

        trouble = ""
        try:
            standing: Standing = reading(ask)
        except Gone:
            standing = Standing.UNKNOWN
        except (ProviderError, Malformed, Missing, NotFound) as error:
            standing, trouble = Standing.UNREAD, str(error)[:4096]
        return Sighting(reader=finding.reader, standing=standing, at=now, trouble=trouble)

    def facts(self, case: Case, draft: Draft, now: datetime) -> Facts:
        """What the guards look at, read now. Whatever cannot be read raises, and the case stops."""
        playbook = self._shelf.find(case.playbook)
        scope = draft.plan.resource.scope
        groups = self.groups(draft.plan)
        return Facts(
            now=now,
            playbook=playbook,
            mode=self._settings.guards.mode_for(playbook.name, scope),
            finding=case.finding,
            requested_by=case.opened_by if case.requested else None,
            requested_digest=case.requested_digest,
            consent=case.consent,
            second_person=self._settings.approvals.second_person,
            unentitled=self._unentitled(case, draft.plan, now),
            identity=self._identities(draft.plan),
            pinned=self.pinned(draft.plan.resource.provider),
            tags=draft.tags,
            protected=self._settings.guards.protected,
            fresh_within=self._settings.guards.fresh_within,
            killed=stopping(self._store.switches(), case),
            limits=self._settings.guards,
            tallies=self._store.tallies(
                case, draft.plan.resource, {member.group.key for member in groups}, self._settings.guards, now
            ),
            groups=groups,
            scheduled=case.opened_by.startswith("schedule:"),
            source_answers=case.finding.reader in self._registry.rereads,
            sighting=_last_said(case),
            reports=len(case.reports),
            witnessed=self._witnessed(playbook, case, "planned"),
            ours={step.resource.kind for step in draft.plan.steps} <= self._shared,
            users=tuple(item for item in self._users(draft.plan) if item != case.id),
        )

    def _witnessed(self, playbook: Playbook, case: Case, made: str) -> bool | None:
        """Has a witness seen the last entry of this kind, which is the one that the plan rests on?"""
        keys = [witness.key for witness in self._settings.ledger.witnesses.values()]
        if not playbook.anchor_before_act or not keys:
            return None
        return self._store.witnessed(case.id, made, keys)

    @cached_property
    def _shared(self) -> frozenset[str]:
        """The kinds of objects of ours that cases share."""
        return frozenset(getattr(doing, "shares", "") for doing in self._registry.actions.values()) - {""}

    def further_facts(self, case: Case, wanted: Escalation, draft: Draft, now: datetime) -> Facts:
        """The same for a further plan on what is contained: whoever wants it asks by hand."""
        asking = case.model_copy(
            update={
                "playbook": wanted.playbook,
                "opened_by": wanted.by,
                "requested": True,
                "requested_digest": wanted.requested_digest,
                "consent": wanted.consent,
            }
        )
        facts = self.facts(asking, draft, now)
        return replace(
            facts,
            killed=facts.killed or stopping(self._store.switches(), case),
            witnessed=self._witnessed(facts.playbook, case, "escalation_requested"),
        )

    def _unentitled(self, case: Case, plan: Plan, now: datetime) -> str | None:
        """Why those whose words let this plan happen may not say them any more."""
        resources = [plan.resource, *(step.resource for step in plan.steps)]
        if case.consent is not None:
            word = Word.ACT if case.consent.break_glass else Word.APPROVE
            return self._store.refusal(case.consent.by, word, resources, now)
        return self._store.refusal(case.opened_by, Word.ACT, resources, now) if case.requested else None

    def groups(self, plan: Plan) -> tuple[Member, ...]:
        """Those that do the same work as the resource, and as whatever else would be changed, where any are known."""
        changed = (step.resource for step in plan.steps if step.needed and step.nature is not Nature.CAPTURE)
        wanted = {resource.identity: resource for resource in (plan.resource, *changed)}
        found = ((resource, self._group(resource)) for resource in wanted.values())
        return tuple(Member(resource, group) for resource, group in found if group is not None)

    def _group(self, resource: Resource) -> Group | None:
        grouping = self._registry.groups.get(resource.kind)
        return None if grouping is None else grouping.find(self.cloud(resource), resource)

    def _users(self, plan: Plan) -> list[str]:
        """The open cases that may be using a shared object of ours that the plan acts on."""
        kinds = {step.resource.kind for step in plan.steps}
        sharing = [name for name, doing in self._registry.actions.items() if getattr(doing, "shares", "") in kinds]
        return self._store.holders(sharing, plan.resource.scope) if sharing else []

    def pinned(self, provider: str) -> frozenset[str]:
        """The accounts that the configuration names for a provider."""
        return frozenset(scope.partition("/")[0] for scope in self._registry.provider(provider).scopes())

    def _identities(self, plan: Plan) -> dict[str, str]:
        found: dict[str, str] = {}
        for step in plan.steps:
            account = step.resource.account
            if account not in found:
                found[account] = self._identity(step.resource).account
        return found

    def principal(self, resource: Resource) -> str:
        """As whom the provider knows us where this resource is, as it last said to this process."""
        known = self._principals.get((resource.provider, resource.account))
        return known if known is not None else self._identity(resource).principal

    def _identity(self, resource: Resource) -> Identity:
        provider: Provider = self._registry.provider(resource.provider)
        found: Identity = provider.identity(self.cloud(resource))
        self._principals[resource.provider, resource.account] = found.principal
        return found

    def _targets(self, step: Step, resource: Resource) -> Iterator[Resource]:
        if step.relation is None:
            yield resource
            return
        relation = self._registry.relations[resource.kind, step.relation]
        yield from relation.find(self.cloud(resource), resource)

    def _planned(
        self,
        index: int,
        step: Step,
        doing: Action[Any, Any] | Capture[Any],
        resource: Resource,
        needs: tuple[str, ...],
        seen: dict[int, State],
    ) -> PlannedStep:
        if isinstance(doing, Capture):
            return PlannedStep(
                index=index,
                action=step.action,
                settings=step.settings,
                resource=resource,
                nature=Nature.CAPTURE,
                permissions=needs,
                needed=True,
            )
        before = seen[index] = doing.observe(self.cloud(resource), resource)
        target = doing.contained(before)
        return PlannedStep(
            index=index,
            action=step.action,
            settings=step.settings,
            resource=resource,
            nature=Nature.ONE_WAY if isinstance(doing, OneWay) else Nature.REVERSIBLE,
            before=stored(before),
            target=stored(target),
            fingerprint=fingerprint(before),
            differences=difference(before, target),
            caveats=doing.caveats(before),
            permissions=needs,
            refusal=doing.refusal(before),
            needed=not reached(before, target),
        )


def _last_said(case: Case) -> Sighting | None:
    """The last word of the finding's source: when it was asked again, or when a poll of ours asked for it."""
    finding, said = case.finding, case.sighting
    if finding.read_at is None or (said is not None and said.at >= finding.read_at):
        return said
    return Sighting(reader=finding.reader, standing=Standing.ACTIVE, at=finding.read_at)
