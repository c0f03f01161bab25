"""The record as bytes that cannot be changed unseen.

entry         canonical JSON that holds the hash of its case's last one: a chain for each case
disclosure    a sensitive value, which the entry only commits to: it can be erased (commitment.py)
tree          all entries of all cases in one order; its root stands for them (merkle.py)
checkpoint    the root at a size, signed with a key that the database never sees (note.py)
proof         one entry, its way to the root, and a checkpoint: verified with the public key alone

Pure. An entry is stored as exactly these bytes; verification hashes what is stored and never writes JSON anew.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from quarantine.case import Recorded, Redacted
from quarantine.commitment import Disclosure, Salts, commit, disclose
from quarantine.journal import JOURNAL, Noted
from quarantine.merkle import includes, inclusion, leaf
from quarantine.model import canonical
from quarantine.note import ED25519, Checkpoint, Note, Unsigned, Verifier, decoded, encoded
from quarantine.text import moment

START = "0" * 64
VERSION = 1


@dataclass(frozen=True)
class Sealed:
    """One entry as it is stored, with its place in the tree once it has one."""

    case: str
    seq: int
    content: bytes
    hash: str
    position: int | None = None
    leaf: bytes = b""
    """The hash that the tree has at this place."""
    disclosures: tuple[Disclosure, ...] = ()
    """What is there of the values that it commits to."""


def seal(recorded: Recorded | Noted, previous: str, salts: Salts) -> Sealed:
    """The canonical bytes of an entry that follows the one with hash `previous`, their hash, and what they hide."""
    entry = {"v": VERSION, "prev": previous, **recorded.model_dump(mode="json")}
    disclosures = commit(entry["event"], salts)
    content = canonical(entry)
    return Sealed(recorded.case, recorded.seq, content, hashlib.sha256(content).hexdigest(), disclosures=disclosures)


def unseal(entries: Iterable[Sealed]) -> list[Recorded]:
    """The events of a case, in their order. What was erased says by whom and why, as far as that entry is here too."""
    plain = [(_plain(sealed.content), sealed.disclosures) for sealed in entries]
    instead = {
        commitment: _erased(Recorded.model_validate(entry))
        for entry, _ in plain
        for commitment in redaction_in(entry)[0]
    }
    return [_disclosed(entry, disclosures, instead) for entry, disclosures in plain]


def unseal_noted(content: bytes) -> Noted:
    """The entry of the journal in stored bytes."""
    return Noted.model_validate(_plain(content))


def _disclosed(entry: dict[str, Any], disclosures: Sequence[Disclosure], instead: dict[str, str]) -> Recorded:
    disclose(entry["event"], {item.commitment: json.loads(item.content)[1] for item in disclosures}, instead)
    return Recorded.model_validate(entry)


def _erased(recorded: Recorded) -> str:
    why = recorded.event.reason if isinstance(recorded.event, Redacted) else ""
    told = f"redacted on {moment(recorded.at)} by {recorded.by}, because: {why}"
    return f"[{told[:_LONGEST]}]"  # in brackets: the words are not those of whoever is quoted here


_LONGEST = 1024
"""Characters of what stands in the place of an erased text."""


def _plain(content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(content)
    del entry["v"], entry["prev"]
    return entry


def written_at(content: bytes) -> datetime:
    """When an entry of ours was written, as it says itself."""
    return datetime.fromisoformat(_plain(content)["at"]).astimezone(UTC)


def captured_in(entry: Any) -> list[dict[str, Any]]:
    """What an entry says of evidence; nothing for most. Raises ValueError if it says it without a digest."""
    event = entry.get("event") if isinstance(entry, dict) else None
    if not isinstance(event, dict) or event.get("type") != "captured":
        return []
    pieces = event.get("evidence")
    if not isinstance(pieces, list) or not all(isinstance(piece, dict) and "sha256" in piece for piece in pieces):
        raise ValueError("it names evidence without a digest")
    return pieces


def redaction_in(entry: Any) -> tuple[list[str], list[str]]:
    """What an entry says was erased: commitments, and digests of evidence. Raises ValueError if it does not say it."""
    event = entry.get("event") if isinstance(entry, dict) else None
    if not isinstance(event, dict) or event.get("type") != "redacted":
        return [], []
    lists = [event.get("commitments"), event.get("evidence")]
    if not all(isinstance(named, list) and all(isinstance(item, str) for item in named) for named in lists):
        raise ValueError("it does not say what was erased")
    return lists[0], lists[1]  # type: ignore[return-value]


def rotation_in(entry: Any) -> str | None:
    """The statement of an entry that another key signs from there on; None for all others."""
    event = entry.get("event") if isinstance(entry, dict) and entry.get("case") == JOURNAL else None
    return str(event.get("statement")) if isinstance(event, dict) and event.get("type") == "key_rotated" else None


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


def proven(text: str, trusted: Sequence[Verifier]) -> tuple[Recorded | Noted, Checkpoint]:
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
        plain = _plain(entry)
        noted = plain.get("case") == JOURNAL
        return Noted.model_validate(plain) if noted else _disclosed(plain, (), {}), checkpoint
    except (ValueError, KeyError, TypeError):
        raise Unsigned("what is in the tree at this place is no entry") from None
