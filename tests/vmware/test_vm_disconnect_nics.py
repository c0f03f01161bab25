from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

from quarantine.action import reached, three_way
from quarantine.errors import Conflict, Denied, Gone, Pending, Transient, Unsupported
from quarantine.model import Resource
from quarantine.testing.contract import CountingGate, ReversibleContract, Setting, Stranger
from quarantine_vmware.cloud import CONNECT, EDIT, READ, VmwareCloud
from quarantine_vmware.limits import caveats, refusal
from quarantine_vmware.nics import Adapter, Network
from quarantine_vmware.vm_disconnect_nics import VmDisconnectNics
from tests.testbed.vcsim import EVERY, NONE, USER, Flags, Machine, Vcsim
from tests.vmware.conftest import VCENTER, Made, resource

MIXED: Flags = (True, False, True)
FIRST = 4000


class TestVmDisconnectNics(ReversibleContract):
    """As a user who has exactly the declared privileges, on a machine with three adapters, one of them cut already."""

    @pytest.fixture
    def machine(self, vcsim: Vcsim) -> Machine:
        return vcsim.machine(MIXED, NONE)

    @pytest.fixture
    def setting(self, vcsim: Vcsim, cloud: VmwareCloud, machine: Machine) -> Setting:
        vcsim.set(privileges={USER: VmDisconnectNics().permissions()})
        return Setting(VmDisconnectNics(), cloud, resource(machine), settle=machine.settle)

    @pytest.fixture
    def stranger(self, machine: Machine) -> Stranger:
        return lambda: machine.connect(machine.extra[0], (True, True, False))

    def test_everything_about_the_adapters_is_as_before(self, setting: Setting, machine: Machine) -> None:
        before, image = observe(setting), machine.image()
        contain(setting)
        assert set(machine.flags().values()) == {NONE} and machine.image() != image
        release(setting, before)
        assert machine.image() == image


@pytest.fixture
def disconnect(cloud: VmwareCloud) -> Callable[[Machine], Setting]:
    return lambda machine: Setting(VmDisconnectNics(), cloud, resource(machine), settle=machine.settle)


Disconnect = Callable[[Machine], Setting]


def observe(setting: Setting) -> Network:
    state = setting.observe()
    assert isinstance(state, Network)
    return state


def contain(setting: Setting) -> Network:
    """Contains and returns what was before."""
    before = observe(setting)
    setting.apply(setting.target(before))
    assert reached(setting.observe(), setting.target(before))
    return before


def release(setting: Setting, before: Network) -> Network:
    target = setting.target(before)
    assert isinstance(target, Network)
    merged, _ = three_way(before, target, observe(setting))
    setting.apply(merged)
    return observe(setting)


# --- one task ------------------------------------------------------------------------------------------------------


def test_one_task_cuts_all_adapters(vcsim: Vcsim, disconnect: Disconnect) -> None:
    machine = vcsim.machine(EVERY, MIXED)
    setting = disconnect(machine)
    vcsim.set()
    before = contain(setting)
    assert vcsim.changes() == 1
    assert machine.flags() == dict.fromkeys((FIRST, *machine.extra), NONE)
    assert before.adapters[str(FIRST)].mac.count(":") == 5 and before.adapters[str(FIRST)].network


def test_the_task_is_the_operation_of_the_receipt(vcsim: Vcsim, disconnect: Disconnect) -> None:
    setting, gate = disconnect(vcsim.machine()), CountingGate()
    before = observe(setting)
    target = setting.target(before)
    assert isinstance(target, Network)
    with vcsim.holding():
        setting.action.apply(setting.cloud.through(gate, setting.mark), setting.resource, before, target)
        assert gate.receipts[0].id == task_of(gate) == observe(setting).reconfiguring
        assert setting.cloud.running(task_of(gate))
        assert observe(setting).part() == before.part(), "nothing has happened yet"
    setting.settle()
    assert not setting.cloud.running(task_of(gate))
    assert reached(setting.observe(), target)


def test_while_a_reconfiguration_runs_no_second_one_is_started(vcsim: Vcsim, disconnect: Disconnect) -> None:
    machine = vcsim.machine()
    setting = disconnect(machine)
    with vcsim.holding():
        running = machine.vm.ReconfigVM_Task(spec=_spec())
        now = observe(setting)
        assert now.reconfiguring == running._moId
        with pytest.raises(Pending, match=running._moId):
            setting.action.apply(
                setting.cloud.through(CountingGate(), setting.mark), setting.resource, now, setting.target(now)
            )
        assert vcsim.changes() == 1, "only the other one's"
    machine.settle()
    contain(setting)


