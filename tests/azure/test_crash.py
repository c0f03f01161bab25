"""Every shipped playbook dies everywhere on a resource manager of ours: see quarantine/testing/crash.py."""

from itertools import count
from pathlib import Path

import pytest

from quarantine.model import Resource
from quarantine.playbook import shipped
from quarantine.testing.crash import CrashContract, Scene, Stage
from quarantine.testing.installation import Installation
from tests.azure.conftest import SCOPE, lasting, make_machine, provider
from tests.azure.test_nsg_close_rule import OFFICE, SSH, WEB
from tests.testbed.arm import VMS, Arm
from tests.testbed.arm_network import Body

PLAYBOOKS = shipped() / "azure"


class TestIsolateVm(CrashContract):
    """Each change is an operation that goes on for a while."""

    playbook = PLAYBOOKS / "isolate-vm.yaml"

    @pytest.fixture
    def scene(self, arm: Arm) -> Stage:
        arm.polls = 1
        azure, numbers = provider(arm.url), count(1)

        def fresh(folder: Path) -> Scene:
            machine = make_machine(arm, f"Web-{next(numbers)}")
            installation = Installation(folder, azure, [self.playbook])
            return Scene(installation, machine.resource, raw=lambda: [machine.images(), arm.groups()])

        return fresh


class TestStopVm(CrashContract):
    """It cannot be undone: lives are compared by whether the machine is off."""

    playbook = PLAYBOOKS / "stop-vm.yaml"

    @pytest.fixture
    def scene(self, arm: Arm) -> Stage:
        arm.polls = 1
        azure, numbers = provider(arm.url), count(1)

        def fresh(folder: Path) -> Scene:
            machine = make_machine(arm, f"Web-{next(numbers)}")
            id_ = machine.group.partition("/providers/")[0] + f"/providers/{VMS}/{machine.resource.id}"
            installation = Installation(folder, azure, [self.playbook])
            return Scene(installation, machine.resource, raw=lambda: arm.power.get(id_.lower(), "running"))

        return fresh


class TestCloseOpenRule(CrashContract):
    """Each change is an operation that goes on for a while."""

    playbook = PLAYBOOKS / "close-open-rule.yaml"

    @pytest.fixture
    def scene(self, arm: Arm) -> Stage:
        arm.polls = 1
        azure, numbers = provider(arm.url), count(1)

        def fresh(folder: Path) -> Scene:
            name = f"web-nsg-{next(numbers)}"
            group = arm.make_group(name, rules=[OFFICE, SSH, WEB])
            return Scene(
                Installation(folder, azure, [self.playbook]),
                Resource(kind="azure:nsg-rule", id=f"{name}/allow-ssh", scope=SCOPE),
                raw=lambda: by_name(arm.read(group)),
            )

        return fresh


def by_name(group: Body) -> Body:
    """The order of rules in the list says nothing: priorities do."""
    rules = {rule["name"]: lasting(rule) for rule in group["properties"]["securityRules"]}
    return {**lasting(group), "properties": {**group["properties"], "securityRules": rules}}


class _Storage(CrashContract):
    """An account that anonymous people can read a container of, and that takes its keys."""

    kind = "azure:storage-account"

    @pytest.fixture
    def scene(self, arm: Arm) -> Stage:
        azure, numbers = provider(arm.url), count(1)

        def fresh(folder: Path) -> Scene:
            name = f"shopdata{next(numbers)}"
            account = arm.make_account(name)
            container = arm.make_container(account, "images", "Blob")
            id_ = f"{name}/images" if self.kind == "azure:blob-container" else name
            return Scene(
                Installation(folder, azure, [self.playbook]),
                Resource(kind=self.kind, id=id_, scope=SCOPE),
                raw=lambda: [lasting(arm.read(account)), lasting(arm.read(container))],
            )

        return fresh


class TestClosePublicStorage(_Storage):
    playbook = PLAYBOOKS / "close-public-storage.yaml"


class TestBlockStorageKeys(_Storage):
    playbook = PLAYBOOKS / "block-storage-keys.yaml"


class TestClosePublicContainer(_Storage):
    playbook = PLAYBOOKS / "close-public-container.yaml"
    kind = "azure:blob-container"


del _Storage
