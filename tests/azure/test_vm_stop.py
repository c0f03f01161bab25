import math
from collections.abc import Callable
from typing import Any

import pytest

from quarantine.action import GONE, State, reached
from quarantine.errors import Denied, Transient, Unknown
from quarantine.model import Resource
from quarantine.testing.contract import CaptureContract, OneWayContract, Setting
from quarantine_azure.cloud import AzureCloud
from quarantine_azure.machine_power import MachinePower
from quarantine_azure.vm_capture import VmCapture
from quarantine_azure.vm_stop import VmStop
from tests.azure.conftest import SCOPE, Machine, ask_about_operations, make_machine
from tests.testbed.arm import SUBSCRIPTION, Arm, Style


def stop(machine: Machine, cloud: AzureCloud, **fields: Any) -> Setting:
    """As a principal that may do exactly what is declared."""
    action = VmStop(**fields)
    machine.arm.granted = [{"actions": list(action.permissions()), "notActions": []}]
    return Setting(action, cloud, machine.resource, settle=machine.arm.finish)


def observe(setting: Setting) -> MachinePower:
    state = setting.observe()
    assert isinstance(state, MachinePower)
    return state


class TestVmStop(OneWayContract):
    @pytest.fixture(params=[("deallocate", Style.BOTH), ("power-off", Style.LOCATION), ("power-off", Style.ASYNC)])
    def setting(self, request: pytest.FixtureRequest, machine: Machine, cloud: AzureCloud) -> Setting:
        how, machine.arm.post_style = request.param
        machine.arm.polls = math.inf
        self.arm = machine.arm
        return stop(machine, cloud, how=how)

    def whole_life(self, setting: Setting) -> None:
        """And asks about operations, as the engine does."""
        super().whole_life(setting)
        ask_about_operations(setting, self.arm, "Microsoft.Compute/locations/x/operations")


class TestVmCapture(CaptureContract):
    @pytest.fixture
    def setting(self, machine: Machine, cloud: AzureCloud) -> Setting:
        machine.arm.granted = [{"actions": list(VmCapture().permissions()), "notActions": []}]
        return Setting(VmCapture(), cloud, machine.resource)

    @pytest.fixture
    def workload(self, machine: Machine) -> Callable[[], object]:
        return lambda: (machine.images(), dict(machine.arm.resources), dict(machine.arm.power))


def test_it_is_told_once_and_its_operation_is_asked_about(machine: Machine, cloud: AzureCloud) -> None:
    machine.arm.polls = 2
    setting = stop(machine, cloud)
    setting.settle = lambda: None
    target = setting.target(observe(setting))
    setting.apply(target)
    assert observe(setting).power == "deallocating"
    assert setting.action.ours(observe(setting), observe(setting))
    assert setting.apply(target).calls == [], "it goes on"
    machine.arm.finish()
    assert reached(observe(setting), target)
    assert machine.arm.changes() == ["POST Web-1 deallocate"] or machine.arm.changes() == ["POST web-1 deallocate"]


@pytest.mark.parametrize(("how", "power"), [("deallocate", "deallocated"), ("power-off", "stopped")])
def test_both_ways_end_where_they_say(machine: Machine, cloud: AzureCloud, how: str, power: str) -> None:
    setting = stop(machine, cloud, how=how)
    setting.apply(setting.target(observe(setting)))
    assert observe(setting).power == power


def test_what_has_given_its_host_back_needs_no_power_off(machine: Machine, cloud: AzureCloud) -> None:
    first = stop(machine, cloud)
    first.apply(first.target(observe(first)))
    second = stop(machine, cloud, how="power-off")
    assert reached(observe(second), second.target(observe(second)))


def test_a_power_state_that_is_missing_is_looked_at_again(machine: Machine, cloud: AzureCloud) -> None:
    setting = stop(machine, cloud)
    machine.arm.power_unsaid = 1
    with pytest.raises(Transient, match="look again"):
        setting.observe()
    assert observe(setting).power == "running"


def test_an_operation_that_failed_left_it_running(machine: Machine, cloud: AzureCloud) -> None:
    setting = stop(machine, cloud)
    machine.arm.fail_next("InternalServerError", "x")
    target = setting.target(observe(setting))
    setting.apply(target)
    assert observe(setting).power == "running"
    setting.apply(target)
    assert reached(observe(setting), target)


@pytest.mark.parametrize("after_the_effect", [False, True])
def test_a_lost_answer_is_looked_up_and_not_repeated(
    machine: Machine, cloud: AzureCloud, after_the_effect: bool
) -> None:
    setting = stop(machine, cloud)
    machine.arm.polls = math.inf
    target = setting.target(observe(setting))
    machine.arm.lose(lambda request: request.method == "POST", after_the_effect)
    setting.settle = lambda: None
    with pytest.raises(Unknown):
        setting.apply(target)
    assert (observe(setting).power == "deallocating") is after_the_effect
    assert len(setting.apply(target).calls) == (0 if after_the_effect else 1)


@pytest.mark.parametrize("missing", [name for name in VmStop().permissions() if "/locations/" not in name])
def test_without_one_of_its_permissions_it_is_denied(machine: Machine, cloud: AzureCloud, missing: str) -> None:
    setting = stop(machine, cloud)
    machine.arm.granted = [{"actions": ["*"], "notActions": [missing]}]
    with pytest.raises(Denied, match=missing):
        setting.apply(setting.target(observe(setting)))


def test_a_machine_that_is_not_there_is_gone(machine: Machine, cloud: AzureCloud) -> None:
    setting = stop(machine, cloud)
    setting.resource = setting.resource.model_copy(update={"uid": "another"})
    assert setting.observe() is GONE


def test_refusals(arm: Arm, machine: Machine, cloud: AzureCloud) -> None:
    arm.make_vm("aks-1", [], tags={"aks-managed-poolName": "pool1"})
    node = Setting(VmStop(), cloud, Resource(kind="azure:vm", id="aks-1", scope=SCOPE))
    found = node.action.refusal(observe(node))
    assert found is not None and "AKS" in found.reason
    disk = {"osDisk": {"createOption": "FromImage", "diffDiskSettings": {"option": "Local"}}}
    ephemeral = make_machine(arm, "Web-2", storageProfile=disk)
    found = VmStop().refusal(observe(stop(ephemeral, cloud)))
    assert found is not None and "ephemeral" in found.reason and "power-off" in found.alternatives[0]
    assert VmStop(how="power-off").refusal(observe(stop(ephemeral, cloud, how="power-off"))) is None
    arm.lock("ReadOnly", f"/subscriptions/{SUBSCRIPTION}")
    found = VmStop().refusal(observe(stop(machine, cloud)))
    assert found is not None and "locks/keep" in found.reason


def test_caveats_say_what_is_lost(arm: Arm, cloud: AzureCloud) -> None:
    made = make_machine(arm, virtualMachineScaleSet={"id": "/s"})
    state = observe(stop(made, cloud))
    assert {caveat.id for caveat in VmStop().caveats(state)} == {
        "memory", "started-again", "identity-tokens", "host", "scale-set"
    }  # fmt: skip
    assert "paid" in {caveat.id for caveat in VmStop(how="power-off").caveats(state)}
    assert isinstance(state, State)
