"""One container as its daemon knows it now."""

import re
from collections.abc import Mapping
from typing import Any, Final

from quarantine.errors import Conflict
from quarantine.model import Resource
from quarantine_docker import exposure
from quarantine_docker.cloud import INSPECT, LIST, DockerCloud
from quarantine_docker.isolation import (
    DEFAULT_BRIDGE,
    MAC_IGNORED_SINCE,
    MAC_SINCE,
    NOWHERE,
    ContainerIsolation,
    endpoint,
    namespace_of,
    pod_of,
)
from quarantine_docker.network import find_network

_ID: Final = re.compile(r"[0-9a-f]{12,64}")


def get_container(cloud: DockerCloud, resource: Resource) -> Mapping[str, Any]:
    """By its uid where that is known. Raises Gone, and Conflict where the name that was given is another's id."""
    found: Mapping[str, Any] = cloud.read(INSPECT, INSPECT, id=resource.uid or resource.id)
    if resource.uid is None and _ID.fullmatch(resource.id) and not found["Id"].startswith(resource.id):
        # A name goes before a short id (moby daemon/container.go, GetContainer): anybody who may name containers could
        # direct us to another one.
        raise Conflict(f"container {found['Id'][:12]} is called {resource.id!r}, like an id: give its own id instead")
    return found


def name_of(container: Mapping[str, Any]) -> str:
    return str(container["Name"]).removeprefix("/")


def sharing(cloud: DockerCloud, uid: str) -> tuple[str, ...]:
    """The names of the containers that live in the network namespace of this one."""
    found = cloud.read(LIST, LIST, query={"all": "true"})
    mode = f"container:{uid}"  # the daemon turns names into ids (moby daemon/create.go)
    return tuple(
        sorted(name_of({"Name": other["Names"][0]}) for other in found if other["HostConfig"]["NetworkMode"] == mode)
    )


def isolation_of(cloud: DockerCloud, container: Mapping[str, Any]) -> ContainerIsolation:
    uid, connections = container["Id"], dict(container["NetworkSettings"]["Networks"] or {})
    connections = {name: raw for name, raw in connections.items() if name not in (NOWHERE, "host")}
    return ContainerIsolation(
        endpoints={name: endpoint(raw, uid, _id_of(cloud, name, raw), cloud.api) for name, raw in connections.items()},
        namespace=namespace_of(container),
        uid=uid,
        name=name_of(container),
        status=container["State"]["Status"],
        mode=container["HostConfig"]["NetworkMode"],
        automatic=tuple(
            sorted(name for name, raw in connections.items() if not (raw.get("IPAMConfig") or {}).get("IPv4Address"))
        ),
        mac_lost=MAC_IGNORED_SINCE <= cloud.api < MAC_SINCE,
        shared_by=sharing(cloud, uid),
        published=exposure.published(container),
        moving_ports=exposure.moving_ports(container),
        mounts=exposure.mounts(container),
        daemon_socket=exposure.daemon_socket(container),
        powers=exposure.powers(container),
        owner=exposure.owner(container),
        service=exposure.service(container),
        pod=pod_of(container),
    )


def _id_of(cloud: DockerCloud, network: str, raw: Mapping[str, Any]) -> str:
    """A container that was connected while it was stopped may have only the network's name."""
    if network == DEFAULT_BRIDGE:
        return network
    if raw.get("NetworkID"):
        return str(raw["NetworkID"])
    found = find_network(cloud, network)
    return "" if found is None else str(found["Id"])
