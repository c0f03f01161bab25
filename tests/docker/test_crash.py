"""Every shipped playbook dies everywhere on a real daemon: see quarantine/testing/crash.py."""

from pathlib import Path
from typing import Any

import pytest

from quarantine.playbook import shipped
from quarantine.testing.crash import CrashContract, Scene, Stage
from quarantine.testing.installation import Installation
from quarantine_docker import Docker, session
from quarantine_docker.provider import DockerSettings
from tests.docker.conftest import HOST
from tests.docker.conftest import Stage as Machine
from tests.docker.test_container_isolate import two_networks


class TestIsolateContainer(CrashContract):
    """On two networks, with all that can be wished for on one of them. One container lives all lives."""

    playbook = shipped() / "docker" / "isolate-container.yaml"

    @pytest.fixture
    def scene(self, stage: Machine) -> Stage:
        docker = Docker(DockerSettings(hosts={HOST: session.Host(url=stage.daemon.url)}))
        container = two_networks(stage)

        def again(folder: Path) -> Scene:
            installation = Installation(folder, docker, [self.playbook])
            return Scene(installation, stage.resource(container), raw=lambda: endpoints(stage, container))

        return again


def endpoints(stage: Machine, container: str) -> dict[str, Any]:
    """Where it is connected, and how. Each connection has an id of its own, and an address that Docker once chose comes
    back by being wished for: the address is compared, and not the wish.
    """
    networks = stage.inspect(container)["NetworkSettings"]["Networks"]
    return {name: {**endpoint, "EndpointID": "", "IPAMConfig": None} for name, endpoint in sorted(networks.items())}
