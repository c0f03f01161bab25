import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarantine.action import GONE, State, reached, three_way
from quarantine.errors import Conflict, Denied, Gone, Pending, Throttled, Transient, Unknown, Unsupported
from quarantine.model import Resource
from quarantine.testing.contract import CountingGate, ReversibleContract, Setting, Stranger
from quarantine_azure.cloud import AzureCloud
from quarantine_azure.isolation import OURS, Group, VmIsolation, group_body, rules, standing, steps
from quarantine_azure.vm_isolate import VmIsolate
from tests.azure.conftest import SCOPE, Machine, ask_about_operations, make_machine
from tests.testbed.arm import GROUP, SUBSCRIPTION, Arm, Request, Style, changes_of
from tests.testbed.arm_network import Body

STYLES = [
    (Style.ASYNC, Style.BOTH),
    (Style.LOCATION, Style.LOCATION),
    (Style.BOTH, Style.ASYNC),
    (Style.AT_ONCE, Style.AT_ONCE),
]


class TestVmIsolate(ReversibleContract):
    """As a principal that may do exactly what is declared, whichever way ARM's operations answer."""

    @pytest.fixture(params=STYLES, ids=lambda styles: f"{styles[0].name}-{styles[1].name}".lower())
    def setting(self, request: pytest.FixtureRequest, machine: Machine, cloud: AzureCloud) -> Setting:
        arm = self.arm = machine.arm
        arm.put_style, arm.delete_style = request.param
        arm.granted = [{"actions": list(VmIsolate().permissions()), "notActions": []}]
        arm.polls = math.inf
        return Setting(VmIsolate(), cloud.belonging_to("contract"), machine.resource, settle=machine.arm.finish)

    @pytest.fixture
    def stranger(self, machine: Machine) -> Stranger:
        other = machine.arm.make_group("Other-NSG")

        def gives_an_interface_another_group() -> None:
            machine.arm.alter(machine.first, lambda nic: nic["properties"].update(networkSecurityGroup={"id": other}))

        return gives_an_interface_another_group

    def whole_life(self, setting: Setting) -> None:
        """And asks about operations, in both ways, as the engine does."""
        super().whole_life(setting)
        places = "Microsoft.Network/locations/x/operations", "Microsoft.Network/locations/x/operationResults"
        ask_about_operations(setting, self.arm, *places)


@pytest.fixture
def isolate(arm: Arm, cloud: AzureCloud) -> Callable[..., Setting]:
    def make(machine: Machine, **fields: Any) -> Setting:
        return Setting(VmIsolate(**fields), cloud.belonging_to("contract"), machine.resource, settle=arm.finish)

    return make


Isolate = Callable[..., Setting]


def observe(setting: Setting) -> VmIsolation:
    state = setting.observe()
    assert isinstance(state, VmIsolation)
    return state


def contain(setting: Setting) -> VmIsolation:
    """Contains and returns what was before."""
    before = observe(setting)
    setting.apply(setting.target(before))
    assert reached(setting.observe(), setting.target(before))
    return before


def release(setting: Setting, before: VmIsolation) -> VmIsolation:
    now, target = observe(setting), setting.target(before)
    assert isinstance(target, State)
    merged, _ = three_way(before, target, now)
    setting.apply(merged)
    return observe(setting)


def act(setting: Setting, now: VmIsolation, target: Any) -> None:
    """One apply, from what was seen earlier."""
    setting.action.apply(setting.cloud.through(CountingGate(), setting.mark), setting.resource, now, target)


# --- what it does --------------------------------------------------------------------------------------------------


def test_every_interface_gets_a_group_that_denies_everything(machine: Machine, isolate: Isolate) -> None:
    contain(isolate(machine))
    own = machine.own_group()
    assert {machine.group_of(nic) for nic in (machine.first, machine.second)} == {own["id"]}
    said = [
        (rule["properties"]["direction"], rule["properties"]["priority"], rule["properties"]["access"])
        for rule in own["properties"]["securityRules"]
    ]
    assert said == [("Inbound", 100, "Deny"), ("Outbound", 100, "Deny")]
    assert own["properties"]["flushConnection"] is True


