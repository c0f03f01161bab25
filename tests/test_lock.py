"""The lock files name neither host nor URL, carry hashes, and answer what pyproject.toml asks for."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "lock.txt"
BOOTSTRAP = ROOT / "requirements" / "bootstrap.txt"
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")
HOST_OR_OPTION = re.compile(r"://|(^|\s)(-i|-f|--(?!hash=)[a-z-]+)|\b[a-z0-9-]+\.(com|org|net|io|dev)\b")


def locked(path: Path) -> list[str]:
    """The requirements of a lock file, each on one line with its hashes."""
    lines = path.read_text().replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def asked() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    name = project["project"]["name"]
    lines = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *(line for extra in project["project"]["optional-dependencies"].values() for line in extra),
        *project["dependency-groups"]["dev"],
    ]
    return [requirement for requirement in map(Requirement, lines) if requirement.name != name]


@pytest.mark.parametrize("path", [LOCK, BOOTSTRAP], ids=lambda path: path.name)
def test_a_lock_file_names_no_host(path: Path) -> None:
    suspects = [line for line in path.read_text().splitlines() if HOST_OR_OPTION.search(line)]
    assert suspects == []


@pytest.mark.parametrize("path", [LOCK, BOOTSTRAP], ids=lambda path: path.name)
def test_every_requirement_is_pinned_and_has_a_hash(path: Path) -> None:
    requirements = locked(path)
    assert requirements
    for line in requirements:
        specifiers = list(Requirement(line.partition("--hash")[0]).specifier)
        assert [specifier.operator for specifier in specifiers] == ["=="], line[:80]
        assert HASH.search(line), line[:80]


def test_the_bootstrap_holds_uv_and_nothing_else() -> None:
    assert [Requirement(line.partition("--hash")[0]).name for line in locked(BOOTSTRAP)] == ["uv"]


def test_the_lock_answers_all_that_the_project_asks_for() -> None:
    pins: dict[str, set[str]] = {}
    for line in locked(LOCK):
        pin = Requirement(line.partition("--hash")[0])
        pins.setdefault(canonicalize_name(pin.name), set()).update(each.version for each in pin.specifier)
    stale = [
        str(requirement)
        for requirement in asked()
        if not any(
            requirement.specifier.contains(version, prereleases=True)
            for version in pins.get(canonicalize_name(requirement.name), ())
        )
    ]
    assert stale == [], "make lock"
