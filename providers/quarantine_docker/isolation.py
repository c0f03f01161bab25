"""What of a container's connections is kept, compared and given back. Pure."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field

from quarantine.action import Fact, Proof, State
from quarantine.model import Value

NOWHERE: Final = "none"
"""The network of a container without network: nothing to cut."""
DEFAULT_BRIDGE: Final = "bridge"
"""It takes no wishes for addresses and aliases (docs.docker.com, "Bridge network driver"). It cannot be removed, and
has another id after every start of the daemon: its name is its id here."""
MAC_IGNORED_SINCE: Final = (1, 44)
"""Before, a MAC address followed from the IPv4 address, or was the container's own and came back by itself."""
MAC_SINCE: Final = (1, 54)
"""The first API whose `connect` applies a MAC address (Engine API version history, v1.54; moby issue 48192)."""
LOCAL_ID: Final = 64
"""Characters of the id of a network that the host itself keeps; the swarm's have 25."""


class Namespace(StrEnum):
    """Whose network namespace the container's processes are in."""

    OWN = "own"
    HOST = "host"
    CONTAINER = "container"
    POD = "pod"
    """Kubernetes has put interfaces into it that Docker does not know."""


class Endpoint(Value):
    """One connection: what `connect` needs to make it again as it was (Engine API, EndpointSettings)."""

    network: str
    """The network's id: another one that was made under the same name is another network. `bridge` for that one."""
    ipv4: str | None = None
    ipv6: str | None = None
    mac: str | None = None
    """Only where the daemon's API can give it back."""
    link_local: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    """Without the container's short id, which the daemon adds."""
    links: tuple[str, ...] = ()
    driver_options: dict[str, str] = Field(default_factory=dict)
    gateway_priority: int = 0


class ContainerIsolation(State):
    """`endpoints` is keyed by the networks' names, as the daemon does it."""

    endpoints: dict[str, Endpoint]
    namespace: Annotated[Namespace, Proof] = Namespace.OWN
    uid: Annotated[str, Fact]
    name: Annotated[str, Fact]
    status: Annotated[str, Fact]
    mode: Annotated[str, Fact]
    """HostConfig.NetworkMode: the network that the container was started in, or whose namespace it shares."""
    automatic: Annotated[tuple[str, ...], Fact] = ()
    """The networks whose address the daemon chose."""
    mac_lost: Annotated[bool, Fact] = False
    """This daemon gives out new MAC addresses, and takes no wish for one."""
    shared_by: Annotated[tuple[str, ...], Fact] = ()
    published: Annotated[tuple[str, ...], Fact] = ()
    moving_ports: Annotated[tuple[str, ...], Fact] = ()
    """Published, on a port of the host that the daemon chose."""
    mounts: Annotated[tuple[str, ...], Fact] = ()
    daemon_socket: Annotated[str, Fact] = ""
    """Where a container engine's socket is within its reach."""
    powers: Annotated[tuple[str, ...], Fact] = ()
    """What lets its processes leave their namespaces."""
    owner: Annotated[str, Fact] = ""
    """Who makes another container in its place, as in `compose project shop`."""
    service: Annotated[str, Fact] = ""
    pod: Annotated[str, Fact] = ""

    @property
    def alive(self) -> bool:
        """Only then does it have the addresses that the daemon chose."""
        return self.status in ("running", "paused")


def namespace_of(container: Mapping[str, Any]) -> Namespace:
    mode = container["HostConfig"]["NetworkMode"]
    if pod_of(container):
        return Namespace.POD
    if mode == "host":
        return Namespace.HOST
    return Namespace.CONTAINER if mode.startswith("container:") else Namespace.OWN


def pod_of(container: Mapping[str, Any]) -> str:
    labels = container["Config"].get("Labels") or {}
    name = labels.get("io.kubernetes.pod.name")
    return f"{labels.get('io.kubernetes.pod.namespace')}/{name}" if name else ""


def endpoint(raw: Mapping[str, Any], uid: str, network: str, api: tuple[int, int]) -> Endpoint:
    """Of a container that does not run, the addresses are those that it will ask for."""
    wishes = raw.get("IPAMConfig") or {}
    aliases = set(raw.get("Aliases") or ()) - {uid[:12]}
    return Endpoint(
        network=network,
        ipv4=raw.get("IPAddress") or wishes.get("IPv4Address") or None,
        ipv6=raw.get("GlobalIPv6Address") or wishes.get("IPv6Address") or None,
        mac=raw.get("MacAddress") or None if api >= MAC_SINCE else None,
        link_local=tuple(sorted(wishes.get("LinkLocalIPs") or ())),
        aliases=tuple(sorted(aliases)),
        links=tuple(sorted(raw.get("Links") or ())),
        driver_options=raw.get("DriverOpts") or {},
        gateway_priority=raw.get("GwPriority") or 0,
    )


def wishes_for(name: str, endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    """Bodies of `connect`, the exact one first, then with fewer addresses.

    Up to Docker 29.0.3 the daemon refuses a wished address in a subnet that it chose itself (29.0.4 release notes).
    """
    settings: dict[str, Any] = {
        "Aliases": list(endpoint.aliases),
        "Links": list(endpoint.links),
        "DriverOpts": endpoint.driver_options,
        "GwPriority": endpoint.gateway_priority,
        "MacAddress": endpoint.mac,
    }
    settings = {key: value for key, value in settings.items() if value}
    four, six = {"IPv4Address": endpoint.ipv4}, {"IPv6Address": endpoint.ipv6}
    wishes: list[dict[str, Any]] = [{**four, **six}, four, six, {}] if name != DEFAULT_BRIDGE else [{}]
    tried: list[dict[str, Any]] = []
    for wish in wishes:
        addresses = {key: value for key, value in wish.items() if value}
        if addresses in tried:
            continue
        tried.append(addresses)
        if endpoint.link_local:
            addresses = {**addresses, "LinkLocalIPs": list(endpoint.link_local)}
        yield {**settings, "IPAMConfig": addresses} if addresses else settings


def in_order(mode: str, names: Mapping[str, Endpoint]) -> list[str]:
    """As the daemon does it at a start: the network that the container was started in comes first."""
    first = DEFAULT_BRIDGE if mode == "default" else mode

    def place(name: str) -> tuple[bool, str]:
        return first not in (name, names[name].network), name

    return sorted(names, key=place)


def only_stopped(before: ContainerIsolation, now: ContainerIsolation) -> bool:
    """Are the connections that are left as before, but for the addresses, which a container loses when it stops?"""
    if now.alive:
        return False
    unaddressed = {"ipv4": None, "ipv6": None, "mac": None}
    return all(
        name in before.endpoints
        and left.model_copy(update=unaddressed) == before.endpoints[name].model_copy(update=unaddressed)
        and left.ipv4 in (None, before.endpoints[name].ipv4)
        and left.ipv6 in (None, before.endpoints[name].ipv6)
        for name, left in now.endpoints.items()
    )
