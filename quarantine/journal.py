"""What is done to the installation itself and to no case: switches, budgets, tokens, keys. Pure.

It is one more chain of the record, beside those of the cases, and is sealed, signed and verified with them.
"""

from typing import Annotated, Literal

from pydantic import Field

from quarantine.model import Moment, Value

JOURNAL = "installation"
"""The name of the chain; no case has it."""


class SwitchedOn(Value):
    """A kill switch: what it names is stopped."""

    type: Literal["switched_on"] = "switched_on"
    scope: str
    reason: str


class SwitchedOff(Value):
    type: Literal["switched_off"] = "switched_off"
    scope: str


class Refilled(Value):
    """A budget is counted anew; `*` is every account."""

    type: Literal["refilled"] = "refilled"
    account: str
    reason: str


class TokenCreated(Value):
    type: Literal["token_created"] = "token_created"
    token: str
    """Its id; never its secret, nor a digest of that."""
    person: str
    grants: tuple[str, ...]
    expires_at: Moment


class TokenRevoked(Value):
    type: Literal["token_revoked"] = "token_revoked"
    token: str


class GlassOpened(Value):
    """A token was made that lets one person do once what needs two. Its use is an event of the case."""

    type: Literal["glass_opened"] = "glass_opened"
    glass: str
    reason: str
    expires_at: Moment


class KeyRotated(Value):
    """From this entry on another key signs the record."""

    type: Literal["key_rotated"] = "key_rotated"
    statement: str
    """A note that names both keys and is signed by both: see note.Succession."""
    reason: str


Act = Annotated[
    SwitchedOn | SwitchedOff | Refilled | TokenCreated | TokenRevoked | GlassOpened | KeyRotated,
    Field(discriminator="type"),
]


class Noted(Value):
    """An act with its place in the journal: the `seq`-th, at this time, by this person."""

    case: Literal["installation"] = "installation"
    seq: int = Field(ge=1)
    at: Moment
    by: str = Field(max_length=256)
    event: Act
