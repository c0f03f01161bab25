"""A sensitive value can be erased, and the record goes on to prove the rest: who erased it, and why.

See also test_tamper.py (a value that goes without this is found) and test_record_lives.py (in any order with the rest).
"""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
from pydantic import BaseModel
from sqlalchemy import select, text
from sqlalchemy.exc import DatabaseError

from quarantine import app
from quarantine.action import Artifact
from quarantine.audit import Finding, verify
from quarantine.case import (
    Asked,
    Captured,
    Closed,
    Event,
    Halted,
    Opened,
    Outcome,
    Reason,
    Redacted,
    Repeated,
    Resumed,
    Status,
)
from quarantine.cli.exit_code import ExitCode
from quarantine.commitment import fields
from quarantine.errors import Misused, Moved
from quarantine.ledger import START, seal, unseal
from quarantine.model import Sensitive
from quarantine.redaction import Erasable, chosen, erasable, redacted
from quarantine.store import schema
from quarantine.store.sql import Also, Delivery, Settles, Store
from tests.core.builders import Clock, custody, finding, opened, recorded, salt
from tests.core.cli_bench import CommandLine

CANARY = "canaryCommandLine5e1f"
TITLE = f"a shell in web-1: curl {CANARY}"


def told(**parts: Any) -> Opened:
    return opened(finding=finding(title=TITLE, record={"output": TITLE, "pid": 7, "share": 0.5}, **parts))


def written(store: Store, clock: Clock) -> str:
    """A case of a delivery, reported twice, of which a person was told; evidence of it is not kept anywhere."""
    delivery = Delivery("detector", "d-1", clock(), json.dumps({"output": TITLE}).encode())
    store.receive([delivery])
    (waiting,) = store.waiting()
    case = store.open(told(), "source:detector", clock(), settles=Settles(waiting, lambda case: [{"case": case}]))
    again = Repeated(finding=told(id="again").finding)
    halted = Halted(reason=Reason.UNREACHABLE, sentence="the platform does not answer")
    for event in (again, halted):
        store.append(case.id, [event], by="engine", at=clock())
    return case.id


def erase(store: Store, clock: Clock, case: str, *names: str, reason: str = "a customer's name") -> Redacted:
    event = redacted(chosen(erasable(store.entries(case)), names or ("all",)), reason)
    store.append(case, [event], by="local:ann", at=clock(), also=Also(keep_due=True, erases=event.commitments))
    return event


def in_tables(store: Store) -> set[str]:
    """The tables that hold the canary."""
    with store._engine.connect() as connection:
        return {
            table.name
            for table in schema.metadata.sorted_tables
            for row in connection.execute(select(table))
            if any(CANARY in str(item) for item in row)
        }


# -- what is sensitive -------------------------------------------------------------------------------------------------


