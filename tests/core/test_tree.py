"""The sealed record on both databases: what is written is sealed, signed, proven. See also test_tamper.py."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool

from quarantine.audit import Finding, Report, Trust, verify_signed
from quarantine.case import Opened, Repeated
from quarantine.config import Ledger
from quarantine.errors import Misconfigured
from quarantine.journal import KeyRotated
from quarantine.ledger import checked, proven
from quarantine.merkle import Frontier
from quarantine.note import Checkpoint, Key, Note, Unsigned
from quarantine.sealer import Sealer, anchors_in, key_of, make_key
from quarantine.store import schema
from quarantine.store.sql import Also, Store
from quarantine.store.tree import Lag
from quarantine.succession import statement
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


def verified(store: Store, clock: Clock, anchors: Sequence[str] = ()) -> Report:
    with store.record() as record:
        return verify_signed(record, Trust([KEY.verifier], clock(), anchors))


def signed(store: Store) -> list[int]:
    """The sizes of the checkpoints."""
    with store.record() as record:
        return [checked(note, [KEY.verifier]).size for note in record.checkpoints()]


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


def test_how_far_a_state_is_behind_is_counted_from_the_oldest_entry_that_it_does_not_cover(
    store: Store, clock: Clock, sealer: Sealer
) -> None:
    assert store.lag(0) == Lag(0, None)
    began = clock()
    write(store, clock, cases=1)
    sealer.seal()
    assert (store.lag(0), store.lag(3)) == (Lag(3, began), Lag(0, None))
    clock.pass_by(timedelta(seconds=40))
    write(store, clock, cases=1)
    assert store.lag(3) == Lag(3, clock()), "what waits to be sealed counts too"
    assert store.lag(1) == Lag(5, began)
    sealer.seal()
    assert store.lag(3) == Lag(3, clock())


class Module:
    """A signer that gives nothing away but signatures, as a KMS or an HSM: all that the port asks for."""

    def __init__(self, seed: bytes) -> None:
        self._sign = Key("test/log", seed).sign
        self.verifier = Key("test/log", seed).verifier

    def sign(self, message: bytes) -> bytes:
        return self._sign(message)


def test_a_key_that_nobody_can_read_seals_too_and_can_be_followed_by_another(store: Store, clock: Clock) -> None:
    old, new = Module(b"k" * 32), Module(b"n" * 32)
    store.log_key(str(old.verifier))
    write(store, clock, cases=1)
    Sealer(store, old, clock, Ledger()).seal()
    store.rotate(
        str(old.verifier),
        str(new.verifier),
        KeyRotated(statement=statement(old, new), reason="a new module"),
        "local:ann",
        clock(),
    )
    Sealer(store, new, clock, Ledger()).seal()
    report = verified(store, clock)
    assert (report.finding, report.entries) == (Finding.OK, 4), report.sentence


def test_sealing_nothing_signs_nothing(store: Store, clock: Clock, sealer: Sealer) -> None:
    sealer.seal()
    assert signed(store) == []
    write(store, clock, cases=1)
    sealer.seal()
    sealer.seal()
    assert signed(store) == [3]


def test_more_than_one_portion_is_one_tree(store: Store, clock: Clock) -> None:
    write(store, clock, cases=4, each=5)
    sizes: list[int] = []

    def sign(tree: Frontier) -> str:
        sizes.append(tree.size)
        return str(Note(Checkpoint(KEY.verifier.name, tree.size, tree.root).body).signed(KEY))

    while store.seal(sign, clock(), most=7):
        pass
    assert sizes == [7, 14, 20]
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
    assert (store.unsealed(), signed(store)) == (0, [])
    Sealer(store, KEY, clock, Ledger()).seal()
    assert signed(store) == [6]


# -- what is done to it by mistake -------------------------------------------------------------------------------------


@pytest.fixture
def sealed(store: Store, clock: Clock, sealer: Sealer) -> list[str]:
    """Three cases, sealed and signed in two portions."""
    ids = write(store, clock, cases=2)
    sealer.seal()
    ids += write(store, clock, cases=1)
    sealer.seal()
    return ids


@pytest.mark.parametrize("table", ["events", "leaves", "checkpoints"])
def test_by_mistake_nobody_changes_the_record(
    store: Store, clock: Clock, sealed: list[str], database: str, table: str
) -> None:
    engine = create_engine(database, poolclass=NullPool)
    column = {"events": "type", "leaves": "entry", "checkpoints": "note"}[table]
    for change in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"):  # noqa: S608 - its own words
        with pytest.raises(Exception, match="never changed or deleted"), engine.begin() as connection:
            connection.execute(text(change))


def test_replacing_an_entry_on_sqlite_is_no_way_around_it(store: Store, clock: Clock, sealed: list[str]) -> None:
    """INSERT OR REPLACE deletes without a trigger on delete, in whoever's program leaves recursive_triggers off."""
    if not store.url.startswith("sqlite"):
        return
    store.cosign(9, "w", clock(), "line")
    engine = create_engine(store.url, poolclass=NullPool)
    for table in schema.RECORDS:
        with engine.begin() as connection:
            columns = [column.name for column in schema.metadata.tables[table].columns]
            before = connection.execute(text(f"SELECT * FROM {table}")).all()  # noqa: S608 - our own names
        copied = ", ".join([*columns[:-1], "'x'"])
        with suppress(DatabaseError), engine.begin() as connection:
            connection.execute(text(f"INSERT OR REPLACE INTO {table} SELECT {copied} FROM {table}"))  # noqa: S608
        with engine.begin() as connection:
            assert before and connection.execute(text(f"SELECT * FROM {table}")).all() == before  # noqa: S608


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
