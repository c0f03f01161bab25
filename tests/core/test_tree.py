"""The sealed record on both databases: what is written is sealed and signed, and whatever is done to it is found.

Somebody who may do anything with the database rewrites it until every chain and every hash fits. Without the key that
is found by the checkpoints, with the key by those that were kept elsewhere.
"""

import hashlib
import json
import threading
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from quarantine.case import Opened, Repeated
from quarantine.config import Ledger
from quarantine.errors import Misconfigured
from quarantine.ledger import STALE, START, Finding, Report, checked, proven, verify, verify_tree
from quarantine.merkle import Frontier, leaf
from quarantine.model import canonical
from quarantine.note import Checkpoint, Key, Note, Unsigned
from quarantine.sealer import Sealer, anchors_in, key_of, make_key
from quarantine.store.sql import Also, Store
from tests.core.builders import Clock, finding, opened, resource
from tests.core.conftest import Open
from tests.testbed.poll import until

KEY, OTHER = Key("test/log", b"k" * 32), Key("test/log", b"x" * 32)


@pytest.fixture
def sealer(store: Store, clock: Clock) -> Sealer:
    return Sealer(store, KEY, clock, Ledger())


def a_finding(name: str) -> Opened:
    return opened(finding=finding(id=name, resource=resource(name)))


_numbers = count()


def write(store: Store, clock: Clock, cases: int, each: int = 3) -> list[str]:
    ids = []
    for number in range(cases):
        case = store.open(a_finding(f"f-{next(_numbers)}"), "source:test", clock())
        for again in range(each - 1):
            repeated = Repeated(finding=finding(id=f"f-{number}-{again}"))
            case = store.append(case, [repeated], by="source:test", at=clock(), also=Also())
        ids.append(case.id)
    return ids


def verified(store: Store, clock: Clock, anchors: list[str] | None = None, key: Key = KEY) -> Report:
    """As `audit verify` does it: first each chain, then the tree."""
    report = verify(store.chains())
    if report.finding is not Finding.OK:
        return report
    return verify_tree(store.kept(), store.checkpoints(), [key.verifier], clock(), anchors or [])


