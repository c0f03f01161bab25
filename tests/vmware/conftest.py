"""A strict vCenter, machines of its own for each test, and our connection."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from quarantine.model import Resource
from quarantine_vmware import Vmware
from quarantine_vmware.cloud import VmwareCloud
from quarantine_vmware.provider import VmwareSettings
from tests.testbed.missing import started
from tests.testbed.vcsim import PASSWORD, USER, Machine, Vcsim

VCENTER = "berlin"
Made = Callable[..., Vmware]


@pytest.fixture(scope="session")
def server() -> Iterator[Vcsim]:
    """One for all tests: make a machine of its own for each."""
    with started(Vcsim()) as running:
        yield running


@pytest.fixture
def vcsim(server: Vcsim) -> Iterator[Vcsim]:
    yield server
    server.set()


@pytest.fixture
def made(vcsim: Vcsim, monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    """The provider with one vCenter; keywords are its settings. Its sessions are logged out at the end."""
    monkeypatch.setenv("VCENTER_PASSWORD", PASSWORD)
    with ExitStack() as stack:

        def make(**settings: Any) -> Vmware:
            access = {"url": vcsim.url, "user": USER, "password": "env:VCENTER_PASSWORD", "ca_file": vcsim.ca_file}
            access = {key: value for key, value in {**access, **settings}.items() if value is not None}
            provider = Vmware(VmwareSettings.model_validate({"vcenters": {VCENTER: access}}))
            stack.callback(provider.close)
            return provider

        yield make


@pytest.fixture
def cloud(made: Made) -> VmwareCloud:
    return made().connect(VCENTER)


def resource(machine: Machine, **changes: Any) -> Resource:
    known = {"kind": "vmware:vm", "id": machine.name, "scope": f"{VCENTER}/DC0", "uid": machine.uuid}
    return Resource.model_validate({**known, **changes})
