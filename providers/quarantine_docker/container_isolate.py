"""Disconnects one container from all of its networks, and leaves it running."""

from datetime import timedelta
from typing import Any, ClassVar, Final

from quarantine.action import Absence, Action, Caveat, Refusal, State
from quarantine.errors import Conflict, Unsupported
from quarantine.model import Resource
from quarantine_docker.cloud import CONNECT_SECONDS, INSPECT, LIST, NETWORK, DockerCloud
from quarantine_docker.container import get_container, isolation_of
from quarantine_docker.isolation import ContainerIsolation, Endpoint, Namespace, in_order, only_stopped, wishes_for
from quarantine_docker.limits import caveats, refusal
from quarantine_docker.network import must_take_back

CONNECT: Final = "POST /networks/{id}/connect"
DISCONNECT: Final = "POST /networks/{id}/disconnect"


class ContainerIsolate(Action[DockerCloud, ContainerIsolation]):
    """Its interfaces go, and open connections with them; a start of the container does not bring them back.

    The daemon answers when it has been done, and no read is stale: it keeps containers in its own memory.
    """

    name: ClassVar[str] = "docker:container-isolate"
    resource: ClassVar[str] = "docker:container"
    state: ClassVar[type[State]] = ContainerIsolation
    late_within: ClassVar[timedelta] = timedelta(seconds=2 * CONNECT_SECONDS)
    """A request leaves within the time-out of its connection, or never; Docker has no conditions that refuse it."""

    def permissions(self) -> tuple[str, ...]:
        return INSPECT, LIST, NETWORK, DISCONNECT, CONNECT

    def observe(self, cloud: DockerCloud, resource: Resource) -> ContainerIsolation:
        return isolation_of(cloud, get_container(cloud, resource))

    def contained(self, before: ContainerIsolation) -> ContainerIsolation:
        return before.model_copy(update={"endpoints": {}, "namespace": Namespace.OWN})

    def apply(self, cloud: DockerCloud, resource: Resource, now: ContainerIsolation, target: Any) -> None:
        """All that must be there for the new connections is looked at before the first change."""
        if isinstance(target, Absence):
            raise TypeError("isolating a container never removes it")
        missing = {name: each for name, each in target.endpoints.items() if now.endpoints.get(name) != each}
        must_take_back(cloud, now.uid, missing)
        for name, each in sorted(now.endpoints.items()):
            if target.endpoints.get(name) != each:
                self._disconnect(cloud, resource, now.uid, name, each)
        for name in in_order(now.mode, missing):
            self._connect(cloud, now.uid, name, missing[name])

    def _disconnect(self, cloud: DockerCloud, resource: Resource, uid: str, name: str, endpoint: Endpoint) -> None:
        """An answer that leaves it open, as the 500 for "is not connected", is Unknown: the engine looks."""
        try:
            cloud.change(DISCONNECT, DISCONNECT, id=endpoint.network, body={"Container": uid})
        except Conflict:
            # Not found: the network, the container (that raises Gone here), or their connection?
            container = get_container(cloud, resource)
            if name in container["NetworkSettings"]["Networks"]:
                raise

    def _connect(self, cloud: DockerCloud, uid: str, name: str, endpoint: Endpoint) -> None:
        *exact, least = wishes_for(name, endpoint)
        for settings in exact:
            try:
                cloud.change(CONNECT, CONNECT, id=endpoint.network, body={"Container": uid, "EndpointConfig": settings})
            except Unsupported:
                continue  # this network takes no such wish, and nothing has happened
            return
        cloud.change(CONNECT, CONNECT, id=endpoint.network, body={"Container": uid, "EndpointConfig": least})

    def ours(self, before: ContainerIsolation, now: ContainerIsolation) -> bool:
        return only_stopped(before, now) or super().ours(before, now)

    def refusal(self, before: ContainerIsolation) -> Refusal | None:
        return refusal(before)

    def caveats(self, before: ContainerIsolation) -> tuple[Caveat, ...]:
        return caveats(before)