def test_one_that_starts_in_between_is_found_by_the_vcenter(vcsim: Vcsim, disconnect: Disconnect) -> None:
    machine = vcsim.machine()
    setting = disconnect(machine)
    before = observe(setting)
    with vcsim.holding():
        machine.vm.ReconfigVM_Task(spec=_spec())
        with pytest.raises(Transient, match="TaskInProgress"):
            setting.action.apply(
                setting.cloud.through(CountingGate(), setting.mark), setting.resource, before, setting.target(before)
            )
    machine.settle()


# --- whose change it is --------------------------------------------------------------------------------------------


def test_a_release_overwrites_no_change_that_came_in_between(vcsim: Vcsim, disconnect: Disconnect) -> None:
    machine = vcsim.machine()
    setting = disconnect(machine)
    before = contain(setting)
    now = observe(setting)
    machine.annotate("somebody was here")
    gate = CountingGate()
    setting.action.apply(setting.cloud.through(gate, setting.mark), setting.resource, now, before)
    machine.settle()
    with pytest.raises(Conflict, match="ConcurrentAccess"):
        setting.cloud.running(task_of(gate))
    assert machine.flags() == {FIRST: NONE}
    assert release(setting, before).part() == before.part(), "with what is there now it works"


def test_a_containment_does_not_wait_for_whoever_is_writing(vcsim: Vcsim, disconnect: Disconnect) -> None:
    machine = vcsim.machine()
    setting = disconnect(machine)
    now = observe(setting)
    machine.annotate("somebody was here")
    setting.action.apply(
        setting.cloud.through(CountingGate(), setting.mark), setting.resource, now, setting.target(now)
    )
    machine.settle()
    assert machine.flags() == {FIRST: NONE}


def test_a_port_group_that_changed_since_the_look_stays_changed(vcsim: Vcsim, disconnect: Disconnect) -> None:
    machine = vcsim.machine()
    setting = disconnect(machine)
    now = observe(setting)
    (card,) = machine.cards()
    card.backing = vcsim.standard_network("DC0")
    machine.edit(card)
    setting.apply(setting.target(now))
    (card,) = machine.cards()
    assert card.backing.deviceName == "VM Network"
    assert machine.flags() == {FIRST: NONE}


# --- drift ---------------------------------------------------------------------------------------------------------


def test_an_adapter_that_is_connected_again_is_drift(vcsim: Vcsim, disconnect: Disconnect) -> None:
    machine = vcsim.machine()
    setting = disconnect(machine)
    before = contain(setting)
    for flags in ((True, False, False), (False, True, False), (False, False, True)):
        machine.connect(FIRST, flags)
        assert not reached(setting.observe(), setting.target(before)), flags
    setting.apply(setting.target(before))
    assert machine.flags() == {FIRST: NONE}
    release(setting, before)
    assert machine.flags() == {FIRST: EVERY}


def test_an_adapter_that_is_added_is_drift_and_is_cut_too(vcsim: Vcsim, disconnect: Disconnect) -> None:
    machine = vcsim.machine()
    setting = disconnect(machine)
    before = contain(setting)
    added = machine.add(EVERY)
    assert not reached(setting.observe(), setting.target(before))
    setting.apply(setting.target(before))
    assert reached(setting.observe(), setting.target(before))
    release(setting, before)
    assert machine.flags() == {FIRST: EVERY, added: NONE}


def test_one_that_is_added_and_left_alone_stays_as_its_owner_made_it(vcsim: Vcsim, disconnect: Disconnect) -> None:
    machine = vcsim.machine()
    setting = disconnect(machine)
    before = contain(setting)
    added = machine.add(MIXED)
    release(setting, before)
    assert machine.flags() == {FIRST: EVERY, added: MIXED}


def test_one_that_was_removed_is_named_and_the_others_go_back(vcsim: Vcsim, disconnect: Disconnect) -> None:
    machine = vcsim.machine(EVERY)
    setting = disconnect(machine)
    before = contain(setting)
    (second,) = machine.extra
    machine.remove(second)
    release(setting, before)
    assert machine.flags() == {FIRST: EVERY}
    with pytest.raises(Unsupported, match=f"{second} was removed"):
        release(setting, before)


