"""Whatever is done to the record is found, with the exit code of its class: in both databases, and in a bundle.

Who rewrites it until every hash fits is found by the checkpoints; who has the key too, by those kept elsewhere.
"""

import hashlib
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quarantine.action import Artifact
from quarantine.audit import STALE, Damaged, Finding, Report
from quarantine.bundle import Bundle
from quarantine.case import Captured, Recorded, Redacted
from quarantine.commitment import Disclosure
from quarantine.config import Ledger
from quarantine.ledger import Sealed, seal
from quarantine.note import Key
from quarantine.sealer import Sealer
from quarantine.store.sql import Store
from tests.core.builders import NOW, Clock, custody, salt
from tests.core.tampering import Database, Exported, Medium, Rows
from tests.core.test_tree import KEY, OTHER, write


@pytest.fixture(params=["sqlite", "postgresql", "bundle"])
def medium(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Medium]:
    """Three cases of three entries, signed after two of them and after all; the last entry captured something."""
    postgres = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    url = postgres.fresh_database() if postgres else f"sqlite:///{tmp_path / 'record.db'}"
    store = Store(url, clock=clock)
    store.migrate()
    write(store, clock, cases=3)
    Sealer(store, KEY, clock, Ledger()).seal()
    made: Medium = Exported(store, tmp_path) if request.param == "bundle" else Database(store, tmp_path)
    rows = made.load()
    piece = made.evidence.keep(Artifact(name="log", media_type="text/plain", content=b"what it said"))
    of_case = rows.of(rows.entries[-1].case)
    last = rows.entries[of_case[-1]]
    captured = Captured(step=0, evidence=(piece,), custody=custody())
    recorded = Recorded(case=last.case, seq=last.seq, at=NOW, by="engine", event=captured)
    rows.entries[of_case[-1]] = replace(last, content=seal(recorded, "", salt).content, disclosures=())
    rows.make_good(KEY)
    rows.notes.insert(0, rows.note(KEY, 6))
    made.save(rows)
    yield made
    store.close()
    if postgres:
        postgres.drop_database(url)


@pytest.fixture
def rows(medium: Medium) -> Rows:
    return medium.load()


@pytest.fixture
def found(medium: Medium, rows: Rows, clock: Clock) -> Callable[..., Report]:
    """The verdict over the rows as they are now."""
    anchors = list(rows.notes)

    def verify(*, anchored: bool = False, key: Key = KEY) -> Report:
        medium.save(rows)
        return medium.verified(key, clock(), anchors if anchored else [])

    return verify


Found = Callable[..., Report]


def somebody(content: dict[str, object]) -> None:
    content["by"] = "source:nobody"


def cases(rows: Rows) -> list[str]:
    """In the order of the tree."""
    return list(dict.fromkeys(entry.case for entry in rows.entries))


def test_untouched_it_is_whole(rows: Rows, found: Found) -> None:
    report = found(anchored=True)
    assert (report.finding, report.entries, report.cases, report.evidence) == (Finding.OK, 9, 3, 1)
    assert report.sentence == (
        "9 entries in 3 cases, every chain is whole; 9 entries in the tree, the last of 2 checkpoints covers 9; "
        "1 piece of evidence as recorded"
    )


# -- one thing is changed, and nothing is made to fit ------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 4, 8], ids=["first", "middle", "last"])
def test_a_byte(rows: Rows, found: Found, place: int) -> None:
    content = bytearray(rows.entries[place].content)
    content[40] ^= 1
    rows.entries[place] = replace(rows.entries[place], content=bytes(content))
    assert found().finding is Finding.ALTERED


@pytest.mark.parametrize(("place", "code"), [(0, 21), (1, 21), (2, 22)], ids=["first", "middle", "last"])
def test_an_entry_is_deleted(rows: Rows, found: Found, place: int, code: int) -> None:
    del rows.entries[rows.of(cases(rows)[0])[place]]
    assert found().finding == code


def test_a_case_is_deleted(rows: Rows, found: Found) -> None:
    rows.drop(cases(rows)[0])
    assert found().finding is Finding.MISSING


def test_only_the_row_of_a_case_is_deleted(rows: Rows, found: Found) -> None:
    del rows.cases[cases(rows)[1]]
    report = found()
    assert (report.finding, "was deleted, and entries of it are still there" in report.sentence) == (21, True)