def test_open_connections_are_cut_by_the_flush_and_not_by_the_rules(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine)
    before = observe(setting)
    flows = machine.arm.flows
    machine.arm.polls = math.inf
    for _ in range(3):  # our group, and both interfaces
        with pytest.raises(Pending):
            act(setting, observe(setting), setting.target(before))
        machine.arm.finish()
    assert machine.group_of(machine.second) is not None
    assert all(flows.values()), "every rule is in force, and nothing that was open is cut"
    setting.apply(setting.target(before))
    assert not any(flows[nic.lower()] for nic in (machine.first, machine.second))


def test_a_region_that_does_not_know_the_flush_is_contained_and_said_not_to_flush(
    machine: Machine, isolate: Isolate
) -> None:
    machine.arm.flushes = False
    setting = isolate(machine)
    contain(setting)
    assert observe(setting).flushing is False
    assert "established-connections" in {caveat.id for caveat in setting.action.caveats(observe(setting))}
    assert setting.apply(setting.target(observe(setting))).calls == [], "asked once: that is all that we can do"


def test_nothing_else_of_an_interface_changes_and_nothing_is_lost(machine: Machine, isolate: Isolate) -> None:
    before_images = machine.images()
    setting = isolate(machine)
    before = contain(setting)
    for image, now in zip(before_images, machine.images(), strict=True):
        image, now = dict(image), dict(now)
        image["properties"] = {k: v for k, v in image["properties"].items() if k != "networkSecurityGroup"}
        now["properties"] = {k: v for k, v in now["properties"].items() if k != "networkSecurityGroup"}
        assert image == now
    release(setting, before)
    assert machine.images() == before_images
    assert machine.arm.groups() == ["Web-NSG"]


def test_changes_come_one_after_the_other_and_the_flush_comes_last(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine)
    release(setting, contain(setting))
    own = f"cloud-quarantine-{machine.resource.uid}"
    assert machine.arm.changes() == [
        f"PUT networkSecurityGroups {own}",
        "PUT networkInterfaces Web-1-b",
        "PUT networkInterfaces Web-1-a",
        f"PUT networkSecurityGroups {own}",
        "PUT networkInterfaces Web-1-b",
        "PUT networkInterfaces Web-1-a",
        f"DELETE networkSecurityGroups {own}",
    ]


def test_every_put_of_an_interface_is_conditional(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine)
    release(setting, contain(setting))
    puts = [request for request in machine.arm.requests if changes_of("networkInterfaces")(request)]
    assert len(puts) == 4
    assert all(request.headers["if-match"].startswith('W/"') for request in puts)


def test_the_group_says_whose_it_is(machine: Machine, isolate: Isolate) -> None:
    contain(isolate(machine))
    assert machine.own_group()["tags"] == {
        "cloud-quarantine-installation": "contract",
        "cloud-quarantine-case": "case-contract",
        "cloud-quarantine-step": "0",
        "cloud-quarantine-key": "key-contract",
        "cloud-quarantine-flush": "asked",
    }
    sent = [request.headers for request in machine.arm.requests if request.changes]
    assert {headers["user-agent"] for headers in sent} == {"cloud-quarantine case/case-contract"}
    assert len({headers["x-ms-client-request-id"] for headers in sent}) == 1, "the intent's key, for the activity log"


def test_the_platforms_addresses_are_denied_where_that_is_set(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine, deny_imds=True, deny_dns=True)
    contain(setting)
    to = {rule["properties"]["destinationAddressPrefix"] for rule in machine.own_group()["properties"]["securityRules"]}
    assert to == {"*", "AzurePlatformIMDS", "AzurePlatformDNS"}
    found = {caveat.id for caveat in setting.action.caveats(observe(setting))}
    assert not found & {"metadata-service", "platform-dns"}


@pytest.mark.parametrize("count", [1, 5])
def test_it_works_for_any_number_of_interfaces(arm: Arm, cloud: AzureCloud, count: int) -> None:
    nics = [arm.make_nic(f"nic-{number}") for number in range(count)]
    vm = arm.make_vm("many", nics)
    resource = Resource(
        kind="azure:vm", id="many", scope=f"{SUBSCRIPTION}/{GROUP}".lower(), uid=vm["properties"]["vmId"]
    )
    setting = Setting(VmIsolate(), cloud.belonging_to("contract"), resource, settle=arm.finish)
    release(setting, contain(setting))
    assert arm.groups() == []


# --- it waits for what is under way --------------------------------------------------------------------------------


