"""What of a case can be erased: each sensitive value that is still there, and each piece of evidence. Pure.

3:finding.title       the value of this field in entry 3
7:evidence/1b4f0e98   a piece that entry 7 captured, by the beginning of its SHA-256
3                     all of entry 3
all                   all of the case
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from quarantine.case import Redacted
from quarantine.commitment import commitments
from quarantine.errors import Misused
from quarantine.ledger import Sealed, captured_in, redaction_in

ALL = "all"


class Erasable(NamedTuple):
    """One thing that a redaction can erase."""

    entry: int
    what: str
    """`finding.title`, `evidence/1b4f0e98`."""
    size: int
    """In bytes."""
    commitment: str = ""
    sha256: str = ""

    @property
    def name(self) -> str:
        return f"{self.entry}:{self.what}"


def erasable(entries: Iterable[Sealed]) -> list[Erasable]:
    """What there is, in the order of the entries of a case."""
    found: list[Erasable] = []
    for sealed in entries:
        entry = json.loads(sealed.content)
        gone = redaction_in(entry)[1]
        found = [item for item in found if item.sha256 not in gone]
        found += _values(sealed, entry)
        found += [
            Erasable(sealed.seq, f"evidence/{piece['sha256'][:8]}", piece["size"], sha256=piece["sha256"])
            for piece in captured_in(entry)
        ]
    return found


def erased_evidence(entries: Iterable[Sealed]) -> list[str]:
    """The SHA-256 of what was captured, erased and not captured again since: whose file must not be there."""
    gone: dict[str, None] = {}
    for sealed in entries:
        entry = json.loads(sealed.content)
        for piece in captured_in(entry):
            gone.pop(piece["sha256"], None)
        gone.update(dict.fromkeys(redaction_in(entry)[1]))
    return list(gone)


def _values(sealed: Sealed, entry: dict[str, object]) -> Iterator[Erasable]:
    known = dict(sealed.disclosures)
    for field, commitment in commitments(entry["event"]):
        if commitment in known:
            size = len(json.dumps(json.loads(known[commitment])[1], ensure_ascii=False).encode())
            yield Erasable(sealed.seq, field.name, size, commitment)


def chosen(found: Sequence[Erasable], names: Sequence[str]) -> list[Erasable]:
    """Those that are named. Raises Misused for a name of nothing."""
    picked: dict[Erasable, None] = {}
    for name in names:
        these = [item for item in found if name in (ALL, str(item.entry), item.name)]
        if not these:
            raise Misused(f"there is no '{name}' to erase: leave it out to see what there is")
        picked.update(dict.fromkeys(these))
    return list(picked)


def redacted(items: Iterable[Erasable], reason: str) -> Redacted:
    """That these are erased. A digest of evidence stands once, however often it was captured."""
    named = list(items)
    return Redacted(
        commitments=tuple(item.commitment for item in named if item.commitment),
        evidence=tuple(dict.fromkeys(item.sha256 for item in named if item.sha256)),
        reason=reason,
    )