class Insider:
    """May do anything with the database, and knows how it is made."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url, poolclass=NullPool)
        self._sqlite = url.startswith("sqlite")
        with self._engine.begin() as connection:
            if self._sqlite:
                for (name,) in connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
                    connection.execute(text(f"DROP TRIGGER {name}"))
            else:
                for table in ("events", "leaves", "checkpoints"):
                    connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER ALL"))

    def __call__(self, statement: str, **values: object) -> None:
        with self._engine.begin() as connection:
            connection.execute(text(statement), values)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self._engine.begin() as connection:
            return [tuple(row) for row in connection.execute(text(query)).all()]

    def make_good(self, key: Key | None = None) -> None:
        """Every chain, head, leaf and frontier fits again; with a key, the last checkpoint as well."""
        last: dict[str, str] = {}
        for number, case, content in self.rows("SELECT id, case_id, content FROM events ORDER BY case_id, seq"):
            entry = json.loads(bytes(content))
            entry["prev"] = last.get(str(case), START)
            raw = canonical(entry)
            last[str(case)] = hashlib.sha256(raw).hexdigest()
            change = "UPDATE events SET content = :raw, hash = :hash WHERE id = :id"
            self(change, raw=raw, hash=last[str(case)], id=number)
        for case, head in last.items():
            self("UPDATE cases SET head = :head, seq = (SELECT max(seq) FROM events WHERE case_id = :case) "
                 "WHERE id = :case", head=head, case=case)  # fmt: skip
        query = "SELECT position, content FROM leaves JOIN events ON entry = events.id ORDER BY position"
        leaves = [leaf(bytes(content)) for _, content in self.rows(query)]
        for position, hashed in enumerate(leaves):
            self("UPDATE leaves SET hash = :hash WHERE position = :position", hash=hashed, position=position)
        tree = Frontier().extended(leaves)
        self("UPDATE tree SET size = :size, frontier = :hashes", size=tree.size, hashes=b"".join(tree.hashes))
        if key is not None:
            self("DELETE FROM checkpoints")
            note = Note(Checkpoint(key.verifier.name, tree.size, tree.root).body).signed(key)
            self("INSERT INTO checkpoints VALUES (:size, 0, :note)", size=tree.size, note=str(note))


@pytest.fixture
def insider(database: str, store: Store) -> Callable[[], Insider]:
    return lambda: Insider(database)


# -- sealing -----------------------------------------------------------------------------------------------------------


def test_what_is_written_waits_and_is_sealed_and_signed(store: Store, clock: Clock, sealer: Sealer) -> None:
    write(store, clock, cases=3)
    assert store.unsealed() == 9
    sealer.seal()
    assert store.unsealed() == 0
    (at, note) = store.last_checkpoint() or pytest.fail("no checkpoint")
    assert at == clock()
    assert checked(note, [KEY.verifier]).size == 9
    report = verified(store, clock)
    assert (report.finding, report.entries) == (Finding.OK, 9)


def test_sealing_nothing_signs_nothing(store: Store, clock: Clock, sealer: Sealer) -> None:
    sealer.seal()
    assert store.checkpoints() == []
    write(store, clock, cases=1)
    sealer.seal()
    sealer.seal()
    assert len(store.checkpoints()) == 1


def test_more_than_one_portion_is_one_tree(store: Store, clock: Clock) -> None:
    write(store, clock, cases=4, each=5)
    signed: list[int] = []

    def sign(tree: Frontier) -> str:
        signed.append(tree.size)
        return str(Note(Checkpoint(KEY.verifier.name, tree.size, tree.root).body).signed(KEY))

    while store.seal(sign, clock(), most=7):
        pass
    assert signed == [7, 14, 20]
    assert verified(store, clock).finding is Finding.OK


def test_many_who_seal_and_many_who_write_make_one_tree(open_store: Open, clock: Clock) -> None:
    stores = [open_store(clock=clock) for _ in range(4)]
    over = threading.Event()
    failed: list[BaseException] = []

    def seal(store: Store) -> None:
        sealer = Sealer(store, KEY, clock, Ledger())
        try:
            while not over.is_set():
                sealer.seal()
        except BaseException as error:
            failed.append(error)
            raise

    sealing = [threading.Thread(target=seal, args=(store,)) for store in stores[:2]]
    writing = [threading.Thread(target=write, args=(store, clock, 15)) for store in stores]
    for thread in (*sealing, *writing):
        thread.start()
    for thread in writing:
        thread.join()
    until(lambda: stores[0].unsealed() == 0, seconds=60)
    over.set()
    for thread in sealing:
        thread.join()
    assert failed == []
    Sealer(stores[0], KEY, clock, Ledger()).seal()
    report = verified(stores[0], clock)
    assert (report.finding, report.entries) == (Finding.OK, 4 * 15 * 3), report.sentence


def test_a_death_between_growing_and_signing_leaves_nothing_unsigned(store: Store, clock: Clock) -> None:
    write(store, clock, cases=2)

    def dies(tree: Frontier) -> str:
        raise RuntimeError("killed here")

    with pytest.raises(RuntimeError):
        store.seal(dies, clock())
    assert (store.unsealed(), store.checkpoints()) == (0, [])
    Sealer(store, KEY, clock, Ledger()).seal()
    assert [size for size, _ in store.checkpoints()] == [6]


# -- what is done to it ------------------------------------------------------------------------------------------------


@pytest.fixture
def sealed(store: Store, clock: Clock, sealer: Sealer) -> list[str]:
    """Three cases, sealed and signed in two portions."""
    ids = write(store, clock, cases=2)
    sealer.seal()
    ids += write(store, clock, cases=1)
    sealer.seal()
    return ids


def altered(insider: Insider) -> None:
    raw = insider.rows("SELECT content FROM events ORDER BY id")[1][0]
    entry = json.loads(bytes(raw))
    entry["by"] = "source:nobody"
    insider("UPDATE events SET content = :raw WHERE id = (SELECT min(id) + 1 FROM events)", raw=canonical(entry))


def test_an_edit_that_fits_everywhere_is_found_by_the_signature(
    store: Store, clock: Clock, sealed: list[str], insider: Callable[[], Insider]
) -> None:
    evil = insider()
    altered(evil)
    assert verified(store, clock).finding is Finding.ALTERED
    evil.make_good()
    report = verified(store, clock)
    assert (report.finding, report.sentence) == (
        Finding.ALTERED,
        "the first 6 entries: the entries are not those that were signed",
    )


def test_a_deleted_entry_is_missing(
    store: Store, clock: Clock, sealed: list[str], insider: Callable[[], Insider]
) -> None:
    insider()("DELETE FROM events WHERE id = (SELECT min(id) + 1 FROM events)")
    assert verified(store, clock).finding is Finding.MISSING


def test_a_whole_case_that_was_deleted_is_missing(
    store: Store, clock: Clock, sealed: list[str], insider: Callable[[], Insider]
) -> None:
    evil = insider()
    evil("DELETE FROM events WHERE case_id = :case", case=sealed[0])
    evil("DELETE FROM cases WHERE id = :case", case=sealed[0])
    assert verify(store.chains()).finding is Finding.OK, "no chain knows of it"
    assert verified(store, clock).finding is Finding.MISSING


def test_a_whole_case_that_was_deleted_with_its_leaves_was_cut_off(
    store: Store, clock: Clock, sealed: list[str], insider: Callable[[], Insider]
) -> None:
    evil = insider()
    evil("DELETE FROM leaves WHERE entry IN (SELECT id FROM events WHERE case_id = :case)", case=sealed[2])
    evil("DELETE FROM events WHERE case_id = :case", case=sealed[2])
    evil("DELETE FROM cases WHERE id = :case", case=sealed[2])
    evil.make_good()
    report = verified(store, clock)
    assert (report.finding, report.sentence) == (Finding.TRUNCATED, "9 entries were signed, and 6 are there")


def test_two_entries_that_changed_places_are_found(
    store: Store, clock: Clock, sealed: list[str], insider: Callable[[], Insider]
) -> None:
    evil = insider()
    evil("UPDATE leaves SET position = -1 WHERE position = 1")
    evil("UPDATE leaves SET position = 1 WHERE position = 4")
    evil("UPDATE leaves SET position = 4 WHERE position = -1")
    assert verified(store, clock).finding is Finding.ALTERED


def test_an_entry_that_was_slipped_in_is_found(
    store: Store, clock: Clock, sealed: list[str], insider: Callable[[], Insider]
) -> None:
    """It stands at the end of its case and of the tree, signed by nobody, and claims to be old."""
    evil = insider()
    raw = json.loads(bytes(evil.rows("SELECT content FROM events ORDER BY id DESC")[0][0]))
    raw["seq"], raw["at"] = raw["seq"] + 1, "2020-01-01T00:00:00Z"
    evil("INSERT INTO events (id, case_id, seq, type, content, hash) VALUES (1000, :case, :seq, 'repeated', :raw, '')",
         case=raw["case"], seq=raw["seq"], raw=canonical(raw))  # fmt: skip
    evil.make_good()
    assert verified(store, clock).finding is Finding.UNSIGNED


def test_checkpoints_that_were_cut_off_leave_an_unsigned_end(
    store: Store, clock: Clock, sealed: list[str], insider: Callable[[], Insider]
) -> None:
    insider()("DELETE FROM checkpoints WHERE size > 6")
    assert verified(store, clock).finding is Finding.OK, "for two minutes that may be a sealer that is slow"
    clock.pass_by(STALE + timedelta(seconds=1))
    assert verified(store, clock).finding is Finding.UNSIGNED


def test_who_has_the_key_is_found_by_what_was_kept_elsewhere(
    store: Store, clock: Clock, sealed: list[str], insider: Callable[[], Insider]
) -> None:
    anchored = [note for _, note in store.checkpoints()]
    evil = insider()
    altered(evil)
    evil.make_good(KEY)
    assert verified(store, clock).finding is Finding.OK, "nothing here gives it away"
    report = verified(store, clock, anchored)
    assert (report.finding, report.sentence) == (Finding.FORK, "the first 6 entries: another history was anchored")


def test_who_has_the_key_and_cuts_the_end_off_is_found_too(
    store: Store, clock: Clock, sealed: list[str], insider: Callable[[], Insider]
) -> None:
    anchored = [note for _, note in store.checkpoints()]
    evil = insider()
    for table in ("leaves WHERE entry IN (SELECT id FROM events WHERE case_id = :case)", "events WHERE case_id = :case",
                  "cases WHERE id = :case"):  # fmt: skip
        evil(f"DELETE FROM {table}", case=sealed[2])  # noqa: S608 - a test's own words
    evil.make_good(KEY)
    assert verified(store, clock).finding is Finding.OK
    assert verified(store, clock, anchored).finding is Finding.TRUNCATED


def test_a_record_signed_anew_with_another_key_is_not_trusted(
    store: Store, clock: Clock, sealed: list[str], insider: Callable[[], Insider]
) -> None:
    evil = insider()
    altered(evil)
    evil.make_good(OTHER)
    assert verified(store, clock).finding is Finding.KEY


@pytest.mark.parametrize("change", ["'x' || note", "replace(note, '9', '8')", "''", "substr(note, 1, 40)"])
def test_a_checkpoint_that_was_touched_is_not_trusted(
    store: Store, clock: Clock, sealed: list[str], insider: Callable[[], Insider], change: str
) -> None:
    insider()(f"UPDATE checkpoints SET note = {change}")  # noqa: S608 - a test's own words
    assert verified(store, clock).finding is Finding.KEY


@pytest.mark.parametrize("table", ["events", "leaves", "checkpoints"])
def test_by_mistake_nobody_changes_the_record(
    store: Store, clock: Clock, sealed: list[str], database: str, table: str
) -> None:
    engine = create_engine(database, poolclass=NullPool)
    column = {"events": "type", "leaves": "entry", "checkpoints": "note"}[table]
    for statement in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"):  # noqa: S608 - its own words
        with pytest.raises(Exception, match="never changed or deleted"), engine.begin() as connection:
            connection.execute(text(statement))


def test_replacing_an_entry_on_sqlite_is_no_way_around_it(store: Store, sealed: list[str]) -> None:
    """INSERT OR REPLACE deletes without a trigger on delete, in whoever's program leaves recursive_triggers off."""
    if not store.url.startswith("sqlite"):
        return
    engine = create_engine(store.url, poolclass=NullPool)
    copy = "INSERT OR REPLACE INTO events SELECT id, case_id, seq, type, 'x', hash FROM events WHERE id = 1"
    with pytest.raises(Exception, match="never replaced"), engine.begin() as connection:
        connection.execute(text(copy))


