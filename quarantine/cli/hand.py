"""What a person asks for by hand: what was named, the case that stands for it, what guards would say."""

import uuid
from dataclasses import dataclass

from pydantic import ValidationError

from quarantine.app import App
from quarantine.case import Case, Opened, Recorded, fold
from quarantine.errors import GuardFailed, Misused
from quarantine.guard import Judgement, Refuse
from quarantine.model import Finding, Resource
from quarantine.planner import Draft
from quarantine.playbook import Playbook
from quarantine.text import safe_text

SOURCE = "hand"


@dataclass(frozen=True)
class Request:
    """A playbook on a resource, asked for by a person."""

    playbook: Playbook
    resource: Resource
    by: str


def request(app: App, playbook: str, thing: tuple[str, str], scope: str | None, uid: str | None, by: str) -> Request:
    """What was named, checked before anything is asked of a provider. Raises NotFound, Misused."""
    chosen = app.shelf.find(playbook)
    kind, identifier = thing
    if kind != chosen.match.resource:
        raise Misused(f"{playbook} works on {chosen.match.resource}, not on {kind}")
    app.registry.provider(kind.partition(":")[0])
    try:
        resource = Resource(kind=kind, id=identifier, scope=scope or _only_scope(app, kind), uid=uid)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        raise Misused(f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}") from None
    pinned = app.planner.pinned(resource.provider)
    if resource.account not in pinned:
        raise Misused(
            f"{resource.account} is not a configured account: add it under 'providers:' if it is yours. "
            f"Configured: {', '.join(sorted(pinned)) or 'none'}"
        )
    return Request(chosen, resource, by)


def opened(app: App, asked: Request, plan_digest: str = "") -> Opened:
    """The event that opens a case for it."""
    finding = Finding(
        source=SOURCE,
        id=f"hand-{uuid.uuid4()}",
        title=f"asked for by {asked.by}",
        severity=asked.playbook.match.severity,
        resource=asked.resource,
        seen_at=app.clock(),
    )
    return Opened(
        finding=finding,
        playbook=asked.playbook.name,
        playbook_digest=asked.playbook.digest,
        requested=True,
        plan_digest=plan_digest,
    )


def would_be(app: App, event: Opened, by: str) -> Case:
    """The case that would be opened: folded, and stored nowhere."""
    return fold([Recorded(case="c-not-opened", seq=1, at=app.clock(), by=by, event=event)])


def judged(app: App, case: Case, draft: Draft) -> Judgement:
    """What the guards would say now. A guard that fails is a no, as in the engine."""
    try:
        return app.planner.judged(case, draft, app.clock()).judgement
    except GuardFailed as error:
        return Judgement((), "guard_error", Refuse(str(error)))


def _only_scope(app: App, kind: str) -> str:
    """The scope that must be meant, where only one is configured."""
    scopes = app.registry.provider(kind.partition(":")[0]).scopes()
    if len(scopes) == 1:
        return scopes[0]
    raise Misused(f"say where with --scope. Configured: {safe_text(', '.join(scopes) or 'none')}")