def test_it_waits_for_each_operation_and_sends_nothing_meanwhile(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine)
    target = setting.target(observe(setting))
    machine.arm.polls = math.inf
    for number in range(1, 4):
        with pytest.raises(Pending):
            act(setting, observe(setting), target)
        with pytest.raises(Pending, match="a change is under way"):
            act(setting, observe(setting), target)
        assert len(machine.arm.changes()) == number
        machine.arm.finish()


def test_the_flush_is_the_last_change_and_its_operation_is_left_to_the_verification(
    machine: Machine, isolate: Isolate
) -> None:
    setting = isolate(machine)
    target = setting.target(observe(setting))
    machine.arm.polls = math.inf
    for _ in range(3):
        with pytest.raises(Pending):
            act(setting, observe(setting), target)
        machine.arm.finish()
    act(setting, observe(setting), target)
    assert len(machine.arm.changes()) == 4
    assert machine.arm.running() == 1


def test_it_waits_for_somebody_elses_operation(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine)
    before = observe(setting)
    machine.arm.alter(machine.second, lambda nic: nic["properties"].update(provisioningState="Updating"))
    with pytest.raises(Pending, match=machine.second.lower()):
        act(setting, observe(setting), setting.target(before))
    assert machine.arm.changes() == []


def test_an_interface_whose_change_failed_is_not_contained_and_is_put_again(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine)
    before = observe(setting)
    target = setting.target(before)
    contain(setting)
    machine.arm.alter(machine.first, lambda nic: nic["properties"].update(provisioningState="Failed"))
    assert observe(setting).part() == target.part()  # type: ignore[union-attr]
    assert not reached(observe(setting), target)
    setting.apply(target)
    assert reached(observe(setting), target)


def test_an_operation_that_fails_raises_what_it_failed_with(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine)
    before = observe(setting)
    machine.arm.fail_next("RequestDisallowedByPolicy", "no groups on interfaces here")
    gate = CountingGate()
    recorded: list[str] = []
    gate.record = lambda call, receipt: recorded.append(receipt.operation or "")  # type: ignore[method-assign]
    with pytest.raises(Pending):
        setting.action.apply(
            setting.cloud.through(gate, setting.mark), setting.resource, before, setting.target(before)
        )
    with pytest.raises(Unsupported, match="no groups on interfaces here"):
        setting.cloud.running(recorded[0])


# --- others ----------------------------------------------------------------------------------------------------------


def test_an_interface_that_changed_since_it_was_seen_is_not_overwritten(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine)
    before = contain(setting)
    seen = observe(setting)
    machine.arm.alter(machine.second, lambda nic: nic["tags"].update(owner="data"))
    with pytest.raises(Conflict, match="meanwhile"):
        act(setting, seen, before)
    assert machine.arm.read(machine.second)["tags"] == {"cost": "42", "owner": "data"}


def test_one_that_changes_between_our_read_and_our_put_is_not_overwritten(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine)
    before = observe(setting)
    machine.arm.refuse(changes_of("networkInterfaces"), 412, "PreconditionFailed", "PreconditionFailedEtagMismatch")
    with pytest.raises(Conflict, match="PreconditionFailed"):
        setting.apply(setting.target(before))


def test_a_group_of_somebody_else_under_our_name_is_refused_and_left_alone(machine: Machine, isolate: Isolate) -> None:
    machine.arm.make_group(f"cloud-quarantine-{machine.resource.uid}", rules=[{**ALLOW, "name": "theirs"}])
    setting = isolate(machine)
    before = observe(setting)
    assert before.group is Group.FOREIGN
    refusal = setting.action.refusal(before)
    assert refusal is not None and "somebody else made" in refusal.reason
    with pytest.raises(Conflict, match="somebody else"):
        setting.apply(setting.target(before))
    assert machine.group_of(machine.first) == machine.group


ALLOW = {
    "properties": {
        "access": "Allow", "direction": "Inbound", "priority": 4000, "protocol": "*", "sourceAddressPrefix": "*",
        "sourcePortRange": "*", "destinationAddressPrefix": "*", "destinationPortRange": "*",
    }
}  # fmt: skip


def test_the_group_of_another_installation_is_refused_by_name(machine: Machine, isolate: Isolate) -> None:
    contain(isolate(machine))
    setting = isolate(machine)
    setting.cloud = setting.cloud.belonging_to("another")
    setting.mark = setting.mark.model_copy(update={"installation": "another"})
    refusal = setting.action.refusal(observe(setting))
    assert refusal is not None and "installation 'contract'" in refusal.reason