def marked(annotation: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every sensitive field, however deep, also where it would not be looked for."""
    if get_origin(annotation) is Annotated:
        if any(isinstance(item, Sensitive) for item in annotation.__metadata__):
            yield path
        yield from marked(annotation.__origin__, path)
    elif isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            if any(isinstance(item, Sensitive) for item in field.metadata):
                yield (*path, name)
            yield from marked(field.annotation, (*path, name))
    else:
        for part in get_args(annotation):
            yield from marked(part, path)


@pytest.mark.parametrize("event", get_args(get_args(Event)[0]), ids=lambda event: event.__name__)
def test_every_field_that_is_marked_is_committed_to(event: type[BaseModel]) -> None:
    kind = event.model_fields["type"].default
    assert {field.path for field in fields(kind)} == set(marked(event))


def test_what_others_write_freely_is_marked() -> None:
    assert {field.name for field in fields("opened")} == {"finding.title", "finding.record"}
    assert {field.name for field in fields("approved")} == {"reason"}
    assert {field.name for field in fields("closed")} == {"sentence"}
    assert fields("redacted") == fields("intended") == ()


def test_an_entry_holds_commitments_and_the_same_value_has_another_one_each_time() -> None:
    first, second = recorded([told(), Repeated(finding=told().finding)])
    numbers = iter(("1" * 32, "2" * 32, "3" * 32, "4" * 32))
    entries = [seal(item, START, lambda: next(numbers)) for item in (first, second)]
    assert not any(CANARY in entry.content.decode() for entry in entries)
    assert len({item.commitment for entry in entries for item in entry.disclosures}) == 4
    assert unseal(entries) == [first, second]


def test_what_is_empty_stays_empty() -> None:
    (item,) = recorded([opened(finding=finding(title="", record={}))])
    sealed = seal(item, START, salt)
    assert (sealed.disclosures, b'"title":""' in sealed.content, b'"record":{}' in sealed.content) == ((), True, True)


# -- in a database -----------------------------------------------------------------------------------------------------


def test_what_is_erased_is_in_no_table_and_the_record_is_whole(store: Store, clock: Clock) -> None:
    case = written(store, clock)
    assert in_tables(store) == {"disclosures", "intake", "notices"}
    erase(store, clock, case)
    assert in_tables(store) == set()
    with store.record() as record:
        report = verify(record)
    assert (report.finding, report.redacted) == (Finding.OK, 4)
    assert "4 values redacted as recorded" in report.sentence


def test_what_stands_instead_says_who_and_why(store: Store, clock: Clock) -> None:
    case = written(store, clock)
    erase(store, clock, case, "1")
    first, again = store.history(case)[:2]
    assert isinstance(first.event, Opened) and isinstance(again.event, Repeated)
    assert first.event.finding.title == "[redacted on 2026-03-01 12:00:00 UTC by local:ann, because: a customer's name]"
    assert first.event.finding.record == {}
    assert (again.event.finding.title, again.event.finding.record["pid"]) == (TITLE, 7)
    assert store.load(case).finding.title == TITLE, "the case goes by what was reported last"


def test_one_value_alone(store: Store, clock: Clock) -> None:
    case = written(store, clock)
    erase(store, clock, case, "1:finding.record")
    left = [item.name for item in erasable(store.entries(case))]
    assert left == ["1:finding.title", "2:finding.title", "2:finding.record"]


def test_what_a_person_wrote_goes_from_the_list_of_cases_too(store: Store, clock: Clock) -> None:
    case = store.open(told(), "source:detector", clock())
    store.append(case, [Closed(outcome=Outcome.DECLINED, sentence=CANARY)], by="local:bob", at=clock())
    assert in_tables(store) == {"disclosures", "cases"}
    erase(store, clock, case.id)
    assert in_tables(store) == set()
    assert store.lines()[0].sentence.startswith("[redacted on ")


def test_whoever_still_knows_a_value_does_not_write_it_again(store: Store, clock: Clock) -> None:
    """A worker, or a person's program, that loaded the case before."""
    case = written(store, clock)
    known = store.load(case)
    erase(store, clock, case)
    store.append(known, [Resumed(to=Status.PROPOSED)], by="local:bob", at=clock())
    asked = Asked(guard="mode", sentence="mode is ask", digest="d" * 64, expires_at=clock())
    store.append(known, [asked], by="engine", at=clock())
    assert sorted(notice.kind for notice in store.notices()) == ["approval_asked", "needs_human"]
    assert in_tables(store) == set()


def test_nothing_is_erased_twice(store: Store, clock: Clock) -> None:
    case = written(store, clock)
    everything = erasable(store.entries(case))
    erase(store, clock, case)
    late = redacted(everything, "again")
    with pytest.raises(Moved, match="erased meanwhile"):
        store.append(case, [late], by="local:bob", at=clock(), also=Also(erases=late.commitments))
    assert [item.event.type for item in store.history(case)].count("redacted") == 1


def test_not_while_the_source_may_be_asked_again(store: Store, clock: Clock) -> None:
    case = store.open(told(), "source:detector", clock())
    with pytest.raises(Misused, match="cannot happen now"):
        erase(store, clock, case.id)
    assert in_tables(store) == {"disclosures"}


def test_a_value_is_never_changed_or_replaced(store: Store, clock: Clock) -> None:
    """The hole of SQLite's INSERT OR REPLACE, too."""
    written(store, clock)
    replaced = "INSERT OR REPLACE INTO disclosures SELECT case_id, seq, commitment, 'x' FROM disclosures"
    statements = ["UPDATE disclosures SET seq = 9"] + ([replaced] if store.url.startswith("sqlite") else [])
    for statement in statements:
        with pytest.raises(DatabaseError, match="disclosures are never"), store._engine.begin() as connection:
            connection.execute(text(statement))


def test_a_value_of_no_entry_is_found(store: Store, clock: Clock) -> None:
    written(store, clock)
    for case, seq in (("c-000000000000", 1), (store.lines()[0].id, 99)):
        added = text("INSERT INTO disclosures VALUES (:case, :seq, :name, :raw)")
        with store._engine.begin() as connection:
            connection.execute(added, {"case": case, "seq": seq, "name": "0" * 64, "raw": b"x"})
        with store.record() as record:
            report = verify(record)
        told_of = f"case {case}, entry {seq}: there is a value of it, and no such entry"
        assert (report.finding, report.sentence) == (Finding.MISSING, told_of)
        with store._engine.begin() as connection:
            connection.execute(text("DELETE FROM disclosures WHERE commitment = :name"), {"name": "0" * 64})


# -- evidence ----------------------------------------------------------------------------------------------------------


def test_evidence_that_is_captured_again_after_its_redaction_can_be_erased_again() -> None:
    piece = {"name": "log", "media_type": "text/plain", "sha256": "ab" * 32, "size": 3}
    captured = Captured.model_validate({"step": 0, "evidence": [piece], "custody": custody()})
    gone = Redacted(evidence=("ab" * 32,), reason="x")
    for events, names in (
        ([captured], ["2:evidence/abababab"]),
        ([captured, gone], []),
        ([captured, gone, captured], ["4:evidence/abababab"]),
    ):
        sealed = [seal(item, START, salt) for item in recorded([opened(finding=finding(title="")), *events])]
        assert [item.name for item in erasable(sealed)] == names


def test_what_is_not_there_cannot_be_named() -> None:
    found = [Erasable(3, "finding.title", 9, "c" * 64)]
    assert chosen(found, ["3", "3:finding.title", "all"]) == found
    with pytest.raises(Misused, match="there is no '4' to erase"):
        chosen(found, ["4"])


# -- at the command line -----------------------------------------------------------------------------------------------


def files_with(folder: Path, word: str) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and word.encode() in path.read_bytes()}


