"""The actions of the fake platform keep the contracts that real ones have to keep."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from quarantine.action import GONE
from quarantine.errors import Gone
from quarantine.model import Resource
from quarantine.testing.contract import CaptureContract, OneWayContract, ReversibleContract, Setting, Stranger
from quarantine.testing.fake.cloud import FakeCloud
from quarantine.testing.fake.machine_capture import MachineCapture
from quarantine.testing.fake.machine_close import MachineClose
from quarantine.testing.fake.machine_delete import MachineDelete
from quarantine.testing.fake.machine_fence import MachineFence
from quarantine.testing.fake.machine_isolate import MachineIsolate
from quarantine.testing.fake.machine_stop import MachineStop
from quarantine.testing.fake.world import FakeWorld


@pytest.fixture
def machine(world: FakeWorld) -> Resource:
    return world.add("web-1", labels={"app": "web", "tier": "front"}, ports={"22": "0.0.0.0/0", "443": "10.0.0.0/8"})


class TestMachineIsolate(ReversibleContract):
    @pytest.fixture
    def setting(self, world: FakeWorld, machine: Resource) -> Setting:
        return Setting(MachineIsolate(), FakeCloud(world), machine)

    @pytest.fixture
    def stranger(self, world: FakeWorld, machine: Resource) -> Stranger:
        def adds_a_label() -> None:
            labels = world.machine(machine.id).labels
            world.meddle(machine.id, labels={**labels, "team": "forensics"})

        return adds_a_label

    def test_it_takes_two_changes(self, setting: Setting) -> None:
        assert len(setting.apply(setting.target(setting.observe())).calls) == 2


class TestMachineIsolateKeepingLabels(TestMachineIsolate):
    @pytest.fixture
    def setting(self, world: FakeWorld, machine: Resource) -> Setting:
        return Setting(MachineIsolate(keep_labels=("app",)), FakeCloud(world), machine)


class TestMachineFence(ReversibleContract):
    """Every change is an operation; nothing else is taken while it runs."""

    @pytest.fixture
    def setting(self, world: FakeWorld, machine: Resource) -> Setting:
        for call in ("policy.create", "policy.delete", "machine.set_ports"):
            world.slow(call, timedelta(seconds=20))
        return Setting(MachineFence(), FakeCloud(world), machine, settle=world.finish)

    @pytest.fixture
    def stranger(self, world: FakeWorld, machine: Resource) -> Stranger:
        return lambda: world.meddle(machine.id, ports={"8080": "0.0.0.0/0"})


class TestMachineClose(ReversibleContract):
    @pytest.fixture
    def setting(self, world: FakeWorld, machine: Resource) -> Setting:
        return Setting(MachineClose(), FakeCloud(world), machine)

    @pytest.fixture
    def stranger(self, world: FakeWorld, machine: Resource) -> Stranger:
        return lambda: world.meddle(machine.id, ports={"8080": "0.0.0.0/0"})

    def test_it_takes_one_change(self, setting: Setting) -> None:
        assert len(setting.apply(setting.target(setting.observe())).calls) == 1


class TestMachineStop(OneWayContract):
    @pytest.fixture
    def setting(self, world: FakeWorld, machine: Resource) -> Setting:
        return Setting(MachineStop(), FakeCloud(world), machine)


class TestMachineDelete(OneWayContract):
    @pytest.fixture
    def setting(self, world: FakeWorld, machine: Resource) -> Setting:
        return Setting(MachineDelete(), FakeCloud(world), machine)

    def test_another_machine_of_the_same_name_is_not_it(self, setting: Setting, world: FakeWorld) -> None:
        setting.apply(GONE)
        world.add("web-1")
        assert setting.observe() is GONE


class TestMachineCapture(CaptureContract):
    @pytest.fixture
    def setting(self, world: FakeWorld, machine: Resource) -> Setting:
        return Setting(MachineCapture(), FakeCloud(world), machine)

    @pytest.fixture
    def workload(self, world: FakeWorld, machine: Resource) -> Callable[[], object]:
        return lambda: world.machine(machine.id)


def test_isolating_refuses_another_machine_of_the_same_name(world: FakeWorld, machine: Resource) -> None:
    world.remove("web-1")
    world.add("web-1")
    with pytest.raises(Gone):
        MachineIsolate().observe(FakeCloud(world), machine)
