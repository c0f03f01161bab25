"""What was asked a moment ago, and need not be asked again for every pod of a cluster."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")
MOST: Final = 64
"""With so many answers, old ones are let go of."""
FORGOTTEN: Final = 60.0
"""Seconds after which no answer is used any more."""


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
        if len(self._kept) >= MOST:
            # Made anew rather than changed: another thread may be reading it.
            young = self._clock() - FORGOTTEN
            self._kept = {known: kept for known, kept in list(self._kept.items()) if kept[0] >= young}
        self._kept[key] = self._clock(), fresh
        return fresh

    def forget(self) -> None:
        """The next question is asked anew, whatever it is."""
        self._kept.clear()
