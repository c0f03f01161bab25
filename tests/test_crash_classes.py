"""No shipped playbook without crash tests: each has a class in tests/<cloud>/test_crash*.py."""

from importlib import import_module
from pathlib import Path

from quarantine.playbook import shipped
from quarantine.testing.crash import CrashContract

TESTS = Path(__file__).parent


def crash_tested() -> set[Path]:
    modules = [import_module(f"tests.{path.parent.name}.{path.stem}") for path in TESTS.glob("*/test_crash*.py")]
    found = [thing for module in modules for thing in vars(module).values() if isinstance(thing, type)]
    return {thing.playbook for thing in found if issubclass(thing, CrashContract) and "playbook" in vars(thing)}


def forgotten(playbooks: Path) -> list[str]:
    return sorted(str(path.relative_to(playbooks)) for path in set(playbooks.rglob("*.yaml")) - crash_tested())


def test_every_shipped_playbook_dies_everywhere() -> None:
    names = forgotten(shipped())
    assert not names, f"{names}: each needs a class that inherits CrashContract, see CONTRIBUTING.md"


def test_one_that_has_no_class_is_named(tmp_path: Path) -> None:
    (tmp_path / "aws").mkdir()
    (tmp_path / "aws" / "new.yaml").touch()
    assert forgotten(tmp_path) == ["aws/new.yaml"]