# -- proofs ------------------------------------------------------------------------------------------------------------


def test_every_entry_is_proven_with_the_public_key_alone(store: Store, clock: Clock, sealed: list[str]) -> None:
    for case in sealed:
        for seq in (1, 2, 3):
            proof = store.proof(case, seq)
            assert proof is not None and len(proof) < 4096
            recorded, checkpoint = proven(proof, [KEY.verifier])
            assert (recorded.case, recorded.seq, checkpoint.size) == (case, seq, 9)
    last = store.proof(sealed[0], None)
    assert last is not None and proven(last, [KEY.verifier])[0].seq == 3


def test_what_is_not_signed_yet_has_no_proof(store: Store, clock: Clock, sealer: Sealer) -> None:
    (case,) = write(store, clock, cases=1)
    assert store.proof(case, None) is None
    sealer.seal()
    assert store.proof(case, 4) is None
    assert store.proof("c-000000000000", None) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_proof_that_was_changed_anywhere_proves_nothing(
    store: Store, clock: Clock, sealed: list[str], data: st.DataObject
) -> None:
    proof = store.proof(sealed[1], 2)
    assert proof is not None
    genuine = proven(proof, [KEY.verifier])
    place = data.draw(st.integers(0, len(proof) - 1))
    other = data.draw(st.sampled_from("AB1 \n=x").filter(lambda character: character != proof[place]))
    try:
        assert proven(proof[:place] + other + proof[place + 1 :], [KEY.verifier]) == genuine
    except Unsigned:
        return
    raise AssertionError(f"{proof[place]!r} at {place} became {other!r}, and it proves the same")


