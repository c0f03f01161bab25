"""The command line on the fake platform, which is found as any installed provider is: by an entry point."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from click.testing import CliRunner, Result

from quarantine.cli.program import program
from quarantine.store.sql import Store
from quarantine.testing.fake.provider import FakeProvider, FakeSettings
from quarantine.testing.fake.world import EVERYONE, FakeWorld

PLAYBOOKS: dict[str, dict[str, Any]] = {
    "isolate": {"steps": [{"action": "fake:machine-isolate"}]},
    "close": {"steps": [{"action": "fake:machine-capture"}, {"action": "fake:machine-close"}]},
    "stop": {"steps": [{"action": "fake:machine-stop"}], "approval": "required"},
    "answer-shells": {"steps": [{"action": "fake:machine-isolate"}], "match": {"type": "shell", "severity": "high"}},
}
"""Those that only a person uses answer a type that no detector sends."""


class Plugged(FakeProvider):
    """What the entry point leads to: every process-wide load of the configuration sees the same world."""

    world_of_the_test: ClassVar[FakeWorld]

    def __init__(self, settings: FakeSettings) -> None:
        super().__init__(settings, self.world_of_the_test)


@dataclass
class CommandLine:
    """One installation in a folder, and a person at its keyboard."""

    folder: Path
    world: FakeWorld = field(default_factory=FakeWorld)

    def __post_init__(self) -> None:
        self.config = self.folder / "config.yaml"
        self.configure()
        for name, parts in PLAYBOOKS.items():
            match = {"resource": "fake:machine", "type": "by hand only", **parts.get("match", {})}
            content = {"name": name, "description": "For tests.", **parts, "match": match}
            (self.folder / "playbooks").mkdir(exist_ok=True)
            (self.folder / "playbooks" / f"{name}.yaml").write_text(yaml.safe_dump(content))
        self.store = Store(f"sqlite:///{self.folder / 'data' / 'quarantine.db'}")

    def configure(self, **changes: Any) -> None:
        settings: dict[str, Any] = {
            "data": "data",
            "playbooks": ["playbooks"],
            "guards": {"mode": "ask"},
            "providers": {"fake": {"accounts": ["local"]}},
            "sources": {"detector": {"parser": "fake:finding", "secret": "env:DETECTOR_SECRET"}},
        }
        self.config.write_text(yaml.safe_dump({**settings, **changes}, sort_keys=False))

    def __call__(self, *words: str, stdin: str | None = None) -> Result:
        """One command. Nothing that a user sees may be a traceback."""
        result = CliRunner().invoke(program, ["--config", str(self.config), *words], input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        return result

    def asks(self, *words: str) -> Any:
        """The same with `-o json`, parsed."""
        return json.loads(self(*words, "-o", "json").stdout)

    def machine(self, name: str = "web-1", **parts: Any) -> str:
        """A machine that is open to the world, as `run` names it."""
        self.world.add(name, **{"labels": {"app": "shop"}, "ports": {"22": EVERYONE}, **parts})
        return f"fake:machine/{name}"

    def case(self, playbook: str = "isolate", *, code: int = 0, name: str = "web-1", **parts: Any) -> str:
        """The id of a case that was opened by hand."""
        done = self("run", playbook, self.machine(name, **parts), "--apply", "-o", "name")
        assert done.exit_code == code, done.output
        return done.stdout.strip()

    def types(self, case_id: str) -> Sequence[str]:
        return [recorded.event.type for recorded in self.store.history(case_id)]


def plug_in(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs a distribution that offers its fake platform: metadata only, as pip would write it."""
    metadata = line.folder / "fake_platform-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-platform\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[quarantine.providers]\nfake = tests.core.cli_bench:Plugged\n")
    monkeypatch.syspath_prepend(str(line.folder))
    monkeypatch.setattr(Plugged, "world_of_the_test", line.world, raising=False)


def visible(text: str) -> bool:
    """Is there nothing in it that a terminal would obey, or a reader not see?"""
    return all(character == "\n" or character.isprintable() for character in text)
