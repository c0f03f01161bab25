"""What a container can reach beside its networks, read from what its daemon says of it. Pure."""

from collections.abc import Mapping
from typing import Any, Final

SOCKETS: Final = ("docker.sock", "containerd.sock", "podman.sock", "crio.sock")
_ABOVE: Final = ("/", "/run", "/var", "/var/run")
"""Folders of the host that hold such a socket."""
_POWERS: Final = ("SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "NET_ADMIN", "ALL")


def mounts(container: Mapping[str, Any]) -> tuple[str, ...]:
    """What it shares with its host and with other containers, by name or path on the host."""
    found = {mount.get("Name") or mount.get("Source") or "" for mount in container.get("Mounts") or ()}
    return tuple(sorted(found - {""}))


def daemon_socket(container: Mapping[str, Any]) -> str:
    """The path on the host of a container engine's socket, or of a folder with one in it."""
    for mount in container.get("Mounts") or ():
        source = (mount.get("Source") or "").rstrip("/") or "/"
        if mount.get("Type") == "bind" and (source.endswith(SOCKETS) or source in _ABOVE):
            return str(source)
    return ""


def powers(container: Mapping[str, Any]) -> tuple[str, ...]:
    """What lets a process in it leave its namespaces, or change them."""
    host = container["HostConfig"]
    added = {name.upper().removeprefix("CAP_") for name in host.get("CapAdd") or ()}
    found = ["privileged"] if host.get("Privileged") else []
    found += ["the host's processes (pid: host)"] if host.get("PidMode") == "host" else []
    return tuple(found + [f"capability {name}" for name in _POWERS if name in added])


def published(container: Mapping[str, Any]) -> tuple[str, ...]:
    ports: Mapping[str, list[dict[str, str]] | None] = container["NetworkSettings"].get("Ports") or {}
    found = {f"{each['HostPort']} -> {port}" for port, bound in ports.items() for each in bound or []}
    return tuple(sorted(found))


def moving_ports(container: Mapping[str, Any]) -> tuple[str, ...]:
    """Ports whose number on the host the daemon chooses anew with every connection."""
    host = container["HostConfig"]
    asked: Mapping[str, list[dict[str, str]] | None] = host.get("PortBindings") or {}
    bound = {
        port
        for port, bindings in asked.items()
        if any(each.get("HostPort") in ("", "0", None) for each in bindings or [])
    }
    exposed = container["Config"].get("ExposedPorts") or {} if host.get("PublishAllPorts") else {}
    return tuple(sorted(bound | set(exposed)))


def owner(container: Mapping[str, Any]) -> str:
    labels = container["Config"].get("Labels") or {}
    project = labels.get("com.docker.compose.project")
    return f"compose project {project}" if project else ""


def service(container: Mapping[str, Any]) -> str:
    labels = container["Config"].get("Labels") or {}
    return str(labels.get("com.docker.swarm.service.name") or labels.get("com.docker.swarm.service.id") or "")