def test_a_proof_by_another_key_proves_nothing(store: Store, clock: Clock, sealed: list[str]) -> None:
    proof = store.proof(sealed[0], 1)
    assert proof is not None
    with pytest.raises(Unsigned, match="none of the trusted keys"):
        proven(proof, [OTHER.verifier])


# -- key and anchors ---------------------------------------------------------------------------------------------------


def test_a_key_is_made_once_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "data" / "ledger.key"
    made = make_key(path, "test/log")
    assert path.stat().st_mode & 0o777 == 0o600
    assert key_of(path).verifier == made.verifier
    with pytest.raises(Misconfigured, match="never written over"):
        make_key(path, "test/log")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "ledger.key"
    make_key(path, "test/log")
    path.chmod(mode)
    with pytest.raises(Misconfigured, match=f"can be read by others: chmod 600 {path}"):
        key_of(path)


@pytest.mark.parametrize("text", ["", "PRIVATE+KEY+", "PRIVATE+KEY+a+00000000+####", "-----BEGIN PRIVATE KEY-----"])
def test_what_is_no_key_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ledger.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(Misconfigured, match=r"no key|no Ed25519 key"):
        key_of(path)
    with pytest.raises(Misconfigured, match="there is no ledger key"):
        key_of(tmp_path / "nowhere")


