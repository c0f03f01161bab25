"""The shipped playbook, loaded as the program loads it, and asked about real alerts."""

from typing import Any

import pytest

from quarantine.match import Matcher
from quarantine.playbook import Approval, load, shipped
from quarantine.registry import Registry
from quarantine_azure import Azure
from quarantine_azure.findings import defender_alert
from tests.azure.test_findings import LOGIC_APP, RECEIVED, REST, VM, changed

FILES = sorted((shipped() / "azure").glob("*.yaml"))


def answer(record: dict[str, Any]) -> str | None:
    playbooks = [load(path, Registry([Azure], {})) for path in FILES]
    (finding,) = defender_alert(record, "defender", RECEIVED)
    found = Matcher(playbooks).answer(finding)
    return found.name if found else None


def test_there_is_one_and_it_can_be_undone() -> None:
    (playbook,) = [load(path, Registry([Azure], {})) for path in FILES]
    assert playbook.name == "isolate-vm"
    assert playbook.approval is Approval.NONE


def test_a_grave_alert_about_a_machine_is_answered() -> None:
    assert answer(REST) == "isolate-vm"


def test_a_lesser_one_is_not() -> None:
    assert answer(LOGIC_APP) is None


@pytest.mark.parametrize("id_", [VM.replace("virtualMachines", "disks"), f"{VM}/extensions/x"])
def test_nor_is_one_about_something_else(id_: str) -> None:
    assert answer(changed(resourceIdentifiers=[{"type": "AzureResource", "azureResourceId": id_}])) is None
