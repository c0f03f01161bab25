"""The fake platform says no in every way that a real one does, and its machines are what the calls made of them."""

from datetime import timedelta
from typing import Any

import pytest

from quarantine.action import GONE, Mark
from quarantine.errors import (
    Conflict,
    Denied,
    Gone,
    ProviderError,
    Throttled,
    Transient,
    Unknown,
    Unreachable,
    Unsupported,
)
from quarantine.testing.contract import CountingGate, Setting
from quarantine.testing.fake.cloud import FakeCloud, Truth
from quarantine.testing.fake.machine_close import MachineClose, MachinePorts
from quarantine.testing.fake.world import CALLS, READS, Died, FakeWorld, Fault
from tests.core.builders import Clock

MARK = Mark(installation="i", case="c", step=0, key="k")
OPEN, SHUT = {"22": "0.0.0.0/0"}, dict[str, str]()


@pytest.fixture
def setting(world: FakeWorld) -> Setting:
    return Setting(MachineClose(), FakeCloud(world), world.add("web-1", ports=OPEN), MARK)


def shown(setting: Setting) -> dict[str, str]:
    state = setting.observe()
    assert isinstance(state, MachinePorts)
    return state.ports


def close(setting: Setting) -> None:
    setting.apply(MachinePorts(ports=SHUT))


@pytest.mark.parametrize(
    ("fault", "error", "happens"),
    [
        (Fault.LOSE_ANSWER, Unknown, True),
        (Fault.LOSE_REQUEST, Unknown, False),
        (Fault.ARRIVE_LATE, Unknown, False),
        (Fault.DIE_BEFORE, Died, False),
        (Fault.DIE_AFTER, Died, True),
        (Fault.THROTTLE, Throttled, False),
        (Fault.TRANSIENT, Transient, False),
        (Fault.DENY, Denied, False),
        (Fault.CONFLICT, Conflict, False),
        (Fault.UNSUPPORTED, Unsupported, False),
        (Fault.UNREACHABLE, Unreachable, False),
    ],
)
def test_a_fault_happens_once_and_is_what_it_says(
    setting: Setting, world: FakeWorld, fault: Fault, error: type[BaseException], happens: bool
) -> None:
    world.fail("machine.set_ports", fault)
    with pytest.raises(error) as raised:
        close(setting)
    assert type(raised.value) is error
    assert (world.machine("web-1").ports == SHUT) is happens
    assert not world.unmet
    close(setting)
    assert world.machine("web-1").ports == SHUT


def test_every_fault_is_tested_above() -> None:
    assert {fault for fault in Fault if fault is not Fault.PASS} == {
        arguments[0]
        for arguments in test_a_fault_happens_once_and_is_what_it_says.pytestmark[0].args[1]  # type: ignore[attr-defined]
    }


def test_a_death_is_seen_by_no_except_exception() -> None:
    assert not issubclass(Died, Exception)


def test_what_is_late_happens_when_it_arrives(setting: Setting, world: FakeWorld) -> None:
    world.fail("machine.set_ports", Fault.ARRIVE_LATE)
    with pytest.raises(Unknown):
        close(setting)
    assert shown(setting) == OPEN
    world.arrive()
    assert shown(setting) == SHUT
    assert len(world.sent) == 1


def test_what_arrives_after_the_end_of_its_machine_does_nothing(setting: Setting, world: FakeWorld) -> None:
    world.fail("machine.set_ports", Fault.ARRIVE_LATE)
    with pytest.raises(Unknown):
        close(setting)
    world.remove("web-1")
    world.arrive()
    assert setting.observe() is GONE


def test_pass_lets_one_call_through(setting: Setting, world: FakeWorld) -> None:
    world.fail("machine.get", Fault.PASS, Fault.THROTTLE)
    assert shown(setting) == OPEN
    with pytest.raises(Throttled):
        setting.observe()


def test_somebody_else_may_act_between_our_look_and_our_change(setting: Setting, world: FakeWorld) -> None:
    world.fail("machine.set_ports", lambda: world.meddle("web-1", labels={"new": "label"}))
    with pytest.raises(Conflict):
        close(setting)
    assert world.machine("web-1").labels == {"new": "label"}
    close(setting)
    assert world.machine("web-1").ports == SHUT


def test_stale_reads_show_the_state_before_the_last_change(setting: Setting, world: FakeWorld) -> None:
    close(setting)
    world.stale(2)
    assert [shown(setting) for _ in range(3)] == [OPEN, OPEN, SHUT]


def test_a_change_settles_when_the_clock_says_so(setting: Setting, world: FakeWorld, clock: Clock) -> None:
    world.settle_after(timedelta(seconds=30))
    close(setting)
    clock.pass_by(timedelta(seconds=29))
    assert shown(setting) == OPEN
    clock.pass_by(timedelta(seconds=1))
    assert shown(setting) == SHUT


def test_a_denied_call_stays_denied(setting: Setting, world: FakeWorld) -> None:
    world.denied.add("machine.set_ports")
    for _ in range(2):
        with pytest.raises(Denied):
            close(setting)