def test_a_key_that_was_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.key"
    make_key(path, "test/log")
    path.write_text(path.read_text().replace("test/log", "test/lag"))
    with pytest.raises(Misconfigured, match="its hash does not fit"):
        key_of(path)


def test_checkpoints_are_anchored_at_most_so_often_and_are_what_verification_compares(
    store: Store, clock: Clock, tmp_path: Path
) -> None:
    path = tmp_path / "anchors"
    sealer = Sealer(store, KEY, clock, Ledger(anchor=path, anchor_every=timedelta(seconds=60)))
    sealer.anchor()
    assert not path.exists(), "nothing is signed yet"
    for _ in range(3):
        write(store, clock, cases=1)
        sealer.seal()
        sealer.anchor()
        clock.pass_by(timedelta(seconds=40))
    assert [checked(note, [KEY.verifier]).size for note in anchors_in(path)] == [3, 9]
    sealer.anchor()
    assert len(anchors_in(path)) == 2, "nothing is new"
    assert verified(store, clock, anchors_in(path)).finding is Finding.OK


def test_the_thread_seals_what_comes_and_what_is_left_when_it_stops(store: Store, clock: Clock) -> None:
    sealer = Sealer(store, KEY, clock, Ledger(), beat=0.01)
    sealer.start()
    write(store, clock, cases=2)
    until(lambda: store.last_checkpoint() is not None and store.unsealed() == 0, seconds=30)
    slow = Sealer(store, KEY, clock, Ledger(), beat=3600)
    slow.start()
    sealer.stop()
    write(store, clock, cases=1)
    slow.stop()
    assert store.unsealed() == 0
    assert verified(store, clock).finding is Finding.OK
