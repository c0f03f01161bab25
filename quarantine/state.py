"""What was read from a provider, and how two readings compare: the field kinds, the difference, the three-way merge.

Pure. A field of a State is *managed* (written, compared, restored) unless its annotation says otherwise:

    Proof   never written; must have the target's value before a containment counts as verified; ignored at release
    Fact    read for refusals and caveats; never compared
    Token   a precondition such as an ETag; never compared
"""

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue

from quarantine.model import Value


class Role(Enum):
    """What a field of a State is for."""

    MANAGED = "managed"
    PROOF = "proof"
    FACT = "fact"
    TOKEN = "token"  # noqa: S105


Proof: Final = Role.PROOF
Fact: Final = Role.FACT
Token: Final = Role.TOKEN


class State(BaseModel):
    """The fields that `observe` read. Frozen; collections are keyed, never positional; absent is a value of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def part(self, role: Role = Role.MANAGED) -> dict[str, JsonValue]:
        """The fields of one kind, as JSON values."""
        names = {name for name, field in type(self).model_fields.items() if _role(field.metadata) is role}
        return self.model_dump(mode="json", include=names)

    def stored(self) -> dict[str, JsonValue]:
        """All fields as JSON values: what goes into an event."""
        return self.model_dump(mode="json")


class Absence(Enum):
    """The state of a resource that is not there; a value that the engine compares."""

    GONE = "gone"


GONE: Final = Absence.GONE
S = TypeVar("S", bound=State)


def _role(metadata: list[Any]) -> Role:
    return next((item for item in metadata if isinstance(item, Role)), Role.MANAGED)


class Difference(Value):
    """One managed value that differs. `before` or `after` is None and `absent_*` true where there is no such key."""

    path: tuple[str, ...]
    before: JsonValue = None
    after: JsonValue = None
    absent_before: bool = False
    absent_after: bool = False


_ABSENT: Final = object()


def reached(now: State | Absence, target: State | Absence, *, proven: bool = True) -> bool:
    """Does `now` show the target? With `proven`, the proofs must have the target's values too."""
    if isinstance(now, Absence) or isinstance(target, Absence):
        return now is target
    if not _same(now.part(), target.part()):
        return False
    return not proven or _same(now.part(Role.PROOF), target.part(Role.PROOF))


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON. In Python True equals 1 and False equals 0; for a provider they are different settings."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def difference(before: State | Absence, after: State | Absence) -> tuple[Difference, ...]:
    """Every managed value in which two states differ, down to single keys, in the order of the fields."""
    if isinstance(before, Absence) or isinstance(after, Absence):
        if before is after:
            return ()
        word: Mapping[bool, JsonValue] = {True: "gone", False: "present"}
        return (Difference(path=("resource",), before=word[before is GONE], after=word[after is GONE]),)
    return tuple(_differences((), before.part(), after.part()))


def shortfall(now: State | Absence, target: State | Absence) -> str:
    """In words, why `now` does not show the target: what differs; if it is a proof alone, with what was read."""
    if differences := difference(now, target):
        return ", ".join(".".join(item.path) for item in differences)
    if isinstance(now, Absence) or isinstance(target, Absence):
        return ""
    read, wanted = now.part(Role.PROOF), target.part(Role.PROOF)
    found = [f"{name}: {_words(value)}" for name, value in read.items() if not _same(value, wanted[name])]
    return f"what must hold besides ({'; '.join(found)})"


def _words(value: JsonValue) -> str:
    if isinstance(value, list) and value:
        return ", ".join(map(_words, value))
    return value if isinstance(value, str) else json.dumps(value)


def _differences(path: tuple[str, ...], before: Any, after: Any) -> list[Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [*before, *(key for key in after if key not in before)]
        return [
            found
            for key in keys
            for found in _differences((*path, key), before.get(key, _ABSENT), after.get(key, _ABSENT))
        ]
    if _same(before, after):
        return []
    return [
        Difference(
            path=path,
            before=None if before is _ABSENT else before,
            after=None if after is _ABSENT else after,
            absent_before=before is _ABSENT,
            absent_after=after is _ABSENT,
        )
    ]


def three_way(before: S, target: S, now: S) -> tuple[S, tuple[Difference, ...]]:
    """What a release applies: what still equals the target goes back to `before`, what others changed meanwhile stays.

    Returns the merged state (with `now`'s tokens, facts and proofs) and, as differences between `before` and the
    merged state, what stays because somebody else changed it.
    """
    merged = _merge(before.part(), target.part(), now.part())
    state = type(now).model_validate({**now.stored(), **merged})
    return state, difference(before, state)


def _merge(before: Any, target: Any, now: Any) -> Any:
    if _same(now, target):
        return before
    if not (isinstance(before, dict) and isinstance(target, dict) and isinstance(now, dict)):
        return now
    merged = {
        key: _merge(before.get(key, _ABSENT), target.get(key, _ABSENT), now.get(key, _ABSENT))
        for key in [*before, *(key for key in now if key not in before)]
    }
    return {key: value for key, value in merged.items() if value is not _ABSENT}


def between(before: State, target: State, now: State) -> bool:
    """Is every managed value of `now` at its value in `before` or in `target`: only we can have been here?"""
    return _between(before.part(), target.part(), now.part())


def _between(before: Any, target: Any, now: Any) -> bool:
    if _same(now, before) or _same(now, target):
        return True
    if not (isinstance(before, dict) and isinstance(target, dict) and isinstance(now, dict)):
        return False
    return all(
        _between(before.get(key, _ABSENT), target.get(key, _ABSENT), now.get(key, _ABSENT))
        for key in {*before, *target, *now}
    )
