"""The command itself: what it loads, what it says of itself, and what becomes of an error."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from quarantine import __version__, errors
from quarantine.cli import exit_code
from quarantine.cli.exit_code import ExitCode
from quarantine.cli.program import SECTIONS, program

VERBS = [verb for verbs in SECTIONS.values() for verb in verbs]
HEAVY = {
    *("pydantic", "sqlalchemy", "yaml", "rich", "alembic", "starlette", "uvicorn", "cel_expr_python"),
    *("procrastinate", "psycopg"),
}
CLOUDS = {"boto3", "botocore", "kubernetes", "azure", "docker", "pyVmomi"}


def loaded(*words: str) -> set[str]:
    """The packages that are loaded when a command has run."""
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('LOADED', *{name.partition('.')[0] for name in sys.modules}, file=sys.stderr))\n"
        "from quarantine.cli import main\n"
        f"sys.argv = ['quarantine', *{words!r}]\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.rpartition("LOADED")[2].split())


@pytest.mark.parametrize("words", [("--help",), ("case", "--help"), ("run", "--help"), ("version",)], ids=" ".join)
def test_help_and_version_load_nothing_heavy(words: tuple[str, ...]) -> None:
    assert loaded(*words) & (HEAVY | CLOUDS) == set()


def test_a_listing_loads_no_cloud_sdk() -> None:
    assert loaded("playbook", "list") & CLOUDS == set()


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_the_verbs(shell: str) -> None:
    assert "_QUARANTINE_COMPLETE" in CliRunner().invoke(program, ["completion", shell]).stdout
    environment = {
        **os.environ,
        "_QUARANTINE_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "quarantine ca",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", "from quarantine.cli import main; main()"],
        env=environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "case" in done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_that_fits_in_one_line_of_the_list(verb: str) -> None:
    listed = CliRunner().invoke(program, ["--help"]).stdout
    assert f"\n  {verb} " in listed
    own = CliRunner().invoke(program, [verb, "--help"])
    assert own.exit_code == 0
    assert "Usage: " in own.stdout


def test_version() -> None:
    assert CliRunner().invoke(program, ["version"]).stdout == f"quarantine {__version__}\n"


@pytest.mark.parametrize(
    ("words", "meant"), [(["cas"], "case"), (["case", "lst"], "list"), (["case", "list", "--limt", "3"], "--limit")]
)
def test_a_typo_gets_a_suggestion(words: list[str], meant: str) -> None:
    result = CliRunner().invoke(program, words)
    assert result.exit_code == ExitCode.USAGE
    assert meant in result.stderr
    assert result.stdout == ""


def test_without_a_configuration_it_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("QUARANTINE_CONFIG", raising=False)
    result = CliRunner().invoke(program, ["case", "list"])
    assert result.exit_code == ExitCode.USAGE
    assert "quarantine init" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_in_the_configuration_is_named_with_its_place(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("guards:\n  mod: ask\n")
    result = CliRunner().invoke(program, ["case", "list", "--config", str(config)])
    assert result.exit_code == ExitCode.USAGE
    assert f"{config}:2:3: unknown key 'mod'. Did you mean 'mode'?" in result.stderr


@pytest.mark.parametrize("content", ["a: [", "- 1\n", "a: 1\na: 2\n", "\x00", "guards: &a {}\nwatch: *a\n"])
def test_what_is_not_a_configuration_is_refused_in_words(tmp_path: Path, content: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(content)
    result = CliRunner().invoke(program, ["--config", str(config), "validate"])
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.output


def test_what_is_typed_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUARANTINE_CONFIG", "/nowhere/else.yaml")
    config = tmp_path / "config.yaml"
    config.write_text(f"data: {tmp_path / 'data'}\n")
    for words in (["--config", str(config), "kill", "status"], ["kill", "status", "--config", str(config)]):
        assert CliRunner().invoke(program, words).exit_code == ExitCode.DONE
    assert "/nowhere/else.yaml" in CliRunner().invoke(program, ["kill", "status"]).stderr


def test_an_error_of_ours_is_one_sentence_and_its_trace_is_for_who_asks(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"data: {tmp_path / 'data'}\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "quarantine.db").write_bytes(b"this is no database, and never was one" * 100)
    plain = CliRunner().invoke(program, ["--config", str(config), "case", "list"])
    assert plain.exit_code in (ExitCode.INTERNAL, ExitCode.USAGE)
    assert "database" in plain.stderr
    assert "Traceback" not in plain.output
    asked = subprocess.run(
        [sys.executable, "-m", "quarantine.cli", "--config", config, "--debug", "case", "list"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" in asked.stderr


def test_every_error_has_an_exit_code_of_its_meaning() -> None:
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.QuarantineError)
    ]
    codes = {kind.__name__: exit_code.of_error(kind("")) for kind in kinds}
    assert {name for name, code in codes.items() if code is ExitCode.INTERNAL} == {
        "QuarantineError",
        "Unavailable",
    }
    assert codes["Unreachable"] is codes["Denied"] is ExitCode.AUTHENTICATION
    assert codes["Killed"] is codes["GuardFailed"] is ExitCode.STOPPED
    assert codes["NotFound"] is codes["Misconfigured"] is ExitCode.USAGE


def test_init_writes_a_configuration_that_is_right_and_never_writes_over_one(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    first = CliRunner().invoke(program, ["init", str(folder)])
    assert first.exit_code == ExitCode.DONE
    assert first.stdout == f"{folder / 'config.yaml'}\n"
    key = CliRunner().invoke(program, ["audit", "key", "--config", str(folder / "config.yaml")]).stdout.strip()
    assert key.startswith("cloud-quarantine/") and f"  {key}\n" in first.stderr, "made, and said"
    assert CliRunner().invoke(program, ["validate", "--config", str(folder / "config.yaml")]).exit_code == ExitCode.DONE
    (folder / "config.yaml").write_text("mine")
    second = CliRunner().invoke(program, ["init", str(folder)])
    assert second.exit_code == ExitCode.USAGE
    assert (folder / "config.yaml").read_text() == "mine"


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "yaml", "csv", "name"])
def test_playbooks_are_listed_without_a_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("QUARANTINE_CONFIG", raising=False)
    result = CliRunner().invoke(program, ["playbook", "list", "-o", form])
    assert result.exit_code == ExitCode.DONE
    assert {"close-public-bucket", "isolate-pod"} <= set(result.stdout.replace('"', " ").replace(",", " ").split())


def test_a_playbook_and_its_schema_are_shown() -> None:
    shown = json.loads(CliRunner().invoke(program, ["playbook", "show", "close-public-bucket", "-o", "json"]).stdout)
    assert "s3:PutBucketPublicAccessBlock" in shown["permissions"]
    assert json.loads(CliRunner().invoke(program, ["playbook", "schema"]).stdout)["title"] == "Playbook"
    unknown = CliRunner().invoke(program, ["playbook", "show", "close-publik-bucket"])
    assert unknown.exit_code == ExitCode.USAGE
    assert "Did you mean 'close-public-bucket'?" in unknown.stderr
