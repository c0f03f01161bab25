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


def test_every_shipped_playbook_dies_everywhere() -> None:
    forgotten = set(shipped().rglob("*.yaml")) - crash_tested()
    names = sorted(str(path.relative_to(shipped())) for path in forgotten)
    assert not names, f"{names}: each needs a class that inherits CrashContract, see CONTRIBUTING.md"