def test_a_rule_in_front_of_ours_is_drift_and_is_taken_out_again(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine)
    before = contain(setting)
    opened = {**ALLOW, "name": "open", "properties": {**ALLOW["properties"], "priority": 101}}
    machine.arm.alter(machine.own_group_id(), lambda group: group["properties"]["securityRules"].insert(0, opened))
    assert observe(setting).group is Group.ALTERED
    setting.apply(setting.target(before))
    assert [rule["name"] for rule in machine.own_group()["properties"]["securityRules"]] == [
        "cloud-quarantine-inbound",
        "cloud-quarantine-outbound",
    ]


def test_an_id_in_other_letters_is_the_same_group(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine)
    before = contain(setting)
    shouted = {"networkSecurityGroup": {"id": machine.own_group_id().upper()}}
    machine.arm.alter(machine.first, lambda nic: nic["properties"].update(shouted))
    assert reached(observe(setting), setting.target(before))


def test_tags_that_a_policy_adds_to_our_group_are_no_drift_and_stay(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine)
    before = contain(setting)
    machine.arm.alter(machine.own_group_id(), lambda group: group["tags"].update(costCenter="7"))
    assert reached(observe(setting), setting.target(before))
    machine.arm.alter(machine.first, lambda nic: nic["properties"].update(networkSecurityGroup={"id": machine.group}))
    setting.apply(setting.target(before))
    assert machine.own_group()["tags"]["costCenter"] == "7"


def test_an_interface_that_got_its_group_back_is_drift_and_its_connections_are_flushed_again(
    machine: Machine, isolate: Isolate
) -> None:
    setting = isolate(machine)
    before = contain(setting)
    machine.arm.alter(machine.first, lambda nic: nic["properties"].update(networkSecurityGroup={"id": machine.group}))
    machine.arm.flows[machine.first.lower()] = ["reverse shell"]
    assert observe(setting).nics[machine.first.lower()] == machine.group
    setting.apply(setting.target(before))
    assert reached(observe(setting), setting.target(before))
    assert machine.arm.flows[machine.first.lower()] == [], "a group that flushes already would have cut nothing"


def test_an_interface_that_is_attached_later_is_drift_and_stays_as_it_is_at_release(
    machine: Machine, isolate: Isolate
) -> None:
    setting = isolate(machine)
    before = contain(setting)
    late = machine.arm.make_nic("late")
    vm = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Compute/virtualMachines/Web-1"
    machine.arm.alter(vm, lambda body: body["properties"]["networkProfile"]["networkInterfaces"].append({"id": late}))
    assert not reached(observe(setting), setting.target(before))
    after = release(setting, before)
    assert after.nics == {**before.nics, late.lower(): None}
    assert machine.arm.groups() == ["Web-NSG"]


def test_an_interface_that_was_detached_meanwhile_gets_its_group_back_too(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine)
    before = contain(setting)
    vm = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Compute/virtualMachines/Web-1"
    machine.arm.alter(vm, lambda body: body["properties"]["networkProfile"]["networkInterfaces"].pop(0))
    release(setting, before)
    assert machine.group_of(machine.first) == machine.group
    assert machine.arm.groups() == ["Web-NSG"]


def test_a_group_that_vanishes_is_a_conflict_and_never_gone(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine)
    before = observe(setting)
    with pytest.raises(Pending):
        act(setting, before, setting.target(before))
    machine.arm.finish()
    now = observe(setting)
    machine.arm.remove(machine.own_group_id())
    with pytest.raises(Conflict, match="InvalidResourceReference"):
        act(setting, now, setting.target(before))


def test_one_that_vanishes_while_interfaces_have_it_is_a_conflict(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine)
    before = contain(setting)
    now = observe(setting).model_copy(update={"group": Group.ALTERED})
    machine.arm.remove(machine.own_group_id())
    with pytest.raises(Conflict, match="is gone"):
        act(setting, now, setting.target(before))


def test_a_group_that_is_gone_already_does_not_stop_a_release(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine)
    before = contain(setting)
    for nic, group in ((machine.first, {"id": machine.group}), (machine.second, None)):
        machine.arm.alter(nic, lambda body, group=group: body["properties"].update(networkSecurityGroup=group))  # type: ignore[misc]
    now = observe(setting)
    machine.arm.remove(machine.own_group_id())
    act(setting, now, before)
    assert observe(setting).part() == before.part()