# --- power ---------------------------------------------------------------------------------------------------------


def test_a_machine_that_is_off_stays_cut_when_it_is_powered_on(vcsim: Vcsim, disconnect: Disconnect) -> None:
    machine = vcsim.machine(MIXED, on=False)
    setting = disconnect(machine)
    before = contain(setting)
    assert f"{FIRST}/connected" in before.ways, "at power-on it would have been"
    machine.power(on=True)
    (second,) = machine.extra
    assert machine.flags() == {FIRST: NONE, second: NONE}
    assert reached(setting.observe(), setting.target(before)), "to be powered on is no drift"
    release(setting, before)
    assert machine.flags() == {FIRST: EVERY, second: (False, False, True)}


def test_one_that_is_powered_off_meanwhile_is_given_back_as_it_will_be(vcsim: Vcsim, disconnect: Disconnect) -> None:
    machine = vcsim.machine()
    setting = disconnect(machine)
    before = contain(setting)
    machine.power(on=False)
    assert reached(setting.observe(), setting.target(before)), "to be powered off is no drift"
    assert release(setting, before).part() == before.part()
    assert machine.flags() == {FIRST: (False, True, True)}
    machine.power(on=True)
    assert machine.flags() == {FIRST: EVERY}


def test_what_only_a_running_machine_can_have_is_not_faked(vcsim: Vcsim, disconnect: Disconnect) -> None:
    machine = vcsim.machine(MIXED)
    setting = disconnect(machine)
    before = contain(setting)
    machine.power(on=False)
    with pytest.raises(Unsupported, match="power it on"):
        release(setting, before)
    (second,) = machine.extra
    assert machine.flags() == {FIRST: NONE, second: NONE}
    machine.power(on=True)
    release(setting, before)
    assert machine.flags() == {FIRST: EVERY, second: MIXED}


# --- rights and places ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [False, True], ids=["at once", "by the task"])
@pytest.mark.parametrize("lacking", [EDIT, CONNECT])
def test_a_missing_privilege_is_named(vcsim: Vcsim, disconnect: Disconnect, lacking: str, late: bool) -> None:
    machine = vcsim.machine()
    setting = disconnect(machine)
    now, gate = observe(setting), CountingGate()
    vcsim.set(privileges={USER: [one for one in (READ, EDIT, CONNECT) if one != lacking]}, late=late)

    def act() -> None:
        setting.action.apply(setting.cloud.through(gate, setting.mark), setting.resource, now, setting.target(now))
        machine.settle()
        setting.cloud.running(task_of(gate))

    with pytest.raises(Denied, match=f"grant {lacking}"):
        act()
    assert machine.flags() == {FIRST: EVERY}


def test_a_machine_that_is_gone(vcsim: Vcsim, disconnect: Disconnect) -> None:
    machine = vcsim.machine(on=False)
    setting = disconnect(machine)
    machine.destroy()
    with pytest.raises(Gone, match=machine.uuid):
        setting.action.observe(setting.cloud, setting.resource)


def test_a_machine_that_is_hidden_from_us_is_not_taken_for_gone(vcsim: Vcsim, disconnect: Disconnect) -> None:
    """To a search they are the same. Gone would close the case, with the machine still cut off."""
    machine = vcsim.machine(on=False)
    setting = disconnect(machine)
    machine.destroy()
    vcsim.set(privileges={USER: [EDIT, CONNECT]})
    for named in (setting.resource, resource(machine, uid=None)):
        with pytest.raises(Denied, match="may be gone, or hidden"):
            setting.action.observe(setting.cloud, named)


def test_another_machine_of_the_same_name_is_left_alone(vcsim: Vcsim, disconnect: Disconnect) -> None:
    machine = vcsim.machine(on=False)
    setting = disconnect(machine)
    machine.destroy()
    other = vcsim.machine(name=machine.name)
    with pytest.raises(Gone):
        setting.action.observe(setting.cloud, setting.resource)
    assert other.flags() == {FIRST: EVERY}


# --- refusals and caveats ------------------------------------------------------------------------------------------

