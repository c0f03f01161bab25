"""The record of a case as bytes that cannot be changed unseen: canonical JSON, each entry holding the hash of the last.

Pure. An entry is stored as exactly these bytes; verification hashes what is stored and never writes JSON anew.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from quarantine.case import Recorded
from quarantine.model import canonical
from quarantine.text import many

START = "0" * 64
VERSION = 1


class Finding(IntEnum):
    """What a verification found; the number is the exit code of `quarantine audit verify`."""

    OK = 0
    ALTERED = 20
    MISSING = 21
    TRUNCATED = 22
    MALFORMED = 27


@dataclass(frozen=True)
class Sealed:
    """One entry as it is stored."""

    case: str
    seq: int
    content: bytes
    hash: str


@dataclass(frozen=True)
class Report:
    """The outcome of a verification: one sentence, and the first bad entry."""

    finding: Finding
    sentence: str
    entries: int = 0
    cases: int = 0


def seal(recorded: Recorded, previous: str) -> Sealed:
    """The canonical bytes of an entry that follows the one with hash `previous`, and their hash."""
    content = canonical({"v": VERSION, "prev": previous, **recorded.model_dump(mode="json")})
    return Sealed(recorded.case, recorded.seq, content, hashlib.sha256(content).hexdigest())


def unseal(content: bytes) -> Recorded:
    """The event in stored bytes."""
    entry = json.loads(content)
    del entry["v"], entry["prev"]
    return Recorded.model_validate(entry)


def verify(cases: Iterable[tuple[str, int, str, Iterable[Sealed]]]) -> Report:
    """Check every chain: (case, number of entries it should have, hash of its last one, its entries in order)."""
    entries = count = 0
    for case, length, head, chain in cases:
        count += 1
        previous, expected = START, 1
        for sealed in chain:
            fault = _fault(sealed, case, expected, previous)
            if fault is not None:
                return Report(fault[0], f"case {case}, entry {sealed.seq}: {fault[1]}", entries, count)
            previous, expected, entries = sealed.hash, expected + 1, entries + 1
        if expected - 1 < length:
            sentence = f"case {case}: {expected - 1} of {length} entries are there; the end was cut off"
            return Report(Finding.TRUNCATED, sentence, entries, count)
        if previous != head:
            return Report(
                Finding.ALTERED,
                f"case {case}: the last entry is not the one that was written",
                entries,
                count,
            )
    return Report(
        Finding.OK,
        f"{entries} {'entry' if entries == 1 else 'entries'} in {many(count, 'case')}, every chain is whole",
        entries,
        count,
    )


def _fault(sealed: Sealed, case: str, expected: int, previous: str) -> tuple[Finding, str] | None:
    if sealed.seq != expected:
        return Finding.MISSING, f"entry {expected} should stand here: entries are missing or doubled"
    if hashlib.sha256(sealed.content).hexdigest() != sealed.hash:
        return Finding.ALTERED, "its bytes are not those that were hashed"
    try:
        entry: Any = json.loads(sealed.content)
        proper = canonical(entry) == sealed.content
    except ValueError:
        return Finding.MALFORMED, "it is not JSON"
    if not proper or not isinstance(entry, dict):
        return Finding.MALFORMED, "it is not canonical JSON"
    if (entry.get("case"), entry.get("seq")) != (case, sealed.seq):
        return Finding.ALTERED, "it belongs to another place"
    if entry.get("prev") != previous:
        return Finding.ALTERED, "it does not follow the entry before it"
    return None
