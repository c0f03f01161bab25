"""A defect that somebody could write, as a few lines of the product that are exchanged for others.

`find` must stand in its file exactly once, at whatever indentation; when a refactoring moves it, `changed` raises and
somebody decides what the defect looks like now. The defect is made in a copy of the tree, and the tests that are named
with it run against that copy: each of them must fail.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

import yaml

from quarantine.model import Value

ROOT = Path(__file__).parents[2]
TABLE = Path(__file__).with_name("mutants.yaml")
COPIED = ("quarantine", "providers", "playbooks", "tests", "pyproject.toml", "config.example.yaml")
LONGEST = 150
"""Seconds that the tests of one mutant may take. A defect that makes them hang is not caught."""


class Stale(AssertionError):
    """The table and the tree do not fit together any more."""


class Mutant(Value):
    """One defect, and the tests that find it."""

    name: str
    breaks: str
    """The promise that it breaks, in one sentence."""
    file: str
    find: str
    put: str
    """What stands there instead; empty for nothing."""
    caught_by: tuple[str, ...]
    """The tests that must fail, as pytest names them, without `[...]` for at least one of all parameters."""

    def changed(self, text: str) -> str:
        """The file with the defect. Raises Stale unless `find` stands in it exactly once."""
        lines, wanted = text.splitlines(), self.find.splitlines()
        places = [start for start in range(len(lines)) if _indent(lines, start, wanted) is not None]
        if len(places) != 1:
            raise Stale(f"{self.name}: its lines stand {len(places)} times in {self.file}: say again what to exchange")
        start = places[0]
        indent = _indent(lines, start, wanted)
        put = [f"{indent}{line}" if line else "" for line in self.put.splitlines()]
        return "\n".join([*lines[:start], *put, *lines[start + len(wanted) :]]) + "\n"

    def escaped(self) -> list[str]:
        """Make the defect in a copy, and run its tests there: those that do not fail, each with what it said."""
        with tempfile.TemporaryDirectory(prefix="quarantine-mutant-", dir=_memory()) as folder:
            copy = Path(folder)
            copy_tree(copy)
            file = copy / self.file
            file.write_text(self.changed(file.read_text()))
            return run(copy, self.caught_by)


def load() -> list[Mutant]:
    """Every mutant of the table."""
    return [Mutant.model_validate(item) for item in yaml.safe_load(TABLE.read_text())]


def copy_tree(copy: Path) -> None:
    """The product and its tests, without what was compiled from them."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, copy / name)


def run(copy: Path, tests: tuple[str, ...]) -> list[str]:
    """The tests that do not fail on the copy. Raises AssertionError if they cannot be run at all."""
    report = copy / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.mutants.witness"]
    command += ["--tb=no", f"--junitxml={report}", f"--basetemp={copy / 'tmp'}", *tests]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        # Before the checkout, which the editable installation puts at the end of the path.
        "PYTHONPATH": os.pathsep.join([str(copy), str(copy / "providers")]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "QUARANTINE_COPY": str(copy),
    }
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, timeout=LONGEST, check=False
        )
    except subprocess.TimeoutExpired:
        return [f"{test}: not at an end after {LONGEST} s" for test in tests]
    if done.returncode not in (0, 1) or not report.exists():
        raise AssertionError(f"the tests cannot be run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    results = _results(report)
    return [f"{test}: {_said(test, results)}" for test in tests if not _fails(test, results)]


def _indent(lines: list[str], start: int, wanted: list[str]) -> str | None:
    """By how much the lines that begin at `start` are further in than the wanted ones; None if they are others."""
    found = lines[start : start + len(wanted)]
    if len(found) < len(wanted) or not found[0].endswith(wanted[0]):
        return None
    indent = found[0].removesuffix(wanted[0])
    same = not indent.strip() and found == [f"{indent}{line}" if line else "" for line in wanted]
    return indent if same else None


def _results(report: Path) -> list[tuple[str, str]]:
    """(test as pytest names it, passed | failure | error | skipped) for every one that ran."""
    found = []
    for item in ET.parse(report).iter("testcase"):  # noqa: S314 - written by our own pytest
        name = f"{item.get('classname', '').replace('.', '/')}.py::{item.get('name')}"
        outcome = next((part.tag for part in item if part.tag in ("failure", "error", "skipped")), "passed")
        found.append((name, outcome))
    return found


def _mine(test: str, results: list[tuple[str, str]]) -> list[str]:
    return [outcome for name, outcome in results if name == test or name.startswith(f"{test}[")]


def _fails(test: str, results: list[tuple[str, str]]) -> bool:
    return "failure" in _mine(test, results)


def _said(test: str, results: list[tuple[str, str]]) -> str:
    return ", ".join(sorted(set(_mine(test, results)))) or "there is no such test"


def _memory() -> str | None:
    """Where files cost nothing: most of what these tests wait for is a disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
