"""Containing by hand, and what people say to cases: on the fake platform, without a server."""

import csv
import io
import json
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from sqlalchemy import create_engine, text

from quarantine import app
from quarantine.case import Status
from quarantine.cli.exit_code import ExitCode
from quarantine.model import Standing
from quarantine.testing.fake.world import Fault
from tests.core.cli_bench import CommandLine, visible

HOSTILE = "\x1b[2J\x1b]0;owned\x07 \u202egnp.exe\u202c \u200b\x9b31m [bold red]x[/] \r\n--fake"


# -- run -------------------------------------------------------------------------------------------------------------


def test_run_without_apply_shows_what_would_be_done_and_does_nothing(line: CommandLine) -> None:
    result = line("run", "isolate", line.machine())
    assert result.exit_code == ExitCode.DONE
    rows = [row.split() for row in result.stdout.splitlines()]
    assert ["~", "policy", "null", "→", "quarantine"] in rows or ["+", "policy", "quarantine"] in rows
    assert ["-", "labels.app", "shop"] in rows
    assert "nothing was changed" in result.stdout
    assert "--apply" in result.stderr
    assert line.world.sent == []
    assert line.asks("case", "list") == []


def test_run_with_apply_contains_and_says_how_to_undo_it(line: CommandLine) -> None:
    result = line("run", "isolate", line.machine(), "--apply")
    assert result.exit_code == ExitCode.DONE
    (case,) = line.asks("case", "list")
    assert case["status"] == Status.CONTAINED
    assert f"quarantine case release {case['id']}" in result.stderr
    assert "verified" in result.stderr
    assert result.stdout.startswith(f"{case['id']}  contained")


def test_a_second_run_shows_the_case_that_is_there(line: CommandLine) -> None:
    case = line.case()
    again = line("run", "isolate", "fake:machine/web-1", "--apply", "-o", "name")
    assert (again.exit_code, again.stdout.strip()) == (ExitCode.DONE, case)


def test_a_plan_after_the_containment_has_nothing_to_do(line: CommandLine) -> None:
    line.case()
    result = line("run", "isolate", "fake:machine/web-1", "--detailed-exitcode")
    assert result.exit_code == ExitCode.DONE
    assert "0 to contain, 1 contained already" in result.stdout


@pytest.mark.parametrize(
    ("playbook", "code"), [("isolate", ExitCode.PENDING), ("stop", ExitCode.APPROVAL)], ids=["goes", "asks"]
)
def test_the_detailed_exit_code_says_what_would_become_of_it(line: CommandLine, playbook: str, code: int) -> None:
    assert line("run", playbook, line.machine(), "--detailed-exitcode").exit_code == code


def test_what_cannot_be_undone_waits_for_somebody_else(line: CommandLine) -> None:
    case = line.case("stop", code=ExitCode.APPROVAL)
    refused = line("case", "approve", case)
    assert refused.exit_code == ExitCode.USAGE
    assert "somebody else must approve it" in refused.stderr


def test_in_observe_mode_nothing_is_done_even_when_asked(line: CommandLine) -> None:
    line.configure(guards={"mode": "observe"})
    done = line("run", "isolate", line.machine(), "--apply")
    assert done.exit_code == ExitCode.STOPPED
    assert line.world.sent == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "isolat", "fake:machine/web-1"), "Did you mean 'isolate'?"),
        (("run", "isolate", "web-1"), "write a kind and an id"),
        (("run", "isolate", "aws:s3-bucket/web-1"), "works on fake:machine"),
        (("run", "isolate", "fake:machine/web-1", "--scope", "elsewhere"), "not a configured account"),
        (("run", "isolate", "fake:machine/nobody"), "nobody"),
        (("run", "isolate", "fake:machine/" + "x" * 2000), "1024"),
        (("run", "isolate", "fake:machine/web-1", "--wait", "soon"), "write a number and a unit"),
        (("case", "show", "c-000"), "no case begins with 'c-000'"),
        (("case", "approve", "c-000"), "no case begins with"),
        (("case", "list", "--status", "open"), "open"),
        (("explain", "/nowhere.json", "--source", "detector"), "nowhere"),
        (("kill", "on", "--scope", "everybody", "--reason", "x"), "write all, everything"),
        (("kill", "on"), "--reason"),
        (("kill", "off"), "no kill switch is on for all"),
        (("apply", "/nowhere.json"), "cannot be read"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_what_was_asked_wrongly_is_answered_in_words(line: CommandLine, words: tuple[str, ...], said: str) -> None:
    line.machine()
    result = line(*words)
    assert result.exit_code == ExitCode.USAGE
    assert said in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("fault", "code"),
    [(Fault.UNREACHABLE, ExitCode.AUTHENTICATION), (Fault.DENY, ExitCode.AUTHENTICATION)],
)
def test_a_provider_that_says_no_is_told_apart_from_our_own_mistakes(
    line: CommandLine, fault: Fault, code: int
) -> None:
    thing = line.machine()
    line.world.fail("machine.get", fault)
    assert line("run", "isolate", thing).exit_code == code


