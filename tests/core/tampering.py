"""Somebody who may do anything with a record, wherever it is kept, and knows how it is made.

`Rows` is the record in memory, to be changed at will and made to fit again; a `Medium` is where it is put back and
verified as a user would: a SQLite file, a PostgreSQL database, or a bundle.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from quarantine.audit import Chain, Damaged, Finding, Report, Trust, verify_signed
from quarantine.bundle import Bundle, Wrapping, write
from quarantine.evidence import EvidenceStore, Folder
from quarantine.journal import JOURNAL
from quarantine.ledger import START, Sealed
from quarantine.merkle import leaf, root
from quarantine.model import canonical
from quarantine.note import Checkpoint, Key, Note
from quarantine.store.sql import Store


@dataclass
class Rows:
    """A record; as `audit.Record` too."""

    entries: list[Sealed] = field(default_factory=list)
    """In the order of the tree."""
    cases: dict[str, tuple[int, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def chains(self) -> Iterator[Chain]:
        ordered = sorted(self.entries, key=lambda entry: (entry.case, entry.seq))
        known = dict(self.cases)
        for case, entries in groupby(ordered, lambda entry: entry.case):
            length, head = known.pop(case, (None, ""))
            yield Chain(case, length, head, entries)
        for case, (length, head) in known.items():
            yield Chain(case, length, head, ())

    def stray(self) -> None:
        return None

    def loose(self) -> None:
        return None

    def checkpoints(self) -> list[str]:
        return self.notes

    # -- changes -----------------------------------------------------------------------------------------------------

    def of(self, case: str) -> list[int]:
        """The indexes of the entries of a case, in their order."""
        return sorted(
            (n for n, entry in enumerate(self.entries) if entry.case == case), key=lambda n: self.entries[n].seq
        )

    def edit(self, index: int, change: Callable[[dict[str, Any]], None]) -> None:
        """Another content, and nothing else."""
        content = json.loads(self.entries[index].content)
        change(content)
        self.entries[index] = replace(self.entries[index], content=canonical(content))

    def drop(self, case: str) -> None:
        """A case, with every trace of it."""
        self.entries = [entry for entry in self.entries if entry.case != case]
        del self.cases[case]

    def make_good(self, key: Key | None = None) -> None:
        """Every chain, head and leaf fits again; with a key, one checkpoint as well, and no other."""
        last: dict[str, str] = {}
        for number, entry in enumerate(self.entries):
            content = json.loads(entry.content)
            content["prev"] = last.get(entry.case, START)
            raw = canonical(content)
            last[entry.case] = hashlib.sha256(raw).hexdigest()
            self.entries[number] = replace(
                entry, content=raw, seq=content["seq"], hash=last[entry.case], position=number, leaf=leaf(raw)
            )
        self.cases = {JOURNAL: (0, START), **{case: (len(self.of(case)), head) for case, head in last.items()}}
        if key is not None:
            self.notes = [self.note(key)]

    def note(self, key: Key, size: int | None = None) -> str:
        leaves = [entry.leaf for entry in self.entries][:size]
        return str(Note(Checkpoint(key.verifier.name, len(leaves), root(leaves)).body).signed(key))


class Medium(Protocol):
    evidence: EvidenceStore

    def load(self) -> Rows: ...

    def save(self, rows: Rows) -> None: ...

    def verified(self, key: Key, now: datetime, anchors: list[str]) -> Report: ...


class Database:
    """The tables, without a trigger or a constraint that could say no."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self.evidence = EvidenceStore(Folder(folder / "evidence"))

    def load(self) -> Rows:
        with self._store.record() as record:
            return rows_of(record)

    def save(self, rows: Rows) -> None:
        engine = create_engine(self._store.url, poolclass=NullPool)
        number, raw = ("INTEGER", "BLOB") if engine.dialect.name == "sqlite" else ("BIGINT", "BYTEA")
        with engine.begin() as connection:
            for table, columns in {
                "events": f"id {number}, case_id TEXT, seq {number}, type TEXT, content {raw}, hash TEXT",
                "disclosures": f"case_id TEXT, seq {number}, commitment TEXT, content {raw}",
                "leaves": f"position {number}, entry {number}, hash {raw}",
                "checkpoints": f"size {number}, at FLOAT, note TEXT",
            }.items():
                connection.execute(text(f"DROP TABLE {table}"))
                connection.execute(text(f"CREATE TABLE {table} ({columns})"))
            seq, head = rows.cases[JOURNAL]
            connection.execute(text("DELETE FROM journal"))
            connection.execute(text("INSERT INTO journal VALUES (1, :seq, :head)"), {"seq": seq, "head": head})
            known = {case for (case,) in connection.execute(text("SELECT id FROM cases")).all()}
            for case in known - set(rows.cases):
                connection.execute(text("DELETE FROM cases WHERE id = :case"), {"case": case})
            assert set(rows.cases) <= {*known, JOURNAL}, "a case cannot be made up here"
            for case, (seq, head) in rows.cases.items():
                change = text("UPDATE cases SET seq = :seq, head = :head WHERE id = :case")
                connection.execute(change, {"case": case, "seq": seq, "head": head})
            for index, entry in enumerate(rows.entries, 1):
                event = {"id": index, "case": entry.case, "seq": entry.seq, "raw": entry.content, "hash": entry.hash}
                added = text("INSERT INTO events VALUES (:id, :case, :seq, 'any', :raw, :hash)")
                connection.execute(added, event)
                for commitment, content in entry.disclosures:
                    value = {"case": entry.case, "seq": entry.seq, "name": commitment, "raw": content}
                    connection.execute(text("INSERT INTO disclosures VALUES (:case, :seq, :name, :raw)"), value)
                if entry.position is not None:
                    place = {"position": entry.position, "entry": index, "leaf": entry.leaf}
                    connection.execute(text("INSERT INTO leaves VALUES (:position, :entry, :leaf)"), place)
            for size, note in enumerate(rows.notes):
                connection.execute(
                    text("INSERT INTO checkpoints VALUES (:size, 0, :note)"), {"size": size, "note": note}
                )

    def verified(self, key: Key, now: datetime, anchors: list[str]) -> Report:
        with self._store.record() as record:
            return verify_signed(record, Trust([key.verifier], now, anchors), self.evidence)


class Exported:
    """A bundle, which is written anew for each change."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        self.evidence = EvidenceStore(Folder(folder / "evidence"))
        with store.record() as record:
            self.save(rows_of(record))

    @property
    def path(self) -> Path:
        return self._folder / f"{self._number}.zip"

    def load(self) -> Rows:
        with Bundle(self.path) as bundle:
            return rows_of(bundle)

    def save(self, rows: Rows) -> None:
        self._number += 1
        write(self.path, rows, Wrapping("", (), self.evidence))

    def verified(self, key: Key, now: datetime, anchors: list[str]) -> Report:
        try:
            with Bundle(self.path) as bundle:
                return verify_signed(bundle, Trust([key.verifier], now, anchors), bundle)
        except Damaged as error:
            return Report(Finding.MALFORMED, str(error))


def rows_of(record: Any) -> Rows:
    rows = Rows(notes=list(record.checkpoints()))
    for chain in record.chains():
        rows.cases[chain.case] = (chain.length, chain.head)
        rows.entries += chain.entries
    rows.entries.sort(key=lambda entry: (entry.position is None, entry.position))
    return rows
