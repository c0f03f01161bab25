"""Who may say what. Pure.

secret ──authenticated──> token ──its grants: role@scope──> may this person say this, about these resources?

A person without a token is `local:<os user>`; with one, `person:<name>/<token id>`, which goes into every record, so
that it is seen later which token a word came with. Two tokens of one person are one person.
"""

import hashlib
import re
import secrets
import unicodedata
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from pydantic import ConfigDict

from quarantine.model import Resource, Value
from quarantine.text import moment

NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
_SECRET = re.compile(r"qo_(?P<id>[0-9a-f]{12})_(?P<secret>[0-9a-f]{64})_(?P<crc>[0-9a-f]{8})")


class Word(StrEnum):
    """What can be said."""

    ACT = "act"
    """Ask for a containment, retry, escalate, release, keep, handled."""
    APPROVE = "approve"
    """Approve and deny the plans of others."""
    STOP = "stop"
    """Turn a kill switch on."""
    LOOSEN = "loosen"
    """Turn a kill switch off, refill a budget."""
    RULE = "rule"
    """Make and revoke tokens, rotate the key of the record, erase values from it."""


class Role(StrEnum):
    """What a token is for."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    AUDITOR = "auditor"
    ADMIN = "admin"


WORDS: Mapping[Role, frozenset[Word]] = {
    Role.VIEWER: frozenset(),
    Role.OPERATOR: frozenset({Word.ACT, Word.STOP}),
    Role.APPROVER: frozenset({Word.APPROVE, Word.STOP}),
    Role.AUDITOR: frozenset(),
    Role.ADMIN: frozenset(Word),
}
"""Stopping is the safe direction: everybody who may say anything may do it."""


class Grant(Value):
    """A role, everywhere or in one scope: `approver`, `operator@aws:123456789012`, `operator@kubernetes:prod/shop`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    scope: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError, which says what is wrong."""
        role, at, scope = text.partition("@")
        if role not in list(Role):
            raise ValueError(f"'{role}' is no role: {', '.join(Role)}")
        if at and not re.fullmatch(r"[a-z0-9-]+(:[^\s:@]+)?", scope):
            raise ValueError(f"'{scope}' is no scope: aws, aws:123456789012 or kubernetes:prod/shop")
        return cls(role=Role(role), scope=scope)

    def covers(self, resource: Resource) -> bool:
        """Is the resource within the scope? A part counts as a whole: `aws:12` does not cover account 123."""
        provider, _, within = self.scope.partition(":")
        if provider and provider != resource.provider:
            return False
        return not within or f"{resource.scope}/".startswith(f"{within}/")

    def __str__(self) -> str:
        return f"{self.role}@{self.scope}" if self.scope else str(self.role)


@dataclass(frozen=True)
class Token:
    """One token, without its secret; the store keeps only the SHA-256 of that."""

    id: str
    person: str
    grants: tuple[Grant, ...]
    created_by: str
    created_at: datetime
    expires_at: datetime
    revoked_by: str | None = None
    revoked_at: datetime | None = None
    used_at: datetime | None = None

    @property
    def name(self) -> str:
        """Who speaks, in every record."""
        return f"person:{self.person}/{self.id}"

    def dead(self, now: datetime) -> str | None:
        """Why it counts no more."""
        if self.revoked_at is not None and self.revoked_at <= now:
            return f"token {self.id} of {self.person} was revoked by {self.revoked_by} at {moment(self.revoked_at)}"
        if self.expires_at <= now:
            return f"token {self.id} of {self.person} ran out at {moment(self.expires_at)}"
        return None

    def refusal(self, word: Word, resources: Iterable[Resource], now: datetime) -> str | None:
        """Why its bearer may not say this about all of these resources; about none: about everything there is."""
        dead = self.dead(now)
        if dead is not None:
            return dead
        grants = [grant for grant in self.grants if word in WORDS[grant.role]]
        if not grants:
            able = [role for role in Role if word in WORDS[role]]
            return f"token {self.id} of {self.person} may not {word}: that takes the role {' or '.join(able)}"
        about = tuple(resources)
        if not about and word is not Word.STOP and all(grant.scope for grant in grants):
            return f"token {self.id} of {self.person} may {word} only within {_scopes(grants)}, and this is everywhere"
        for resource in about:
            if not any(grant.covers(resource) for grant in grants):
                return f"token {self.id} of {self.person} may {word} only within {_scopes(grants)}, not at {resource}"
        return None


def new_secret(identifier: str) -> str:
    """`qo_<id>_<secret>_<crc>`: found by scanners for secrets, and one that was cut in copying is known for it."""
    body = f"qo_{identifier}_{secrets.token_hex(32)}"
    return f"{body}_{zlib.crc32(body.encode()):08x}"


def new_id() -> str:
    return secrets.token_hex(6)


def sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def is_whole(secret: str) -> bool:
    """Has it the shape of a token, and its check digits?"""
    body, _, crc = secret.rpartition("_")
    return _SECRET.fullmatch(secret) is not None and f"{zlib.crc32(body.encode()):08x}" == crc


def token_of(by: str) -> str | None:
    """The id of the token that somebody spoke with; None for who has none, and for sources and schedules."""
    return by.partition("/")[2] if by.startswith("person:") else None


def same_person(one: str, other: str | None) -> bool:
    """Are these the same person, also if the name is written otherwise, came by another door or with another token?"""
    return other is not None and _name(one) == _name(other)


def _name(who: str) -> str:
    name = who.rpartition(":")[2]
    if token_of(who) is not None:
        name = name.partition("/")[0]
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())


def _scopes(grants: Iterable[Grant]) -> str:
    return ", ".join(grant.scope for grant in grants)