def test_two_entries_change_places_in_the_tree(rows: Rows, found: Found) -> None:
    first, second = rows.entries[1], rows.entries[4]
    rows.entries[1] = replace(first, position=second.position)
    rows.entries[4] = replace(second, position=first.position)
    assert found().finding is Finding.ALTERED


def test_two_entries_change_places_in_their_case(rows: Rows, found: Found) -> None:
    first, second = (rows.entries[index] for index in rows.of(cases(rows)[0])[:2])
    rows.entries[0] = replace(first, content=second.content, hash=second.hash, leaf=second.leaf)
    rows.entries[1] = replace(second, content=first.content, hash=first.hash, leaf=first.leaf)
    assert found().finding is Finding.ALTERED


def test_an_entry_stands_twice(rows: Rows, found: Found) -> None:
    rows.entries.append(replace(rows.entries[1], position=9))
    assert found().finding is Finding.MISSING


def test_two_entries_claim_one_place(rows: Rows, found: Found) -> None:
    rows.entries[1] = replace(rows.entries[1], position=2)
    report = found()
    assert (report.finding, report.sentence) == (21, "two entries stand at place 2 of the tree")


@pytest.mark.parametrize("place", [-1, 9, 10**15])
def test_an_entry_claims_a_place_that_is_none(rows: Rows, found: Found, place: int) -> None:
    rows.entries[1] = replace(rows.entries[1], position=place)
    assert found().finding is Finding.MISSING


def test_an_entry_is_taken_out_of_the_tree(rows: Rows, found: Found) -> None:
    """As if it had been written just now, and waited to be sealed."""
    rows.entries[1] = replace(rows.entries[1], position=None, leaf=b"")
    assert found().finding is Finding.MISSING


def test_another_entry_hashes_to_the_leaf(rows: Rows, found: Found) -> None:
    rows.entries[1] = replace(rows.entries[1], leaf=rows.entries[2].leaf)
    report = found()
    assert (report.finding, "its bytes are not those that were sealed" in report.sentence) == (20, True)


def test_a_byte_of_evidence(rows: Rows, found: Found, tmp_path: Path) -> None:
    (path,) = [path for path in (tmp_path / "evidence").rglob("*") if path.is_file()]
    path.write_bytes(b"what it shaid")
    report = found()
    assert (report.finding, "is not what was recorded" in report.sentence) == (26, True)


def test_evidence_that_is_not_here_is_said_and_is_no_fault(rows: Rows, found: Found, tmp_path: Path) -> None:
    for path in (tmp_path / "evidence").rglob("*"):
        if path.is_file():
            path.unlink()
    report = found()
    assert (report.finding, report.elsewhere) == (Finding.OK, 1)
    assert "0 pieces of evidence as recorded, 1 not here" in report.sentence


# -- sensitive values, beside the entries that commit to them ----------------------------------------------------------


def beside(rows: Rows, place: int, *disclosures: Disclosure) -> None:
    rows.entries[place] = replace(rows.entries[place], disclosures=disclosures)


def redact(rows: Rows, *places: int) -> None:
    """As we do it: an entry at the end of the case that names what was erased. Signed by us."""
    last = rows.entries[rows.of(rows.entries[places[0]].case)[-1]]
    gone = tuple(item.commitment for place in places for item in rows.entries[place].disclosures)
    redacted = Recorded(
        case=last.case, seq=last.seq + 1, at=NOW, by="local:ann", event=Redacted(commitments=gone, reason="a name")
    )
    rows.entries.append(seal(redacted, "", salt))
    for place in places:
        beside(rows, place)
    rows.make_good(KEY)


def test_a_redaction_leaves_the_record_whole(rows: Rows, found: Found) -> None:
    redact(rows, 0, 1)
    report = found()
    assert (report.finding, report.redacted) == (Finding.OK, 2)
    assert "every chain is whole, 2 values redacted as recorded" in report.sentence


@pytest.mark.parametrize("place", [0, 4, 7], ids=["first", "middle", "last"])
def test_a_redaction_without_a_record(rows: Rows, found: Found, place: int) -> None:
    beside(rows, place)
    report = found()
    assert (report.finding, "its finding.title was erased, and no entry says" in report.sentence) == (21, True)


def test_a_redaction_that_is_recorded_for_another_value(rows: Rows, found: Found) -> None:
    redact(rows, 0)
    beside(rows, 1)
    assert found().finding is Finding.MISSING


