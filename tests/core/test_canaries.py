"""A secret that this program knows is where it is kept and nowhere else: in no database, and in nothing that it writes.

Each secret is a word of its own. Whatever the program wrote while they were in use is searched for every one of them,
also in base64 and in the parts that make it up.
"""

import asyncio
import base64
import json
import logging
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from quarantine import app
from quarantine.cli.options import TOKEN, local_person
from quarantine.cli.program import program
from quarantine.model import now
from quarantine.web.ingest import GroupCommit, Ingest
from tests.core.cli_bench import CommandLine
from tests.core.test_ingest import post

GLASS = "QUARANTINE_BREAK_GLASS"


def written(folder: Path) -> dict[str, bytes]:
    """Every file, and what is packed in bundles."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            found[path.name] = path.read_bytes()
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    found |= {f"{path.name}/{name}": archive.read(name) for name in archive.namelist()}
    return found


def forms(secret: str) -> list[bytes]:
    """How it could stand somewhere."""
    raw = secret.encode()
    longest = max(secret.replace(":", "_").replace("/", "_").split("_"), key=len)
    return [raw, base64.b64encode(raw).rstrip(b"="), longest.encode()]


def test_no_secret_is_where_it_does_not_belong(
    line: CommandLine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = {
        "DETECTOR_SECRET": "canaryDetector8d1c5f",
        "ON_CALL_SECRET": "canaryOnCall77e0ab",
        "ON_CALL_URL": "https://alerts.example.com/hooks/canaryHook4f5d21",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    line.configure(
        approvals={"break_glass": [local_person()]},
        notify={"on-call": {"url": "env:ON_CALL_URL", "secret": "env:ON_CALL_SECRET"}},
    )
    said = [line(*words) for words in (("doctor",), ("doctor", "-o", "json"), ("validate",))]
    for person in ("ann", "bob"):
        made = line("token", "create", person, "--role", "admin", "--role", "operator", "--role", "approver")
        secrets[person] = made.stdout.strip()
        said.append(line("token", "list"))
    glass = line("break-glass", "open", "--reason", "a drill")
    secrets["glass"] = glass.stdout.strip()
    monkeypatch.setenv(TOKEN, secrets["ann"])
    case = line.case("close")
    said += [
        line("case", "release", case, "--reason", "done"),
        line("kill", "on", "--reason", "x"),
        line("kill", "off"),
    ]
    monkeypatch.setenv(TOKEN, secrets["bob"])
    monkeypatch.setenv(GLASS, secrets["glass"])
    stop = line.case("stop", code=5, name="web-2")
    said.append(line("case", "approve", stop, "--break-glass", "--reason", "nobody is awake", "--yes"))
    monkeypatch.setenv(TOKEN, f"{secrets['bob']}x")
    said.append(line("case", "retry", case))
    monkeypatch.delenv(TOKEN)
    out = line.folder / "out"
    out.mkdir()
    said += [
        line("audit", "rotate", "--reason", "a new year"),
        line("audit", "export", str(out / "all.zip"), "--evidence"),
        line("audit", "export", str(out / "events.jsonl"), "--as", "ocsf"),
        line("report", case, str(out / "case.html")),
        line("audit", "log", "-o", "json"),
        line("audit", "verify"),
        line("case", "show", case, "-o", "json"),
        line("case", "show", stop),
        line("break-glass", "list", "--all", "-o", "yaml"),
    ]
    (out / "said").write_text("\n".join(result.output for result in said))
    (out / "logged").write_text("\n".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records))
    files = written(line.folder)
    keys = {name: content for name, content in files.items() if name.startswith("ledger.key")}
    assert len(keys) == 2, "the key, and the one before it"
    for name, content in keys.items():
        secrets[name] = content.decode().strip().split("+", 4)[4]
    for what, secret in secrets.items():
        assert len(secret) > 12
        for name, content in files.items():
            if name != what:
                assert not any(form in content for form in forms(secret)), f"{what} stands in {name}"


def test_no_answer_of_the_door_and_no_crash_says_a_secret(
    line: CommandLine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "canaryBearer1f7a99c2"
    monkeypatch.setenv("DETECTOR_SECRET", secret)
    line.configure(
        sources={"detector": {"parser": "fake:finding", "scheme": "bearer", "secret": "env:DETECTOR_SECRET"}}
    )
    installed = app.load(line.config)
    commit = GroupCommit(installed.store, lambda: None)
    commit.start()
    ingest = Ingest(
        installed.store, installed.intake, installed.settings.sources, installed.settings.server, commit, now
    )
    good = {"id": "f-1", "type": "close", "machine": "web", "seen_at": now().isoformat()}
    asked = [
        (json.dumps(good), f"Bearer {secret}"),
        (json.dumps({**good, "id": 7}), f"Bearer {secret}"),
        ("{", f"Bearer {secret}"),
        (json.dumps(good), f"Bearer {secret}x"),
        (json.dumps(good), f"Basic {secret}"),
    ]
    answers, application = [], ingest.application()
    for body, token in asked:
        headers = {"content-type": "application/json", "authorization": token}
        answers.append(asyncio.run(post(application, body.encode(), headers)))
    commit.stop()
    installed.store.close()
    assert [status for status, _, _ in answers] == [202, 422, 422, 401, 401]
    database = line.folder / "data" / "quarantine.db"
    for path in line.folder.glob("data/quarantine.db*"):
        path.unlink()
    database.write_bytes(b"no database" * 1000)
    verbs = (("case", "list"), ("doctor",), ("audit", "verify"))
    crashed = [CliRunner().invoke(program, ["--config", str(line.config), "--debug", *words]) for words in verbs]
    assert "Traceback" in crashed[0].output and "file is not a database" in crashed[0].output
    said = [str(answers), *(result.output for result in crashed)]
    said += [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
    assert not any(form.decode() in text for form in forms(secret) for text in said)


def test_the_search_finds_what_is_there(line: CommandLine) -> None:
    """So the test above means something: a reason is no secret, and it is found wherever it goes."""
    case = line.case("close")
    line("case", "release", case, "--reason", "canaryReason93ce")
    line("audit", "export", str(line.folder / "all.zip"))
    line("report", case, str(line.folder / "case.html"))
    found = {name for name, content in written(line.folder).items() if b"canaryReason93ce" in content}
    assert {"all.zip/entries.jsonl", "case.html"} <= found
    assert any(name.startswith("quarantine.db") for name in found)
