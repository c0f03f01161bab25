from datetime import UTC, datetime
from typing import Any

import pytest

from quarantine.errors import Denied
from quarantine.model import Finding, Severity
from quarantine.testing.contract import CountingGate
from quarantine_azure.cloud import AzureCloud
from quarantine_azure.polls import POLLS, managed_by
from quarantine_azure.provider import Azure
from tests.azure.conftest import SCOPE
from tests.azure.test_cloud import MARK
from tests.azure.test_nsg_close_rule import OFFICE, SSH, WEB, rule
from tests.testbed.arm import SUBSCRIPTION, Arm

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
BY_NAME = {poll.name: poll for poll in POLLS}


def ask(cloud: AzureCloud, name: str, scope: str = SUBSCRIPTION) -> list[Finding]:
    found, cursor = BY_NAME[name].run(cloud, scope, NOW, None)
    assert cursor is None
    return found


@pytest.fixture
def storage(arm: Arm) -> Arm:
    """Two accounts are open: `open`, and one that never said whether it may be."""
    accounts: dict[str, dict[str, Any]] = {
        "closed": {"allowBlobPublicAccess": False},
        "unreachable": {"publicNetworkAccess": "Disabled"},
        "denying": {"networkAcls": {"defaultAction": "Deny"}},
        "open": {},
        "silent": {"allowBlobPublicAccess": None},
    }
    for name, properties in accounts.items():
        account = arm.make_account(name, **properties)
        arm.make_container(account, "images", "Blob")
        arm.make_container(account, "logs")
        arm.make_container(account, "lists", "Container")
    arm.make_container(arm.make_account("private"), "inside", "None")
    return arm


def test_accounts_that_anybody_can_read_are_found_and_no_others(storage: Arm, cloud: AzureCloud) -> None:
    found = ask(cloud, "azure:public-storage")
    assert {str(finding.resource) for finding in found} == {
        f"azure:storage-account/{name} in {SCOPE}" for name in ("open", "silent")
    }
    assert {finding.severity for finding in found} == {Severity.HIGH}
    (silent,) = [finding for finding in found if finding.resource.id == "silent"]
    assert silent.record == {"allowBlobPublicAccess": None, "containers": {"images": "Blob", "lists": "Container"}}
    assert silent.title == "Storage account silent can be read by anybody: images, lists"


def test_a_closed_account_costs_no_call_of_its_own(storage: Arm, cloud: AzureCloud) -> None:
    ask(cloud, "azure:public-storage")
    asked = {request.path.split("/")[8] for request in storage.requests if "/containers" in request.path}
    assert asked == {"open", "silent", "private"}


def test_each_container_is_a_finding_of_its_own(storage: Arm, cloud: AzureCloud) -> None:
    found = ask(cloud, "azure:public-containers", SCOPE)
    assert sorted(finding.resource.id for finding in found) == [
        "open/images",
        "open/lists",
        "silent/images",
        "silent/lists",
    ]
    assert {finding.resource.scope for finding in found} == {SCOPE}


def test_the_same_state_gives_the_same_finding(storage: Arm, cloud: AzureCloud) -> None:
    for name in BY_NAME:
        assert [it.key for it in ask(cloud, name)] == [it.key for it in ask(cloud, name)]


def test_an_account_that_may_not_be_read_does_not_hide_the_others(
    storage: Arm, cloud: AzureCloud, caplog: pytest.LogCaptureFixture
) -> None:
    storage.refuse(lambda request: "/open/" in request.path, 403, "AuthorizationFailed")
    assert [finding.resource.id for finding in ask(cloud, "azure:public-storage")] == ["silent"]
    (record,) = caplog.records
    assert (record.message, record.__dict__["account"]) == ("account_not_judged", "open")


def test_if_no_account_may_be_read_that_is_no_empty_answer(storage: Arm, cloud: AzureCloud) -> None:
    containers = "Microsoft.Storage/storageAccounts/blobServices/containers/read"
    storage.granted = [{"actions": ["*"], "notActions": [containers]}]
    with pytest.raises(Denied, match=containers):
        ask(cloud, "azure:public-storage")


def test_rules_that_let_the_internet_in_are_found_and_management_ports_are_grave(arm: Arm, cloud: AzureCloud) -> None:
    udp = rule("dns", 330, protocol="Udp", destinationPortRange="*")
    deny = rule("deny", 340, access="Deny", destinationPortRange="*")
    out = rule("out", 350, direction="Outbound", destinationPortRange="*")
    arm.make_group("Web-NSG", rules=[OFFICE, SSH, WEB, udp, deny, out])
    arm.make_group("Other-NSG", group="Other-RG", rules=[rule("all", 300, destinationPortRange="*")])
    arm.make_group("aks-nsg", group="MC_shop_cluster_westeurope", rules=[SSH])
    found = {finding.resource.id: finding for finding in ask(cloud, "azure:open-rules")}
    assert {name: (it.type, it.severity) for name, it in found.items()} == {
        "web-nsg/allow-ssh": ("open-management-port", Severity.HIGH),
        "web-nsg/allow-web": ("open-port", Severity.LOW),
        "web-nsg/dns": ("open-port", Severity.LOW),
        "other-nsg/all": ("open-management-port", Severity.HIGH),
    }
    assert found["web-nsg/allow-ssh"].title == "Rule web-nsg/allow-ssh lets the internet in to Tcp 22 (SSH 22)"
    assert found["other-nsg/all"].resource.scope == f"{SUBSCRIPTION}/other-rg"
    assert {it.resource.id for it in ask(cloud, "azure:open-rules", SCOPE)} == {
        "web-nsg/allow-ssh",
        "web-nsg/allow-web",
        "web-nsg/dns",
    }


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"destinationPortRange": "*"}, {22, 23, 135, 445, 3389, 5985, 5986}),
        ({"destinationPortRange": "20-23"}, {22, 23}),
        ({"destinationPortRange": "23-3388"}, {23, 135, 445}),
        ({"destinationPortRanges": ["443", "3389"]}, {3389}),
        ({"destinationPortRange": "443", "destinationPortRanges": []}, set()),
        ({"destinationPortRange": "22", "protocol": "Udp"}, set()),
        ({"destinationPortRange": "22", "protocol": "*"}, {22}),
    ],
)
def test_management_ports_of_a_rule(said: dict[str, Any], expected: set[int]) -> None:
    assert managed_by({"protocol": "Tcp", **said}) == expected


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_polls_need_exactly_what_they_declare_and_change_nothing(storage: Arm, cloud: AzureCloud, name: str) -> None:
    storage.make_group("Web-NSG", rules=[SSH])
    storage.granted = [{"actions": list(BY_NAME[name].permissions), "notActions": []}]
    used: list[str] = []
    watching = cloud.through(CountingGate(0), MARK, lambda call: used.append(call.permission))
    assert ask(watching, name)
    assert set(used) == set(BY_NAME[name].permissions)
    assert {request.method for request in storage.requests} == {"GET"}


def test_the_provider_offers_them() -> None:
    assert {poll.name for poll in Azure.polls} == set(BY_NAME)
