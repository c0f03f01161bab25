"""The record at the command line: signed without a server, proven to others, and what is said when it is wrong."""

import sqlite3
import zipfile
from pathlib import Path

import pytest

from quarantine import app
from quarantine.audit import Finding
from quarantine.cli.exit_code import ExitCode
from quarantine.note import Key
from tests.core.cli_bench import CommandLine


@pytest.fixture
def line(line: CommandLine) -> CommandLine:
    """With a machine on its platform."""
    line.machine()
    return line


@pytest.fixture
def case(line: CommandLine) -> str:
    """Contained by hand; no server runs."""
    done = line("run", "isolate", "fake:machine/web-1", "--scope", "local", "--apply", "-o", "name")
    assert done.exit_code == ExitCode.DONE, done.stderr
    return done.stdout.strip().rpartition("/")[2]


def test_what_is_done_by_hand_is_signed_at_once(line: CommandLine, case: str) -> None:
    report = line.asks("audit", "verify")
    assert (report["finding"], report["cases"]) == ("ok", 1)
    assert f"the last of 1 checkpoint covers {report['entries']}" in report["sentence"]


def test_a_proof_is_verified_with_the_key_and_without_a_database(line: CommandLine, case: str, tmp_path: Path) -> None:
    key = line("audit", "key").stdout.strip()
    proof = tmp_path / "proof"
    proof.write_text(line("audit", "prove", case, "--entry", "1").stdout)
    for path in (tmp_path / "data").glob("quarantine.db*"):
        path.unlink()
    good = line("audit", "verify", "--proof", str(proof), "--key", key)
    assert good.exit_code == 0
    assert f"case {case}, entry 1: opened by local:" in good.stdout
    proof.write_text(proof.read_text().replace("index 0", "index 1"))
    bad = line("audit", "verify", "--proof", str(proof), "--key", key)
    assert (bad.exit_code, "is not in the tree that was signed" in bad.stdout) == (Finding.KEY, True)
    assert line("audit", "verify", "--proof", str(proof)).exit_code == ExitCode.USAGE


def test_a_checkpoint_that_was_kept_finds_a_record_that_was_taken_back(
    line: CommandLine, case: str, tmp_path: Path
) -> None:
    """A copy of the database from before is put in place of it: whole, signed, and too short."""
    database = tmp_path / "data" / "quarantine.db"
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = database.read_bytes()
    assert line("case", "release", case).exit_code == ExitCode.DONE
    kept = tmp_path / "kept"
    kept.write_text(line("audit", "checkpoint").stdout)
    for path in (tmp_path / "data").glob("quarantine.db*"):
        path.unlink()
    database.write_bytes(before)
    assert line("audit", "verify").exit_code == 0, "nothing here gives it away"
    found = line("audit", "verify", "--anchors", str(kept))
    assert (found.exit_code, "were anchored, and" in found.stdout) == (Finding.TRUNCATED, True)


def test_a_bundle_is_verified_with_the_key_and_without_a_database(line: CommandLine, case: str, tmp_path: Path) -> None:
    captured = line.case("close", name="db-1")
    key = line("audit", "key").stdout.strip()
    with_bytes, without = tmp_path / "all.zip", tmp_path / "record.zip"
    written = line("audit", "export", str(with_bytes), "--evidence")
    assert (written.exit_code, written.stdout) == (0, f"{with_bytes}\n"), written.stderr
    assert "and 2 pieces of evidence. It holds what was found and done" in written.stderr
    assert line("audit", "export", str(without)).exit_code == 0
    here = line.asks("audit", "verify")
    for path in (tmp_path / "data").glob("quarantine.db*"):
        path.unlink()
    there = line.asks("audit", "verify", "--bundle", str(with_bytes), "--key", key)
    assert there == here and (there["evidence"], there["cases"]) == (2, 2)
    elsewhere = line.asks("audit", "verify", "--bundle", str(without), "--key", key)
    assert (elsewhere["code"], elsewhere["evidence"], elsewhere["elsewhere"]) == (0, 0, 2)
    assert captured.encode() in zipfile.ZipFile(without).read("evidence.jsonl")
    usage = line("audit", "verify", "--bundle", str(without))
    assert (usage.exit_code, "with --key" in usage.stderr) == (ExitCode.USAGE, True)


