"""Networks and containers of a real daemon, and our connection to it."""

import gc
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from quarantine.model import Resource
from quarantine_docker.cloud import DockerCloud
from quarantine_docker.session import Host, open_client
from tests.testbed.dockerd import Dockerd, TcpDoor, unique
from tests.testbed.proxy import FaultProxy

HOST = "web-1"


@dataclass
class Stage:
    """What one test has on the host; the tests do it without our code."""

    daemon: Dockerd
    number: int
    networks: list[str] = field(default_factory=list)
    containers: list[str] = field(default_factory=list)

    def network(self, kind: str, subnet: bool = True, **settings: Any) -> str:
        """Its name, which begins with its kind. With `subnet` it takes wishes for addresses."""
        name = unique(kind)
        part = len(self.networks)
        self.networks.append(name)
        subnets = (f"10.{self.number}.{part}.0/24", f"fd00:{self.number}:{part}::/64") if subnet else ()
        self.daemon.network(name, *subnets, **settings)
        return name

    def container(self, kind: str = "web", mode: str = "bridge", **settings: Any) -> str:
        """Its name. With `started=False` it is only made: what the machine would not let start is read all the same."""
        name = unique(kind)
        self.containers.append(name)
        (self.daemon.run if settings.pop("started", True) else self.daemon.create)(name, mode, **settings)
        return name

    def inspect(self, container: str) -> dict[str, Any]:
        found: dict[str, Any] = self.daemon.client.inspect_container(container)
        return found

    def resource(self, container: str) -> Resource:
        uid = self.inspect(container)["Id"]
        return Resource(kind="docker:container", id=container, scope=HOST, uid=uid)

    def address(self, container: str, network: str) -> str:
        return str(self.daemon.networks(container)[network]["IPAddress"])

    def clear(self) -> None:
        here = {name for found in self.daemon.client.containers(all=True) for name in found["Names"]}
        for container in self.containers:
            if f"/{container}" in here:
                self.daemon.client.remove_container(container, force=True)
        left = {network["Name"] for network in self.daemon.client.networks()}
        for network in self.networks:
            if network in left:
                self.daemon.client.remove_network(network)


_numbers = iter(range(20, 250))


@pytest.fixture
def stage(dockerd: Dockerd) -> Iterator[Stage]:
    made = Stage(dockerd, next(_numbers))
    yield made
    made.clear()


def connection(url: str) -> DockerCloud:
    return DockerCloud(HOST, open_client(HOST, Host(url=url)))


@contextmanager
def leaking() -> Iterator[None]:
    """The SDK leaves a socket open whose connect has failed (docker/transport/unixconn.py); Python says so later."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            yield
        finally:
            gc.collect()


@pytest.fixture
def cloud(dockerd: Dockerd) -> DockerCloud:
    return connection(dockerd.url)


@pytest.fixture
def broken(dockerd: Dockerd) -> Iterator[FaultProxy]:
    """In front of the daemon."""
    with ExitStack() as stack:
        door = stack.enter_context(TcpDoor(dockerd.socket))
        yield stack.enter_context(FaultProxy(door.url))


@pytest.fixture
def through(broken: FaultProxy) -> DockerCloud:
    """Our connection over TCP, by way of the proxy."""
    return connection(broken.url.replace("http:", "tcp:"))
