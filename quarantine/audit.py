"""Is the record whole, and is it what was signed? One verification, over a database or over a bundle. Pure.

chains      each case: nothing is missing, doubled or changed, and the last entry is the one that was written last
values      each sensitive one is the one that its entry commits to, or its erasure is recorded
tree        each entry has its place, and the tree at every size that was signed has the root that was signed
anchors     checkpoints that were kept elsewhere: who rewrote everything here, key in hand, did not reach those
evidence    every file that is at hand is the one that was recorded

The first thing that is wrong is the answer, with the exit code of its class.
"""

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

from quarantine.commitment import commitments
from quarantine.journal import JOURNAL
from quarantine.ledger import START, Sealed, captured_in, redaction_in, rotation_in
from quarantine.merkle import SIZE, Frontier, leaf
from quarantine.model import read_canonical
from quarantine.note import Checkpoint, Note, Unsigned, Verifier
from quarantine.succession import Succession
from quarantine.text import many, moment

STALE = timedelta(seconds=120)
"""An entry that no checkpoint covers after this time: nobody seals, or somebody has cut checkpoints off."""
UNSEEN = timedelta(hours=1)
"""An entry that a witness has not seen after this time: it is away, or refuses what is here."""


class Finding(IntEnum):
    """What a verification found; the number is the exit code of `quarantine audit verify`."""

    OK = 0
    ALTERED = 20
    MISSING = 21
    TRUNCATED = 22
    FORK = 23
    UNSIGNED = 24
    KEY = 25
    EVIDENCE = 26
    MALFORMED = 27


@dataclass(frozen=True)
class Report:
    """The outcome of a verification: one sentence, and the first bad entry."""

    finding: Finding
    sentence: str
    entries: int = 0
    cases: int = 0
    evidence: int = 0
    """Pieces of evidence that were looked at."""
    elsewhere: int = 0
    """Pieces of evidence that were recorded, and are not where the verification looked."""
    redacted: int = 0
    """Values and pieces of evidence that were erased, as the record says."""


class Chain(NamedTuple):
    """The entries of one case in their order, and what its row says of them."""

    case: str
    length: int | None
    """None: the case has entries and no row."""
    head: str
    entries: Iterable[Sealed]


class Record(Protocol):
    """Where entries are kept. Each method raises Damaged for what cannot be read at all."""

    def chains(self) -> Iterator[Chain]:
        """One after the other: the entries of a case are gone when the next case is asked for."""

    def stray(self) -> int | None:
        """The first place of the tree whose entry is not there."""

    def loose(self) -> str | None:
        """The first entry that is not there and has a sensitive value; asked after all chains."""

    def checkpoints(self) -> Sequence[str]:
        """Signed notes."""


class Vault(Protocol):
    """Where pieces of evidence are kept."""

    def digest(self, sha256: str) -> str | None:
        """The SHA-256 of what is kept under this one; None if nothing is."""


class Damaged(ValueError):
    """What should hold a record cannot be read as one."""


class Chains:
    """Chains alone, that no tree was grown over."""

    def __init__(self, chains: Iterable[Chain]) -> None:
        self._chains = chains

    def chains(self) -> Iterator[Chain]:
        return iter(self._chains)

    def stray(self) -> None:
        return None

    def loose(self) -> None:
        return None

    def checkpoints(self) -> Sequence[str]:
        return ()


class _Wrong(Exception):
    """The first thing that is wrong."""

    def __init__(self, finding: Finding, sentence: str) -> None:
        self.finding = finding
        super().__init__(sentence)


def verify(record: Record, vault: Vault | None = None) -> Report:
    """Is every chain whole, and the tree without gaps? Says nothing about who wrote it: see `verify_signed`."""
    return _verified(record, None, vault)


@dataclass(frozen=True)
class Trust:
    """What a verifier brings along: keys, the time of day, and checkpoints that were kept elsewhere."""

    keys: Sequence[Verifier]
    now: datetime
    anchors: Sequence[str] = ()
    witnesses: Sequence[Verifier] = ()
    """Each must have seen every entry that is older than UNSEEN."""


def verify_signed(record: Record, trust: Trust, vault: Vault | None = None) -> Report:
    """The same, and is it what was signed? Entries that no checkpoint covers are UNSIGNED after STALE."""
    return _verified(record, trust, vault)


