"""What was asked a moment ago, and need not be asked again for every pod of a cluster."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Recent:
    """Answers by key, each kept for so many seconds. Threads may share it; two may then ask the same at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[tuple[str, ...], tuple[float, object]] = {}

    def get(self, key: tuple[str, ...], seconds: float, ask: Callable[[], T]) -> T:
        """With zero seconds it is asked anew, and kept for others. What `ask` raises is not kept."""
        at, answer = self._kept.get(key, (float("-inf"), None))
        if self._clock() - at < seconds:
            return answer  # type: ignore[return-value]
        fresh = ask()
        self._kept[key] = self._clock(), fresh
        return fresh

    def forget(self) -> None:
        """The next question is asked anew, whatever it is."""
        self._kept.clear()