def test_a_bundle_is_not_written_over(line: CommandLine, case: str, tmp_path: Path) -> None:
    (tmp_path / "there.zip").write_text("something else")
    refused = line("audit", "export", str(tmp_path / "there.zip"))
    assert (refused.exit_code, "nothing was written" in refused.stderr) == (ExitCode.USAGE, True)
    assert (tmp_path / "there.zip").read_text() == "something else"
    nowhere = line("audit", "export", str(tmp_path / "no" / "folder.zip"))
    assert "cannot be written" in nowhere.stderr
    assert [path.name for path in tmp_path.glob(".*.zip*")] == []


def test_what_is_no_bundle_is_malformed(line: CommandLine, tmp_path: Path) -> None:
    other = "other+d6d12b32+AcnO1p0lQTLTPBDvR4IjYKuSwGVkBJXgBTeAYSGyIUqd"
    assert line("audit", "verify", "--bundle", str(line.config), "--key", other).exit_code == Finding.KEY
    known = str(Key("other", b"x" * 32).verifier)
    found = line("audit", "verify", "--bundle", str(line.config), "--key", known)
    assert (found.exit_code, "is no bundle" in found.stdout) == (Finding.MALFORMED, True)


def test_another_key_is_not_trusted(line: CommandLine, case: str, tmp_path: Path) -> None:
    (tmp_path / "data" / "ledger.key").unlink()
    lost = line("audit", "verify")
    assert (lost.exit_code, "there is no ledger key" in lost.stdout) == (Finding.KEY, True)
    other = "other+d6d12b32+AcnO1p0lQTLTPBDvR4IjYKuSwGVkBJXgBTeAYSGyIUqd"
    assert line("audit", "verify", "--key", other).exit_code == Finding.KEY
    with_key = line("audit", "verify", "--key", line("audit", "key").stdout.strip())
    assert with_key.exit_code == 0


def test_a_lost_key_is_not_made_anew_and_what_is_done_goes_on(line: CommandLine, case: str, tmp_path: Path) -> None:
    key = tmp_path / "data" / "ledger.key"
    key.unlink()
    assert line("case", "release", case).exit_code == ExitCode.DONE
    assert not key.exists()


def test_a_key_that_others_can_read_is_told_of_and_nothing_is_lost(
    line: CommandLine, case: str, tmp_path: Path
) -> None:
    (tmp_path / "data" / "ledger.key").chmod(0o644)
    done = line("case", "release", case)
    assert done.exit_code == ExitCode.DONE
    assert "The record is not signed yet" in done.stderr and "chmod 600" in done.stderr
    (tmp_path / "data" / "ledger.key").chmod(0o600)
    sealer = app.load(line.config).sealer
    assert sealer is not None
    sealer.seal()
    assert line("audit", "verify").exit_code == 0


def test_status_says_how_far_each_is_behind(line: CommandLine, case: str, tmp_path: Path) -> None:
    anchor, witness = tmp_path / "anchors", str(Key("soc/witness", b"w" * 32).as_witness().verifier)
    entries = line.asks("audit", "verify")["entries"]
    ledger = {"anchor": str(anchor), "witnesses": {"soc": {"url": "http://127.0.0.1:1", "key": witness}}}
    line.configure(ledger=ledger)
    signed, seen, anchored = line.asks("audit", "status")
    assert (signed["name"], signed["covers"], signed["behind"]) == ("checkpoint", entries, 0)
    assert signed["behind_seconds"] == 0
    for record, name in ((seen, "witness soc"), (anchored, "anchor")):
        assert (record["name"], record["covers"], record["behind"]) == (name, 0, entries)
        assert record["behind_seconds"] > 0
    anchor.write_text(line("audit", "checkpoint").stdout)
    assert line.asks("audit", "status")[2]["behind"] == 0
    table = line("audit", "status").stdout
    assert [row.split()[0] for row in table.splitlines()] == ["WHAT", "checkpoint", "witness", "anchor"]