def _verified(record: Record, trust: Trust | None, vault: Vault | None) -> Report:
    reading = _Reading()
    try:
        # Before the entries: those that are written meanwhile make the tree longer, never a checkpoint.
        notes = record.checkpoints() if trust is not None else ()
        for chain in record.chains():
            reading.follow(chain)
        reading.settle(record.stray())
        reading.refuse_loose(record.loose())
        said = [reading.sentence]
        if trust is not None:
            said.append(reading.compare(notes, trust))
        if vault is not None and reading.evidence:
            said.append(reading.look_into(vault))
    except _Wrong as wrong:
        return reading.report(wrong.finding, str(wrong))
    except Damaged as damaged:
        return reading.report(Finding.MALFORMED, str(damaged))
    return reading.report(Finding.OK, "; ".join(said))


class _Reading:
    """One pass over all entries, and what is known after it. A million entries need 100 MB of it."""

    def __init__(self) -> None:
        self.entries = self.cases = self.checked = self.elsewhere = self.redacted = 0
        self.evidence: dict[str, str] = {}
        self._erased_evidence: set[str] = set()
        self._rotations: list[tuple[int, str]] = []
        self._places = array("q")
        self._leaves = bytearray()
        self._written = array("d")
        """When the entry of each place was written; the earliest possible time if it does not say."""
        self._waiting_since: datetime | None = None

    def report(self, finding: Finding, sentence: str) -> Report:
        return Report(finding, sentence, self.entries, self.cases, self.checked, self.elsewhere, self.redacted)

    @property
    def sentence(self) -> str:
        whole = f"{many(self.entries, 'entry', 'entries')} in {many(self.cases, 'case')}, every chain is whole"
        return f"{whole}, {many(self.redacted, 'value')} redacted as recorded" if self.redacted else whole

    # -- chains ------------------------------------------------------------------------------------------------------

    def follow(self, chain: Chain) -> None:
        """Every entry of a case."""
        case = chain.case
        if chain.length is None:
            raise _Wrong(Finding.MISSING, f"case {case} was deleted, and entries of it are still there")
        self.cases += case != JOURNAL
        previous, expected = START, 1
        values = _Values()
        for sealed in chain.entries:
            entry = _entry(sealed, case, expected, previous)
            self._take(sealed, entry)
            self._erased_evidence.update(values.follow(sealed, entry))
            previous, expected = sealed.hash, expected + 1
            self.entries += 1
        if expected - 1 < chain.length:
            left = f"{expected - 1} of {many(chain.length, 'entry', 'entries')} are there"
            raise _Wrong(Finding.TRUNCATED, f"case {case}: {left}; the end was cut off")
        if previous != chain.head:
            raise _Wrong(Finding.ALTERED, f"case {case}: the last entry is not the one that was written")
        values.settle()
        self.redacted += values.redacted

    def refuse_loose(self, entry: str | None) -> None:
        if entry is not None:
            raise _Wrong(Finding.MISSING, f"{entry}: there is a value of it, and no such entry")

    def _take(self, sealed: Sealed, entry: dict[str, Any]) -> None:
        try:
            for piece in captured_in(entry):
                self.evidence.setdefault(str(piece["sha256"]), _place(sealed))
        except ValueError as error:
            raise _Wrong(Finding.MALFORMED, f"{_place(sealed)}: {error}") from None
        written = _written_at(entry)
        if sealed.position is None:
            self._waiting_since = min(written, self._waiting_since or written)
            return
        if sealed.position < 0:
            raise _Wrong(Finding.MISSING, f"{_place(sealed)}: the tree has no place {sealed.position}")
        if leaf(sealed.content) != sealed.leaf:
            raise _Wrong(Finding.ALTERED, f"{_place(sealed)}: its bytes are not those that were sealed")
        statement = rotation_in(entry)
        if statement is not None:
            self._rotations.append((sealed.position, statement))
        self._places.append(sealed.position)
        self._leaves += sealed.leaf
        self._written.append(written.timestamp())

    # -- tree --------------------------------------------------------------------------------------------------------

    def settle(self, stray: int | None) -> None:
        """Put every leaf into its place."""
        size = len(self._places)
        settled, taken = bytearray(len(self._leaves)), bytearray(size)
        for number, place in enumerate(self._places):
            if place >= size:
                continue  # then another place is empty
            if taken[place]:
                raise _Wrong(Finding.MISSING, f"two entries stand at place {place} of the tree")
            taken[place] = 1
            settled[place * SIZE : (place + 1) * SIZE] = self._leaves[number * SIZE : (number + 1) * SIZE]
        empty = taken.find(0)
        if empty >= 0 or stray is not None:
            raise _Wrong(Finding.MISSING, f"the entry at place {empty if empty >= 0 else stray} of the tree is missing")
        self._leaves = settled

    def compare(self, notes: Sequence[str], trust: Trust) -> str:
        """The tree at every size that was signed with the root that was signed."""
        wanted = self._states(notes, trust)
        size = len(self._leaves) // SIZE
        tree = Frontier()
        for signed in sorted(wanted):
            if signed > size:
                how = "anchored" if any(anchored for _, anchored in wanted[signed]) else "signed"
                raise _Wrong(Finding.TRUNCATED, f"{signed} entries were {how}, and {size} are there")
            grown = memoryview(self._leaves)[tree.size * SIZE : signed * SIZE]
            tree = tree.extended(bytes(grown[at : at + SIZE]) for at in range(0, len(grown), SIZE))
            for root, anchored in wanted[signed]:
                if root != tree.root:
                    raise _other_root(signed, anchored)
        self._no_old_end(max(wanted, default=0), trust.now)
        watched = "".join(self._witnessed(witness, notes, trust) for witness in trust.witnesses)
        count = many(len(notes), "checkpoint")
        covered = f"the last of {count} covers {max(wanted, default=0)}" if notes else "none is signed yet"
        return f"{many(size, 'entry', 'entries')} in the tree, {covered}{watched}"

    def _witnessed(self, witness: Verifier, notes: Sequence[str], trust: Trust) -> str:
        """How much of the tree this witness has seen. The notes are those that the tree was compared with."""
        seen = 0
        for note in [Note.parse(text) for text in (*notes, *trust.anchors)]:
            try:
                signed = note.signed_by([witness])
            except Unsigned as error:
                raise _Wrong(Finding.KEY, f"a checkpoint cannot be trusted: {error}") from None
            seen = max(seen, Checkpoint.parse(note.body).size) if signed else seen
        since = self._oldest(seen, trust.now)
        if trust.now - since > UNSEEN:
            raise _Wrong(
                Finding.UNSIGNED,
                f"the witness {witness.name} has seen {seen} entries, and none since {moment(since)}: "
                "is it away, or does it refuse what is here?",
            )
        return f", the witness {witness.name} has seen {seen}"

    def _states(self, notes: Sequence[str], trust: Trust) -> dict[int, list[tuple[bytes, bool]]]:
        """What was signed: by size, the root and whether it was kept elsewhere."""
        wanted: dict[int, list[tuple[bytes, bool]]] = {}
        try:
            keys = Succession(trust.keys, sorted(self._rotations))
        except Unsigned as error:
            raise _Wrong(Finding.KEY, f"the change of the key cannot be trusted: {error}") from None
        for note, anchored in [*((note, False) for note in notes), *((note, True) for note in trust.anchors)]:
            try:
                found = keys.checked(note)
            except Unsigned as error:
                kind = "an anchored" if anchored else "a"
                raise _Wrong(Finding.KEY, f"{kind} checkpoint cannot be trusted: {error}") from None
            wanted.setdefault(found.size, []).append((found.root, anchored))
        return wanted

    def _no_old_end(self, signed: int, now: datetime) -> None:
        since = self._oldest(signed, now)
        if now - since > STALE:
            raise _Wrong(
                Finding.UNSIGNED,
                f"entries since {moment(since)} are not signed: does no process run that has the ledger key?",
            )

    def _oldest(self, covered: int, now: datetime) -> datetime:
        """When the oldest entry after the first `covered` ones was written; now, if there is none."""
        loose = [at for place, at in zip(self._places, self._written, strict=True) if place >= covered]
        return min([datetime.fromtimestamp(at, UTC) for at in loose] + [self._waiting_since or now])

    # -- evidence ----------------------------------------------------------------------------------------------------

    def look_into(self, vault: Vault) -> str:
        """Every piece of evidence that is at hand."""
        erased = 0
        for sha256, where in self.evidence.items():
            found = vault.digest(sha256)
            if found is None and sha256 in self._erased_evidence:
                erased += 1
            elif found is None:
                self.elsewhere += 1
            elif found != sha256:
                raise _Wrong(Finding.EVIDENCE, f"{where}: the evidence {sha256[:12]} is not what was recorded")
            else:
                self.checked += 1
        self.redacted += erased
        counts = {"redacted": erased, "not here": self.elsewhere}
        here = f"{many(self.checked, 'piece')} of evidence as recorded"
        return ", ".join([here, *(f"{count} {what}" for what, count in counts.items() if count)])