def test_a_redaction_that_is_recorded_in_another_case(rows: Rows, found: Found) -> None:
    redact(rows, 0)
    rows.entries[-1] = replace(rows.entries[-1], case=rows.entries[8].case, seq=4)
    rows.edit(len(rows.entries) - 1, lambda content: content.update(case=rows.entries[8].case, seq=4))
    rows.make_good(KEY)
    assert found().finding is Finding.MISSING or found().finding is Finding.ALTERED


def test_what_was_redacted_is_back(rows: Rows, found: Found) -> None:
    was = rows.entries[0].disclosures
    redact(rows, 0)
    beside(rows, 0, *was)
    report = found()
    assert (report.finding, "a value was erased which is there" in report.sentence) == (20, True)


def test_another_value_stands_beside_an_entry(rows: Rows, found: Found) -> None:
    ((name, content),) = rows.entries[4].disclosures
    beside(rows, 4, Disclosure(name, content.replace(b"shell", b"spell")))
    report = found()
    assert (report.finding, "is not the one that it commits to" in report.sentence) == (20, True)


def test_two_entries_change_their_values(rows: Rows, found: Found) -> None:
    first, second = rows.entries[0].disclosures, rows.entries[1].disclosures
    beside(rows, 0, *second)
    beside(rows, 1, *first)
    assert found().finding is Finding.ALTERED


def test_a_value_that_nothing_commits_to(rows: Rows, found: Found) -> None:
    beside(rows, 4, *rows.entries[4].disclosures, Disclosure("0" * 64, b'["","planted"]'))
    report = found()
    assert (report.finding, "a value that it does not commit to" in report.sentence) == (20, True)


def test_a_value_in_the_open_was_never_written_by_us(rows: Rows, found: Found) -> None:
    rows.edit(0, lambda content: content["event"]["finding"].update(title="a shell"))
    rows.make_good(KEY)
    report = found()
    assert (report.finding, "its finding.title stands there without a commitment" in report.sentence) == (27, True)


def test_a_redaction_that_does_not_say_of_what(rows: Rows, found: Found) -> None:
    redact(rows, 0)
    rows.edit(9, lambda content: content["event"].pop("commitments"))
    rows.make_good(KEY)
    assert found().finding is Finding.MALFORMED


# -- every chain, head and leaf is made to fit -------------------------------------------------------------------------


def test_an_edit_that_fits(rows: Rows, found: Found) -> None:
    rows.edit(1, somebody)
    rows.make_good()
    report = found()
    assert (report.finding, report.sentence) == (20, "the first 6 entries: the entries are not those that were signed")


def test_keys_of_json_in_another_order(rows: Rows, found: Found) -> None:
    entry = rows.entries[8]
    content = json.dumps(dict(reversed(json.loads(entry.content).items())), separators=(",", ":")).encode()
    hashed = Sealed(entry.case, entry.seq, content, hashlib.sha256(content).hexdigest())
    rows.entries[8] = replace(hashed, position=8)
    rows.cases[entry.case] = (3, hashed.hash)
    assert found().finding is Finding.MALFORMED


def test_a_case_at_the_end_is_cut_off(rows: Rows, found: Found) -> None:
    rows.drop(cases(rows)[2])
    rows.make_good()
    report = found()
    assert (report.finding, report.sentence) == (22, "9 entries were signed, and 6 are there")


def test_an_entry_is_slipped_in(rows: Rows, found: Found) -> None:
    """At the end of its case and of the tree, signed by nobody; it claims to be old."""
    last = rows.entries[8]
    rows.entries.append(replace(last, seq=4))
    rows.edit(9, lambda content: content.update(seq=4, at="2020-01-01T00:00:00Z"))
    rows.make_good()
    assert found().finding is Finding.UNSIGNED


def test_an_entry_that_does_not_say_when_is_no_new_one(rows: Rows, found: Found) -> None:
    rows.entries.append(replace(rows.entries[8], seq=4))
    rows.edit(9, lambda content: content.update(seq=4, at="soon"))
    rows.make_good()
    assert found().finding is Finding.UNSIGNED


# -- checkpoints -------------------------------------------------------------------------------------------------------


def test_the_last_checkpoint_is_cut_off(rows: Rows, found: Found, clock: Clock) -> None:
    del rows.notes[1]
    assert found().finding is Finding.OK, "for two minutes that may be a sealer that is slow"
    clock.pass_by(STALE + timedelta(seconds=1))
    assert found().finding is Finding.UNSIGNED


