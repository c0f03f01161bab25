"""The record in one file, for whoever checks it elsewhere: a ZIP of JSON lines that any text tool can read.

README.txt           what this is, and how to check it
entries.jsonl        every entry as it was stored, byte for byte, with its hash and its place in the tree; after each
                     one the sensitive values that it commits to, as far as they were not erased
cases.jsonl          each case with the number of its entries and the hash of the last one
checkpoints.jsonl    what was signed, with the words of witnesses
anchors.jsonl        what was signed and kept outside of the installation
evidence.jsonl       what was captured, by which entry
evidence/SHA256      the captured bytes, if they were asked for

The same record is the same bytes: nothing here says when it was exported. Nothing is unpacked, and no name in it is
taken for a path.
"""

import hashlib
import json
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import IO, Any, NamedTuple, Self, TypeVar

from quarantine.audit import Chain, Damaged, Record
from quarantine.commitment import Disclosure
from quarantine.errors import Misconfigured, Misused
from quarantine.evidence import EvidenceStore
from quarantine.ledger import Sealed, captured_in

T = TypeVar("T")

ENTRIES, CASES, EVIDENCE = "entries.jsonl", "cases.jsonl", "evidence.jsonl"
CHECKPOINTS, ANCHORS, README = "checkpoints.jsonl", "anchors.jsonl", "README.txt"
_LONGEST = 64 << 20
"""Bytes of one line, or of one small file, that are read."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every file in it: the earliest that a ZIP can say."""

_LINE = re.compile(
    rb'\{"case":"(?P<case>[a-z0-9-]{1,32})","seq":(?P<seq>-?[0-9]{1,18}),"hash":"(?P<hash>[^"\\]{0,64})",'
    rb'"position":(?P<position>null|-?[0-9]{1,18}),"leaf":"(?P<leaf>(?:[0-9a-f]{2}){0,64})",'
    rb'(?:"entry":(?P<entry>.*)|"hex":"(?P<hex>(?:[0-9a-f]{2})*)")\}\n?', re.DOTALL,
)  # fmt: skip
_DISCLOSURE = re.compile(
    rb'\{"case":"(?P<case>[a-z0-9-]{1,32})","seq":(?P<seq>-?[0-9]{1,18}),"commitment":"(?P<commitment>[0-9a-f]{64})",'
    rb'(?:"disclosure":(?P<disclosure>.*)|"hex":"(?P<hex>(?:[0-9a-f]{2})*)")\}\n?', re.DOTALL,
)  # fmt: skip

_README = """\
This is the record of {origin}, an installation of cloud-quarantine.

A line of entries.jsonl with "entry" holds one entry: something that happened in a case, or what a person said to it.
The entry is what follows "entry": on its line, byte for byte. With these bytes:

  hash   SHA-256(entry). The next entry of the same case holds it as "prev".
  leaf   SHA-256(0x00 || entry). At "position", it is a leaf of the Merkle tree of RFC 6962 over all entries.

Where an entry has {{"commitment": C}} in place of a value, a line after it has what C is the SHA-256 of: what follows
"disclosure":, byte for byte, a random number and the value. One that is not there was erased, and a later entry of the
same case, of type "redacted", names C and says by whom and why.

checkpoints.jsonl has the root of that tree at several sizes, signed with Ed25519 (c2sp.org/tlog-checkpoint).

Check all of it, without a network, with the key that you were given beforehand and not from whoever gave you this:

  pip install cloud-quarantine
  quarantine audit verify --bundle FILE --key KEY

This file names the key {key}
It proves nothing: compare it with yours.
"""


class Wrapping(NamedTuple):
    """What goes into a bundle beside the record."""

    key: str
    anchors: Sequence[str] = ()
    evidence: EvidenceStore | None = None
    """The captured bytes as well, as far as they are in this store."""


