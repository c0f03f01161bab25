"""The name of a worker in leases: unique for ever, and it says whether the worker certainly does not run any more."""

import hashlib
import os
import secrets
import socket
from functools import cache
from pathlib import Path


def new_name() -> str:
    """A name for this process: never that of another one, also not of one with the same pid after a restart."""
    return f"{_place()}:{os.getpid()}:{secrets.token_hex(4)}"


def certainly_dead(owner: str, we: str) -> bool:
    """Was this the name of a process in our place that does not run any more? Of another place we cannot know."""
    place, pid, token = [*owner.rsplit(":", 2), "", ""][:3]
    our_place, our_pid, our_token = we.rsplit(":", 2)
    if place != our_place or not pid.isdigit() or token == our_token:
        return False
    if pid == our_pid:
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


@cache
def _place() -> str:
    """Where a pid means something: this host since it booted, and in it this container.

    Two containers may have one host name and pid 1 each, and must not take each other for dead.
    """
    host = socket.gethostname()
    try:
        boot, container = Path("/proc/sys/kernel/random/boot_id").read_text(), Path("/proc/self/ns/pid").readlink()
    except OSError:  # not Linux: no containers of this kind
        return host
    return f"{host}/{hashlib.sha256(f'{host}|{boot}|{container}'.encode()).hexdigest()[:8]}"