def test_a_lost_permission_in_the_middle_is_the_case_of_a_person(line: CommandLine) -> None:
    thing = line.machine()
    line.world.fail("machine.patch_labels", Fault.DENY)
    done = line("run", "isolate", thing, "--apply")
    assert done.exit_code == ExitCode.AUTHENTICATION
    assert "needs_human: permission_missing" in done.stdout
    assert line("case", "retry", done.stdout.split()[0]).exit_code == ExitCode.DONE


# -- plan and apply --------------------------------------------------------------------------------------------------


def test_a_saved_plan_is_done_exactly(line: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    planned = line("plan", "isolate", line.machine(), "--out", str(file))
    assert f"quarantine apply {file}" in planned.stderr
    saved = json.loads(file.read_text())
    assert file.stat().st_mode & 0o077 == 0
    done = line("apply", str(file), "-o", "json")
    assert done.exit_code == ExitCode.DONE
    assert json.loads(done.stdout)["requested_digest"] == json.loads(done.stdout)["plan_digest"] == saved["digest"]


def test_a_saved_plan_that_no_longer_fits_is_not_done(line: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    line("plan", "isolate", line.machine(), "--out", str(file))
    line.world.meddle("web-1", labels={"app": "shop", "tier": "front"})
    done = line("apply", str(file))
    assert done.exit_code == ExitCode.STOPPED
    assert "labels was" in done.stderr
    assert line.world.sent == []


def test_a_plan_file_is_checked_before_anything_is_done(line: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    line("plan", "isolate", line.machine(), "--out", str(file))
    saved = json.loads(file.read_text())
    old = {**saved, "expires_at": "2020-01-01T00:00:00Z"}
    tampered = json.loads(file.read_text().replace('"web-1"', '"web-2"'))
    for content, said in (
        (old, "expired"),
        (tampered, "was changed after"),
        ({"plan": 1}, "not a plan file"),
        ([], "not a plan"),
    ):
        file.write_text(json.dumps(content))
        done = line("apply", str(file))
        assert done.exit_code == ExitCode.USAGE
        assert said in done.stderr
    assert line.world.sent == []


# -- what people say -------------------------------------------------------------------------------------------------


def test_release_gives_everything_back_without_a_server(line: CommandLine) -> None:
    case = line.case()
    done = line("case", "release", case[2:8], "--reason", "false alarm")
    assert done.exit_code == ExitCode.DONE
    assert "closed: released" in done.stdout
    assert line.world.machine("web-1").labels == {"app": "shop"}
    assert "false alarm" in line("case", "show", case).stdout


def test_with_no_wait_it_is_only_written_down(line: CommandLine) -> None:
    case = line.case()
    assert line("case", "release", case, "--no-wait").exit_code == ExitCode.DONE
    assert line.types(case)[-1] == "release_requested"


def test_drift_is_shown_and_retried(line: CommandLine) -> None:
    case = line.case()
    line.world.meddle("web-1", labels={"app": "shop"})
    app.load(line.config).engine.advance(case)  # the server's look
    shown = line("case", "show", case)
    assert "needs_human: drifted" in shown.stdout
    assert "quarantine case retry" in shown.stderr
    assert line("case", "retry", case).exit_code == ExitCode.DONE
    assert "quarantine" in line.world.machine("web-1").labels


def test_keep_accepts_what_is_as_the_new_normal(line: CommandLine) -> None:
    case = line.case()
    assert line("case", "keep", case).exit_code == ExitCode.DONE
    assert line.asks("case", "show", case)["outcome"] == "kept"
    assert "quarantine" in line.world.machine("web-1").labels


def test_if_another_worker_has_the_case_it_only_looks_on(line: CommandLine) -> None:
    case = line.case()
    assert line.store.claim("another", timedelta(seconds=30), case) is not None
    done = line("case", "release", case, "--wait", "1s")
    assert done.exit_code == ExitCode.PENDING
    assert "not done yet" in done.stderr
    assert line.types(case)[-1] == "release_requested"


def test_what_comes_too_late_is_refused_with_what_would_work(line: CommandLine) -> None:
    case = line.case()
    late = line("case", "deny", case)
    assert late.exit_code == ExitCode.USAGE
    assert f"quarantine case release {case}" in late.stderr


def test_watch_tells_every_event_and_ends_when_the_case_rests(line: CommandLine) -> None:
    case = line.case()
    shown = line("case", "watch", case, "-o", "jsonl")
    assert shown.exit_code == ExitCode.DONE
    assert [json.loads(row)["event"]["type"] for row in shown.stdout.splitlines()] == line.types(case)


# -- the forms of stdout ---------------------------------------------------------------------------------------------


def test_an_empty_list_is_valid_in_every_form(line: CommandLine) -> None:
    assert line.asks("case", "list") == line.asks("kill", "status") == []
    assert yaml.safe_load(line("case", "list", "-o", "yaml").stdout) == []
    assert line("case", "list", "-o", "jsonl").stdout == line("case", "list", "-o", "name").stdout == ""
    assert line("case", "list", "-o", "csv").stdout.startswith("id,status,")
    table = line("case", "list")
    assert (table.stdout.strip(), table.stderr) == ("CASE  STATUS  SEVERITY  PLAYBOOK  RESOURCE  AGE", "No cases.\n")


def test_every_form_says_the_same(line: CommandLine) -> None:
    case = line.case()
    (listed,) = line.asks("case", "list")
    assert listed["id"] == case
    assert json.loads(line("case", "list", "-o", "jsonl").stdout) == listed
    assert yaml.safe_load(line("case", "list", "-o", "yaml").stdout) == [listed]
    (row,) = csv.DictReader(io.StringIO(line("case", "list", "-o", "csv").stdout))
    assert row["resource"] == "web-1"
    assert case in line("case", "list").stdout
    shown = line.asks("case", "show", case)
    assert [item["event"]["type"] for item in shown["events"]] == line.types(case)


def test_hostile_text_reaches_no_output_raw(line: CommandLine, tmp_path: Path) -> None:
    finding = {"id": "f-1", "type": "shell", "title": HOSTILE, "machine": HOSTILE, "severity": "high"}
    line.world.add(HOSTILE, labels={HOSTILE: HOSTILE}, tags={HOSTILE: HOSTILE})
    file = tmp_path / "finding.json"
    file.write_text(json.dumps(finding))
    outputs = [line("explain", str(file), "--source", "detector")]
    assert "answer-shells" in outputs[0].stdout
    outputs.append(line("run", "isolate", f"fake:machine/{HOSTILE}", "--apply", "--wait", "5s"))
    case = line.store.lines()[0].id
    for form in ("table", "json", "jsonl", "yaml", "csv", "name"):
        outputs += [line("case", "list", "-o", form), line("case", "show", case, "-o", form)]
    outputs += [line("case", "watch", case), line("case", "release", case, "--reason", HOSTILE)]
    outputs += [
        line("case", "show", HOSTILE),
        line("run", HOSTILE, "fake:machine/x"),
        line("explain", str(file), "--source", HOSTILE),
    ]
    for output in outputs:
        assert visible(output.stdout), output.stdout
        assert visible(output.stderr), output.stderr
    assert line.asks("case", "show", case)["resource"]["id"] == HOSTILE


# -- explain, validate, doctor, kill, audit --------------------------------------------------------------------------


def test_explain_says_which_clause_was_false_and_which_guard_holds_it(line: CommandLine) -> None:
    line.machine()
    finding = {"id": "f-1", "type": "shell", "title": "a shell", "machine": "web-1", "severity": "high"}
    asked = line("explain", "-", "--source", "detector", stdin=json.dumps(finding))
    assert asked.exit_code == ExitCode.DONE
    assert "✓ answer-shells" in asked.stdout
    assert "type is 'shell', not by hand only" in asked.stdout
    assert "the mode is ask" in asked.stdout
    low = line("explain", "-", "--source", "detector", stdin=json.dumps({**finding, "severity": "low"}))
    assert "severity is low, below high" in low.stdout
    assert line.asks("case", "list") == []
    assert line.world.sent == []


@pytest.mark.parametrize("change", [{"sample": True}, {"active": False}, {"machine": "nobody"}])
def test_explain_says_why_nothing_would_happen(line: CommandLine, change: dict[str, object]) -> None:
    line.machine()
    finding = {"id": "f-1", "type": "shell", "machine": "web-1", "severity": "high", **change}
    asked = line("explain", "-", "--source", "detector", stdin=json.dumps(finding))
    assert asked.exit_code == ExitCode.DONE
    assert "So       ignored" in asked.stdout or "cannot be made now" in asked.stdout


def test_explain_asks_the_source_again_and_says_what_it_said(line: CommandLine) -> None:
    line.configure(
        guards={"mode": "auto"}, sources={"detector": {"parser": "fake:detection", "secret": "env:DETECTOR_SECRET"}}
    )
    line.machine()
    finding = json.dumps({"id": "f-1", "type": "shell", "machine": "web-1", "severity": "high"})
    words = ("explain", "-", "--source", "detector")
    assert "fake:detection has no such finding about this resource" in line(*words, stdin=finding).stdout
    line.world.detect("f-1", "web-1")
    assert "it would act at once" in line(*words, stdin=finding).stdout
    line.world.detect("f-1", "web-1", Standing.FALSE_POSITIVE)
    ended = line(*words, stdin=finding).stdout
    assert "says that the finding is a false positive" in ended
    assert "a case would be opened and closed, false positive (source)" in ended
    assert line.world.sent == []


def test_doctor_and_the_playbook_say_what_it_takes_to_ask_a_source_again(line: CommandLine) -> None:
    line.configure(sources={"detector": {"parser": "fake:detection", "secret": "env:DETECTOR_SECRET"}})
    assert line.asks("playbook", "show", "isolate")["to_ask_again"] == ["finding.get"]
    assert "its findings can be asked for again: finding.get" in line("doctor").stdout
    line.world.denied = {"finding.get"}
    told = line("doctor").stdout
    assert "its findings cannot be asked for again" in told
    assert "allow finding.get; until then a person is asked" in told


@pytest.mark.parametrize("body", ["", "[]", "{", '{"id": 1}', '{"a": NaN}', "\ud800"])
def test_explain_refuses_what_the_webhook_would_refuse(line: CommandLine, body: str) -> None:
    raw = body.encode("utf-8", "surrogatepass").decode("latin-1")
    assert line("explain", "-", "--source", "detector", stdin=raw).exit_code == ExitCode.USAGE


def test_validate_counts_and_names_what_is_wrong(line: CommandLine, tmp_path: Path) -> None:
    assert "1: fake" in line("validate").stdout
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(
        "name: wrong\ndescription: x\nmatch: {resource: fake:machine}\nsteps: [{action: fake:machine-clos}]\n"
    )
    one = line("validate", str(wrong), str(tmp_path / "playbooks"))
    assert one.exit_code == ExitCode.USAGE
    assert "Did you mean 'fake:machine-close'?" in one.stderr
    assert "4 of 5 playbooks are right" in one.stdout
    line.configure(schedules={"x": {"poll": "fake:open-machine", "scope": "local", "every": "5m"}})
    assert "Did you mean 'fake:open-machines'?" in line("validate").stderr


def test_doctor_says_what_fails_and_how_to_cure_it(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DETECTOR_SECRET", raising=False)
    sick = line("doctor")
    assert sick.exit_code == ExitCode.PARTLY
    assert "FAIL" in sick.stdout
    assert "DETECTOR_SECRET" in sick.stdout
    monkeypatch.setenv("DETECTOR_SECRET", "s")
    well = line("doctor")
    assert well.exit_code == ExitCode.DONE
    assert "journal_mode wal, synchronous full" in well.stdout
    assert "the credentials lead to local" in well.stdout


@pytest.mark.parametrize("addition", ["gaurds: {}", "guards: {mode: yes}", "server: {port: x}", "worker: 7"])
def test_the_kill_switch_works_with_a_configuration_that_is_broken(line: CommandLine, addition: str) -> None:
    """Somebody has just edited it, at three in the morning."""
    case = line.case()
    whole = line.config.read_text()
    content = {key: value for key, value in yaml.safe_load(whole).items() if key != addition.partition(":")[0]}
    line.config.write_text(yaml.safe_dump(content) + addition + "\n")
    done = line("kill", "on", "--reason", "drill")
    assert done.exit_code == ExitCode.DONE, done.stderr
    assert "This is the installation in sqlite:///" in done.stderr
    assert "drill" in line("kill", "status").stdout
    assert line("kill", "off").exit_code == ExitCode.USAGE, "what loosens takes a configuration that can be read"
    assert [switch.reason for switch in line.store.switches()] == ["drill"]
    line.config.write_text(whole)
    assert line("case", "show", case).exit_code == ExitCode.DONE
    assert line("kill", "off").exit_code == ExitCode.DONE


def test_the_kill_switch_works_with_a_database_alone(line: CommandLine, tmp_path: Path) -> None:
    line.case()
    url = line.store.url
    line.config.write_text("guards: [")
    refused = line("kill", "on", "--reason", "drill")
    assert (refused.exit_code, "--database URL" in refused.stderr) == (ExitCode.USAGE, True)
    assert line("kill", "on", "--reason", "drill", "--database", url).exit_code == ExitCode.DONE
    assert [switch.reason for switch in line.store.switches()] == ["drill"]
    line.config.unlink()
    assert "drill" in line("kill", "status", "--database", url).stdout


@pytest.mark.parametrize("name", ["nothing.db", "empty.db"])
def test_the_kill_switch_does_not_make_an_installation_to_stop(line: CommandLine, tmp_path: Path, name: str) -> None:
    """A typing error that stops nothing must not say that it did."""
    (tmp_path / "empty.db").touch()
    refused = line("kill", "on", "--reason", "drill", "--database", f"sqlite:///{tmp_path / name}")
    assert refused.exit_code == ExitCode.USAGE
    assert "nothing was stopped" in refused.stderr
    assert not (tmp_path / "nothing.db").exists()


def test_the_kill_switch_works_without_providers_and_playbooks(line: CommandLine) -> None:
    line.configure(providers={"no-such-provider": {}}, playbooks=["no-such-folder"])
    assert line("kill", "on", "--reason", "drill").exit_code == ExitCode.DONE
    (on,) = line.asks("kill", "status")
    assert (on["scope"], on["reason"]) == ("all", "drill")
    line.configure()
    stopped = line("run", "isolate", line.machine(), "--apply")
    assert stopped.exit_code == ExitCode.STOPPED
    assert "the kill switch is on: all" in stopped.stdout
    assert line("kill", "off").exit_code == ExitCode.DONE
    assert line("case", "retry", stopped.stdout.split()[0]).exit_code == ExitCode.DONE


def test_a_kill_switch_for_a_name_that_nothing_has_is_set_and_warned_of(line: CommandLine) -> None:
    done = line("kill", "on", "--scope", "playbook:isolat", "--reason", "x")
    assert done.exit_code == ExitCode.DONE
    assert "no playbook 'isolat'. Did you mean 'isolate'?" in done.stderr


def test_a_release_goes_on_while_all_is_killed(line: CommandLine) -> None:
    case = line.case()
    line("kill", "on", "--reason", "drill")
    assert line("case", "release", case).exit_code == ExitCode.DONE


def test_audit_verify_ends_with_the_code_of_what_it_found(line: CommandLine) -> None:
    case = line.case()
    assert line("audit", "verify").exit_code == 0
    engine = create_engine(line.store.url)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM cases"))
    engine.dispose()
    gone = line("audit", "verify")
    assert gone.exit_code == 21
    assert case in gone.stdout
