"""A virtual machine is cut off and given back by the real program, on a vCenter whose tasks take as long as we say.

The vCenter counts what it is asked to change: after a kill -9 nothing is asked for twice.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from quarantine.case import Outcome, Reason, Status
from tests.acceptance.conftest import Install
from tests.acceptance.product import Product
from tests.testbed.call import Call
from tests.testbed.missing import started
from tests.testbed.poll import until
from tests.testbed.proxy import FaultProxy
from tests.testbed.vcsim import EVERY, NONE, PASSWORD, USER, Flags, Machine, Vcsim

FIRST = 4000
MIXED: Flags = (True, False, True)


@pytest.fixture(scope="module")
def server() -> Iterator[Vcsim]:
    with started(Vcsim()) as running:
        yield running


@pytest.fixture
def vcsim(server: Vcsim) -> Iterator[Vcsim]:
    server.end_sessions()  # those of a server that was killed
    yield server
    server.set()


@pytest.fixture
def machine(vcsim: Vcsim) -> Machine:
    made = vcsim.machine(MIXED)
    vcsim.set()
    return made


@pytest.fixture
def on_vmware(vcsim: Vcsim, install: Install) -> Callable[..., Product]:
    """An installation for the vCenter, or for a proxy in front of it."""

    def start(url: str | None = None, **settings: Any) -> Product:
        access = {"url": url or vcsim.url, "user": USER, "password": "env:VCENTER_PASSWORD"}
        access |= {} if url else {"thumbprint": vcsim.thumbprint}
        base = {
            "providers": {"vmware": {"vcenters": {"berlin": access}}},
            "sources": {"vcenter": {"parser": "vmware:alarm", "secret": "env:SENDER_SECRET"}},
        }
        return install({**base, **settings}, {"VCENTER_PASSWORD": PASSWORD})

    return start


Start = Callable[..., Product]


def alarm(machine: Machine) -> dict[str, Any]:
    return {
        "vcenter": "berlin",
        "datacenter": "DC0",
        "alarm_id": "alarm-301",
        "alarm_name": "quarantine: ransomware note found",
        "target_id": machine.moid,
        "target_name": machine.name,
        "old_status": "Green",
        "new_status": "Red",
    }


def test_an_alarm_cuts_a_machine_off_after_approval_and_a_release_gives_it_back(
    machine: Machine, on_vmware: Start, vcsim: Vcsim
) -> None:
    before = machine.image()
    product = on_vmware(watch={"every": "1s"})
    assert product.send(alarm(machine), "vcenter").status == 202
    case = product.wait(product.only_case().id, Status.AWAITING_APPROVAL)
    assert machine.image() == before, "nothing is touched before a person has said yes"

    product.say("case", "approve", case.id, "--yes", "--no-wait")
    product.wait(case.id, Status.CONTAINED)
    assert set(machine.flags().values()) == {NONE}
    assert vcsim.changes() == 1, "one task for both adapters"

    machine.connect(FIRST, EVERY)
    assert product.wait(case.id, Status.NEEDS_HUMAN).reason is Reason.DRIFTED
    product.say("case", "retry", case.id, "--no-wait")
    product.wait(case.id, Status.CONTAINED)
    assert set(machine.flags().values()) == {NONE}

    product.say("case", "release", case.id, "--no-wait")
    assert product.wait(case.id, Status.CLOSED).outcome is Outcome.RELEASED
    assert machine.image() == before
    product.assert_whole()

    assert vcsim.sessions()
    product.stop()
    assert vcsim.sessions() == [], "whoever stops has logged out"


def test_an_adapter_that_is_added_is_cut_too_where_drift_is_put_right_by_itself(
    machine: Machine, on_vmware: Start
) -> None:
    product = on_vmware(guards={"mode": "auto"}, watch={"every": "1s", "on_drift": "reapply"})
    product.send(alarm(machine), "vcenter")
    case = product.wait(product.only_case().id, Status.CONTAINED)
    machine.add(EVERY)
    until(lambda: set(machine.flags().values()) == {NONE}, seconds=30)
    until(lambda: product.store.load(case.id).status is Status.CONTAINED)
    assert product.types(case.id).count("drifted") == 1


def test_a_machine_is_not_contained_before_its_task_has_ended(machine: Machine, on_vmware: Start, vcsim: Vcsim) -> None:
    product = on_vmware(guards={"mode": "auto"})
    with vcsim.holding():
        product.send(alarm(machine), "vcenter")
        case = product.only_case()
        until(lambda: "applied" in product.types(case.id), seconds=30)
        assert product.store.load(case.id).status is Status.CONTAINING
        assert vcsim.changes() == 1
    product.wait(case.id, Status.CONTAINED)
    assert set(machine.flags().values()) == {NONE}


def test_an_alarm_that_is_red_is_found_by_the_clock_too(machine: Machine, on_vmware: Start, vcsim: Vcsim) -> None:
    schedule = {"poll": "vmware:alarms", "scope": "berlin/DC0", "every": "1s", "playbook": "disconnect-vm"}
    product = on_vmware(guards={"mode": "auto"}, schedules={"alarms": schedule})
    vcsim.post_event(machine, "fatal")
    try:
        case = product.wait(product.only_case().id, Status.CONTAINED)
        assert case.resource.id == machine.moid and set(machine.flags().values()) == {NONE}
        product.say("case", "release", case.id, "--no-wait")
        product.wait(case.id, Status.CLOSED)
        polls = product.log().count('"event": "polled"')
        until(lambda: product.log().count('"event": "polled"') >= polls + 3, seconds=30)
        assert len(product.cases()) == 1, "who releases it is not overruled by the alarm that is still red"
    finally:
        vcsim.post_event(machine, "success")


@pytest.fixture
def proxy(vcsim: Vcsim) -> Iterator[FaultProxy]:
    with FaultProxy(vcsim.url, vcsim.ca_file) as proxy:
        yield proxy


def reconfigures(call: Call) -> bool:
    return b"<ReconfigVM_Task" in call.body


def reads_after_restart(product: Product, proxy: FaultProxy, what: str) -> None:
    """A new server on the same files, until it has asked the vCenter three times for what has this id."""
    proxy.forget()
    product.start()
    until(lambda: len(proxy.recorded(lambda call: what.encode() in call.body)) >= 3, seconds=60)


@pytest.mark.parametrize("releasing", [False, True], ids=["containing", "releasing"])
def test_killed_while_a_task_runs(
    machine: Machine, on_vmware: Start, vcsim: Vcsim, proxy: FaultProxy, releasing: bool
) -> None:
    """The vCenter goes on while we are dead, and when we come back: no second task, and the case ends as it should."""
    before = machine.image()
    product = on_vmware(proxy.url, guards={"mode": "auto"})
    if releasing:
        contain(product, machine)
    with vcsim.holding():
        start(product, machine, releasing)
        case = product.only_case()
        task = until(lambda: operation(product, case.id, 1 if releasing else 0), seconds=30)
        assert task is not None
        product.kill()

        reads_after_restart(product, proxy, task)
        assert vcsim.changes() == 1 and not proxy.recorded(reconfigures), "the task that runs is waited for"
        assert product.store.load(case.id).status is (Status.RELEASING if releasing else Status.CONTAINING)
    finish(product, machine, releasing)
    assert vcsim.changes() == 0, "and none was started after it"
    give_back(product, machine, before)


@pytest.mark.parametrize("releasing", [False, True], ids=["containing", "releasing"])
def test_killed_before_the_task_was_written_down(
    machine: Machine, on_vmware: Start, vcsim: Vcsim, proxy: FaultProxy, releasing: bool
) -> None:
    """The vCenter has started it and we died before its answer came: what runs there is found, and not repeated."""
    before = machine.image()
    product = on_vmware(proxy.url, guards={"mode": "auto"})
    if releasing:
        contain(product, machine)
    with vcsim.holding():
        held = proxy.hold_answer(reconfigures)
        start(product, machine, releasing)
        held.wait_reached()
        product.kill()
        held.abandon()
        case = product.only_case()
        assert product.types(case.id)[-1] == ("release_intended" if releasing else "intended")

        reads_after_restart(product, proxy, machine.moid)
        assert vcsim.changes() == 1 and not proxy.recorded(reconfigures)
    finish(product, machine, releasing)
    assert vcsim.changes() == 0 and "reconciled" in product.types(case.id)
    give_back(product, machine, before)


def test_a_lost_answer_is_looked_up_and_not_repeated(machine: Machine, on_vmware: Start, proxy: FaultProxy) -> None:
    product = on_vmware(proxy.url, guards={"mode": "auto"})
    proxy.lose_answer(reconfigures)
    product.send(alarm(machine), "vcenter")
    case = product.wait(product.only_case().id, Status.CONTAINED)
    assert len(proxy.recorded(reconfigures)) == 1
    assert "reconciled" in product.types(case.id)


def test_a_task_that_fails_is_recorded_and_given_to_a_person(machine: Machine, on_vmware: Start, vcsim: Vcsim) -> None:
    product = on_vmware(guards={"mode": "auto"})
    vcsim.set(privileges={USER: ["System.Read", "VirtualMachine.Config.EditDevice"]}, late=True)
    product.send(alarm(machine), "vcenter")
    case = product.wait(product.only_case().id, Status.NEEDS_HUMAN)
    assert case.reason is Reason.PERMISSION_MISSING
    assert "grant VirtualMachine.Interact.DeviceConnection" in case.sentence
    assert machine.flags()[FIRST] == EVERY

    vcsim.set()
    product.say("case", "retry", case.id, "--no-wait")
    product.wait(case.id, Status.CONTAINED)
    assert set(machine.flags().values()) == {NONE}


def start(product: Product, machine: Machine, releasing: bool) -> None:
    if releasing:
        product.say("case", "release", product.only_case().id, "--no-wait")
    else:
        product.send(alarm(machine), "vcenter")


def contain(product: Product, machine: Machine) -> None:
    product.send(alarm(machine), "vcenter")
    product.wait(product.only_case().id, Status.CONTAINED)


def operation(product: Product, case_id: str, number: int) -> str | None:
    """The task that the case's record has, once it is there."""
    found = [recorded.event.operation for recorded in product.events(case_id) if recorded.event.type == "changed"]
    return found[number] if len(found) > number else None


def finish(product: Product, machine: Machine, releasing: bool) -> None:
    product.wait(product.only_case().id, Status.CLOSED if releasing else Status.CONTAINED, seconds=60)
    assert releasing or set(machine.flags().values()) == {NONE}


def give_back(product: Product, machine: Machine, before: str) -> None:
    case = product.only_case()
    if case.status is not Status.CLOSED:
        product.say("case", "release", case.id, "--no-wait")
        case = product.wait(case.id, Status.CLOSED, seconds=60)
    assert case.outcome is Outcome.RELEASED
    assert machine.image() == before
    product.assert_whole()
