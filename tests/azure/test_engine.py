"""The engine on a resource manager of ours, on a clock that tests turn: lost answers, old reads, locks, throttling.

Whatever happens, each change is made once, and a release gives back what was. It dies everywhere in test_crash.py.
"""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from quarantine.case import Case, Outcome, Reason, Status
from quarantine.errors import Unknown
from quarantine.playbook import shipped
from quarantine.testing.crash import Message, Scene, live
from quarantine.testing.installation import Installation
from tests.azure.conftest import Machine, make_machine, provider
from tests.testbed.arm import Arm, Request, Style, changes_of

PLAYBOOK = shipped() / "azure" / "isolate-vm.yaml"


@dataclass
class AzureBench(Installation):
    """One installation that has the shipped playbook, and a machine with two interfaces."""

    arm: Arm = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.machine_of = make_machine(self.arm)
        self.before = self.machine_of.images()

    def begin(self) -> Case:
        return self.open(self.machine_of.resource, PLAYBOOK.stem)

    def assert_given_back(self) -> None:
        assert self.machine_of.images() == self.before
        assert self.arm.groups() == ["Web-NSG"]


@pytest.fixture
def bench(arm: Arm, memory: Path) -> AzureBench:
    return AzureBench(memory, provider(arm.url), [PLAYBOOK], arm=arm)


def life(bench: AzureBench) -> Case:
    """From the finding to the release."""
    return live(Scene(bench, bench.machine_of.resource, bench.machine_of.images), PLAYBOOK.stem)


def is_contained(machine: Machine) -> bool:
    own = machine.own_group_id().lower()
    return {str(machine.group_of(nic)).lower() for nic in (machine.first, machine.second)} == {own}


def whole(bench: AzureBench) -> list[str]:
    """What one containment and one release change, each once."""
    own = f"cloud-quarantine-{bench.machine_of.resource.uid}"
    nics = ["PUT networkInterfaces Web-1-b", "PUT networkInterfaces Web-1-a"]
    group = f"networkSecurityGroups {own}"
    return [f"PUT {group}", *nics, f"PUT {group}", *nics, f"DELETE {group}"]


STYLES = [(Style.ASYNC, Style.BOTH), (Style.LOCATION, Style.LOCATION), (Style.AT_ONCE, Style.AT_ONCE)]


@pytest.mark.parametrize(("put_style", "delete_style"), STYLES)
def test_a_life_unharmed(bench: AzureBench, put_style: Style, delete_style: Style) -> None:
    bench.arm.put_style, bench.arm.delete_style, bench.arm.polls = put_style, delete_style, 3
    assert life(bench).outcome is Outcome.RELEASED
    bench.assert_given_back()
    assert bench.arm.changes() == whole(bench)
    bench.assert_whole()


@pytest.mark.parametrize("after_the_effect", [False, True], ids=["before the effect", "after the effect"])
@pytest.mark.parametrize("number", range(7))
def test_a_lost_answer_is_looked_up_and_the_change_is_made_once(
    bench: AzureBench, number: int, after_the_effect: bool
) -> None:
    bench.arm.polls = 1
    seen = 0

    def the_one(request: Request) -> bool:
        nonlocal seen
        seen += request.changes
        return request.changes and seen == number + 1

    bench.arm.lose(the_one, after_the_effect)
    case = life(bench)
    assert case.outcome is Outcome.RELEASED, (case.reason, case.sentence)
    bench.assert_given_back()
    lost = [request for request in bench.arm.requests if request.changes and request.status is None]
    assert len(lost) == 1
    made = [words for words in bench.arm.changes() if not (words == lost[0].words and not after_the_effect)]
    expected = whole(bench)
    if not after_the_effect:
        expected = [words for words in expected if words != lost[0].words]
    assert made == expected


