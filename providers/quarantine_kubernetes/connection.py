"""Which single connections networking.k8s.io/v1 NetworkPolicies let through. Pure.

As the comments of kubernetes/api networking/v1 types.go have it. Not in that model, and so not here: ICMP, traffic of a
pod with itself and with its node, what a plug-in does with connections that are open already. What cannot be judged is
let through.
"""

from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any, Final

from pydantic import Field

from quarantine.model import Value
from quarantine_kubernetes.network_policy import Direction, directions_of
from quarantine_kubernetes.selector import Unjudged, known, listed, mapping, selects

PROTOCOLS: Final = ("TCP", "UDP", "SCTP")


class ContainerPort(Value):
    number: int
    protocol: str = "TCP"
    name: str = ""


class Endpoint(Value):
    """One end of a connection: a pod, or without a namespace something outside of the cluster."""

    name: str = ""
    namespace: str = ""
    namespace_labels: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    """IPv4 and IPv6."""
    ports: tuple[ContainerPort, ...] = ()


class Connection(Value):
    source: Endpoint
    destination: Endpoint
    port: int
    protocol: str = "TCP"


def passes(policies: Iterable[Mapping[str, Any]], connection: Connection) -> bool:
    """Do both ends let it through? `policies` may be of many namespaces."""
    policies = list(policies)
    return all(lets(policies, connection, direction) for direction in Direction)


def lets(policies: Iterable[Mapping[str, Any]], connection: Connection, direction: Direction) -> bool:
    """Does its destination let it in, or its source let it out?"""
    inward = direction is Direction.INGRESS
    pod, peer = connection.destination, connection.source
    if not inward:
        pod, peer = peer, pod
    if not pod.namespace:
        return True  # no policy selects what is no pod
    selected = False
    for policy in policies:
        if mapping(policy.get("metadata")).get("namespace") != pod.namespace:
            continue
        try:
            if direction not in directions_of(policy, pod.labels):
                continue
            selected = True
            if any(_rule(rule, connection, peer, pod.namespace, inward) for rule in _listed(policy, direction)):
                return True
        except Unjudged:
            return True
    return not selected


def _listed(policy: Mapping[str, Any], direction: Direction) -> Iterable[Any]:
    return _items(policy["spec"].get(direction.value), "its rules")


def _rule(rule: Any, connection: Connection, peer: Endpoint, namespace: str, inward: bool) -> bool:
    who = "from" if inward else "to"
    rule = known(rule, (who, "ports"), "a rule")
    return _any(rule.get("ports"), "ports", lambda port: _port(port, connection)) and _any(
        rule.get(who), who, lambda item: _peer(item, peer, namespace)
    )


def _any(values: Any, what: str, fits: Callable[[Any], bool]) -> bool:
    """Empty or missing stands for all of them. No short cut: what cannot be judged must be seen."""
    found = [fits(value) for value in _items(values, what)]
    return any(found) or not found


def _port(port: Any, connection: Connection) -> bool:
    port = known(port, ("protocol", "port", "endPort"), "a port")
    protocol, first, last = port.get("protocol") or "TCP", port.get("port"), port.get("endPort")
    if protocol not in PROTOCOLS:
        raise Unjudged(f"protocol {protocol!r}")
    if first is None and last is None:
        return bool(protocol == connection.protocol)
    if isinstance(first, str) and last is None:  # in both directions it is the destination that has named its ports
        named = ((item.number, item.protocol) for item in connection.destination.ports if item.name == first)
        return bool(protocol == connection.protocol) and (connection.port, protocol) in named
    if type(first) is not int or not (last is None or type(last) is int):
        raise Unjudged(f"port {first!r} to {last!r}")
    return bool(protocol == connection.protocol) and first <= connection.port <= (first if last is None else last)


def _peer(item: Any, peer: Endpoint, namespace: str) -> bool:
    item = known(item, ("podSelector", "namespaceSelector", "ipBlock"), "a peer")
    if "ipBlock" in item:
        # Of pods as well: most plug-ins compare addresses alone; Cilium does not, and then less is let through.
        return any(_in_block(item["ipBlock"], address) for address in peer.addresses)
    if not peer.namespace or not item:
        return False
    spaces = item.get("namespaceSelector")
    there = peer.namespace == namespace if spaces is None else selects(spaces, peer.namespace_labels)
    return selects(item.get("podSelector"), peer.labels) and there


def _in_block(block: Any, address: str) -> bool:
    block = known(block, ("cidr", "except"), "an ipBlock")
    excepted = _items(block.get("except"), "except")
    found = ip_address(address)
    try:
        inside = found in ip_network(block.get("cidr") or "", strict=False)
        return inside and not any(found in ip_network(item, strict=False) for item in excepted)
    except (ValueError, TypeError) as odd:
        raise Unjudged(str(odd)) from odd


def _items(value: Any, what: str) -> Iterable[Any]:
    if not listed(value or []):
        raise Unjudged(f"{what} is not a list")
    return value or ()
