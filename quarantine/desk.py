"""What a person may say to a case: approve, deny, escalate, release, retry, keep, handled. Each is an event."""

import logging
import re
import secrets
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from quarantine.case import (
    MOVES,
    Approved,
    Case,
    Closed,
    EscalationEnded,
    EscalationRequested,
    Event,
    Outcome,
    Redacted,
    ReleaseRequested,
    Resumed,
    Reviewed,
    Stage,
    Status,
)
from quarantine.config import Approvals
from quarantine.errors import Forbidden, Misused, NotFound
from quarantine.model import Resource
from quarantine.notice import glass_opened
from quarantine.people import (
    NAME,
    Grant,
    Role,
    Token,
    Word,
    is_whole,
    new_id,
    new_secret,
    same_person,
    sha256,
    token_of,
)
from quarantine.playbook import Playbook
from quarantine.store.glasses import Glass
from quarantine.store.sql import Also, Store

log = logging.getLogger(__name__)

LONGEST_GLASS = timedelta(hours=1)
SHORTEST_TOKEN, LONGEST_TOKEN = timedelta(minutes=1), timedelta(days=366)


class Desk:
    """Where people's words come in. `by` is who says it: `local:<user>`, or the name of a token.

    Every word raises Forbidden where its speaker may not say it.
    """

    def __init__(self, store: Store, approvals: Approvals, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._approvals = approvals
        self._clock = clock

    def approve(self, case_id: str, by: str, digest: str = "", reason: str = "", token: str = "") -> Case:
        """Say yes to exactly the plan that was shown.

        `digest` is at least its first 8 digits; empty means the plan as it is now. With `token`, of `break_open`, one
        person does what needs a second one. Raises Misused if there is no plan, it is another one now, it is too
        late, or this person may not.
        """
        case, now = self._store.load(case_id), self._clock()
        shown = self.may_approve(case, by, digest, alone=bool(token))
        glass = self._use(token, case, by, reason) if token else None
        approved = Approved(
            digest=shown,
            expires_at=now + self._approvals.valid_for,
            reason=reason,
            break_glass=glass is not None,
            glass="" if glass is None else glass.id,
        )
        case = self._store.append(case, [approved], by=by, at=now, also=Also(due=now, uses=glass))
        if glass is not None:
            log.warning("glass_broken", extra={"case": case.id, "by": by, "glass": glass.id, "reason": reason})
        return case

    def may_approve(self, case: Case, by: str, digest: str = "", *, alone: bool = False) -> str:
        """The digest of the plan that this person may approve; `alone`, by breaking the glass. Raises Misused."""
        shown, asked_by = _asked(case)
        self.must(by, Word.ACT if alone else Word.APPROVE, *_touched(case))
        if digest and not _BEGINNING.fullmatch(digest):
            raise Misused(f"'{digest}' is too little of a plan's digest: give at least its first 8 digits")
        if digest and not shown.startswith(digest):
            raise Misused(
                f"the plan of case {case.id} is {shown[:12]} now, not {digest}: "
                f"look again with: quarantine case show {case.id}"
            )
        if case.asks_until is not None and self._clock() >= case.asks_until:
            raise Misused(f"case {case.id} asked until {case.asks_until:%H:%M:%S} UTC: it is too late to approve")
        needs_another = same_person(by, asked_by) and self._approvals.second_person
        if needs_another and not alone:
            raise Misused(f"{asked_by} asked for case {case.id}: somebody else must approve it")
        if alone and not needs_another:
            raise Misused(f"case {case.id} needs no second person: approve it without --break-glass")
        return shown

    def deny(self, case_id: str, by: str, reason: str = "") -> Case:
        """Say no; the case closes and this finding does not ask again. An escalation ends, and the case stays."""
        case = self._store.load(case_id)
        takes_back = case.requested and same_person(by, case.opened_by)
        self.must(by, Word.ACT if takes_back else Word.APPROVE, *_touched(case))
        if case.status is Status.CONTAINED and case.escalation is not None:
            sentence = f"escalation to {case.escalation.playbook}: {reason or 'denied'}"
            return self._say(case, by, EscalationEnded(sentence=sentence))
        if case.status not in (Status.NEW, Status.PROPOSED, Status.AWAITING_APPROVAL):
            raise Misused(f"case {case.id} is {_where(case)}: it is too late to deny. {_next_word(case)}")
        return self._say(case, by, Closed(outcome=Outcome.DECLINED, sentence=reason or "denied"))

    def escalate(self, case_id: str, by: str, playbook: Playbook, digest: str = "", reason: str = "") -> Case:
        """Want more done to what is contained: the plan of another playbook, guarded and approved like any.

        `digest` is that of the plan that this person saw; where it is another one by then, it is asked for. What is
        contained stays contained, and the first before-images stay.
        """
        case = self._acted_on(case_id, by)
        self.may_escalate(case, playbook)
        wanted = EscalationRequested(
            playbook=playbook.name,
            playbook_digest=playbook.digest,
            plan_digest=digest,
            expires_at=self._clock() + self._approvals.valid_for,
            reason=reason,
        )
        return self._say(case, by, wanted)

    def release(self, case_id: str, by: str, reason: str = "", false_positive: bool = False) -> Case:
        """Give everything back as it was before; a false positive counts against the playbook."""
        case = self._acted_on(case_id, by)
        if case.status not in (Status.CONTAINED, Status.NEEDS_HUMAN) or not case.touched:
            raise Misused(f"case {case.id} is {_where(case)}: there is nothing to release. {_next_word(case)}")
        if not case.reversible:
            raise Misused(f"case {case.id} cannot be undone. Close it with: quarantine case handled {case.id}")
        return self._say(case, by, ReleaseRequested(reason=reason, false_positive=false_positive))

    def retry(self, case_id: str, by: str, reason: str = "") -> Case:
        """Go on where the case stopped."""
        case = self._acted_on(case_id, by)
        if case.status is Status.PROPOSED:
            return self._store.append(case, [], by=by, at=self._clock(), also=Also(due=self._clock()))
        if case.status is not Status.NEEDS_HUMAN:
            raise Misused(f"case {case.id} is {_where(case)}: there is nothing to retry. {_next_word(case)}")
        return self._say(case, by, Resumed(to=_resumes(case), reason=reason))

    def keep(self, case_id: str, by: str, reason: str = "") -> Case:
        """Accept the containment as the new normal: the watch ends, nothing is given back."""
        case = self._acted_on(case_id, by)
        if case.status is not Status.CONTAINED:
            raise Misused(f"case {case.id} is {_where(case)}: only what is contained can be kept. {_next_word(case)}")
        return self._say(case, by, Closed(outcome=Outcome.KEPT, sentence=reason or "kept as the new normal"))

    def handled(self, case_id: str, by: str, reason: str = "") -> Case:
        """A person has dealt with it outside of this program."""
        case = self._acted_on(case_id, by)
        if case.status is not Status.NEEDS_HUMAN:
            raise Misused(
                f"case {case.id} is {_where(case)}: only what needs a person can be handled. {_next_word(case)}"
            )
        return self._say(case, by, Closed(outcome=Outcome.HANDLED_OUTSIDE, sentence=reason or "handled outside"))

    def may_escalate(self, case: Case, playbook: Playbook) -> None:
        """Raises Misused if this playbook cannot add to the case."""
        if case.status is not Status.CONTAINED:
            raise Misused(
                f"case {case.id} is {_where(case)}: only what is contained can be escalated. {_next_word(case)}"
            )
        if case.escalation is not None:
            raise Misused(
                f"case {case.id} waits for the escalation to {case.escalation.playbook} already: "
                f"approve or deny that first"
            )
        if playbook.name in case.playbooks:
            raise Misused(f"case {case.id} is of {playbook.name} already: name a playbook that does more")
        if playbook.match.resource != case.resource.kind:
            raise Misused(f"{playbook.name} works on {playbook.match.resource}, not on {case.resource.kind}")
        other = self._store.live(case.finding, playbook.name)
        if other is not None:
            raise Misused(f"case {other} is open for {playbook.name} on it: see quarantine case show {other}")

    def redact(self, case_id: str, by: str, event: Redacted) -> Case:
        """Erase values of a case for ever, and record that, in one transaction; the evidence is still to be erased.

        Raises Misused while the case is decided or acted on, Moved if one of them is not there any more.
        """
        case = self._store.load(case_id)
        self.must(by, Word.RULE, *_touched(case))
        if not event.reason.strip():
            raise Misused("say why, with --reason: whoever misses it reads it")
        if case.status not in MOVES[Redacted]:
            raise Misused(
                f"case {case.id} is {_where(case)}: what its finding says is still needed, to ask the source again. "
                "Erase when it is contained, waits for a person, or is closed"
            )
        also = Also(keep_due=True, erases=event.commitments)
        return self._store.append(case, [event], by=by, at=self._clock(), also=also)

    # -- who may say it ----------------------------------------------------------------------------------------------

    def must(self, by: str, word: Word, *resources: Resource) -> None:
        """Raises Forbidden if this person may not say this word about all of these resources."""
        if by.startswith("local:") and not self._approvals.without_token:
            raise Forbidden("approvals.without_token is off: put your token into $QUARANTINE_TOKEN")
        refusal = self._store.refusal(by, word, resources, self._clock())
        if refusal is not None:
            raise Forbidden(refusal)

    def speaker(self, secret: str) -> Token:
        """Whose token this is. Raises Forbidden; why it does not count is said only to who has the whole secret."""
        if not is_whole(secret):
            raise Forbidden(
                "what $QUARANTINE_TOKEN holds is no whole token: was it cut when it was copied, or never read?"
            )
        token = self._store.show_token(sha256(secret), self._clock())
        if token is None:
            raise Forbidden(
                "this token is of another installation, or none: quarantine token list shows those there are"
            )
        dead = token.dead(self._clock())
        if dead is not None:
            raise Forbidden(dead)
        return token

    def make_token(self, by: str, person: str, grants: tuple[Grant, ...], span: timedelta) -> tuple[Token, str]:
        """A token for a person, and its secret, which is nowhere else. Raises Forbidden, Misused.

        As long as no admin's token is in force, whoever has the configuration may make one, whatever the settings say.
        """
        now = self._clock()
        if by.startswith("local:") and not self._approvals.without_token and not self._rulers(now):
            log.warning("first_token", extra={"by": by, "person": person})
        else:
            self.must(by, Word.RULE)
        if not NAME.fullmatch(person):
            raise Misused(f"'{person}' cannot be a person's name: small letters, digits, . _ @ -, at most 64")
        if not grants:
            raise Misused(f"say what the token is for, with --role: {', '.join(Role)}")
        if not SHORTEST_TOKEN <= span <= LONGEST_TOKEN:
            raise Misused("a token is for at least 1m and at most 366d")
        identifier = new_id()
        secret = new_secret(identifier)
        token = Token(identifier, person, grants, by, now, now + span)
        self._store.add_token(token, sha256(secret))
        log.warning("token_made", extra={"by": by, "token": token.id, "person": person, "grants": _said(grants)})
        return token, secret

    def revoke_token(self, by: str, identifier: str) -> None:
        """It counts no more; one's own may always be revoked. Raises Forbidden, NotFound, Misused."""
        if token_of(by) != identifier:
            self.must(by, Word.RULE)
        self._store.revoke_token(identifier, by, self._clock())
        log.warning("token_revoked", extra={"by": by, "token": identifier})

    def _rulers(self, now: datetime) -> list[Token]:
        """The tokens of admins that are in force."""
        return [token for token in self._store.tokens() if token.refusal(Word.RULE, (), now) is None]

    def _acted_on(self, case_id: str, by: str) -> Case:
        """The case that this person acts on."""
        case = self._store.load(case_id)
        self.must(by, Word.ACT, *_touched(case))
        return case

    # -- break-glass -------------------------------------------------------------------------------------------------

    def break_open(self, by: str, span: timedelta, reason: str) -> tuple[Glass, str]:
        """A token for one approval by one person within `span`, at most an hour; its secret is nowhere else.

        Raises Misused if `approvals.break_glass` does not name this person.
        """
        if not any(by == name or by.startswith(f"{name}/") for name in self._approvals.break_glass):
            raise Misused(f"{by} may not open the glass: approvals.break_glass does not name them")
        if not timedelta(minutes=1) <= span <= LONGEST_GLASS:
            raise Misused("a break-glass token is for at least 1m and at most 1h")
        if not reason.strip():
            raise Misused("say why, with --reason: whoever reviews it reads it")
        now, token = self._clock(), secrets.token_urlsafe(24)
        glass = Glass(f"g-{uuid.uuid4().hex[:12]}", reason, by, now, now + span)
        told = glass_opened(glass.id, by, reason, now, glass.expires_at)
        self._store.open_glass(glass, sha256(token), told)
        log.warning("glass_opened", extra={"by": by, "glass": glass.id, "reason": reason})
        return glass, token

    def reviewed(self, glass_id: str, by: str, reason: str = "") -> Case:
        """Another person has looked at what was done with this token. Raises NotFound, Misused."""
        glass = next((glass for glass in self._store.glasses() if glass.id == glass_id), None)
        if glass is None:
            raise NotFound(f"there is no break-glass token {glass_id}. See: quarantine break-glass list --all")
        if glass.case is None or glass.used_by is None:
            raise Misused(f"{glass.id} was never used: there is nothing to review")
        if same_person(by, glass.used_by):
            raise Misused(f"{glass.used_by} used it: somebody else must review it")
        self.must(by, Word.APPROVE, *_touched(self._store.load(glass.case)))
        now = self._clock()
        also = Also(keep_due=True, reviews=replace(glass, reviewed_by=by, reviewed_at=now))
        reviewed = Reviewed(glass=glass.id, reason=reason)
        return self._store.append(self._store.load(glass.case), [reviewed], by=by, at=now, also=also)

    def _use(self, token: str, case: Case, by: str, reason: str) -> Glass:
        glass = self._store.find_glass(sha256(token.strip()))
        if glass is None:
            raise Misused("this is no break-glass token. Open one with: quarantine break-glass open")
        if not reason.strip():
            raise Misused("say why, with --reason: whoever reviews it reads it")
        # Whether it is unused and in time is decided in the transaction that uses it.
        return replace(glass, used_by=by, used_at=self._clock(), case=case.id)

    def _say(self, case: Case, by: str, event: Event) -> Case:
        closes = isinstance(event, Closed)
        also = Also(due=None if closes else self._clock())
        return self._store.append(case, [event], by=by, at=self._clock(), also=also)


_BEGINNING = re.compile(r"[0-9a-f]{8,64}")


def _asked(case: Case) -> tuple[str, str | None]:
    """The digest of the plan that may be approved now, and the person who asked for it. Raises Misused."""
    further = case.escalation
    if case.status is Status.CONTAINED and further is not None and further.plan is not None:
        return further.digest, further.by
    if case.status not in (Status.PROPOSED, Status.AWAITING_APPROVAL) or case.plan is None:
        raise Misused(
            f"case {case.id} is {_where(case)}: there is no plan to approve. See: quarantine case show {case.id}"
        )
    return case.plan_digest, case.opened_by if case.requested else None


def _touched(case: Case) -> tuple[Resource, ...]:
    """Everything that the case's plans are about."""
    plans = (case.plan, case.escalation.plan if case.escalation is not None else None)
    steps = [step.resource for plan in plans if plan is not None for step in plan.steps]
    return tuple(dict.fromkeys([case.resource, *steps]))


def _said(grants: tuple[Grant, ...]) -> str:
    return ", ".join(str(grant) for grant in grants)


def _resumes(case: Case) -> Status:
    if any(p.stage in (Stage.RELEASE_INTENDED, Stage.RELEASE_APPLIED, Stage.RELEASED) for p in case.steps.values()):
        return Status.RELEASING
    if case.released_by:
        return Status.RELEASING
    return Status.CONTAINING if case.touched else Status.PROPOSED


def _where(case: Case) -> str:
    return f"{case.status} ({case.outcome})" if case.outcome else str(case.status)


def _next_word(case: Case) -> str:
    """The sensible next command for a case in this status."""
    words = {
        Status.CONTAINED: f"To undo it: quarantine case release {case.id}",
        Status.NEEDS_HUMAN: f"To go on: quarantine case retry {case.id}",
        Status.PROPOSED: f"To approve it: quarantine case approve {case.id}",
        Status.AWAITING_APPROVAL: f"To approve it: quarantine case approve {case.id}",
    }
    return words.get(case.status, f"See: quarantine case show {case.id}")
