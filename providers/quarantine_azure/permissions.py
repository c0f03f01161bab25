"""What role assignments allow, as ARM answers it for us: actions with wildcards, minus what is taken away. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import Any


def allowed(granted: Iterable[Mapping[str, Any]], action: str) -> bool:
    """Does one assignment allow the action? Assignments add up; `notActions` only takes from its own assignment
    (Azure, "Understand Azure role definitions", NotActions)."""
    return any(
        _any(assignment.get("actions"), action) and not _any(assignment.get("notActions"), action)
        for assignment in granted
    )


def _any(patterns: Iterable[str] | None, action: str) -> bool:
    return any(_matches(pattern, action) for pattern in patterns or ())


def _matches(pattern: str, action: str) -> bool:
    """`*` stands for any characters, slashes too; case does not matter."""
    expression = ".*".join(map(re.escape, pattern.split("*")))
    return re.fullmatch(expression, action, re.IGNORECASE | re.DOTALL) is not None
