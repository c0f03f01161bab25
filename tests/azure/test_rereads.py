"""Alerts of Defender for Cloud that are asked for again."""

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from quarantine.action import Call
from quarantine.errors import Denied, Gone, Throttled
from quarantine.model import Finding, Standing
from quarantine.testing.contract import CountingGate
from quarantine_azure.cloud import AzureCloud
from quarantine_azure.findings import defender_alert
from quarantine_azure.provider import Azure
from tests.azure.test_cloud import MARK
from tests.testbed.arm import GROUP, SUBSCRIPTION, Arm

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
REREAD = Azure.rereads["azure:defender-alert"]
NAME = "2518770965529163669_F144EE95-A3E5-42DA-A279-967D115809AA"
VM = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Compute/virtualMachines/Web-1"


def alert(name: str = NAME, vm: str = VM, **properties: Any) -> dict[str, Any]:
    """As in azure-rest-api-specs, Microsoft.Security 2022-01-01, GetAlertResourceGroupLocation_example.json."""
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
    return {
        "id": f"{group}/providers/Microsoft.Security/locations/westeurope/alerts/{name}",
        "name": name,
        "type": "Microsoft.Security/Locations/alerts",
        "properties": {
            "alertType": "VM_EICAR",
            "systemAlertId": name,
            "alertDisplayName": "Azure Security Center test alert",
            "severity": "High",
            "status": "Active",
            "endTimeUtc": "2026-03-02T11:59:00.0000000Z",
            "resourceIdentifiers": [{"type": "AzureResource", "azureResourceId": vm}],
            **properties,
        },
    }


def found(record: dict[str, Any]) -> Finding:
    (finding,) = defender_alert(record, "defender", NOW)
    return finding


def ask(cloud: AzureCloud, finding: Finding) -> Standing:
    used = list[Call]()
    said = REREAD.ask(cloud.through(CountingGate(0), MARK, used.append), finding, NOW)
    assert {call.permission for call in used} == set(REREAD.permissions)
    return said


@pytest.mark.parametrize(
    ("status", "standing"),
    [
        ("Active", Standing.ACTIVE),
        ("InProgress", Standing.ACTIVE),
        ("Resolved", Standing.RESOLVED),
        ("Dismissed", Standing.SUPPRESSED),
    ],
)
@pytest.mark.parametrize("named", [True, False], ids=["by its id", "among all alerts"])
def test_what_defender_says(arm: Arm, cloud: AzureCloud, status: str, standing: Standing, named: bool) -> None:
    record = alert()
    arm.alerts = [alert("another", status="Resolved"), alert(status=status), alert("a-third")]
    if not named:
        record = {key: value for key, value in record.items() if key != "id"}
    assert ask(cloud, found(record)) is standing
    assert len(arm.requests) == (1 if named else 3), "a list comes in pages"


def test_what_defender_does_not_have_or_has_about_another_machine_is_unknown(arm: Arm, cloud: AzureCloud) -> None:
    assert ask(cloud, found(alert())) is Standing.UNKNOWN
    arm.alerts = [alert(vm=VM.replace("Web-1", "Web-2"))]
    assert ask(cloud, found(alert())) is Standing.UNKNOWN


def test_an_id_in_another_subscription_is_not_followed(arm: Arm, cloud: AzureCloud) -> None:
    record = copy.deepcopy(alert())
    record["id"] = record["id"].replace(SUBSCRIPTION, "99999999-9999-4999-8999-999999999999")
    assert ask(cloud, found(record)) is Standing.UNKNOWN
    assert all(SUBSCRIPTION in request.path for request in arm.requests)


def test_a_defender_that_does_not_answer_says_nothing(arm: Arm, cloud: AzureCloud) -> None:
    arm.alerts = [alert()]
    arm.refuse(lambda request: "alerts" in request.path, 429, "TooManyRequests")
    with pytest.raises(Throttled):
        REREAD.ask(cloud, found(alert()), NOW)
    arm.granted = [{"actions": ["Microsoft.Compute/*"], "notActions": []}]
    with pytest.raises(Denied, match=r"Microsoft\.Security/alerts/read"):
        REREAD.ask(cloud, found(alert()), NOW)
    with pytest.raises(Denied, match=r"Microsoft\.Security/alerts/read"):
        REREAD.probe(cloud)


def test_the_probe_asks_for_an_alert_that_there_is_not(arm: Arm, cloud: AzureCloud) -> None:
    with pytest.raises(Gone):
        REREAD.probe(cloud)
