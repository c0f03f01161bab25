"""Whether the networks of a before-image can take a container back."""

from collections.abc import Iterable, Mapping
from typing import Any

from quarantine.errors import Conflict, Unsupported
from quarantine_docker.cloud import NETWORK, DockerCloud
from quarantine_docker.isolation import DEFAULT_BRIDGE, LOCAL_ID, Endpoint


def must_take_back(cloud: DockerCloud, uid: str, endpoints: Mapping[str, Endpoint]) -> None:
    """Raises Unsupported if a network is gone or an address is taken: trying again does not help, a person does."""
    obstacles = [
        sentence
        for name, endpoint in endpoints.items()
        if name != DEFAULT_BRIDGE
        for sentence in _obstacles(cloud, uid, name, endpoint)
    ]
    if obstacles:
        raise Unsupported("it cannot be connected as it was, and nothing was changed: " + "; ".join(obstacles))


def _obstacles(cloud: DockerCloud, uid: str, name: str, endpoint: Endpoint) -> Iterable[str]:
    network = find_network(cloud, endpoint.network)
    if network is not None:
        for other, its in (network.get("Containers") or {}).items():
            addresses = {(its.get(key) or "").partition("/")[0] for key in ("IPv4Address", "IPv6Address")} - {""}
            for address in sorted(addresses & {endpoint.ipv4, endpoint.ipv6}) if other != uid else ():
                yield (
                    f"container {its.get('Name')!r} has its address {address} on network {name!r} now:"
                    " disconnect that one, then retry"
                )
    elif len(endpoint.network) == LOCAL_ID:  # a worker forgets the swarm's networks that no container of it uses
        successor = find_network(cloud, name)
        if successor is None:
            yield f"network {name!r} ({endpoint.network[:12]}) was removed meanwhile"
        else:
            yield (
                f"network {name!r} ({endpoint.network[:12]}) was removed, and {successor['Id'][:12]} has its name now:"
                f" if that one is meant, `docker network connect {name} CONTAINER` by hand"
            )


def find_network(cloud: DockerCloud, id_or_name: str) -> Mapping[str, Any] | None:
    """Asked by an id, another network that has it as its name does not count."""
    try:
        found: Mapping[str, Any] = cloud.read(NETWORK, NETWORK, id=id_or_name)
    except Conflict:
        return None
    return found if len(id_or_name) != LOCAL_ID or found["Id"] == id_or_name else None