def test_every_change_is_recorded_with_its_arguments_and_its_mark(setting: Setting, world: FakeWorld) -> None:
    close(setting)
    assert [(sent.call, sent.arguments, sent.mark) for sent in world.sent] == [
        ("machine.set_ports", {"id": "web-1", "uid": setting.resource.uid, "ports": SHUT, "version": 1}, MARK)
    ]


def test_what_somebody_else_does_is_not_recorded_as_sent(world: FakeWorld) -> None:
    world.add("web-1")
    world.meddle("web-1", ports=OPEN)
    world.remove("web-1")
    assert world.sent == []
    with pytest.raises(Gone):
        world.machine("web-1")


def test_a_machine_that_is_made_again_has_another_uid(world: FakeWorld) -> None:
    first, second = world.add("web-1"), world.add("web-1")
    assert first.uid != second.uid


def test_the_same_name_in_another_scope_is_another_machine(world: FakeWorld) -> None:
    world.add("web-1", scope="here", ports=OPEN)
    world.add("web-1", scope="there")
    assert world.machine("web-1", "here").ports == OPEN
    assert world.machine("web-1", "there").ports == {}


def test_a_patch_with_an_old_version_is_a_conflict(world: FakeWorld) -> None:
    world.add("web-1")
    world.meddle("web-1", labels={"a": "b"})
    cloud = FakeCloud(world).through(CountingGate(), MARK)
    with pytest.raises(Conflict):
        cloud.change("machine.patch_labels", "machine.patch_labels", id="web-1", labels={}, version=1)


def test_a_connection_without_a_gate_changes_nothing(world: FakeWorld) -> None:
    world.add("web-1")
    with pytest.raises(PermissionError):
        FakeCloud(world).change("machine.stop", "machine.stop", id="web-1")
    assert world.sent == []


@pytest.mark.parametrize("call", sorted(set(CALLS) - READS))
def test_a_change_cannot_be_sent_as_a_read(world: FakeWorld, call: str) -> None:
    with pytest.raises(PermissionError):
        FakeCloud(world).read(call, call)
    assert world.sent == []


@pytest.mark.parametrize("call", sorted(READS - {"identity.get", "machine.list", "finding.get"}))
def test_reads_change_nothing(world: FakeWorld, call: str) -> None:
    machine = world.add("web-1")
    before: Any = (world.machine("web-1"), world.policies())
    arguments = {"uid": machine.uid} if call == "policy.get" else {"id": machine.id}
    FakeCloud(world).read(call, call, **arguments)
    assert (world.machine("web-1"), world.policies()) == before
    assert world.asked == [call]


def test_every_error_of_the_world_is_one_of_ours() -> None:
    for error in (Conflict, Denied, Gone, Throttled, Unknown, Unreachable, Unsupported):
        assert issubclass(error, ProviderError)


# -- what the simulation needs ---------------------------------------------------------------------------------------


def test_an_old_read_is_possible_only_for_a_while(setting: Setting, world: FakeWorld, clock: Clock) -> None:
    close(setting)
    world.stale(2, timedelta(seconds=10))
    assert shown(setting) == OPEN
    clock.pass_by(timedelta(seconds=10))
    assert shown(setting) == SHUT


def test_a_late_request_is_refused_when_its_signature_has_run_out(
    setting: Setting, world: FakeWorld, clock: Clock
) -> None:
    world.signature_life = timedelta(minutes=5)
    for late, ports in ((timedelta(minutes=5, seconds=1), OPEN), (timedelta(minutes=5), SHUT)):
        world.fail("machine.set_ports", Fault.ARRIVE_LATE)
        with pytest.raises(Unknown):
            close(setting)
        clock.pass_by(late)
        world.arrive()
        assert world.machine("web-1").ports == ports


def test_who_sleeps_too_long_after_signing_is_refused(setting: Setting, world: FakeWorld, clock: Clock) -> None:
    world.signature_life = timedelta(minutes=5)
    world.fail("machine.set_ports", lambda: clock.pass_by(timedelta(minutes=6)))
    with pytest.raises(Transient, match="expired"):
        close(setting)
    assert world.machine("web-1").ports == OPEN


def test_another_machine_of_the_same_name_is_not_meant(setting: Setting, world: FakeWorld) -> None:
    world.add("web-1", ports=OPEN)
    assert setting.observe() is GONE
    with pytest.raises(Gone, match="uid"):
        world.call("machine.set_ports", "local", {"id": "web-1", "uid": setting.resource.uid, "ports": SHUT}, MARK)


def test_what_was_written_is_known_until_somebody_writes_over_it(setting: Setting, world: FakeWorld) -> None:
    assert world.in_place() == []
    close(setting)
    assert set(world.in_place()) == {MARK}
    world.meddle("web-1", ports=OPEN)
    assert world.in_place() == []
    close(setting)
    world.remove("web-1")
    assert world.in_place() == [], "it went with the machine"


def test_the_truth_is_neither_old_nor_refused_nor_counted(setting: Setting, world: FakeWorld) -> None:
    close(setting)
    world.stale(5)
    world.denied.add("machine.get")
    asked = len(world.asked)
    shows = MachineClose().observe(Truth(world), setting.resource)
    assert shows.ports == SHUT
    assert len(world.asked) == asked
    world.calm()
    assert shown(setting) == SHUT
