"""What every reversible action must bear of a real AWS: throttling, answers that are lost, reads that lag behind.

Beside the contract, whose gate loses messages without a wire, these go through the proxy and the SDK.
"""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from quarantine.action import State, reached
from quarantine.errors import Conflict, Throttled, Unknown
from quarantine.testing.contract import CountingGate, ReversibleContract, Setting
from tests.testbed.call import Call
from tests.testbed.proxy import FaultProxy

_READS = re.compile(r"(Get|Describe|List|Head)\w+")
_QUERY = "<ErrorResponse><Error><Code>Throttling</Code><Message>slowly</Message></Error></ErrorResponse>"
_EC2 = "<Response><Errors><Error><Code>RequestLimitExceeded</Code><Message>slowly</Message></Error></Errors></Response>"
_JSON = json.dumps({"__type": "ThrottlingException", "message": "slowly"})
_FORMS = {"ec2": (503, _EC2), "s3": (503, "<Error><Code>SlowDown</Code></Error>")} | dict.fromkeys(
    ("ecs", "lambda", "cloudtrail", "application-autoscaling"), (400, _JSON)
)


def throttling(call: Call) -> tuple[int, str]:
    """How the service says that it is asked too often."""
    return _FORMS.get(call.service or "", (400, _QUERY))


def changes(aws: FaultProxy) -> list[Call]:
    """The first request of each operation that changes something."""
    seen: dict[str, Call] = {}
    for call in aws.recorded():
        if call.operation and not _READS.fullmatch(call.operation):
            seen.setdefault(call.operation, call)
    return list(seen.values())


class AwsContract(ReversibleContract):
    """The contract of a reversible action, over the wire."""

    def test_a_throttled_change_did_not_happen_and_works_later(self, setting: Setting, aws: FaultProxy) -> None:
        def broken(call: Call) -> type[Exception]:
            status, body = throttling(call)
            headers = {"Content-Type": "text/xml" if body.startswith("<") else "application/x-amz-json-1.1"}
            aws.answer(str(call.operation), status, headers, body)
            return Throttled

        self._there_and_back(setting, aws, broken)

    def test_an_answer_that_is_lost_is_unknown_and_is_looked_up(self, setting: Setting, aws: FaultProxy) -> None:
        def broken(call: Call) -> type[Exception]:
            aws.lose_answer(str(call.operation))
            return Unknown

        self._there_and_back(setting, aws, broken)

    @pytest.mark.parametrize("way", ["contain", "release"])
    def test_reads_that_lag_behind_are_never_taken_for_success_and_do_no_harm(
        self, setting: Setting, aws: FaultProxy, way: str
    ) -> None:
        before = setting.observe()
        goal = setting.target(before)
        assert isinstance(before, State) and isinstance(goal, State)
        if way == "release":
            setting.apply(goal)
            setting.observe()
            goal = before
        aws.stale(lambda call: _READS.fullmatch(call.operation or "") is not None, times=10_000)
        setting.apply(goal)
        stale = setting.observe()
        assert not reached(stale, goal, proven=False), "the read must lag behind in this test"
        with suppress(Conflict):  # then the engine looks again
            setting.action.apply(setting.cloud.through(CountingGate(), setting.mark), setting.resource, stale, goal)
        aws.clear()
        setting.settle()
        setting.apply(goal)
        assert reached(setting.observe(), goal, proven=False)

    def _there_and_back(self, setting: Setting, aws: FaultProxy, broken: Callable[[Call], type[Exception]]) -> None:
        before = setting.observe()
        target = setting.target(before)
        ways: dict[Any, list[Call]] = {}
        for goal in (target, before):
            aws.forget()
            setting.apply(goal)
            ways[goal is target] = changes(aws)
            assert ways[goal is target]
        for contains, goal, start in ((True, target, before), (False, before, target)):
            for call in ways[contains]:
                setting.apply(start)
                expected = broken(call)
                aws.forget()
                with pytest.raises(expected):
                    setting.apply(goal)
                assert len(aws.recorded(str(call.operation))) == 1, "one try"
                assert changes(aws)[-1].operation == call.operation, "nothing is changed after it"
                half = setting.observe()
                assert isinstance(before, State) and isinstance(half, State) and setting.action.ours(before, half)
                setting.apply(goal)
                assert reached(setting.observe(), goal, proven=contains), f"after {call.operation}"
