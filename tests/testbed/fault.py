"""What may happen to a call on its way: it waits, it is lost, or something else answers."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.testbed.call import Call


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    stream: Iterator[bytes] | None = None  # the body, where it may never end


class Held:
    """A place where calls wait. They wait on when their client is gone, like a packet that is under way."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.call: Call | None = None  # the latest one that came here
        self._end = threading.Event()
        self._abandoned = False

    def wait_reached(self, seconds: float = 30) -> Call:
        if not self.reached.wait(seconds) or self.call is None:
            raise AssertionError(f"no matching call within {seconds} s")
        return self.call

    def let_go(self) -> None:
        """The call, or its answer, goes its way: also if its client is gone by now."""
        self._end.set()

    def abandon(self) -> None:
        """Closes the connection. What was not forwarded never will be."""
        if not self._end.is_set():
            self._abandoned = True
            self._end.set()

    def keep(self, call: Call) -> bool:
        """Waits; then whether it was let go."""
        self.call = call
        self.reached.set()
        self._end.wait()
        return not self._abandoned


@dataclass
class Rule:
    matches: Callable[[Call], bool]
    times: float
    before: bool  # acts before the call is forwarded
    held: Held | None = None  # wait here
    reply: Callable[[Call], Answer] | None = None  # or answer with this; if neither, the call is lost


class Rules:
    """Apply in the order in which they were made; a used-up one is as if it were not there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._held: list[Held] = []

    def add(self, rule: Rule) -> None:
        with self._lock:
            self._rules.append(rule)
            if rule.held:
                self._held.append(rule.held)

    def take(self, call: Call, before: bool) -> Rule | None:
        """The rule for this call at this point, used once more by this."""
        with self._lock:
            for rule in self._rules:
                if rule.before == before and rule.times > 0 and rule.matches(call):
                    rule.times -= 1
                    return rule
        return None

    def clear(self) -> None:
        with self._lock:
            held = self._held
            self._rules, self._held = [], []
        for each in held:
            each.abandon()
