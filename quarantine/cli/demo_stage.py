"""What the demo plays on: programs that are started and surely stopped, and lines with the time on the left."""

import fcntl
import json
import os
import pty
import random
import shlex
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.text import Text

from quarantine.cli.options import colourful
from quarantine.cli.screen import Screen, safe
from quarantine.errors import QuarantineError

WIDEST = 100
INDENT = 11
T = TypeVar("T")


class Spoilt(QuarantineError):
    """The demo cannot go on."""


class Stage:
    """Prints the story, counts its checks, and runs commands as a person would."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._screen = Screen(sys.stdout)
        self._began = time.monotonic()
        self._environment = dict(environment)
        self._programs: list[subprocess.Popen[bytes]] = []
        self._width = min(WIDEST, self._screen.width)
        self._after_output = False
        self.checks = 0
        self.failed: list[str] = []

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._began

    # -- lines ---------------------------------------------------------------------------------------------------

    def title(self, title: str, meaning: str) -> None:
        self._screen.line(Text(title, "bold"), "   ", meaning)

    def scene(self, number: int, title: str) -> None:
        self._after_output = False
        self._screen.blank()
        self._screen.line(Text(f" {number}  ", "dim"), Text(title, "bold"))

    def did(self, sentence: str) -> None:
        """Something that the demo did itself, as the world around the program."""
        self._screen.prose(safe(sentence), self._lead(Text("  ")), INDENT)

    def note(self, sentence: str) -> None:
        self._screen.prose(safe(sentence, "dim"), "", INDENT)

    def check(self, held: bool, sentence: str, otherwise: object = "") -> None:
        """A claim that was looked at."""
        self.checks += 1
        if not held:
            self.failed.append(sentence)
        mark = Text("✓ ", "green") if held else Text("✗ ", "bold red")
        said = safe(sentence) if held else safe(f"{sentence}: no, {otherwise}", "red")
        self._screen.prose(said, self._lead(mark), INDENT)

    def _lead(self, mark: Text) -> Text:
        if self._after_output:
            self._screen.blank()
            self._after_output = False
        return Text.assemble((f"{self.elapsed:6.1f} s ", "dim"), mark)

    # -- programs ------------------------------------------------------------------------------------------------

    def start(self, command: Sequence[str | Path], log: Path) -> None:
        """In a session of its own, so that Ctrl-C reaches us first and we stop everything in order."""
        with log.open("ab") as output:
            self._programs.append(
                subprocess.Popen(  # noqa: S603 - ourselves, and moto
                    [str(word) for word in command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                    cwd=log.parent,
                    start_new_session=True,
                )
            )

    def stop_all(self) -> None:
        """The last one first."""
        for program in reversed(self._programs):
            if program.poll() is None:
                program.terminate()
            try:
                program.wait(15)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()
        self._programs.clear()

    def until(self, look: Callable[[], T], seconds: float, what: str, log: Path | None = None) -> T:
        """The first true value of `look`. Raises Spoilt when a program ended, or when it takes too long."""
        deadline = time.monotonic() + seconds
        while not (value := look()):
            ended = [program for program in self._programs if program.poll() is not None]
            if ended or time.monotonic() > deadline:
                words = log.read_text(errors="replace").strip()[-600:] if log and log.exists() else ""
                raise Spoilt(f"{what}: not within {seconds:.0f} s{f'. Its last words: {words}' if words else ''}")
            time.sleep(0.05)
        return value

    # -- a person at the command line ----------------------------------------------------------------------------

    def command(self, *words: str) -> int:
        """Run `quarantine ...` on a terminal as wide as ours, show what it shows, and give its exit code."""
        self._after_output = True
        self._screen.prose(safe(f"quarantine {shlex.join(words)}", "cyan"), self._lead(Text("$ ", "cyan")), INDENT)
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, self._width - INDENT, 0, 0))
        extra = {} if colourful(sys.stdout) else {"NO_COLOR": "1"}
        program = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "quarantine.cli", *words],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            env={**self._environment, "TERM": os.environ.get("TERM", "xterm-256color"), **extra},
            start_new_session=True,
        )
        self._programs.append(program)
        os.close(theirs)
        try:
            with os.fdopen(ours, "rb", closefd=True) as terminal:
                for line in _lines(terminal):
                    click.echo(" " * INDENT + line if line else "")
            code = program.wait(150)
        finally:
            if program.poll() is None:
                program.terminate()
                program.wait(15)
            self._programs.remove(program)
        self._after_output = True
        return code

    def ask(self, *words: str) -> Any:
        """Run `quarantine ... -o json` as a script would, and parse its stdout."""
        done = subprocess.run(  # noqa: S603 - ourselves
            [sys.executable, "-m", "quarantine.cli", *words, "-o", "json"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=self._environment,
            timeout=60,
            check=False,
        )
        try:
            return json.loads(done.stdout)
        except ValueError:
            raise Spoilt(f"quarantine {' '.join(words)} ended with {done.returncode}: {done.stderr.decode()}") from None


def _lines(terminal: Any) -> Any:
    """Lines of a terminal until its program ends. Linux says that with EIO, others with an end of file."""
    while True:
        try:
            line = terminal.readline()
        except OSError:
            return
        if not line:
            return
        yield line.decode(errors="replace").rstrip("\r\n")


def free_port() -> int:
    """Below the range that Linux hands to outgoing connections: nobody takes it between our look and its use."""
    for port in random.sample(range(20_000, 32_000), k=200):
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Spoilt("there is no free port on 127.0.0.1")


def stoppable() -> None:
    """Let SIGTERM and a closed terminal end the demo as Ctrl-C does: in order, with everything stopped."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)


def unstoppable() -> None:
    """From here on only what was started is stopped: a second Ctrl-C must not leave half of it running."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