def write(path: Path, record: Record, wrapping: Wrapping) -> tuple[int, int]:
    """Write a bundle; how many entries and files of evidence are in it. Raises Misused if the file is there already."""
    if path.exists():
        raise Misused(f"{path} is there already: nothing was written")
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with (
            os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive,
        ):
            counts = _fill(archive, record, wrapping)
        aside.rename(path)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with suppress(FileNotFoundError):
            aside.unlink()
    return counts


def _fill(archive: zipfile.ZipFile, record: Record, wrapping: Wrapping) -> tuple[int, int]:
    checkpoints = record.checkpoints()
    cases, evidence, entries = [], [], 0
    origin = wrapping.key.partition("+")[0]
    _add(archive, README, _README.format(origin=origin or "an unnamed log", key=wrapping.key or "of nobody").encode())
    with archive.open(_named(ENTRIES), "w", force_zip64=True) as file:
        for chain in record.chains():
            if chain.length is not None:
                cases.append({"case": chain.case, "entries": chain.length, "head": chain.head})
            for sealed in chain.entries:
                file.writelines(_lines_of(sealed))
                entries += 1
                evidence += _captured(sealed)
    _add(archive, CASES, _lines(cases))
    _add(archive, CHECKPOINTS, _lines({"note": note} for note in checkpoints))
    _add(archive, ANCHORS, _lines({"note": note} for note in wrapping.anchors))
    _add(archive, EVIDENCE, _lines(evidence))
    files = 0
    for sha256 in sorted({str(piece["sha256"]) for piece in evidence}):
        content = None if wrapping.evidence is None else wrapping.evidence.content(sha256)
        if content is not None:
            _add(archive, f"evidence/{sha256}", content)
            files += 1
    return entries, files


def _captured(sealed: Sealed) -> list[dict[str, Any]]:
    """What evidence.jsonl says of an entry; nothing of one that cannot be read."""
    if b'"captured"' not in sealed.content:
        return []
    try:
        pieces = captured_in(json.loads(sealed.content))
    except (ValueError, RecursionError):
        return []
    return [{"case": sealed.case, "seq": sealed.seq, **piece} for piece in pieces]


