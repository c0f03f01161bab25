"""The key of the record changes: that is recorded, a verifier follows it, and a retired key signs nothing more."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from quarantine.audit import Finding, Report, Trust, verify_signed
from quarantine.config import Ledger
from quarantine.errors import Misconfigured, Superseded
from quarantine.journal import KeyRotated
from quarantine.merkle import Frontier
from quarantine.note import Checkpoint, Key, Note, Unsigned, Verifier
from quarantine.sealer import NEXT, Sealer, key_in_use, key_of, make_key, rotate
from quarantine.store.sql import Store
from quarantine.succession import Succession, read, statement
from tests.core.builders import Clock
from tests.core.test_tree import write

OLD, NEW, THIRD = (Key("test/log", seed * 32) for seed in (b"o", b"n", b"t"))
STRANGER, ELSEWHERE = Key("test/log", b"s" * 32), Key("other/log", b"e" * 32)


def note(key: Key, size: int) -> str:
    tree = Frontier().extended([bytes(32)] * size)
    return str(Note(Checkpoint("test/log", size, tree.root).body).signed(key))


# -- statements and keys -----------------------------------------------------------------------------------------------


def test_a_statement_names_both_keys_and_is_signed_by_both() -> None:
    assert read(statement(OLD, NEW)) == (OLD.verifier, NEW.verifier)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (statement(OLD, ELSEWHERE), "another log"),
        (statement(OLD, OLD), "both keys"),
        (statement(OLD, NEW).replace("rotation v1", "rotation v2"), "no statement"),
        (statement(OLD, NEW).rpartition("— ")[0], "both keys"),
        (statement(OLD, NEW).replace(str(NEW.verifier), str(THIRD.verifier)), "is wrong"),
        (note(OLD, 3), "no statement"),
        ("", "no signatures"),
    ],
    ids=["another log", "the same key", "another title", "one signature", "another new key", "a checkpoint", "nothing"],
)
def test_what_is_no_statement_is_refused(text: str, why: str) -> None:
    with pytest.raises(Unsigned, match=why):
        read(text)


@pytest.mark.parametrize("trusted", [OLD, NEW, THIRD])
def test_who_trusts_one_key_trusts_each_for_its_time(trusted: Key) -> None:
    keys = Succession([trusted.verifier], [(4, statement(OLD, NEW)), (9, statement(NEW, THIRD))])
    for size, key in ((0, OLD), (4, OLD), (5, NEW), (9, NEW), (10, THIRD), (99, THIRD)):
        assert keys.checked(note(key, size)).size == size
        for other in {OLD, NEW, THIRD, STRANGER} - {key}:
            with pytest.raises(Unsigned, match="none of the trusted keys"):
                keys.checked(note(other, size))


def test_keys_that_do_not_follow_each_other_are_refused() -> None:
    with pytest.raises(Unsigned, match="was not in use"):
        Succession([OLD.verifier], [(4, statement(OLD, NEW)), (9, statement(STRANGER, THIRD))])
    with pytest.raises(Unsigned, match="none of the keys that followed each other"):
        Succession([STRANGER.verifier], [(4, statement(OLD, NEW))])


# -- in a record -------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.key"


@pytest.fixture
def sealer(store: Store, clock: Clock, path: Path) -> Sealer:
    key = make_key(path, "test/log")
    store.log_key(str(key.verifier))
    return Sealer(
        store, key, clock, Ledger(), renewed=lambda: key_in_use(path, store.log_key() or "") if path.exists() else None
    )


def verified(store: Store, clock: Clock, key: Verifier, *anchors: str) -> Report:
    with store.record() as record:
        return verify_signed(record, Trust([key], clock(), anchors))


def test_the_record_goes_on_under_the_new_key_and_both_verify_it(
    store: Store, clock: Clock, sealer: Sealer, path: Path
) -> None:
    old = key_of(path).verifier
    write(store, clock, cases=1)
    sealer.seal()
    new = rotate(store, path, "local:ann", clock(), "once a year").verifier
    write(store, clock, cases=1)
    sealer.seal()
    assert [entry.event.type for entry in store.journal()] == ["key_rotated"]
    assert (key_of(path).verifier, store.log_key()) == (new, str(new))
    assert key_of(path.with_name(f"ledger.key.until-{old.id.hex()}")).verifier == old
    for key in (old, new):
        report = verified(store, clock, key)
        assert (report.finding, report.entries, report.cases) == (Finding.OK, 7, 2), report.sentence
    assert verified(store, clock, STRANGER.verifier).finding is Finding.KEY


def test_a_retired_key_that_signs_on_is_found(store: Store, clock: Clock, sealer: Sealer, path: Path) -> None:
    retired = key_of(path)
    write(store, clock, cases=1)
    new = rotate(store, path, "local:ann", clock(), "it was stolen").verifier
    sealer.seal()
    write(store, clock, cases=1)
    while store.seal(
        lambda tree: str(Note(Checkpoint("test/log", tree.size, tree.root).body).signed(retired)), clock()
    ):
        pass
    assert verified(store, clock, new).finding is Finding.KEY


def test_a_sealer_with_the_retired_key_signs_nothing(store: Store, clock: Clock, path: Path, sealer: Sealer) -> None:
    stale = Sealer(store, key_of(path), clock, Ledger())
    rotate(store, path, "local:ann", clock(), "")
    write(store, clock, cases=1)
    with pytest.raises(Superseded):
        stale.seal()
    assert store.last_checkpoint() is None
    sealer.seal()
    assert store.last_checkpoint() is not None


def test_a_change_that_died_before_it_was_recorded_never_was(
    store: Store, clock: Clock, sealer: Sealer, path: Path
) -> None:
    old = key_of(path).verifier
    make_key(path.with_name(path.name + NEXT), "test/log")
    assert key_in_use(path, str(old)).verifier == old
    new = rotate(store, path, "local:ann", clock(), "").verifier
    sealer.seal()
    assert verified(store, clock, new).finding is Finding.OK


@pytest.mark.parametrize("old_is_there", [True, False])
def test_a_change_that_died_after_it_was_recorded_is_brought_to_its_end(
    store: Store, clock: Clock, sealer: Sealer, path: Path, old_is_there: bool
) -> None:
    old, new = key_of(path), make_key(path.with_name(path.name + NEXT), "test/log")
    act = KeyRotated(statement=statement(old, new), reason="")
    store.rotate(str(old.verifier), str(new.verifier), act, "local:ann", clock())
    if not old_is_there:
        path.rename(path.with_name("ledger.key.until-somewhere"))
    assert key_in_use(path, store.log_key() or "").verifier == new.verifier
    assert key_of(path).verifier == new.verifier
    sealer.seal()
    assert verified(store, clock, old.verifier).finding is Finding.OK


def test_two_who_change_the_key_at_once_do_not_both(store: Store, clock: Clock, sealer: Sealer, path: Path) -> None:
    old = key_of(path)
    rotate(store, path, "local:ann", clock(), "")
    act = KeyRotated(statement=statement(old, THIRD), reason="")
    with pytest.raises(Superseded):
        store.rotate(str(old.verifier), str(THIRD.verifier), act, "local:bob", clock())
    assert len(store.journal()) == 1, "nothing of it is recorded"


def test_a_key_that_is_not_that_of_the_record_is_refused(store: Store, clock: Clock, path: Path) -> None:
    make_key(path, "test/log")
    with pytest.raises(Misconfigured, match="is not the key that this record is signed with"):
        rotate(store, path, "local:ann", clock(), "")


def test_the_new_key_is_recorded_in_an_entry_that_anybody_can_read(
    store: Store, clock: Clock, sealer: Sealer, path: Path
) -> None:
    new = rotate(store, path, "local:ann", clock(), "it was stolen").verifier
    sealer.seal()
    with store.record() as record:
        (entry,) = [json.loads(sealed.content) for chain in record.chains() for sealed in chain.entries]
    assert (entry["case"], entry["by"], entry["event"]["reason"]) == ("installation", "local:ann", "it was stolen")
    assert str(new) in entry["event"]["statement"]
    clock.pass_by(timedelta(days=400))
    assert verified(store, clock, new).finding is Finding.OK
