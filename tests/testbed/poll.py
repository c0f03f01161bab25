"""Waiting for a condition, never for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE = 0.02  # seconds between two looks


def until(condition: Callable[[], T], seconds: float = 10) -> T:
    """Returns the condition's first true value; AssertionError if there is none within so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            name = getattr(condition, "__qualname__", repr(condition))
            raise AssertionError(f"not within {seconds} s: {name} (last seen: {value!r})")
        time.sleep(PAUSE)
    return value
