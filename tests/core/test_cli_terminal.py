"""What a person sees on a terminal: colour only there, and no line that is wider than it."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def on_a_terminal(columns: int, folder: Path, *words: str, **environment: str) -> str:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    kept = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "QUARANTINE_CONFIG")
    }
    with subprocess.Popen(
        [sys.executable, "-m", "quarantine.cli", *words],
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**kept, "TERM": "xterm-256color", **environment},
    ) as program:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # how Linux says that the other end was closed
            pass
        os.close(ours)
        assert program.wait(60) == 0, shown.decode()
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [80, 100, 200])
@pytest.mark.parametrize("words", [("playbook", "list"), ("playbook", "show", "close-public-bucket")], ids=" ".join)
def test_no_line_is_wider_than_the_terminal(tmp_path: Path, columns: int, words: tuple[str, ...]) -> None:
    shown = on_a_terminal(columns, tmp_path, *words)
    assert COLOUR.search(shown)
    plain = COLOUR.sub("", shown)
    assert "\x1b" not in plain
    assert max(map(len, plain.splitlines())) <= columns
    assert "…" not in plain


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_who_wants_no_colour_gets_none(tmp_path: Path, environment: dict[str, str]) -> None:
    assert "\x1b" not in on_a_terminal(80, tmp_path, "playbook", "list", **environment)


def test_a_pipe_gets_whole_lines_without_colour(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "quarantine.cli", "playbook", "list"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "\x1b" not in done.stdout
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("close-public-bucket")]
    assert row.endswith("objects.")
