"""A sensitive value is not in its entry: a commitment to it is, and the value lies beside it and can be erased. Pure.

    entry         ..."title":{"commitment":"5f0c..."}...       hashed, sealed and signed; stays for ever
    disclosure    ["9be1...","Terminal shell in web-1"]        a salt and the value; its SHA-256 is the commitment

So whoever has the disclosure can check it against what was signed, and without it nobody can guess it: each value has
a salt of 128 bits of its own. Which fields are sensitive is said where they are declared: see model.Sensitive.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple, get_args

from quarantine.case import Event
from quarantine.model import Sensitive, Value, canonical

Salts = Callable[[], str]
"""Gives 32 hexadecimal digits that nobody can foresee."""

_KEY = "commitment"
COMMITS = f'"{_KEY}"'.encode()
"""In the bytes of every entry that commits to something."""


def new_salt() -> str:
    return secrets.token_hex(16)


class Disclosure(NamedTuple):
    """What opens a commitment."""

    commitment: str
    content: bytes


Entry = tuple[str, int]
"""The case of an entry, and its number there."""


class Beside:
    """Disclosures in the order of their entries, which are asked for them one after the other."""

    def __init__(self, disclosures: Iterable[tuple[Entry, Disclosure]]) -> None:
        self._rest = iter(disclosures)
        self._next = next(self._rest, None)

    def take(self, entry: Entry) -> tuple[Disclosure, ...]:
        """Those of this entry."""
        found: tuple[Disclosure, ...] = ()
        while self._next is not None and self._next[0] == entry:
            found += (self._next[1],)
            self._next = next(self._rest, None)
        return found

    @property
    def left(self) -> Entry | None:
        """Whose disclosures nobody has asked for."""
        return None if self._next is None else self._next[0]


class Field(NamedTuple):
    """A sensitive field of an event."""

    path: tuple[str, ...]
    text: bool
    """It holds a text, and else an object."""

    @property
    def name(self) -> str:
        """As people write it: `finding.title`."""
        return ".".join(self.path)

    def place(self, event: Any) -> Any:
        """What holds the field in the JSON of an event. Raises KeyError, TypeError."""
        for name in self.path[:-1]:
            event = event[name]
        return event


def commit(event: dict[str, Any], salts: Salts) -> tuple[Disclosure, ...]:
    """Put commitments into the JSON of an event; what opens them. A value that is empty stays as it is."""
    made = []
    for field in fields(event["type"]):
        place, last = field.place(event), field.path[-1]
        if place[last]:
            content = canonical([salts(), place[last]])
            made.append(Disclosure(hashlib.sha256(content).hexdigest(), content))
            place[last] = {_KEY: made[-1].commitment}
    return tuple(made)


def commitments(event: Any) -> Iterator[tuple[Field, str]]:
    """What the JSON of an event commits to. Raises ValueError if a sensitive value stands there itself."""
    for field in fields(event.get("type") if isinstance(event, dict) else ""):
        try:
            value = field.place(event).get(field.path[-1])
        except (KeyError, TypeError, AttributeError):
            raise ValueError(f"it has no {field.name}") from None
        commitment = value.get(_KEY) if isinstance(value, dict) and len(value) == 1 else None
        if isinstance(commitment, str):
            yield field, commitment
        elif value not in ("", {}, None):
            raise ValueError(f"its {field.name} stands there without a commitment")


def disclose(event: Any, known: Mapping[str, Any], instead: Mapping[str, str]) -> None:
    """Put values into the JSON of an event: those that are known by their commitments; else the words that stand
    instead of a text, and nothing in an object."""
    for field, commitment in commitments(event):
        missing: Any = instead.get(commitment, "(not here)") if field.text else {}
        field.place(event)[field.path[-1]] = known.get(commitment, missing)


@cache
def fields(kind: str) -> tuple[Field, ...]:
    """The sensitive fields of events of this type."""
    return tuple(_fields_of(_TYPES[kind], ())) if kind in _TYPES else ()


_TYPES: dict[str, type[Value]] = {item.model_fields["type"].default: item for item in get_args(get_args(Event)[0])}


def _fields_of(model: type[Value], path: tuple[str, ...]) -> Iterator[Field]:
    for name, field in model.model_fields.items():
        if any(isinstance(item, Sensitive) for item in field.metadata):
            yield Field((*path, name), field.annotation is str)
        elif isinstance(field.annotation, type) and issubclass(field.annotation, Value):
            yield from _fields_of(field.annotation, (*path, name))