def test_a_group_that_another_interface_has_is_not_deleted(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine)
    before = contain(setting)
    own = machine.own_group_id()
    machine.arm.make_nic("neighbour", own)
    with pytest.raises(Conflict, match="InUseNetworkSecurityGroupCannotBeDeleted"):
        release(setting, before)
    assert machine.group_of(machine.first) == machine.group
    assert len(machine.arm.groups()) == 2


def test_another_machine_under_the_same_name_is_gone(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine)
    machine.arm.make_vm("Web-1", [machine.first])
    assert setting.observe() is GONE


def test_a_machine_that_is_not_there_is_gone(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine)
    setting.resource = setting.resource.model_copy(update={"id": "nobody"})
    assert setting.observe() is GONE


def test_an_interface_that_is_not_there_is_not_the_machine(machine: Machine, isolate: Isolate) -> None:
    machine.arm.remove(machine.second)
    setting = isolate(machine)
    with pytest.raises(Transient, match="which is not there"):
        setting.observe()


@pytest.mark.parametrize("name", ["..", "a/b", "x?y", "a b", "%2e%2e", "."])
def test_a_name_that_would_leave_its_place_in_the_path_is_gone(machine: Machine, isolate: Isolate, name: str) -> None:
    setting = isolate(machine)
    setting.resource = setting.resource.model_copy(update={"id": name})
    assert setting.observe() is GONE
    assert machine.arm.requests == []


# --- how ARM says no -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after_the_effect", [False, True], ids=["before the effect", "after the effect"])
@pytest.mark.parametrize("kind", ["networkSecurityGroups", "networkInterfaces"])
def test_a_lost_answer_is_unknown_and_looked_up(
    machine: Machine, isolate: Isolate, kind: str, after_the_effect: bool
) -> None:
    setting = isolate(machine)
    before = observe(setting)
    machine.arm.lose(changes_of(kind), after_the_effect)
    with pytest.raises(Unknown):
        setting.apply(setting.target(before))
    assert setting.action.ours(before, observe(setting))
    setting.apply(setting.target(before))
    assert reached(observe(setting), setting.target(before))
    lost = 1 if after_the_effect else 0
    assert len([words for words in machine.arm.changes() if kind in words]) == 2 + (0 if lost else 1)


def test_a_throttled_change_did_not_happen(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine)
    before = observe(setting)
    machine.arm.refuse(changes_of("networkSecurityGroups"), 429, "TooManyRequests", Retry_After="7")
    with pytest.raises(Throttled, match="it asks to wait 7 s"):
        setting.apply(setting.target(before))
    assert machine.arm.changes() == []


def test_another_operation_in_the_way_is_no_throttling(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine)
    before = observe(setting)
    machine.arm.refuse(changes_of("networkInterfaces"), 429, "RetryableError", "RetryableErrorDueToAnotherOperation")
    with pytest.raises(Transient) as raised:
        setting.apply(setting.target(before))
    assert not isinstance(raised.value, Throttled)


def test_a_stale_read_does_not_overwrite(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine)
    before = contain(setting)
    machine.arm.stale(machine.first, times=math.inf)
    stale = observe(setting)
    assert not reached(stale, setting.target(before))
    with pytest.raises(Conflict, match="PreconditionFailed"):
        setting.apply(setting.target(before))
    machine.arm.stale(machine.first, times=0)
    setting.apply(setting.target(before))
    assert reached(observe(setting), setting.target(before))


ASKED_BY_THE_ACTION = [permission for permission in VmIsolate().permissions() if "/locations/" not in permission]


@pytest.mark.parametrize("missing", ASKED_BY_THE_ACTION)
def test_without_one_of_its_permissions_it_is_denied(machine: Machine, isolate: Isolate, missing: str) -> None:
    machine.arm.granted = [{"actions": ["*"], "notActions": [missing]}]
    setting = isolate(machine)
    with pytest.raises(Denied) as raised:
        release(setting, contain(setting))
    needed = missing if "/join" not in missing else "Microsoft.Network/networkInterfaces/write"
    assert f"our identity needs {needed}" in str(raised.value)
    if "/join" in missing:
        assert missing in str(raised.value), "ARM's own message names the linked action"


