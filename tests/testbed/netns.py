"""A network namespace without a name: a file descriptor holds it, and it is gone with the process that has that open.

The thread that works inside is thrown away afterwards: no other part of the process ever leaves the machine's network.
A socket that was made inside stays inside, whoever uses it.
"""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

T = TypeVar("T")

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET, <linux/sched.h>; Python has setns from 3.12 on
_libc = ctypes.CDLL(None, use_errno=True)


class NetworkNamespace:
    """Needs root. Close it, and what is inside goes once its last socket has gone."""

    def __init__(self) -> None:
        self.fd = _in_a_thread(_unshared)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, what: Callable[[], T]) -> T:
        """`what` in a thread inside; programs that it starts are inside as well. Returns or raises what it does."""

        def inside() -> T:
            _must(_libc.setns(self.fd, _NEW_NETWORK))
            return what()

        return _in_a_thread(inside)

    def close(self) -> None:
        os.close(self.fd)


def _unshared() -> int:
    _must(_libc.unshare(_NEW_NETWORK))
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _must(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _in_a_thread(what: Callable[[], T]) -> T:
    with ThreadPoolExecutor(1, "inside a network namespace") as thread:
        return thread.submit(what).result()