PLAIN = Network(
    ways={"4000/connected": True},
    adapters={"4000": Adapter(label="Network adapter 1")},
    name="web-1",
    machine="vm-1",
)
AGENT = "com.vmware.vim.eam"


def test_a_plain_machine_is_not_refused() -> None:
    assert refusal(PLAIN) is None
    assert refusal(PLAIN.model_copy(update={"power": "poweredOff"})) is None
    assert refusal(PLAIN.model_copy(update={"managed_by": "com.example.desktops"})) is None
    assert refusal(PLAIN.model_copy(update={"name": "vCLSweb"})) is None


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"template": True}, "template"),
        ({"managed_by": AGENT}, "agent machine of vSphere"),
        ({"name": "vCLS-4c4c4544-0043-3010-8052-b4c04f4d3632"}, "agent machine of vSphere"),
        ({"name": "vCLS (3)"}, "agent machine of vSphere"),
        ({"product": "VMware vCenter Server Appliance"}, "control plane"),
        ({"product": "VMware NSX Manager"}, "control plane"),
        ({"host": "disconnected"}, "does not reach it"),
        ({"power": "suspended"}, "suspended"),
        ({"adapters": {}, "ways": {}}, "no network adapter"),
        ({"adapters": {}, "ways": {}, "direct": ("SR-IOV network adapter 1",)}, "SR-IOV network adapter 1"),
    ],
)
def test_what_cannot_work_is_refused_with_what_would(facts: dict[str, Any], says: str) -> None:
    found = VmDisconnectNics().refusal(PLAIN.model_copy(update=facts))
    assert found is not None and says in found.reason and found.alternatives


def test_a_template_is_one(vcsim: Vcsim, disconnect: Disconnect) -> None:
    machine = vcsim.machine(on=False)
    machine.vm.MarkAsTemplate()
    found = refusal(observe(disconnect(machine)))
    assert found is not None and "template" in found.reason


def test_a_suspended_machine_is_one(vcsim: Vcsim, disconnect: Disconnect) -> None:
    machine = vcsim.machine()
    machine.suspend()
    found = refusal(observe(disconnect(machine)))
    assert found is not None and "suspended" in found.reason


def test_a_machine_without_adapters_is_one(vcsim: Vcsim, disconnect: Disconnect) -> None:
    machine = vcsim.machine()
    machine.remove(FIRST)
    found = refusal(observe(disconnect(machine)))
    assert found is not None and "no network adapter" in found.reason


def test_an_adapter_that_bypasses_the_switch_is_a_caveat_and_is_not_touched(
    vcsim: Vcsim, disconnect: Disconnect
) -> None:
    machine = vcsim.machine()
    key = machine.add(EVERY, kind="VirtualSriovEthernetCard")
    setting = disconnect(machine)
    before = contain(setting)
    assert machine.flags() == {FIRST: NONE, key: EVERY}
    assert len(before.direct) == 1
    assert before.direct[0] in {one.id: one.text for one in caveats(before)}["direct-devices"]


@pytest.mark.parametrize(
    ("facts", "added"),
    [
        ({}, set()),
        ({"power": "poweredOff"}, {"powered-off"}),
        ({"managed_by": "com.example.desktops"}, {"managed"}),
        ({"direct": ("SR-IOV network adapter 1",)}, {"direct-devices"}),
    ],
)
def test_what_stays_possible_is_said(facts: dict[str, Any], added: set[str]) -> None:
    always = {"established-connections", "other-channels", "guest-storage", "reverted", "added-later"}
    found = VmDisconnectNics().caveats(PLAIN.model_copy(update=facts))
    assert {one.id for one in found} == always | added
    assert all("{" not in one.text for one in found)


def task_of(gate: CountingGate) -> str:
    """The one that its only change has started."""
    (receipt,) = gate.receipts
    assert receipt.operation is not None
    return receipt.operation


def _spec() -> Any:
    vim: Any = import_module("pyVmomi").vim
    return vim.vm.ConfigSpec(annotation="a reconfiguration by somebody else")


def test_the_scope_does_not_have_to_name_the_datacenter(vcsim: Vcsim, made: Made) -> None:
    machine = vcsim.machine()
    anywhere = Resource(kind="vmware:vm", id=machine.moid, scope=VCENTER)
    assert VmDisconnectNics().observe(made().connect(VCENTER), anywhere).machine == machine.moid
