"""What this machine lacks for a test, and what then happens: a skip with the reason, or a failure."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import NoReturn, TypeVar

import pytest

Server = TypeVar("Server")


class Missing(Exception):
    """The machine lacks something; the message says what, and how to get it."""


def need(reason: object) -> NoReturn:
    """Skips the test that needs what is not there. Under STRICT=1 it fails."""
    if os.environ.get("STRICT") == "1":
        pytest.fail(str(reason), pytrace=False)
    pytest.skip(str(reason))


@contextmanager
def started(server: AbstractContextManager[Server]) -> Iterator[Server]:
    """It runs inside `with`. If it is Missing something, the test skips."""
    with ExitStack() as stack:
        try:
            running = stack.enter_context(server)
        except Missing as missing:
            need(missing)
        yield running
