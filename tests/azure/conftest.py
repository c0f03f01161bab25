"""A machine with two interfaces in two resource groups, one with a security group; and our connection to its ARM."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from quarantine.model import Resource
from quarantine.testing.contract import CountingGate, Setting
from quarantine_azure.cloud import AzureCloud
from quarantine_azure.provider import Azure, AzureSettings
from tests.testbed.arm import GROUP, SUBSCRIPTION, TOKEN, Arm
from tests.testbed.arm_network import Body

SCOPE = f"{SUBSCRIPTION}/{GROUP.lower()}"
ALLOW_WEB = {
    "name": "allow-web",
    "properties": {
        "access": "Allow", "direction": "Inbound", "priority": 100, "protocol": "Tcp", "sourceAddressPrefix": "*",
        "sourcePortRange": "*", "destinationAddressPrefix": "*", "destinationPortRange": "443",
    },
}  # fmt: skip


@dataclass
class Machine:
    """What the tests do here, they do as the owner and without our code."""

    arm: Arm
    resource: Resource
    first: str
    """The id of the interface that has a group."""
    second: str
    """That of the one in another resource group, which has none."""
    group: str
    """The id of the owner's security group."""

    def group_of(self, nic: str) -> str | None:
        group = self.arm.read(nic)["properties"].get("networkSecurityGroup")
        return None if group is None else str(group["id"])

    def images(self) -> list[Body]:
        """Both interfaces as they stand, but for what changes with every write."""
        return [lasting(self.arm.read(nic)) for nic in (self.first, self.second)]

    def own_group(self) -> Body:
        return self.arm.read(self.own_group_id())

    def own_group_id(self) -> str:
        return f"{self.group.rpartition('/')[0]}/cloud-quarantine-{self.resource.uid}"


def lasting(body: Body) -> Body:
    """Without what changes with every write."""
    return {key: value for key, value in body.items() if key != "etag"}


def make_machine(arm: Arm, name: str = "Web-1", **properties: Any) -> Machine:
    group = arm.make_group("Web-NSG", rules=[ALLOW_WEB])
    # A field that no SDK knows yet must come through, like those that none knows today.
    first = arm.make_nic(f"{name}-a", group, somethingNewOf2027={"level": 3})
    second = arm.make_nic(f"{name}-b", None, group="Network-RG")
    vm = arm.make_vm(name, [first, second], **properties)
    uid = vm["properties"]["vmId"]
    resource = Resource(kind="azure:vm", id=name.lower(), scope=SCOPE, uid=uid)
    return Machine(arm, resource, first, second, group)


def ask_about_operations(setting: Setting, arm: Arm, *places: str) -> None:
    """As the engine does; of none in these places of a resource provider anything is known any more."""
    watching = setting.cloud.through(CountingGate(), setting.mark, setting.used.append)
    for place in places:
        url = f"{arm.url}/subscriptions/{SUBSCRIPTION}/providers/{place}/0"
        assert watching.running(f"{url}?api-version=2025-05-01") is False


@pytest.fixture
def arm() -> Iterator[Arm]:
    with Arm() as arm:
        yield arm


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARM_TOKEN", TOKEN)


@pytest.fixture
def machine(arm: Arm) -> Machine:
    return make_machine(arm)


def provider(url: str, **settings: Any) -> Azure:
    subscriptions = {SUBSCRIPTION: settings.pop("subscription", {})}
    whole = {"subscriptions": subscriptions, "endpoint_url": url, "token": "env:ARM_TOKEN", **settings}
    return Azure(AzureSettings.model_validate(whole))


@pytest.fixture
def cloud_at() -> Callable[[str], AzureCloud]:
    return lambda url: provider(url).connect(SCOPE)


@pytest.fixture
def cloud(arm: Arm) -> AzureCloud:
    return provider(arm.url).connect(SCOPE)