@pytest.fixture
def case(line: CommandLine) -> str:
    """Contained by hand, with evidence, and given back; somebody wrote what they should not have."""
    made = line.case("close")
    assert line("case", "release", made, "--reason", CANARY).exit_code == ExitCode.DONE
    return made


def test_it_shows_what_there_is_and_erases_what_is_named(line: CommandLine, case: str) -> None:
    there = line.asks("audit", "redact", case)
    (reason,) = [item for item in there if item["what"] == "reason" and item["bytes"] == len(CANARY) + 2]
    assert files_with(line.folder / "data", CANARY)
    done = line("audit", "redact", case, reason["name"], "--reason", "a password", "--yes")
    assert done.exit_code == ExitCode.DONE, done.stderr
    assert files_with(line.folder / "data", CANARY) == set(), "in no page of the database, and not in its log"
    report = line.asks("audit", "verify")
    assert (report["code"], report["redacted"]) == (0, 1)
    assert [item["name"] for item in line.asks("audit", "redact", case)] == [
        item["name"] for item in there if item != reason
    ]


def test_page_timeline_and_exports_say_by_whom_and_why(line: CommandLine, case: str, tmp_path: Path) -> None:
    assert line("audit", "redact", case, "all", "--reason", "a password", "--yes").exit_code == ExitCode.DONE
    page = line("report", case).stdout
    shown = line("case", "show", case).stdout
    for told_of in (page, shown):
        assert CANARY not in told_of
        assert "redacted on 20" in " ".join(told_of.split())
    assert "erased: a password" in page
    for name, kind in (("all.zip", "bundle"), ("events.jsonl", "ocsf")):
        assert line("audit", "export", str(tmp_path / name), "--as", kind).exit_code == 0
    with zipfile.ZipFile(tmp_path / "all.zip") as bundle:
        assert CANARY.encode() not in b"".join(bundle.read(name) for name in bundle.namelist())
        assert b'"reason":"a password"' in bundle.read("entries.jsonl")
    key = line("audit", "key").stdout.strip()
    there = line.asks("audit", "verify", "--bundle", str(tmp_path / "all.zip"), "--key", key)
    assert (there["code"], there["redacted"]) == (0, line.asks("audit", "verify")["redacted"] - there["elsewhere"])


def test_evidence_goes_and_is_counted_as_redacted(line: CommandLine, case: str) -> None:
    (item, *_) = [item for item in line.asks("audit", "redact", case) if item["what"].startswith("evidence/")]
    folder = line.folder / "data" / "evidence"
    before = len([path for path in folder.rglob("*") if path.is_file()])
    assert line("audit", "redact", case, item["name"], "--reason", "a dump", "--yes").exit_code == ExitCode.DONE
    assert len([path for path in folder.rglob("*") if path.is_file()]) == before - 1
    report = line.asks("audit", "verify")
    assert (report["code"], report["redacted"], report["elsewhere"]) == (0, 1, 0)
    assert "1 redacted" in report["sentence"]


def test_what_was_recorded_and_interrupted_is_brought_to_its_end(line: CommandLine, case: str) -> None:
    evidence = app.load(line.config).evidence
    folder = line.folder / "data" / "evidence"
    kept = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    line("audit", "redact", case, "all", "--reason", "a dump", "--yes")
    for content in kept.values():
        evidence.keep(Artifact(name="log", media_type="text/plain", content=content))
    assert line("audit", "redact", case).exit_code == ExitCode.DONE
    assert not any(path.is_file() for path in folder.rglob("*"))


def test_nothing_is_erased_without_a_reason_a_yes_and_a_name(line: CommandLine, case: str) -> None:
    for words, why in (
        (("all", "--yes"), "say why"),
        (("all", "--reason", "x"), "add --yes"),
        (("99", "--reason", "x", "--yes"), "there is no '99'"),
    ):
        refused = line("audit", "redact", case, *words)
        assert (refused.exit_code, why in refused.stderr) == (ExitCode.USAGE, True), refused.stderr
    assert line.asks("audit", "verify")["redacted"] == 0


def test_only_an_admin_may(line: CommandLine, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = line("token", "create", "bob", "--role", "operator", "--role", "approver").stdout.strip()
    monkeypatch.setenv("QUARANTINE_TOKEN", secret)
    refused = line("audit", "redact", case, "all", "--reason", "x", "--yes")
    assert refused.exit_code == ExitCode.AUTHENTICATION, refused.stderr
    assert files_with(line.folder / "data", CANARY)


def test_not_while_a_case_is_decided(line: CommandLine) -> None:
    asked = line.case("stop", code=5)
    refused = line("audit", "redact", asked, "all", "--reason", "x", "--yes")
    assert refused.exit_code == ExitCode.USAGE, refused.stderr
