"""A proxy in front of a provider's API: it witnesses every call, and breaks those that a test names.

client  -->  hold | drop | answer | stale  -->  provider  -->  hold_answer | lose_answer  -->  client
             the effect has not happened                       the effect has happened
"""

import http.client
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Self

from tests.testbed.call import Call, Fate, Predicate, matcher
from tests.testbed.fault import Answer, Held, Rule, Rules
from tests.testbed.operation import operation, signed_for
from tests.testbed.relay import Headers, Relay
from tests.testbed.upstream import Upstream


class FaultProxy:
    """Runs inside `with`, on a plain HTTP port. What is held when it closes is abandoned.

    `upstream_ca` is the file that certifies an https provider. Credentials in headers pass through.
    """

    def __init__(self, upstream: str, upstream_ca: str | None = None) -> None:
        self._upstream = Upstream(upstream, upstream_ca)
        self._lock = threading.Lock()
        self._count = 0
        self._calls: dict[int, Call] = {}
        self._answers: dict[tuple[str, str, bytes], Answer] = {}
        self._rules = Rules()
        self._closed = False
        self._relay = Relay(self._exchange)
        self.url = self._relay.url

    def __enter__(self) -> Self:
        self._relay.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Raises what went wrong inside the proxy itself, such as in a test's predicate."""
        self._closed = True
        self.clear()
        self._upstream.close()
        self._relay.stop()

    def recorded(self, matching: Predicate | None = None) -> list[Call]:
        """Every call so far, in order of arrival; or those that match."""
        with self._lock:
            calls = list(self._calls.values())
        return calls if matching is None else list(filter(matcher(matching), calls))

    @property
    def arrived(self) -> int:
        """How many calls there were so far."""
        with self._lock:
            return self._count

    def forget(self) -> None:
        """Empties the record; indices and rules go on."""
        with self._lock:
            self._calls.clear()

    def hold(self, predicate: Predicate, times: float = 1) -> Held:
        """The next matching call waits before it reaches the provider."""
        held = Held()
        self._rules.add(Rule(matcher(predicate), times, before=True, held=held))
        return held

    def hold_answer(self, predicate: Predicate, times: float = 1) -> Held:
        """The next matching call takes effect; its answer waits."""
        held = Held()
        self._rules.add(Rule(matcher(predicate), times, before=False, held=held))
        return held

    def lose_answer(self, predicate: Predicate, times: float = 1) -> None:
        """The call takes effect; its client sees the connection end without an answer."""
        self._rules.add(Rule(matcher(predicate), times, before=False))

    def drop(self, predicate: Predicate, times: float = 1) -> None:
        """The connection ends; the provider never sees the call."""
        self._rules.add(Rule(matcher(predicate), times, before=True))

    def answer(
        self,
        predicate: Predicate,
        status: int,
        headers: Mapping[str, str] | None = None,
        body: bytes | str = b"",
        times: float = 1,
    ) -> None:
        """The rule answers in the provider's place; `math.inf` times is for ever."""
        content = body.encode() if isinstance(body, str) else body
        canned = Answer(status, list((headers or {}).items()), content)
        self._rules.add(Rule(matcher(predicate), times, before=True, reply=lambda call: canned))

    def stale(self, predicate: Predicate, times: float = 1) -> None:
        """A matching call that was made before gets, word for word, what it got before this rule was made."""
        fits = matcher(predicate)
        with self._lock:
            old = dict(self._answers)
        rule = Rule(
            lambda call: call.question in old and fits(call),
            times,
            before=True,
            reply=lambda call: old[call.question],
        )
        self._rules.add(rule)

    def clear(self) -> None:
        """No rules any more; what is held is abandoned."""
        self._rules.clear()

    def _exchange(self, method: str, target: str, headers: Headers, body: bytes) -> Answer | None:
        """What the client gets; None: its connection ends."""
        call = self._arrived(method, target, headers, body)
        rule = self._rules.take(call, before=True)
        if rule and rule.reply:
            return self._answered(call, Fate.CANNED, rule.reply(call))
        if (rule and not rule.held) or self._closed:
            self._note(replace(call, fate=Fate.DROPPED))
            return None
        if rule and rule.held and not rule.held.keep(call):
            return None
        self._note(replace(call, fate=Fate.FORWARDED))
        try:
            answer = self._upstream.send(call, headers)
        except (OSError, http.client.HTTPException):
            self._note(replace(call, fate=Fate.FAILED))
            return None
        if not answer.stream:
            with self._lock:
                self._answers[call.question] = answer
        call = replace(call, fate=Fate.FORWARDED, status=answer.status)
        rule = self._rules.take(call, before=False)
        if rule and not (rule.held and rule.held.keep(call)):
            self._note(replace(call, fate=Fate.ANSWER_LOST))
            return None
        return self._answered(call, Fate.ANSWERED, answer)

    def _arrived(self, method: str, target: str, headers: Headers, body: bytes) -> Call:
        by_name = {name.lower(): value for name, value in headers}
        wanted = operation(method, target, by_name, body)
        with self._lock:
            call = Call(
                index=self._count,
                at=datetime.now(UTC),
                arrived=time.monotonic(),
                method=method,
                target=target,
                headers=by_name,
                body=body,
                operation=wanted,
                service=signed_for(by_name),
            )
            self._count += 1
            self._calls[call.index] = call
        return call

    def _answered(self, call: Call, fate: Fate, answer: Answer) -> Answer:
        self._note(replace(call, fate=fate, status=answer.status, answered=time.monotonic()))
        return answer

    def _note(self, call: Call) -> None:
        with self._lock:
            if call.index in self._calls:
                self._calls[call.index] = call
