"""Who loses a pod that is isolated: the pods beside it that can reach it now, and the Services that lead to it. Pure.

By name, of its own namespace alone: others, and their labels, are often not ours to read. What the policies let in from
there is told as they say it. Pods on the network of their node are left out, as network policies do not bind them. Of
the namespace's labels only the one with its name is known here.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from quarantine_kubernetes.connection import Connection, ContainerPort, Endpoint, passes
from quarantine_kubernetes.exemption import Exemption
from quarantine_kubernetes.network_policy import Direction, isolation
from quarantine_kubernetes.plain_policy import PLAIN_POLICY
from quarantine_kubernetes.policy_kind import Target
from quarantine_kubernetes.selector import items, mapping

MOST: Final = 1000
"""So many pods are judged."""
NAMED: Final = 5
OTHER: Final = 9
"""A port for those who name none; whoever may use all of them may use this one."""

Object = Mapping[str, Any]


def losing(
    pod: Object, pods: Iterable[Object], policies: Sequence[Object], labels: Mapping[str, str], exempt: Exemption
) -> list[str]:
    """Names of the pods that reach it under these policies, and will not once it has these labels and our policy."""
    now, metadata = endpoint(pod), pod["metadata"]
    then = now.model_copy(update={"labels": dict(labels)})
    says = PLAIN_POLICY.says(Target(now.namespace, now.name, metadata["uid"]), exempt)
    ours = [{"metadata": {"name": "ours", "namespace": now.namespace}, "spec": says}]
    ports = _ports(now, policies)
    found = []
    for other in islice((item for item in pods if _counts(item, metadata["uid"])), MOST):
        peer = endpoint(other)

        def reaches(under: Sequence[Object], end: Endpoint, peer: Endpoint = peer) -> set[tuple[int, str]]:
            return {
                (port, protocol)
                for port, protocol in ports
                if passes(under, Connection(source=peer, destination=end, port=port, protocol=protocol))
            }

        if reaches(policies, now) - reaches(ours, then):
            found.append(peer.name)
    return sorted(found)


def others(policies: Iterable[Object], labels: Mapping[str, str]) -> list[str] | None:
    """What lets other namespaces and addresses in to a pod with these labels; None where none is kept out."""
    found = isolation(policies, labels)[Direction.INGRESS]
    return sorted({str(each) for each in found.openings if each.elsewhere}) if found.selected else None


def leading(services: Iterable[Object], labels: Mapping[str, str], then: Mapping[str, str]) -> list[str]:
    """The names of the Services that select these labels, and those that it has then not any more."""
    return sorted(each["metadata"]["name"] for each in services if leads(each, labels) and not leads(each, then))


def leads(service: Object, labels: Mapping[str, str]) -> bool:
    """One without a selector leads nowhere by itself (kubernetes.io, Service, "Services without selectors")."""
    selector = service["spec"].get("selector") or {}
    return bool(selector) and selector.items() <= labels.items()


def endpoint(pod: Object) -> Endpoint:
    metadata, status = pod["metadata"], pod.get("status") or {}
    declared = [port for container in pod["spec"].get("containers") or [] for port in container.get("ports") or []]
    return Endpoint(
        name=metadata["name"],
        namespace=metadata["namespace"],
        namespace_labels={"kubernetes.io/metadata.name": metadata["namespace"]},
        labels=metadata.get("labels") or {},
        addresses=tuple(item["ip"] for item in status.get("podIPs") or []),
        ports=tuple(
            ContainerPort(number=port["containerPort"], protocol=port.get("protocol", "TCP"), name=port.get("name", ""))
            for port in declared
        ),
    )


def named(names: Sequence[str]) -> str:
    """`a, b, c, d, e and 7 more`"""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _counts(pod: Object, suspect: str) -> bool:
    metadata, running = pod["metadata"], (pod.get("status") or {}).get("phase") == "Running"
    bound = not pod["spec"].get("hostNetwork")
    return metadata["uid"] != suspect and running and bound and "deletionTimestamp" not in metadata


def _ports(pod: Endpoint, policies: Iterable[Object]) -> set[tuple[int, str]]:
    """What it listens on as far as it says so, what the policies name, and one that nobody names."""
    found = {(port.number, port.protocol) for port in pod.ports} | {(OTHER, "TCP"), (OTHER, "UDP")}
    for policy in policies:
        spec = mapping(policy.get("spec"))
        for rule in (*items(spec.get("ingress")), *items(spec.get("egress"))):
            for port in map(mapping, items(mapping(rule).get("ports"))):
                if type(port.get("port")) is int:
                    found.add((port["port"], port.get("protocol") or "TCP"))
    return found