class _Values:
    """The sensitive values of one case. Only what is not there is kept in mind."""

    def __init__(self) -> None:
        self._missing: dict[str, str] = {}
        self.redacted = 0

    def follow(self, sealed: Sealed, entry: dict[str, Any]) -> list[str]:
        """Each value that is there against its commitment; the evidence that this entry says was erased."""
        given = dict(sealed.disclosures)
        try:
            for field, commitment in commitments(entry.get("event")):
                content = given.pop(commitment, None)
                if content is None:
                    self._missing[commitment] = f"{_place(sealed)}: its {field.name}"
                elif hashlib.sha256(content).hexdigest() != commitment:
                    told = f"{_place(sealed)}: its {field.name} is not the one that it commits to"
                    raise _Wrong(Finding.ALTERED, told)
            erased, evidence = redaction_in(entry)
        except ValueError as error:
            raise _Wrong(Finding.MALFORMED, f"{_place(sealed)}: {error}") from None
        if given:
            raise _Wrong(Finding.ALTERED, f"{_place(sealed)}: there is a value that it does not commit to")
        for commitment in erased:
            if self._missing.pop(commitment, None) is None:
                told = "it says that a value was erased which is there, or never was"
                raise _Wrong(Finding.ALTERED, f"{_place(sealed)}: {told}")
            self.redacted += 1
        return evidence

    def settle(self) -> None:
        """After the last entry of the case."""
        for what in self._missing.values():
            raise _Wrong(Finding.MISSING, f"{what} was erased, and no entry says by whom and why")


