"""The record as bytes that cannot be changed unseen.

entry         canonical JSON that holds the hash of its case's last one: a chain for each case
tree          all entries of all cases in one order; its root stands for them (merkle.py)
checkpoint    the root at a size, signed with a key that the database never sees (note.py)
proof         one entry, its way to the root, and a checkpoint: verified with the public key alone

Pure. An entry is stored as exactly these bytes; verification hashes what is stored and never writes JSON anew.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from quarantine.case import Recorded
from quarantine.merkle import EMPTY, Frontier, includes, inclusion, leaf
from quarantine.model import canonical, read_canonical
from quarantine.note import ED25519, Checkpoint, Note, Unsigned, Verifier, decoded, encoded
from quarantine.text import many

START = "0" * 64
VERSION = 1
STALE = timedelta(seconds=120)
"""An entry that no checkpoint covers after this time: nobody seals, or somebody has cut checkpoints off."""


class Finding(IntEnum):
    """What a verification found; the number is the exit code of `quarantine audit verify`."""

    OK = 0
    ALTERED = 20
    MISSING = 21
    TRUNCATED = 22
    FORK = 23
    UNSIGNED = 24
    KEY = 25
    MALFORMED = 27


@dataclass(frozen=True)
class Sealed:
    """One entry as it is stored."""

    case: str
    seq: int
    content: bytes
    hash: str


@dataclass(frozen=True)
class Kept:
    """One entry with its place in the tree and the hash that is kept of it; without a place, it waits for one."""

    position: int | None
    case: str
    seq: int
    content: bytes
    hash: bytes


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
        f"{many(entries, 'entry', 'entries')} in {many(count, 'case')}, every chain is whole",
        entries,
        count,
    )


def verify_tree(
    entries: Iterable[Kept],
    checkpoints: Sequence[tuple[int, str]],
    trusted: Sequence[Verifier],
    now: datetime,
    anchors: Sequence[str] = (),
) -> Report:
    """Is what is there what was signed? `entries` in the order of the tree, then those without a place.

    `anchors` are checkpoints that were kept elsewhere: who rewrote everything here, key in hand, did not reach those.
    Entries that no checkpoint covers are UNSIGNED when the oldest of them is older than STALE.
    """
    wanted: dict[int, list[tuple[bytes, bool]]] = {}
    for note, anchored in [*((note, False) for _, note in checkpoints), *((note, True) for note in anchors)]:
        try:
            found = checked(note, trusted)
        except Unsigned as error:
            return Report(Finding.KEY, f"{'an anchored' if anchored else 'a'} checkpoint cannot be trusted: {error}")
        wanted.setdefault(found.size, []).append((found.root, anchored))
    tree, signed, loose = Frontier(), max((size for size, _ in checkpoints), default=0), None
    for kept in entries:
        where = f"case {kept.case}, entry {kept.seq}" if kept.content else f"place {kept.position}"
        if kept.position is not None:
            if kept.position != tree.size or not kept.content:
                return Report(Finding.MISSING, f"{where}: entry {tree.size} of the tree is not there", tree.size)
            if leaf(kept.content) != kept.hash:
                return Report(Finding.ALTERED, f"{where}: its bytes are not those that were sealed", tree.size)
            tree = tree.extended([kept.hash])
            for root, anchored in wanted.pop(tree.size, ()):
                if root != tree.root:
                    kind = Finding.FORK if anchored else Finding.ALTERED
                    story = "another history was anchored" if anchored else "the entries are not those that were signed"
                    return Report(kind, f"the first {tree.size} entries: {story}", tree.size)
        if loose is None and (kept.position is None or kept.position >= signed):
            loose = _written_at(kept.content)
    for size, roots in wanted.items():
        if size > tree.size:
            how = "anchored" if any(anchored for _, anchored in roots) else "signed"
            return Report(Finding.TRUNCATED, f"{size} entries were {how}, and {tree.size} are there", tree.size)
        if any(root != EMPTY for root, _ in roots):
            return Report(Finding.ALTERED, "a checkpoint of nothing has the root of something")
    if loose is not None and now - loose > STALE:
        return Report(
            Finding.UNSIGNED,
            f"entries since {loose:%Y-%m-%d %H:%M:%S} UTC are not signed: does no process run that has the ledger key?",
            tree.size,
        )
    last = (
        f"the last of {many(len(checkpoints), 'checkpoint')} covers {signed}" if checkpoints else "none is signed yet"
    )
    return Report(Finding.OK, f"{many(tree.size, 'entry', 'entries')} in the tree, {last}", tree.size)


def checked(note: str, trusted: Sequence[Verifier]) -> Checkpoint:
    """The checkpoint in a note that one of the trusted keys has signed. Raises Unsigned."""
    parsed = Note.parse(note)
    checkpoint = Checkpoint.parse(parsed.body)
    signers = parsed.signed_by([key for key in trusted if key.algorithm == ED25519])
    if not signers:
        names = ", ".join(f"{item.name} ({item.id.hex()})" for item in parsed.signatures)
        raise Unsigned(f"it is signed by {names}, and that is none of the trusted keys")
    if checkpoint.origin not in {key.name for key in signers}:
        raise Unsigned(f"it is of the log {checkpoint.origin}, and signed for {signers[0].name}")
    return checkpoint


PROOF = "c2sp.org/tlog-proof@v1"


def proof_of(entry: bytes, index: int, leaves: Sequence[bytes], note: str) -> str:
    """A text that proves one entry to who has nothing but the public key: c2sp.org/tlog-proof, the entry as `extra`."""
    lines = [PROOF, f"extra {encoded(entry)}", f"index {index}", *(encoded(step) for step in inclusion(leaves, index))]
    return "\n".join(lines) + "\n\n" + note


def proven(text: str, trusted: Sequence[Verifier]) -> tuple[Recorded, Checkpoint]:
    """The entry that a proof proves, and the state that it was part of. Raises Unsigned, which says what is wrong."""
    head, _, note = text.partition("\n\n")
    lines = head.split("\n")
    if len(lines) < 3 or lines[0] != PROOF or not lines[1].startswith("extra ") or not lines[2].startswith("index "):
        raise Unsigned(f"this is no proof: it begins with {PROOF}, extra and index")
    number = lines[2].removeprefix("index ")
    if not number.isascii() or not number.isdigit() or len(number) > 18:
        raise Unsigned("the index of the proof is no number")
    entry = decoded(lines[1].removeprefix("extra "))
    checkpoint = checked(note, trusted)
    path = [decoded(line) for line in lines[3:]]
    if not includes(checkpoint.size, checkpoint.root, int(number), leaf(entry), path):
        raise Unsigned("the entry is not in the tree that was signed")
    try:
        return unseal(entry), checkpoint
    except (ValueError, KeyError, TypeError):
        raise Unsigned("what is in the tree at this place is no entry") from None


def _written_at(content: bytes) -> datetime | None:
    try:
        return datetime.fromisoformat(json.loads(content)["at"])
    except (ValueError, KeyError, TypeError):
        return None


def _fault(sealed: Sealed, case: str, expected: int, previous: str) -> tuple[Finding, str] | None:
    if sealed.seq != expected:
        return Finding.MISSING, f"entry {expected} should stand here: entries are missing or doubled"
    if hashlib.sha256(sealed.content).hexdigest() != sealed.hash:
        return Finding.ALTERED, "its bytes are not those that were hashed"
    try:
        entry, proper = read_canonical(sealed.content)
    except ValueError:
        return Finding.MALFORMED, "it is not JSON"
    if not proper or not isinstance(entry, dict):
        return Finding.MALFORMED, "it is not canonical JSON"
    if (entry.get("case"), entry.get("seq")) != (case, sealed.seq):
        return Finding.ALTERED, "it belongs to another place"
    if entry.get("prev") != previous:
        return Finding.ALTERED, "it does not follow the entry before it"
    return None