def test_an_older_checkpoint_stands_in_place_of_the_last(rows: Rows, found: Found, clock: Clock) -> None:
    """What it covers is what is signed in it, whatever the row says."""
    rows.notes[1] = rows.notes[0]
    clock.pass_by(STALE + timedelta(seconds=1))
    assert found().finding is Finding.UNSIGNED


@pytest.mark.parametrize(
    "change",
    [lambda note: "x" + note, lambda note: note.replace("\n9\n", "\n8\n"), lambda note: "", lambda note: note[:40]],
    ids=["origin", "size", "empty", "half"],
)
def test_a_checkpoint_is_touched(rows: Rows, found: Found, change: Callable[[str], str]) -> None:
    rows.notes[1] = change(rows.notes[1])
    assert found().finding is Finding.KEY


def test_all_is_signed_anew_with_another_key(rows: Rows, found: Found) -> None:
    rows.edit(1, somebody)
    rows.make_good(OTHER)
    assert found().finding is Finding.KEY


def test_the_verifier_trusts_another_key(rows: Rows, found: Found) -> None:
    assert found(key=OTHER).finding is Finding.KEY


# -- who has the key too -----------------------------------------------------------------------------------------------


def test_a_fork(rows: Rows, found: Found) -> None:
    rows.edit(1, somebody)
    rows.make_good(KEY)
    assert found().finding is Finding.OK, "nothing here gives it away"
    report = found(anchored=True)
    assert (report.finding, report.sentence) == (23, "the first 6 entries: another history was anchored")


def test_the_end_is_cut_off_beyond_an_anchor(rows: Rows, found: Found) -> None:
    rows.drop(cases(rows)[2])
    rows.make_good(KEY)
    assert found().finding is Finding.OK
    report = found(anchored=True)
    assert (report.finding, report.sentence) == (22, "9 entries were anchored, and 6 are there")


def test_the_record_is_taken_back_to_what_it_was(rows: Rows, found: Found) -> None:
    """A backup from before is put in its place: whole, signed, and too short."""
    rows.drop(cases(rows)[2])
    rows.notes = rows.notes[:1]
    assert found().finding is Finding.OK
    assert found(anchored=True).finding is Finding.TRUNCATED


def test_an_anchor_of_another_log_is_not_trusted(medium: Medium, rows: Rows, clock: Clock) -> None:
    assert medium.verified(KEY, clock(), [rows.note(OTHER)]).finding is Finding.KEY


# -- any change --------------------------------------------------------------------------------------------------------


def stored(rows: Rows) -> list[tuple[str, int, str]]:
    """Every byte that means something, as (what, index, field)."""
    fields = [("entry", index, field) for index in range(len(rows.entries)) for field in ("content", "hash", "leaf")]
    fields += [("value", index, "") for index, entry in enumerate(rows.entries) if entry.disclosures]
    return fields + [("note", index, "") for index in range(len(rows.notes))]


@pytest.mark.parametrize("seed", range(16))
def test_any_one_byte(rows: Rows, found: Found, seed: int) -> None:
    """Not one byte of an entry, of a hash, of a value or of a checkpoint can be another one."""
    choose = random.Random(seed)
    what, index, field = choose.choice(stored(rows))
    if what == "note":
        raw = bytearray(rows.notes[index].encode())
        raw[choose.randrange(len(raw))] = choose.choice(b"AQxyz09")
        was, rows.notes[index] = rows.notes[index], raw.decode("utf-8", "replace")
        changed = was != rows.notes[index]
    elif what == "value":
        ((name, was_beside),) = rows.entries[index].disclosures
        raw = bytearray(was_beside)
        raw[choose.randrange(len(raw))] = choose.choice(b"AQxyz09")
        beside(rows, index, Disclosure(name, bytes(raw)))
        changed = was_beside != raw
    else:
        value = getattr(rows.entries[index], field)
        raw = bytearray(value.encode() if isinstance(value, str) else value)
        raw[choose.randrange(len(raw))] = choose.choice(b"09afgz")
        new = raw.decode() if isinstance(value, str) else bytes(raw)
        rows.entries[index] = replace(rows.entries[index], **{field: new})  # type: ignore[arg-type]
        changed = new != value
    assert (found().finding is Finding.OK) is not changed


# -- a bundle as a file ------------------------------------------------------------------------------------------------


