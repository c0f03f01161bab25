"""An alert of Defender for Cloud isolates a machine on an Azure Resource Manager of ours, through its operations."""

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from quarantine.case import Case, Outcome, Reason, Status
from tests.acceptance.product import Product
from tests.azure.conftest import SCOPE, Machine, make_machine
from tests.azure.test_findings import REST
from tests.testbed.arm import GROUP, SUBSCRIPTION, TOKEN, Arm, Style, changes_of
from tests.testbed.poll import until

VM = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Compute/virtualMachines/Web-1"


@pytest.fixture
def arm() -> Iterator[Arm]:
    with Arm() as arm:
        yield arm


@pytest.fixture
def machine(arm: Arm) -> Machine:
    return make_machine(arm)


@pytest.fixture
def on_azure(arm: Arm, install: Callable[..., Product]) -> Callable[..., Product]:
    """An installation for the subscription of the test bed."""

    def start(url: str = "", **settings: Any) -> Product:
        azure = {"subscriptions": {SUBSCRIPTION: {}}, "endpoint_url": url or arm.url, "token": "env:ARM_TOKEN"}
        sources = {"defender": {"parser": "azure:defender-alert", "secret": "env:SENDER_SECRET"}}
        product = install({"providers": {"azure": azure}, "sources": sources, **settings}, {"ARM_TOKEN": TOKEN})
        product.detector = arm.alerts.append  # whatever it sends, it has
        return product

    return start


Start = Callable[..., Product]


def alert() -> dict[str, Any]:
    """One that is seen just now."""
    properties = {key: value for key, value in REST["properties"].items() if not key.endswith("Utc")}
    identifiers = [{"type": "AzureResource", "azureResourceId": VM}]
    return {**REST, "properties": {**properties, "resourceIdentifiers": identifiers}}


def own(machine: Machine) -> str:
    return f"cloud-quarantine-{machine.resource.uid}"


def contained(machine: Machine) -> bool:
    groups = {machine.group_of(nic) for nic in (machine.first, machine.second)}
    return len(groups) == 1 and str(groups.pop()).endswith(own(machine))


def isolate(product: Product) -> Case:
    answer = product.send(alert(), source="defender")
    assert answer.status == 202, answer.body
    return product.only_case()


def test_a_machine_is_isolated_after_approval_and_given_back_as_it_was(
    arm: Arm, machine: Machine, on_azure: Start
) -> None:
    before = machine.images()
    arm.polls = 1
    product = on_azure()
    case = product.wait(isolate(product).id, Status.AWAITING_APPROVAL)
    assert case.resource == machine.resource
    assert arm.changes() == [], "nothing is touched before a person has said yes"
    assert case.plan is not None
    (step,) = case.plan.steps
    assert {"established-connections", "metadata-service"} <= {caveat.id for caveat in step.caveats}

    product.say("case", "approve", case.id, "--yes", "--no-wait")
    product.wait(case.id, Status.CONTAINED, seconds=60)
    assert contained(machine)
    assert not any(arm.flows[nic.lower()] for nic in (machine.first, machine.second))
    assert arm.running() == 0, "verified only when every operation has ended"
    types = product.types(case.id)
    assert types.count("changed") == 4 and types.count("paused") == 3 and "verified" in types
    operations = [item.event.operation for item in product.events(case.id) if item.event.type == "changed"]
    assert all(operation and operation.startswith(arm.url) for operation in operations)

    product.say("case", "release", case.id, "--no-wait")
    closed = product.wait(case.id, Status.CLOSED, seconds=60)
    assert closed.outcome is Outcome.RELEASED
    assert machine.images() == before
    assert arm.groups() == ["Web-NSG"]
    product.assert_whole()


def test_drift_made_by_hand_is_seen_put_right_on_request_and_still_released_exactly(
    machine: Machine, on_azure: Start
) -> None:
    before = machine.images()
    product = on_azure(guards={"mode": "auto"}, watch={"every": "1s"})
    case = product.wait(isolate(product).id, Status.CONTAINED, seconds=60)
    back = {"networkSecurityGroup": {"id": machine.group}}
    machine.arm.alter(machine.first, lambda nic: nic["properties"].update(back))
    drifted = product.wait(case.id, Status.NEEDS_HUMAN, seconds=60)
    assert drifted.reason is Reason.DRIFTED
    assert machine.first.lower() in drifted.sentence

    product.say("case", "retry", case.id, "--no-wait")
    product.wait(case.id, Status.CONTAINED, seconds=60)
    assert contained(machine)
    product.say("case", "release", case.id, "--no-wait")
    product.wait(case.id, Status.CLOSED, seconds=60)
    assert machine.images() == before


def test_an_interface_that_is_attached_later_is_drift(machine: Machine, on_azure: Start) -> None:
    product = on_azure(guards={"mode": "auto"}, watch={"every": "1s"})
    case = product.wait(isolate(product).id, Status.CONTAINED, seconds=60)
    late = machine.arm.make_nic("late")
    machine.arm.alter(VM, lambda vm: vm["properties"]["networkProfile"]["networkInterfaces"].append({"id": late}))
    assert product.wait(case.id, Status.NEEDS_HUMAN, seconds=60).reason is Reason.DRIFTED