# --- refusals and caveats ------------------------------------------------------------------------------------------


def refusal(setting: Setting) -> str:
    found = setting.action.refusal(observe(setting))
    assert found is not None and found.alternatives
    return str(found.reason)


def test_a_machine_without_interfaces_is_refused(arm: Arm, cloud: AzureCloud) -> None:
    arm.make_vm("lonely", [])
    resource = Resource(kind="azure:vm", id="lonely", scope=SCOPE)
    assert "no network interface" in refusal(Setting(VmIsolate(), cloud, resource))


@pytest.mark.parametrize("where", ["subscription", "group", "machine's interface", "the other resource group"])
def test_a_read_only_lock_is_refused(machine: Machine, isolate: Isolate, where: str) -> None:
    subscription = f"/subscriptions/{SUBSCRIPTION}"
    scope = {
        "subscription": subscription,
        "group": f"{subscription}/resourceGroups/{GROUP}",
        "machine's interface": machine.first,
        "the other resource group": f"{subscription}/resourceGroups/Network-RG",
    }[where]
    machine.arm.lock("ReadOnly", scope)
    assert f"{scope}/providers/Microsoft.Authorization/locks/keep" in refusal(isolate(machine))


def test_a_lock_on_something_else_is_none_of_our_business(machine: Machine, isolate: Isolate) -> None:
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
    machine.arm.lock("ReadOnly", f"{group}/providers/Microsoft.Network/networkInterfaces/another")
    machine.arm.lock("ReadOnly", f"{group}-Two")
    machine.arm.lock("CanNotDelete", machine.group, "b")
    machine.arm.lock("CanNotDelete", machine.first, "c")
    before = observe(isolate(machine))
    assert (before.read_only, before.undeletable) == ((), ())


def test_a_lock_against_deleting_is_said_before_and_stops_the_release_after_the_interfaces(
    machine: Machine, isolate: Isolate
) -> None:
    for name in ("a", "b"):  # so that the list has a second page
        machine.arm.lock("CanNotDelete", f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}", name)
    setting = isolate(machine)
    assert setting.action.refusal(observe(setting)) is None
    (caveat,) = [caveat for caveat in setting.action.caveats(observe(setting)) if caveat.id == "lock"]
    assert "locks/a" in caveat.text and "locks/b" in caveat.text
    before = contain(setting)
    with pytest.raises(Unsupported, match=r"ScopeLocked.*lift it, then retry"):
        release(setting, before)
    assert machine.group_of(machine.first) == machine.group
    machine.arm.locks.clear()
    assert release(setting, before).part() == before.part()


@pytest.mark.parametrize(
    ("properties", "group"), [({"tags": {"aks-managed-poolName": "pool1"}}, GROUP), ({}, "MC_shop_cluster_westeurope")]
)
def test_a_node_of_an_aks_cluster_is_refused(
    arm: Arm, cloud: AzureCloud, properties: dict[str, Any], group: str
) -> None:
    arm.make_vm("aks-1", [arm.make_nic("aks-1")], group=group, **properties)
    resource = Resource(kind="azure:vm", id="aks-1", scope=f"{SUBSCRIPTION}/{group}".lower())
    assert "AKS" in refusal(Setting(VmIsolate(), cloud, resource))


def test_caveats_say_what_stays_possible(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine)
    always = {"established-connections", "admin-rules", "redeployment", "control-plane"}
    platform = {"metadata-service", "platform-dns"}
    assert {caveat.id for caveat in setting.action.caveats(observe(setting))} == always | platform | {"public-address"}


def test_caveats_of_an_instance_of_a_flexible_scale_set_with_an_identity(arm: Arm, cloud: AzureCloud) -> None:
    scale_set = f"/subscriptions/{SUBSCRIPTION}/x/virtualMachineScaleSets/web"
    made = make_machine(arm, virtualMachineScaleSet={"id": scale_set}, identity={"type": "SystemAssigned"})
    setting = Setting(VmIsolate(), cloud, made.resource)
    assert setting.action.refusal(observe(setting)) is None
    found = {caveat.id: caveat.text for caveat in setting.action.caveats(observe(setting))}
    assert scale_set in found["scale-set"]
    assert "identity-tokens" in found
    assert not any("{" in text for text in found.values())


# --- pure ----------------------------------------------------------------------------------------------------------

