"""What this machine lacks for a test, and what then happens: a skip with the reason, or a failure."""

import os

import pytest


class Missing(Exception):
    """The machine lacks something; the message says what, and how to get it."""


def need(reason: str | None) -> None:
    """Goes on if there is no reason not to. Under STRICT=1 a reason fails the test instead of skipping it."""
    if reason is None:
        return
    if os.environ.get("STRICT") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
