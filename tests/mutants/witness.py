"""A pytest plug-in that stops the run if the product under test is not the copy."""

import os
from pathlib import Path

import pytest


def pytest_sessionstart(session: pytest.Session) -> None:
    import quarantine
    import quarantine_aws

    copy = Path(os.environ["QUARANTINE_COPY"])
    for module in (quarantine, quarantine_aws):
        if not Path(str(module.__file__)).is_relative_to(copy):
            raise pytest.UsageError(f"{module.__name__} comes from {module.__file__}, not from {copy}")