NAMES = ["/a", "/b", "/c"]
VALUES = st.sampled_from([None, OURS, "/own/one", "/own/two"])
STATES = st.builds(
    VmIsolation,
    nics=st.dictionaries(st.sampled_from(NAMES), VALUES),
    group=st.sampled_from([None, Group.QUARANTINE, Group.ALTERED]),
    flush=st.booleans(),
    uid=st.just("u"),
    failed=st.sets(st.sampled_from([*NAMES, "/nsg/cloud-quarantine-u"])).map(lambda found: tuple(sorted(found))),
).filter(lambda state: state.group is not None or OURS not in state.nics.values())
"""Interfaces only have our group while it stands; it flushes only while it is as we made it."""


def consistent(state: VmIsolation) -> VmIsolation:
    return state.model_copy(update={"flush": state.flush and state.group is Group.QUARANTINE})


@given(STATES.map(consistent), STATES.map(consistent))
def test_steps_reach_the_target_whatever_is_there(before: VmIsolation, now: VmIsolation) -> None:
    target = VmIsolate().contained(before)
    due = steps(now, target)
    group, flush = (Group.QUARANTINE, False) if due.prepare else (now.group, now.flush)
    if OURS in due.nics.values():
        assert (group, flush) == (Group.QUARANTINE, False), "it denies already, and is yet to begin to flush"
    nics = {**now.nics, **due.nics}
    if due.flush:
        assert (group, flush) == (Group.QUARANTINE, False)
        flush = True
    assert not due.delete
    assert (group, flush) == (Group.QUARANTINE, True)
    assert all(nics[id_] == OURS for id_ in target.nics if id_ in nics)
    assert set(due.nics) <= set(now.nics), "what is not there is not put"


@given(STATES.map(consistent))
def test_nothing_is_due_where_the_target_is_reached(before: VmIsolation) -> None:
    target = VmIsolate().contained(before)
    assert steps(target, target) == (False, {}, False, False)
    assert VmIsolate().ours(before, target)


@given(STATES.map(consistent), st.booleans())
def test_a_release_gives_back_what_was_there_also_half_way(before: VmIsolation, flushes: bool) -> None:
    if before.group is Group.ALTERED or (before.flush and not flushes):
        return
    contained = VmIsolate().contained(before)
    now = contained.model_copy(update={"flush": flushes})
    merged, kept = three_way(before, contained, now)
    assert kept == ()
    due = steps(now, merged)
    assert {**now.nics, **due.nics} == before.nics
    assert due.delete == (before.group is None)
    assert not due.flush or (before.flush and OURS in due.nics.values())


def stored(deny: list[Body]) -> Body:
    """As ARM gives it back: with empty lists, ids and states."""
    body = copy.deepcopy(group_body("westeurope", MARK, deny, False, None))
    for rule in body["properties"]["securityRules"]:
        extra = {"provisioningState": "Succeeded", "sourceAddressPrefixes": [], "destinationPortRanges": []}
        rule["properties"] = {**rule["properties"], **extra}
        rule["etag"] = "x"
    return body


MARK = Setting(None, None, None).mark  # type: ignore[arg-type]


@given(st.booleans(), st.booleans(), st.data())
def test_any_change_of_any_rule_is_seen(deny_imds: bool, deny_dns: bool, data: st.DataObject) -> None:
    deny = rules(deny_imds, deny_dns)
    body = stored(deny)
    assert standing(body, MARK.installation, deny) is Group.QUARANTINE
    rule = data.draw(st.sampled_from(body["properties"]["securityRules"]))
    field = data.draw(st.sampled_from(sorted(rules(False, False)[0]["properties"])))
    rule["properties"][field] = data.draw(st.sampled_from(["Allow", "10.0.0.0/8", 4000]))
    assert standing(body, MARK.installation, deny) is Group.ALTERED


def test_a_request_is_named_in_a_way_that_tests_can_read() -> None:
    assert Request("PUT", "/subscriptions/x/networkInterfaces/web", {}, {}, None).words == "PUT networkInterfaces web"


def test_gone_is_never_raised_by_apply(machine: Machine, isolate: Isolate) -> None:
    setting = isolate(machine)
    before = observe(setting)
    machine.arm.refuse(changes_of("networkInterfaces"), 404, "ResourceNotFound")
    with pytest.raises(Conflict) as raised:
        setting.apply(setting.target(before))
    assert not isinstance(raised.value, Gone)