@pytest.mark.parametrize("words", [("key",), ("checkpoint",)])
def test_where_nothing_is_signed_yet_it_is_said_what_signs(line: CommandLine, words: tuple[str, ...]) -> None:
    refused = line("audit", *words)
    assert (refused.exit_code, "quarantine serve" in refused.stderr) == (ExitCode.USAGE, True)


def test_a_case_without_that_entry_is_not_proven(line: CommandLine, case: str) -> None:
    refused = line("audit", "prove", case, "--entry", "999")
    assert (refused.exit_code, "no signed entry 999" in refused.stderr) == (ExitCode.USAGE, True)


def test_what_is_done_to_the_installation_is_in_the_record(line: CommandLine, case: str) -> None:
    line("kill", "on", "--reason", "an exercise")
    line("kill", "off")
    line("budget", "refill", "--all", "--reason", "a new day")
    line("token", "create", "ann", "--role", "viewer")
    (token,) = line.asks("token", "list")
    line("token", "revoke", token["id"])
    types = [entry["event"]["type"] for entry in line.asks("audit", "log")]
    assert types == ["switched_on", "switched_off", "refilled", "token_created", "token_revoked"]
    shown = line("audit", "log").stdout
    assert "kill switch on for all: an exercise" in shown and f"token {token['id']} made for ann (viewer)" in shown
    assert all(entry["by"].startswith("local:") for entry in line.asks("audit", "log"))
    sealer = app.load(line.config).sealer
    assert sealer is not None
    sealer.seal()
    report = line.asks("audit", "verify")
    assert (report["code"], report["cases"]) == (0, 1)
    proof = line("audit", "prove", "installation", "--entry", "1")
    (line.folder / "proof").write_text(proof.stdout)
    key = line("audit", "key").stdout.strip()
    told = line("audit", "verify", "--proof", str(line.folder / "proof"), "--key", key)
    assert (told.exit_code, told.stdout.startswith("whole  installation, entry 1: switched_on by local:")) == (0, True)


def test_the_key_is_rotated_and_the_old_one_still_verifies(line: CommandLine, case: str, tmp_path: Path) -> None:
    old = line("audit", "key").stdout.strip()
    rotated = line("audit", "rotate", "--reason", "once a year")
    assert rotated.exit_code == 0, rotated.stderr
    new = rotated.stdout.strip()
    assert new != old and line("audit", "key").stdout.strip() == new
    assert "Keep the printed line in place of the old" in rotated.stderr
    assert line("case", "release", case).exit_code == ExitCode.DONE
    for key in (old, new):
        assert line("audit", "verify", "--key", key).exit_code == 0
    assert line("audit", "verify").exit_code == 0
    assert "follows" in line("audit", "log").stdout
    assert line("audit", "export", str(tmp_path / "b.zip")).exit_code == 0
    assert line("audit", "verify", "--bundle", str(tmp_path / "b.zip"), "--key", old).exit_code == 0


def test_a_key_that_is_elsewhere_is_not_rotated_here(line: CommandLine, case: str, tmp_path: Path) -> None:
    (tmp_path / "data" / "ledger.key").unlink()
    refused = line("audit", "rotate", "--reason", "why not")
    assert (refused.exit_code, "the ledger key is not here" in refused.stderr) == (ExitCode.USAGE, True)


def test_doctor_says_how_far_the_record_is_signed_and_seen(line: CommandLine, case: str) -> None:
    key = str(Key("soc/w", b"w" * 32).as_witness().verifier)
    line.configure(ledger={"witnesses": {"soc": {"url": "http://127.0.0.1:9", "key": key}}})
    said = {check["subject"]: check for check in line.asks("doctor")}
    assert said["ledger"]["verdict"] == "ok" and "0 waiting" in said["ledger"]["message"]
    size = said["ledger"]["message"].split()[0]
    assert (said["witness soc"]["verdict"], said["witness soc"]["message"]) == ("warn", f"it has seen 0 of {size}")
    assert "does it run at http://127.0.0.1:9" in said["witness soc"]["fix"]
    unseen = line("audit", "verify")
    assert unseen.exit_code == 0, "it may be away for an hour"
    assert "the witness soc/w has seen 0" in unseen.stdout
