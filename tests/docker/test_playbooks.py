"""The shipped playbook, loaded as the program loads it, and asked about real alerts."""

from datetime import UTC, datetime
from typing import Any

import pytest

from quarantine.match import Matcher
from quarantine.playbook import load, shipped
from quarantine.registry import Registry
from quarantine_docker import Docker
from quarantine_docker.findings import falco
from tests.docker.test_findings import ALERT


def answer(record: dict[str, Any]) -> str | None:
    registry = Registry([Docker], {})
    playbooks = [load(path, registry) for path in sorted((shipped() / "docker").glob("*.yaml"))]
    (finding,) = falco(record, "falco", datetime.now(UTC))
    found = Matcher(playbooks).answer(finding)
    return found.name if found else None


@pytest.mark.parametrize("priority", ["Critical", "Error", "Emergency"])
def test_a_grave_alert_about_a_container_is_answered(priority: str) -> None:
    assert answer({**ALERT, "priority": priority}) == "isolate-container"


@pytest.mark.parametrize("priority", ["Notice", "Warning"])
def test_a_lesser_one_is_not(priority: str) -> None:
    assert answer({**ALERT, "priority": priority}) is None
