"""The demo as a user starts it: every check holds, and nothing that it started is left."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.testbed.missing import need
from tests.testbed.poll import until

COMMAND = [sys.executable, "-m", "quarantine.cli", "demo"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    if find_spec("moto") is None:
        need("AWS: moto is not installed, get it with: pip install 'moto[server]'")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    return {**os.environ, "TMPDIR": str(temporary)}


def left_behind(temporary: str) -> list[str]:
    """Programs whose command line or working folder is in the demo's folder, and files there."""
    found = [str(path) for path in Path(temporary).iterdir()]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, folder = (process / "cmdline").read_bytes(), str((process / "cwd").readlink())
        except OSError:
            continue
        if folder.startswith(temporary) or temporary.encode() in command:
            found.append(command.decode(errors="replace"))
    return found


def test_the_demo_holds_what_it_claims(environment: dict[str, str]) -> None:
    done = subprocess.run(
        COMMAND, env=environment, capture_output=True, text=True, timeout=180, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✗" not in done.stdout
    assert "\x1b" not in done.stdout
    assert re.search(r"15 of 15 checks held, in \d+ s", done.stdout)
    for claim in ("refused (401)", "drifted", "byte for byte", "every entry is there and unaltered", "'web'"):
        assert claim in done.stdout
    assert left_behind(environment["TMPDIR"]) == []


def _hear_both() -> None:
    """A shell that starts something in the background has it ignore SIGINT, and its children with it."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_DFL)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_leaves_nothing(
    environment: dict[str, str], tmp_path: Path, how: signal.Signals
) -> None:
    said = tmp_path / "said.txt"
    with said.open("wb") as output:
        demo = subprocess.Popen(
            COMMAND,
            env={**environment, "PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_hear_both,
        )
        try:
            until(lambda: "a forged report is refused" in said.read_text(), seconds=60)
            demo.send_signal(how)
            assert demo.wait(40) == 130
        finally:
            demo.kill()
            demo.wait()
    assert left_behind(environment["TMPDIR"]) == []
    assert "Traceback" not in said.read_text()


def test_without_moto_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys, importlib.util as util\n"
        "known = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'moto' else known(name, *rest)\n"
        "sys.argv = ['quarantine', 'demo']\n"
        "from quarantine.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "pip install 'cloud-quarantine[demo]'" in done.stderr
    assert tempfile.gettempdir() not in done.stderr
