"""A worker's name: is its process certainly dead?"""

import os
import subprocess
import sys

from quarantine.owner import certainly_dead, new_name


def gone() -> int:
    """The pid of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def parts(name: str) -> tuple[str, str, str]:
    place, pid, token = name.rsplit(":", 2)
    return place, pid, token


def test_a_name_is_never_used_twice() -> None:
    assert len({new_name() for _ in range(100)}) == 100
    assert parts(new_name())[:2] == parts(new_name())[:2]
    assert len(new_name()) <= 128, "the column's width"


def test_a_process_that_ended_here_is_dead() -> None:
    we = new_name()
    place, _, token = parts(we)
    assert certainly_dead(f"{place}:{gone()}:{token[::-1]}x", we)
    assert certainly_dead(f"{place}:{os.getpid()}:other", we), "our pid, and not we: it was before us"


def test_who_runs_or_lives_elsewhere_is_not() -> None:
    we = new_name()
    place, _, _ = parts(we)
    assert not certainly_dead(we, we)
    assert not certainly_dead(f"{place}:{os.getppid()}:other", we)
    assert not certainly_dead(f"elsewhere:{gone()}:other", we)
    assert not certainly_dead(f"{place.partition('/')[0]}/another0:{os.getpid()}:other", we), "another container"
    for strange in ("", "x", "x:y:z", f"{place}:-1:z"):
        assert not certainly_dead(strange, we)
