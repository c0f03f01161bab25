"""The shipped playbooks, loaded as the program loads them, and asked about real alerts."""

from typing import Any

import pytest

from quarantine.match import Matcher
from quarantine.model import Finding, Resource, Severity
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


def test_what_each_asks_of_a_person() -> None:
    playbooks = [load(path, Registry([Azure], {})) for path in FILES]
    assert {playbook.name: playbook.approval for playbook in playbooks} == {
        "isolate-vm": Approval.NONE,
        "close-public-storage": Approval.NONE,
        "close-public-container": Approval.NONE,
        "block-storage-keys": Approval.REQUIRED,
        "close-open-rule": Approval.NONE,
        "stop-vm": Approval.REQUIRED,
    }


def test_what_our_own_polls_find_is_answered() -> None:
    playbooks = [load(path, Registry([Azure], {})) for path in FILES]
    found = {
        (kind, type_): Matcher(playbooks).answer(finding(kind, type_))
        for kind, type_ in [
            ("azure:storage-account", "public-storage-account"),
            ("azure:blob-container", "public-container"),
            ("azure:nsg-rule", "open-management-port"),
            ("azure:nsg-rule", "open-port"),
            ("azure:storage-account", "Storage.Blob_AccessInspectionAnomaly"),
        ]
    }
    assert [playbook and playbook.name for playbook in found.values()] == [
        "close-public-storage",
        "close-public-container",
        "close-open-rule",
        None,
        "block-storage-keys",
    ]


def finding(kind: str, type_: str) -> Finding:
    resource = Resource(kind=kind, id="x", scope="s/g")
    return Finding(source="a", id="1", type=type_, severity=Severity.HIGH, resource=resource, seen_at=RECEIVED)


def test_a_grave_alert_about_a_machine_is_answered() -> None:
    assert answer(REST) == "isolate-vm"


def test_a_lesser_one_is_not() -> None:
    assert answer(LOGIC_APP) is None


@pytest.mark.parametrize("id_", [VM.replace("virtualMachines", "disks"), f"{VM}/extensions/x"])
def test_nor_is_one_about_something_else(id_: str) -> None:
    assert answer(changed(resourceIdentifiers=[{"type": "AzureResource", "azureResourceId": id_}])) is None
