"""Where isolating a container cannot work, and what stays possible where it does. Pure."""

from typing import Final

from quarantine.action import Caveat, Refusal
from quarantine_docker.isolation import DEFAULT_BRIDGE, ContainerIsolation, Namespace


def refusal(before: ContainerIsolation) -> Refusal | None:
    name = before.name
    pause, stop = f"docker pause {name}: nothing in it runs then", f"docker stop {name}, once evidence is taken"
    if before.namespace is Namespace.POD:
        reason = f"it belongs to the Kubernetes pod {before.pod}, and Docker does not know the pod's interfaces"
        return Refusal(reason=reason, alternatives=(f"kubernetes:pod-isolate on {before.pod}",))
    if before.namespace is Namespace.HOST:
        reason = "it is on its host's own network, and Docker disconnects nothing from there"
        return Refusal(reason=reason, alternatives=(pause, stop, "isolate the host, as the machine that it is"))
    if before.namespace is Namespace.CONTAINER:
        other = before.mode.partition(":")[2]
        reason = f"it has no network of its own: it shares that of container {other[:12]}"
        isolate = f"docker:container-isolate on docker:container/{other[:12]}, which cuts off both"
        return Refusal(reason=reason, alternatives=(isolate, pause))
    if before.service:
        reason = (
            f"the swarm manages it as a task of service {before.service}: once it is disconnected, no release brings"
            " back its place behind the service's name and address"
        )
        scale = f"docker service scale {before.service}=0, once evidence is taken"
        return Refusal(reason=reason, alternatives=(pause, scale))
    if not before.alive:
        reason = f"it does not run ({before.status}), and the addresses that it would get back are not known"
        keep = f"docker update --restart=no {name}, and docker stop {name}, so that nothing starts it"
        return Refusal(reason=reason, alternatives=(keep, f"docker export {name} keeps its files"))
    return None


# Sources: docs.docker.com, "docker network disconnect", "Networking overview" (container networks), "Docker Engine
# security" (daemon attack surface), "Runtime privilege and Linux capabilities"; Engine API, NetworkConnect. What
# becomes of ports, addresses, restarts and swarm tasks was tried on Docker 20.10.24, 26.1.5 and 29 (API 1.56).
_ALWAYS: Final = {
    "processes-run": "Its processes run on, with their memory, files and secrets, and can still destroy what they"
    " can write to.",
    "docker-api": "Whoever may use this host's Docker API can still enter it (docker exec) and connect it again; the"
    " host itself reaches everything in it.",
    "another-one": "It stays disconnected when it is started again, or its host. A container that is made anew in its"
    " place is another one, and not isolated.",
}
_WHERE: Final = {
    "daemon-socket": "It has {} of the host: over a container engine's socket it can connect itself again"
    " and start containers with all rights. `docker pause` is the safer choice.",
    "can-leave": "It may leave its namespaces or change them ({}): a process with such rights can get to the"
    " host's network.",
    "mounts": "What it shares with its host or other containers stays shared: {}.",
    "shared-namespace": "{}: in the same network namespace. They are cut off with it, and still reach it over"
    " 127.0.0.1.",
    "owner": "{} makes a new container in its place with the next `up`, and then removes this one.",
    "published-ports": "Clients of the host's ports are turned away while it holds: {}.",
    "ports-move": "Docker chose the host's port of {}, and chooses another one on release.",
    "address-becomes-fixed": "The address that Docker chose on {} is asked for by name on release: it comes"
    " back the same, and the container then keeps it over restarts.",
    "address-not-promised": "On the default bridge, and up to Docker 29.0.3 on networks without a subnet of their own,"
    " Docker takes no wish for an address. The container gets the lowest free one; if that is not the one before, the"
    " release is reported as not exact. This concerns {}.",
    "mac-changes": "This version of Docker gives it new MAC addresses on release, and takes no wish for them (Docker"
    " 25 to 29.2).",
}


def caveats(before: ContainerIsolation) -> tuple[Caveat, ...]:
    """What stays possible, or comes back otherwise."""
    found: dict[str, str | tuple[str, ...]] = {
        "daemon-socket": before.daemon_socket,
        "can-leave": before.powers,
        "mounts": before.mounts,
        "shared-namespace": before.shared_by,
        "owner": before.owner,
        "published-ports": before.published,
        "ports-move": before.moving_ports,
        "address-becomes-fixed": tuple(name for name in before.automatic if name != DEFAULT_BRIDGE),
        "address-not-promised": before.automatic,
        "mac-changes": "MAC" if before.mac_lost else "",
    }
    words = {name: each if isinstance(each, str) else ", ".join(each) for name, each in found.items()}
    texts = _ALWAYS | {name: text.format(words[name]) for name, text in _WHERE.items() if words[name]}
    return tuple(Caveat(id=name, text=text) for name, text in texts.items())