STYLES = [
    (Style.ASYNC, Style.BOTH, "PUT networkInterfaces Web-1-a"),
    (Style.LOCATION, Style.LOCATION, "PUT networkInterfaces Web-1-b"),
    (Style.ASYNC, Style.BOTH, "PUT networkSecurityGroups"),
]


@pytest.mark.parametrize(("put_style", "delete_style", "during"), STYLES)
def test_killed_while_an_operation_runs_no_change_is_sent_a_second_time(
    arm: Arm, machine: Machine, on_azure: Start, put_style: Style, delete_style: Style, during: str
) -> None:
    before = machine.images()
    arm.put_style, arm.delete_style = put_style, delete_style
    product = on_azure(guards={"mode": "auto"})
    arm.polls = math.inf
    case = isolate(product)
    until_running(arm, during)
    # The receipt is on disk, which is what the next process knows the operation by; and that nothing was sent after it.
    # Without the pause it would have to wait until it can be sure: tests/azure/test_engine.py turns the clock for that.
    until(lambda: product.types(case.id)[-1] == "paused", seconds=20)
    sent = len(arm.changes())
    product.kill()

    product.start()
    polls = len(arm.requests)
    until(lambda: any("/operation" in request.path for request in arm.requests[polls:]), seconds=30)
    assert len(arm.changes()) == sent, "while the operation runs, nothing is sent"
    arm.polls = 0
    arm.finish()
    product.wait(case.id, Status.CONTAINED, seconds=60)
    assert contained(machine)
    assert arm.changes() == [
        f"PUT networkSecurityGroups {own(machine)}",
        "PUT networkInterfaces Web-1-b",
        "PUT networkInterfaces Web-1-a",
        f"PUT networkSecurityGroups {own(machine)}",
    ]
    assert "verified" in product.types(case.id)

    product.say("case", "release", case.id, "--no-wait")
    product.wait(case.id, Status.CLOSED, seconds=60)
    assert machine.images() == before
    product.assert_whole()


def until_running(arm: Arm, words: str) -> None:
    """Lets every operation end but that of this change."""

    def there() -> bool:
        if arm.changes() and arm.changes()[-1].startswith(words) and arm.running():
            return True
        arm.finish()
        return False

    until(there, seconds=30)


def test_an_operation_that_fails_goes_to_a_person_and_can_be_tried_again(
    arm: Arm, machine: Machine, on_azure: Start
) -> None:
    product = on_azure(guards={"mode": "auto"})
    arm.fail_next("InternalServerError", "something broke")
    case = product.wait(isolate(product).id, Status.NEEDS_HUMAN, seconds=60)
    assert "something broke" in case.sentence and "operation_failed" in product.types(case.id)
    product.say("case", "retry", case.id, "--no-wait")
    product.wait(case.id, Status.CONTAINED, seconds=60)
    assert contained(machine)


def test_an_operation_in_the_way_is_waited_out(arm: Arm, machine: Machine, on_azure: Start) -> None:
    arm.refuse(changes_of("networkInterfaces"), 429, "RetryableError", "RetryableErrorDueToAnotherOperation")
    product = on_azure(guards={"mode": "auto"})
    product.wait(isolate(product).id, Status.CONTAINED, seconds=60)
    assert contained(machine)


def test_a_missing_permission_goes_to_a_person_by_name(arm: Arm, machine: Machine, on_azure: Start) -> None:
    needed = "Microsoft.Network/networkSecurityGroups/write"
    arm.granted = [{"actions": ["*"], "notActions": [needed]}]
    product = on_azure(guards={"mode": "auto"})
    case = product.wait(isolate(product).id, Status.NEEDS_HUMAN, seconds=60)
    assert case.reason is Reason.PERMISSION_MISSING and needed in case.sentence
    assert arm.changes() == []


def test_a_read_only_lock_refuses_with_a_reason(arm: Arm, machine: Machine, on_azure: Start) -> None:
    arm.lock("ReadOnly", f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}")
    product = on_azure(guards={"mode": "auto"})
    case = product.wait(isolate(product).id, Status.PROPOSED, seconds=60)
    until(lambda: product.store.load(case.id).sentence)
    assert "ReadOnly lock" in product.store.load(case.id).sentence
    assert arm.changes() == []


def test_a_machine_that_is_gone_closes_the_case(arm: Arm, machine: Machine, on_azure: Start) -> None:
    product = on_azure(guards={"mode": "auto"})
    arm.remove(VM)
    closed = product.wait(isolate(product).id, Status.CLOSED, seconds=60)
    assert closed.outcome is Outcome.TARGET_GONE


def test_by_hand_on_the_command_line(machine: Machine, on_azure: Start) -> None:
    product = on_azure()
    plan = product.say("run", "isolate-vm", "azure:vm/WEB-1", "--scope", SCOPE, "-o", "json")
    assert str(machine.resource.uid) in json.dumps(json.loads(plan))
    assert machine.arm.changes() == []


def test_the_doctor_is_content(machine: Machine, on_azure: Start) -> None:
    product = on_azure()
    said = product.run("doctor").stdout
    assert f"azure {SUBSCRIPTION}" in said