@pytest.mark.parametrize("message", Message)
@pytest.mark.parametrize("number", [0, 2, 6], ids=["the group is made", "an interface is put", "the group is deleted"])
def test_what_is_lost_at_the_gate_is_to_the_engine_what_is_lost_on_the_wire(
    arm: Arm, memory: Path, message: Message, number: int
) -> None:
    """So that the crash tests, which lose messages at the gate, tell of real connections."""
    arm.polls = 1
    records = []
    for where in ("gate", "wire"):
        (memory / where).mkdir()
        bench = AzureBench(memory / where, provider(arm.url), [PLAYBOOK], arm=arm)
        sent = 0

        def the_one(place: str) -> None:
            nonlocal sent
            sent += place.startswith(f"{message} ")
            if place.startswith(f"{message} ") and sent == number + 1:
                raise Unknown(place)

        def the_same(request: Request) -> bool:
            nonlocal sent
            sent += request.changes
            return request.changes and sent == number + 1

        if where == "gate":
            bench.messages = the_one
        else:
            arm.lose(the_same, message is Message.ANSWER)
        case = life(bench)
        assert case.outcome is Outcome.RELEASED
        bench.assert_given_back()
        records.append(bench.types(case))
    assert records[0] == records[1]


def test_reads_that_are_old_do_not_verify_and_do_not_make_a_second_change(bench: AzureBench) -> None:
    bench.arm.polls = 0
    case = bench.begin()
    for nic in (bench.machine_of.first, bench.machine_of.second):
        bench.arm.stale(nic, times=2)
    contained = bench.settle(case)
    assert contained.status is Status.CONTAINED
    assert is_contained(bench.machine_of)
    assert bench.arm.changes() == whole(bench)[:4]


@pytest.mark.parametrize("code", ["RetryableErrorDueToAnotherOperation", "CanceledAndSupersededDueToAnotherOperation"])
def test_an_operation_that_something_was_in_the_way_of_is_tried_again(bench: AzureBench, code: str) -> None:
    bench.arm.fail_next(code, "another operation")
    case = life(bench)
    assert case.outcome is Outcome.RELEASED, (case.reason, case.sentence)
    assert "operation_failed" in bench.types(case)
    bench.assert_given_back()


def test_an_operation_that_never_ends_goes_to_a_person_and_nothing_more_is_sent(bench: AzureBench) -> None:
    bench.arm.polls = float("inf")
    case = bench.settle(bench.begin(), turns=400)
    assert (case.status, case.reason) == (Status.NEEDS_HUMAN, Reason.UNVERIFIED)
    assert "still goes on" in case.sentence
    assert len(bench.arm.changes()) == 1
    bench.arm.polls = 0
    bench.arm.finish()
    bench.desk.retry(case.id, "local:ann")
    assert bench.settle(case).status is Status.CONTAINED


def test_a_lock_against_deleting_stops_the_release_until_it_is_lifted(bench: AzureBench) -> None:
    case = bench.settle(bench.begin())
    bench.arm.lock("CanNotDelete", bench.machine_of.group.partition("/providers/")[0])
    bench.desk.release(case.id, "local:ann")
    halted = bench.settle(case)
    assert (halted.status, halted.reason) == (Status.NEEDS_HUMAN, Reason.UNSUPPORTED)
    assert "ScopeLocked" in halted.sentence
    assert bench.machine_of.images() == bench.before, "the interfaces have their own again"
    bench.arm.locks.clear()
    bench.desk.retry(case.id, "local:ann")
    assert bench.settle(case).outcome is Outcome.RELEASED
    bench.assert_given_back()


def test_somebody_elses_change_meanwhile_is_kept_and_reported(bench: AzureBench) -> None:
    case = bench.settle(bench.begin())
    theirs = bench.arm.make_group("Their-NSG")
    change = {"networkSecurityGroup": {"id": theirs}}
    bench.arm.alter(bench.machine_of.first, lambda nic: nic["properties"].update(change))
    bench.desk.release(case.id, "local:ann")
    closed = bench.settle(case)
    assert closed.outcome is Outcome.RELEASED
    assert bench.machine_of.group_of(bench.machine_of.first) == theirs
    assert bench.machine_of.group_of(bench.machine_of.second) is None
    assert [item.path[1] for item in closed.steps[0].kept] == [bench.machine_of.first.lower()]


def test_throttling_is_waited_out(bench: AzureBench) -> None:
    bench.arm.refuse(changes_of("networkInterfaces"), 429, "TooManyRequests", times=2, Retry_After="1")
    assert life(bench).outcome is Outcome.RELEASED
    assert bench.arm.changes() == whole(bench)