@pytest.fixture
def bundle(tmp_path: Path, clock: Clock) -> Exported:
    store = Store(f"sqlite:///{tmp_path / 'record.db'}", clock=clock)
    store.migrate()
    write(store, clock, cases=3)
    Sealer(store, KEY, clock, Ledger()).seal()
    made = Exported(store, tmp_path)
    store.close()
    return made


def verdict(bundle: Exported, clock: Clock) -> Finding:
    return bundle.verified(KEY, clock(), []).finding


def test_the_same_record_is_the_same_file(bundle: Exported) -> None:
    first = bundle.path.read_bytes()
    bundle.save(bundle.load())
    assert bundle.path.read_bytes() == first
    assert bundle.path.stat().st_mode & 0o777 == 0o600


def test_every_entry_stands_in_it_byte_for_byte_and_as_json(bundle: Exported) -> None:
    with zipfile.ZipFile(bundle.path) as archive:
        found = archive.read("entries.jsonl").splitlines()
    lines = [line for line in found if b'"entry":' in line]
    entries = {entry.content for entry in bundle.load().entries}
    assert {line[line.index(b'"entry":') + 8 : -1] for line in lines} == entries
    assert [json.loads(line)["entry"] for line in lines] == [
        json.loads(line[line.index(b'"entry":') + 8 : -1]) for line in lines
    ]


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    "change",
    [
        lambda files: files.pop("entries.jsonl"),
        lambda files: files.pop("checkpoints.jsonl"),
        lambda files: files.update({"entries.jsonl": b"{}\n"}),
        lambda files: files.update({"entries.jsonl": files["entries.jsonl"] + b"\n"}),
        lambda files: files.update({"entries.jsonl": files["entries.jsonl"].replace(b'":1,"hash', b'":1.0,"hash')}),
        lambda files: files.update({"cases.jsonl": b"[]\n"}),
        lambda files: files.update({"cases.jsonl": files["cases.jsonl"] * 2}),
        lambda files: files.update({"cases.jsonl": b"[" * 100_000}),
        lambda files: files.update({"checkpoints.jsonl": b'{"note":1}\n'}),
        lambda files: files.update({"evidence.jsonl": b'{"sha256":"x"}\n'}),
    ],
)  # fmt: skip
def test_a_bundle_that_is_not_one_is_malformed(
    bundle: Exported, clock: Clock, change: Callable[[dict[str, bytes]], None]
) -> None:
    rewritten(bundle.path, change)
    assert verdict(bundle, clock) is Finding.MALFORMED


def test_lines_of_one_case_in_two_places_are_found(bundle: Exported, clock: Clock) -> None:
    def apart(files: dict[str, bytes]) -> None:
        entry, value, *rest = files["entries.jsonl"].splitlines(keepends=True)
        files["entries.jsonl"] = b"".join([*rest, entry, value])

    rewritten(bundle.path, apart)
    assert verdict(bundle, clock) is Finding.MISSING


def test_a_value_after_another_entry_is_malformed(bundle: Exported, clock: Clock) -> None:
    def away(files: dict[str, bytes]) -> None:
        lines = files["entries.jsonl"].splitlines(keepends=True)
        files["entries.jsonl"] = b"".join([lines[1], lines[0], *lines[2:]])

    rewritten(bundle.path, away)
    assert verdict(bundle, clock) is Finding.MALFORMED


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip at all", b"\x00" * 1000])
def test_what_is_no_zip_is_malformed(bundle: Exported, clock: Clock, content: bytes) -> None:
    bundle.path.write_bytes(content)
    assert verdict(bundle, clock) is Finding.MALFORMED


def content_of(path: Path) -> list[object]:
    with Bundle(path) as bundle:
        return [*bundle.checkpoints(), *(entry for chain in bundle.chains() for entry in chain.entries)]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_with_any_byte_changed_holds_the_same_or_is_not_whole(bundle: Exported, data: st.DataObject) -> None:
    genuine, was = bundle.path.read_bytes(), content_of(bundle.path)
    place = data.draw(st.integers(0, len(genuine) - 1))
    spoiled = bytearray(genuine)
    spoiled[place] ^= data.draw(st.integers(1, 255))
    bundle.path.write_bytes(spoiled)
    try:
        assert bundle.verified(KEY, NOW, []).finding is not Finding.OK or content_of(bundle.path) == was
    finally:
        bundle.path.write_bytes(genuine)


def test_reading_what_is_no_bundle_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README.txt", "hello")
    with pytest.raises(Damaged, match=r"no bundle of 'quarantine audit export': it has no anchors.jsonl"):
        Bundle(path)
