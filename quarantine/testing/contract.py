"""The contracts that every action and capture must pass, as test classes to inherit.

class TestS3BlockPublicAccess(ReversibleContract):
    @pytest.fixture
    def setting(self, ...) -> Setting: ...      # a resource that is not contained, and how to reach it
    @pytest.fixture
    def stranger(self, ...) -> Stranger: ...    # changes one managed value, as somebody else would
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from quarantine.action import (
    GONE,
    Absence,
    Call,
    Capture,
    Cloud,
    Mark,
    OneWay,
    Receipt,
    State,
    reached,
    three_way,
)
from quarantine.errors import Conflict, Gone, Pending, Unknown
from quarantine.model import Resource

MOST_PENDING = 20

Stranger = Callable[[], None]


class Stopped(Exception):
    """The worker died here, as far as the action can tell."""


@dataclass
class CountingGate:
    """Lets changes through and counts them; with `stop_after`, dies as soon as that many have happened."""

    stop_after: int | None = None
    lose: tuple[int, str] | None = None
    """(which change, "request" or "answer"): that one is lost on the way there, or on the way back."""
    calls: list[Call] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)

    def admit(self, call: Call) -> None:
        if self.stop_after is not None and len(self.calls) >= self.stop_after:
            raise Stopped(f"before change {len(self.calls) + 1}, {call.call}")
        self.calls.append(call)
        if self.lose == (len(self.calls), "request"):
            raise Unknown(f"{call.call}: the request was lost")

    def record(self, call: Call, receipt: Receipt) -> None:
        self.receipts.append(receipt)
        if self.lose == (len(self.calls), "answer"):
            raise Unknown(f"{call.call}: the answer was lost")
        assert receipt.id or receipt.operation, f"{call.call} left no receipt: nothing ties it to the provider's log"


@dataclass
class Setting:
    """One resource, the connection that reaches it, and the action or capture under test."""

    action: Any
    cloud: Cloud
    resource: Resource

    mark: Mark = field(
        default_factory=lambda: Mark(installation="contract", case="case-contract", step=0, key="key-contract")
    )
    used: list[Call] = field(default_factory=list)
    settle: Callable[[], None] = lambda: None
    """Lets the operations that run at the provider come to their end."""

    def observe(self) -> State | Absence:
        try:
            return self._observe()
        except Gone:
            return GONE

    def apply(
        self, target: State | Absence, stop_after: int | None = None, lose: tuple[int, str] | None = None
    ) -> CountingGate:
        """`apply` from what is there now, through a gate that counts; again for as long as operations are pending."""
        gate = CountingGate(stop_after, lose)
        for _ in range(MOST_PENDING):
            now = self.observe()
            if now is GONE:
                assert target is GONE, "the resource is gone and cannot be brought to its target"
                return gate
            try:
                self.action.apply(self.cloud.through(gate, self.mark, self.used.append), self.resource, now, target)
            except Pending:
                self.settle()
                continue
            except (Stopped, Unknown):
                self.settle()
                raise
            self.settle()
            return gate
        raise AssertionError(f"still pending after {MOST_PENDING} operations have ended")

    def target(self, before: State | Absence) -> State | Absence:
        target: State | Absence = self.action.contained(before)
        return target

    def _observe(self) -> State:
        state: State = self.action.observe(
            self.cloud.through(CountingGate(0), self.mark, self.used.append), self.resource
        )
        return state


class _ActionContract:
    """What reversible and one-way actions share."""

    @pytest.fixture
    def setting(self) -> Setting:
        raise NotImplementedError("give a fixture `setting`: an uncontained resource and how to reach it")

    def test_the_name_is_the_file(self, setting: Setting) -> None:
        module = type(setting.action).__module__.rpartition(".")[2]
        assert setting.action.name.partition(":")[2].replace("-", "_") == module

    def test_it_starts_uncontained(self, setting: Setting) -> None:
        before = setting.observe()
        assert not reached(before, setting.target(before))

    def test_contain_reaches_the_target(self, setting: Setting) -> None:
        target = setting.target(setting.observe())
        setting.apply(target)
        assert reached(setting.observe(), target)

    def test_contain_twice_is_harmless(self, setting: Setting) -> None:
        target = setting.target(setting.observe())
        setting.apply(target)
        again = setting.apply(target)
        assert again.calls == [], "nothing is left to do, so nothing may be sent"
        assert reached(setting.observe(), target)

    def test_the_target_is_a_pure_function_of_the_before_image(self, setting: Setting) -> None:
        before = setting.observe()
        assert setting.target(before) == setting.target(before)

    def test_the_state_survives_json(self, setting: Setting) -> None:
        before = setting.observe()
        for state in (before, setting.target(before)):
            if isinstance(state, State):
                assert type(state).model_validate_json(state.model_dump_json()) == state

    def test_permissions_used_are_those_declared(self, setting: Setting) -> None:
        self.whole_life(setting)
        assert {call.permission for call in setting.used} == set(setting.action.permissions())

    def test_every_declared_permission_is_declared_once(self, setting: Setting) -> None:
        declared = setting.action.permissions()
        assert len(declared) == len(set(declared))

    def whole_life(self, setting: Setting) -> None:
        setting.apply(setting.target(setting.observe()))
        setting.observe()


class ReversibleContract(_ActionContract):
    """An action that can be undone exactly."""

    @pytest.fixture
    def stranger(self) -> Stranger:
        raise NotImplementedError("give a fixture `stranger`: a function that changes one managed value")

    def test_a_stop_after_any_single_change_and_a_second_apply_still_reach_the_target(self, setting: Setting) -> None:
        before = setting.observe()
        target = setting.target(before)
        for stop_after in self.stops(setting, before, target):
            half = setting.observe()
            assert isinstance(half, State)
            assert setting.action.ours(before, half), f"after {stop_after} changes it no longer knows its own work"
            setting.apply(target)
            assert reached(setting.observe(), target), f"stopped after {stop_after} changes"

    @pytest.mark.parametrize("lost", ["request", "answer"])
    def test_a_lost_message_is_never_taken_for_success(self, setting: Setting, lost: str) -> None:
        before = setting.observe()
        target = setting.target(before)
        for number in range(1, 100):
            try:
                setting.apply(target, lose=(number, lost))
            except Unknown:
                half = setting.observe()
                assert isinstance(half, State) and setting.action.ours(before, half), f"change {number} was lost"
                setting.apply(target)
                assert reached(setting.observe(), target), f"the {lost} of change {number} was lost"
                self.release(setting, before)
            else:
                assert number > 1 and reached(setting.observe(), target)
                return

    def test_release_gives_back_the_before_image(self, setting: Setting) -> None:
        before = setting.observe()
        setting.apply(setting.target(before))
        self.release(setting, before)
        after = setting.observe()
        assert isinstance(before, State) and isinstance(after, State)
        assert after.part() == before.part()

    def test_release_from_a_half_applied_state_gives_back_the_before_image(self, setting: Setting) -> None:
        before = setting.observe()
        for stop_after in self.stops(setting, before, setting.target(before)):
            self.release(setting, before)
            after = setting.observe()
            assert isinstance(before, State) and isinstance(after, State)
            assert after.part() == before.part(), f"stopped after {stop_after} changes"

    def test_a_stop_during_release_and_a_second_release_give_back_the_before_image(self, setting: Setting) -> None:
        before = setting.observe()
        target = setting.target(before)
        assert isinstance(before, State)
        for stop_after in range(100):
            setting.apply(target)
            with_stop = self.interrupted(setting, before, stop_after)
            self.release(setting, before)
            after = setting.observe()
            assert isinstance(after, State) and after.part() == before.part(), f"stopped after {stop_after} changes"
            if not with_stop:
                return

    def test_what_somebody_else_changed_meanwhile_is_kept_and_reported(
        self, setting: Setting, stranger: Stranger
    ) -> None:
        before = setting.observe()
        target = setting.target(before)
        setting.apply(target)
        stranger()
        meddled = setting.observe()
        assert isinstance(before, State) and isinstance(target, State) and isinstance(meddled, State)
        assert meddled.part() != target.part(), "the stranger must change a managed value"
        merged, kept = three_way(before, target, meddled)
        put_back = meddled.part() == before.part()  # a single boolean has no third value: then there is nothing to keep
        assert kept or put_back, "a change by somebody else must be reported"
        setting.apply(merged)
        after = setting.observe()
        assert isinstance(after, State) and after.part() == merged.part()

    def test_if_it_says_that_it_is_conditional_what_is_another_one_by_now_is_left_alone(
        self, setting: Setting, stranger: Stranger
    ) -> None:
        """The engine may then act on what it saw a moment ago. The others are read again before each change."""
        if setting.action.conditional:
            before = setting.observe()
            stranger()
            cloud = setting.cloud.through(CountingGate(), setting.mark)
            with pytest.raises(Conflict):
                setting.action.apply(cloud, setting.resource, before, setting.target(before))
            after = setting.observe()
            assert isinstance(after, State)
            assert not reached(after, setting.target(before)), "the stranger's change was overwritten"

    def whole_life(self, setting: Setting) -> None:
        before = setting.observe()
        setting.apply(setting.target(before))
        self.release(setting, before)

    def release(self, setting: Setting, before: State | Absence) -> None:
        now, target = setting.observe(), setting.target(before)
        assert isinstance(before, State) and isinstance(now, State) and isinstance(target, State)
        merged, _ = three_way(before, target, now)
        setting.apply(merged)

    def interrupted(self, setting: Setting, before: State, stop_after: int) -> bool:
        try:
            setting.apply(before, stop_after)
        except Stopped:
            return True
        return False

    def stops(self, setting: Setting, before: State | Absence, target: State | Absence) -> Any:
        """Stop after 0, 1, 2, ... changes, each time from the before-image, until an apply comes through."""
        for stop_after in range(100):
            try:
                setting.apply(target, stop_after)
            except Stopped:
                yield stop_after
                self.release(setting, before)
            else:
                assert stop_after > 0, "apply changed nothing"
                return
        pytest.fail("apply never came to its end")


class OneWayContract(_ActionContract):
    """An action that cannot be undone."""

    def test_it_says_that_it_is_one_way(self, setting: Setting) -> None:
        assert isinstance(setting.action, OneWay)

    def test_a_stop_before_the_change_changes_nothing(self, setting: Setting) -> None:
        before = setting.observe()
        with pytest.raises(Stopped):
            setting.apply(setting.target(before), stop_after=0)
        assert setting.observe() == before


class CaptureContract:
    """Evidence is taken and nothing is changed."""

    @pytest.fixture
    def setting(self) -> Setting:
        raise NotImplementedError("give a fixture `setting`: a resource and how to reach it")

    @pytest.fixture
    def workload(self) -> Callable[[], object]:
        raise NotImplementedError("give a fixture `workload`: a function that reads the workload for comparison")

    def test_something_is_collected(self, setting: Setting) -> None:
        artifacts = list(setting.action.collect(self.reading(setting), setting.resource))
        assert artifacts
        assert all(artifact.content for artifact in artifacts)

    def test_the_workload_is_unchanged(self, setting: Setting, workload: Callable[[], object]) -> None:
        before = workload()
        list(setting.action.collect(self.reading(setting), setting.resource))
        assert workload() == before

    def test_a_second_collect_finds_the_same(self, setting: Setting) -> None:
        first = [artifact.name for artifact in setting.action.collect(self.reading(setting), setting.resource)]
        second = [artifact.name for artifact in setting.action.collect(self.reading(setting), setting.resource)]
        assert first == second
        assert len(set(first)) == len(first)

    def test_permissions_used_are_those_declared(self, setting: Setting) -> None:
        list(setting.action.collect(self.reading(setting), setting.resource))
        assert isinstance(setting.action, Capture)
        assert {call.permission for call in setting.used} == set(setting.action.permissions())

    def reading(self, setting: Setting) -> Cloud:
        return setting.cloud.through(CountingGate(0), setting.mark, setting.used.append)