def _entry(sealed: Sealed, case: str, expected: int, previous: str) -> dict[str, Any]:
    """The entry in these bytes, if they are what should stand here."""
    if sealed.seq != expected:
        told = f"case {case}, entry {sealed.seq}: entry {expected} should stand here: entries are missing or doubled"
        raise _Wrong(Finding.MISSING, told)
    if hashlib.sha256(sealed.content).hexdigest() != sealed.hash:
        raise _Wrong(Finding.ALTERED, f"{_place(sealed)}: its bytes are not those that were hashed")
    try:
        entry, proper = read_canonical(sealed.content)
    except (ValueError, RecursionError):
        raise _Wrong(Finding.MALFORMED, f"{_place(sealed)}: it is not JSON") from None
    if not proper or not isinstance(entry, dict):
        raise _Wrong(Finding.MALFORMED, f"{_place(sealed)}: it is not canonical JSON")
    if (entry.get("case"), entry.get("seq")) != (case, sealed.seq):
        raise _Wrong(Finding.ALTERED, f"{_place(sealed)}: it belongs to another place")
    if entry.get("prev") != previous:
        raise _Wrong(Finding.ALTERED, f"{_place(sealed)}: it does not follow the entry before it")
    return entry


def _place(sealed: Sealed) -> str:
    return f"case {sealed.case}, entry {sealed.seq}"


def _other_root(size: int, anchored: bool) -> _Wrong:
    if size == 0:
        return _Wrong(Finding.ALTERED, "a checkpoint of nothing has the root of something")
    if anchored:
        return _Wrong(Finding.FORK, f"the first {size} entries: another history was anchored")
    return _Wrong(Finding.ALTERED, f"the first {size} entries: the entries are not those that were signed")


def _written_at(entry: dict[str, Any]) -> datetime:
    """As the entry says. One that cannot say it counts as old: we never wrote it."""
    try:
        at = datetime.fromisoformat(entry["at"])
        return at if at.tzinfo is UTC else at.astimezone(UTC)
    except (ValueError, KeyError, TypeError, OverflowError):
        return datetime.fromtimestamp(0, UTC)
