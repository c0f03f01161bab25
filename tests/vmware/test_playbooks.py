"""The shipped playbooks, loaded as the program loads them, and asked about alarms."""

from datetime import UTC, datetime
from typing import Any

import pytest

from quarantine.match import Matcher
from quarantine.playbook import load, shipped
from quarantine.registry import Registry
from quarantine_vmware import Vmware
from quarantine_vmware.findings import alarm

RED: dict[str, Any] = {
    "vcenter": "berlin",
    "alarm_name": "quarantine: ransomware note found",
    "target_id": "vm-42",
    "new_status": "Red",
}


def answer(record: dict[str, Any]) -> str | None:
    registry = Registry([Vmware], {})
    playbooks = [load(path, registry) for path in sorted((shipped() / "vmware").glob("*.yaml"))]
    (finding,) = alarm(record, "vcenter", datetime.now(UTC))
    found = Matcher(playbooks).answer(finding)
    return found.name if found else None


def test_a_red_alarm_that_is_named_for_it_is_answered() -> None:
    assert answer(RED) == "disconnect-vm"


def test_a_yellow_one_is_not() -> None:
    assert answer({**RED, "new_status": "Yellow"}) is None


@pytest.mark.parametrize(
    "name", ["Virtual machine CPU usage", "Virtual Machine Consolidation Needed status", "x quarantine"]
)
def test_a_machine_that_is_only_busy_is_left_alone(name: str) -> None:
    assert answer({**RED, "alarm_name": name}) is None