def _named(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o600 << 16
    return info


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(_named(name), content)


def _lines(records: Iterable[Any]) -> bytes:
    return "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records).encode()


def _lines_of(sealed: Sealed) -> Iterator[bytes]:
    """An entry, and the values that it commits to."""
    place = "null" if sealed.position is None else str(sealed.position)
    head = f'{{"case":"{sealed.case}","seq":{sealed.seq},"hash":"{sealed.hash}","position":{place},'
    yield f'{head}"leaf":"{sealed.leaf.hex()}",'.encode() + _body("entry", sealed.content)
    for commitment, content in sealed.disclosures:
        head = f'{{"case":"{sealed.case}","seq":{sealed.seq},"commitment":"{commitment}",'
        yield head.encode() + _body("disclosure", content)


def _body(name: str, content: bytes) -> bytes:
    """What is a line of text stands there as it is; what is not, which we never wrote, in hexadecimal."""
    plain = bool(content) and b"\n" not in content and b"\r" not in content
    return (f'"{name}":'.encode() + content if plain else f'"hex":"{content.hex()}"'.encode()) + b"}\n"


class Bundle:
    """A bundle, as `audit.Record` and `audit.Vault`."""

    def __init__(self, path: Path) -> None:
        """Raises Damaged if this is no bundle."""
        try:
            self._archive = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise Damaged(f"{path.name} is no bundle: {error}") from error
        names = self._archive.namelist()
        missing = {ENTRIES, CASES, CHECKPOINTS, ANCHORS, EVIDENCE} - set(names)
        if missing or len(names) != len(set(names)):
            self._archive.close()
            what = f"it has no {min(missing)}" if missing else "it has two files of one name"
            raise Damaged(f"{path.name} is no bundle of 'quarantine audit export': {what}")
        self._names = frozenset(names)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def chains(self) -> Iterator[Chain]:
        rows = {}
        for row in self._records(CASES):
            if not isinstance(row.get("case"), str) or not isinstance(row.get("entries"), int) or row["case"] in rows:
                raise Damaged(f"{CASES} has a line that is no case, or the same case twice")
            rows[row["case"]] = row["entries"], str(row.get("head"))
        evidence: list[dict[str, Any]] = []
        for case, entries in groupby(self._entries(evidence), lambda sealed: sealed.case):
            length, head = rows.pop(case, (None, ""))
            yield Chain(case, length, head, entries)
        for case, (length, head) in rows.items():
            yield Chain(case, length, head, ())
        if evidence != list(self._records(EVIDENCE)):
            raise Damaged(f"{EVIDENCE} does not list what the entries say")

    def stray(self) -> None:
        """A place without an entry is not in a bundle."""
        return

    def loose(self) -> None:
        """A value without its entry is not in a bundle."""
        return

    def checkpoints(self) -> list[str]:
        return self._notes(CHECKPOINTS)

    def anchors(self) -> list[str]:
        return self._notes(ANCHORS)

    def digest(self, sha256: str) -> str | None:
        if f"evidence/{sha256}" not in self._names:
            return None
        with self._file(f"evidence/{sha256}") as file:
            digest = hashlib.sha256()
            while piece := _whole(lambda: file.read(1 << 20)):
                digest.update(piece)
            return digest.hexdigest()

    def _notes(self, name: str) -> list[str]:
        notes = [record.get("note") for record in self._records(name)]
        if not all(isinstance(note, str) for note in notes):
            raise Damaged(f"{name} has a line without a note")
        return [str(note) for note in notes]

    def _entries(self, evidence: list[dict[str, Any]]) -> Iterator[Sealed]:
        """One after the other, with its values; what they captured is added to `evidence`."""
        last: re.Match[bytes] | None = None
        beside: list[Disclosure] = []
        for number, line in enumerate(self._read(ENTRIES), 1):
            found = _LINE.fullmatch(line)
            if found is not None:
                if last is not None:
                    yield _sealed(last, beside, evidence)
                last, beside = found, []
                continue
            found = _DISCLOSURE.fullmatch(line)
            if found is None:
                raise Damaged(f"line {number} of {ENTRIES} is no entry")
            if last is None or last.group("case", "seq") != found.group("case", "seq"):
                raise Damaged(f"line {number} of {ENTRIES} is a value of another entry than the one before it")
            beside.append(Disclosure(found["commitment"].decode(), _content(found, "disclosure")))
        if last is not None:
            yield _sealed(last, beside, evidence)

    def _records(self, name: str) -> Iterator[dict[str, Any]]:
        for number, line in enumerate(self._read(name), 1):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            if not isinstance(record, dict):
                raise Damaged(f"line {number} of {name} is no JSON object")
            yield record

    def _read(self, name: str) -> Iterator[bytes]:
        with self._file(name) as file:
            while line := _whole(lambda: file.readline(_LONGEST)):
                if len(line) >= _LONGEST:
                    raise Damaged(f"{name} has a line of more than {_LONGEST >> 20} MB")
                yield line

    def _file(self, name: str) -> IO[bytes]:
        return _whole(lambda: self._archive.open(name))


def _sealed(found: re.Match[bytes], beside: list[Disclosure], evidence: list[dict[str, Any]]) -> Sealed:
    """An entry with its values; what it captured is added to `evidence`."""
    sealed = Sealed(
        case=found["case"].decode(),
        seq=int(found["seq"]),
        content=_content(found, "entry"),
        hash=found["hash"].decode("ascii", "replace"),
        position=None if found["position"] == b"null" else int(found["position"]),
        leaf=bytes.fromhex(found["leaf"].decode()),
        disclosures=tuple(beside),
    )
    evidence += _captured(sealed)
    return sealed


def _content(found: re.Match[bytes], name: str) -> bytes:
    plain: bytes | None = found[name]
    return bytes.fromhex(found["hex"].decode()) if plain is None else plain


def _whole(read: Callable[[], T]) -> T:
    try:
        return read()
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError) as error:
        raise Damaged(f"the bundle cannot be read: {error}") from error
