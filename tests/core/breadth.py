"""Walks through every state that a small model can reach, breadth first."""

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

S = TypeVar("S", bound=Hashable)


def way_to_bad(start: S, moves: Callable[[S], Iterable[tuple[str, S]]], bad: Callable[[S], bool]) -> list[str] | None:
    """The shortest way to a bad state, as the names of its moves; None if there is none."""
    came: dict[S, tuple[str, S] | None] = {start: None}
    queue = deque([start])
    while queue:
        state = queue.popleft()
        if bad(state):
            way = []
            while (step := came[state]) is not None:
                name, state = step
                way.append(name)
            return way[::-1]
        for name, after in moves(state):
            if after not in came:
                came[after] = name, state
                queue.append(after)
    return None
