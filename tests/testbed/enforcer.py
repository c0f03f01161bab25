"""What a network plug-in does about NetworkPolicies, on the node of a `PodNetwork`: real packets pass, or do not.

Shares no code with the product, and behaves like the common ones (kube-router, Calico with iptables), also where that
is uncomfortable: what has been let in once is let in until it ends, an object in the API server alone stops nothing,
and an enforcer that has died leaves its last rules behind.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any, Final, Self

from tests.testbed.controlplane import AGENT
from tests.testbed.kubeapi import ApiError, KubeApi, Object, pod_path
from tests.testbed.network import TRACKED
from tests.testbed.node import Node
from tests.testbed.poll import until
from tests.testbed.reflector import Reflector

POLICIES: Final = "/apis/networking.k8s.io/v1/networkpolicies"
PODS: Final = "/api/v1/pods"
NAMESPACES: Final = "/api/v1/namespaces"

NAME: Final = "kube-router"
NAMESPACE: Final = "kube-system"
DAEMON_SETS: Final = f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets"

Network = IPv4Network | IPv6Network
_EVERYWHERE: Final = (ip_network("0.0.0.0/0"), ip_network("::/0"))


class Enforcer:
    """Enforces inside `with`, but for the time between `stop` and `start`.

    To the cluster it is kube-router: a DaemonSet's pod on the node, ready as long as it enforces.
    """

    def __init__(self, api: KubeApi, node: Node) -> None:
        self._api = api
        self._node = node
        self._changed = threading.Event()
        self._watched: list[Reflector] = []
        self._thread: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        looks_like_one = f"/api/v1/namespaces/{NAMESPACE}/pods/{AGENT}"
        if self._api.exists(looks_like_one):
            self._api.delete(looks_like_one)
        self._node.serve(NAMESPACE)
        self._owner = self._api.create(DAEMON_SETS, _daemon_set())["metadata"]["uid"]
        try:
            self.start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self._remove()

    def _remove(self) -> None:
        """What died of an error leaves nothing behind that would be in the way of the next one."""
        for each in self._watched:
            each.stop()
        self._api.delete(f"{DAEMON_SETS}/{NAME}")
        for pod in self._made():
            with suppress(ApiError):  # its controller, or the garbage collector, was quicker
                self._api.delete(pod_path(pod))
        self._api.make_agent(AGENT)

    def start(self) -> None:
        """What the API server has by now is enforced when this returns."""
        if self._thread is not None:
            return
        self._watched = [Reflector(self._api, path, self._changed.set) for path in (POLICIES, PODS, NAMESPACES)]
        for each in self._watched:
            each.start()
        self._enforce()
        self._thread = ThreadPoolExecutor(1, "enforcer")
        self._working = self._thread.submit(self._work)
        self._report_ready("True")

    def stop(self) -> None:
        """Its last rules stay. The kubelet has noticed when this returns. Raises what it has died of."""
        if self._thread is None:
            return
        thread, self._thread = self._thread, None
        self._changed.set()
        thread.shutdown()
        for each in self._watched:
            each.stop()
        self._report_ready("False")
        self._working.result()

    def _made(self) -> list[Object]:
        """The pods of our DaemonSet: one that an earlier one left behind may still wait for the garbage collector."""
        found = self._api.items(f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=k8s-app%3D{NAME}")
        return [
            pod
            for pod in found
            if self._owner in [owner["uid"] for owner in pod["metadata"].get("ownerReferences", [])]
        ]

    def _the_pod(self) -> Object | None:
        """On our node. None as well while its controller has made two, and will keep one."""
        here = [pod for pod in self._made() if pod["spec"].get("nodeName") == self._node.name]
        lasting = [pod for pod in here if "deletionTimestamp" not in pod["metadata"]]
        return lasting[0] if len(lasting) == 1 else None

    def _report_ready(self, status: str) -> None:
        def reported() -> bool:
            pod = until(self._the_pod, seconds=60)
            assert pod is not None
            self._node.host(pod)
            try:
                self._api.patch_status(pod_path(pod), {"conditions": [{"type": "Ready", "status": status}]})
            except ApiError as error:
                if error.status == 404:  # its controller kept the other one
                    return False
                raise
            return True

        until(reported, seconds=60)

    def _work(self) -> None:
        while True:
            self._changed.wait()
            self._changed.clear()
            if self._thread is None:
                return
            self._enforce()

    def _enforce(self) -> None:
        policies, pods, namespaces = (each.objects() for each in self._watched)
        chains = compile_policies(policies, pods, namespaces)
        self._node.network.filter(render(chains, 4), render(chains, 6))


def _daemon_set() -> Object:
    labels = {"k8s-app": NAME}
    container = {"name": NAME, "image": "docker.io/cloudnativelabs/kube-router:v2.9.0"}
    spec = {"hostNetwork": True, "containers": [container], "tolerations": [{"operator": "Exists"}]}
    template = {"metadata": {"labels": labels}, "spec": spec}
    return {"metadata": {"name": NAME}, "spec": {"selector": {"matchLabels": labels}, "template": template}}


@dataclass(frozen=True)
class Allow:
    """What one rule lets through. No protocol: all of them; no ports: all of them."""

    networks: tuple[Network, ...]
    protocol: str | None = None
    ports: tuple[int, int] | None = None


@dataclass(frozen=True)
class Chain:
    """One direction of one pod that a policy selects for it: nothing but this."""

    ingress: bool
    addresses: tuple[str, ...]
    allows: tuple[Allow, ...]


@dataclass(frozen=True)
class _Pod:
    namespace: str
    labels: Mapping[str, str]
    addresses: tuple[str, ...]
    ports: tuple[tuple[str, str, int], ...]  # name, protocol, number

    def within(self, networks: Iterable[Network]) -> tuple[Network, ...]:
        """Those of its addresses that are there."""
        networks = list(networks)
        own = [ip_network(address) for address in self.addresses]
        return tuple(each for each in own if any(_contains(network, each) for network in networks))


def compile_policies(policies: Iterable[Object], pods: Iterable[Object], namespaces: Iterable[Object]) -> list[Chain]:
    """As the comments of kubernetes/api networking/v1/types.go have it."""
    labels_of = {each["metadata"]["name"]: each["metadata"].get("labels") or {} for each in namespaces}
    there = [_pod(pod) for pod in pods if _has_a_network_of_its_own(pod)]
    policies = list(policies)
    chains = []
    for pod in there:
        mine = [
            policy
            for policy in policies
            if policy["metadata"]["namespace"] == pod.namespace and _fits(policy["spec"]["podSelector"], pod.labels)
        ]
        for direction in ("Ingress", "Egress"):
            selecting = [policy for policy in mine if direction in policy["spec"]["policyTypes"]]
            if not selecting:
                continue
            allows = [
                allow
                for policy in selecting
                for rule in policy["spec"].get(direction.lower()) or []
                for allow in _allows(rule, direction, pod, policy["metadata"]["namespace"], there, labels_of)
            ]
            chains.append(Chain(direction == "Ingress", pod.addresses, tuple(allows)))
    return chains


def render(chains: Iterable[Chain], family: int) -> str:
    """For iptables-restore or, family 6, ip6tables-restore. A packet that a chain allows goes on to the next one."""
    declared, rules = [":FORWARD ACCEPT [0:0]\n"], [TRACKED]
    if family == 6:  # how a pod finds its gateway
        rules.append("-A INPUT -p ipv6-icmp -j ACCEPT\n")
    for number, chain in enumerate(chains):
        address = next((each for each in chain.addresses if (":" in each) == (family == 6)), None)
        if address is None:
            continue
        name = f"{'in' if chain.ingress else 'out'}-{number}"
        declared.append(f":{name} - [0:0]\n")
        rules.append(f"-A FORWARD -{'d' if chain.ingress else 's'} {address} -j {name}\n")
        if not chain.ingress:  # to the node; from the node everything is let in
            rules.append(f"-A INPUT -s {address} -j {name}\n")
        for allow in chain.allows:
            rules += [f"-A {name} {match} -j RETURN\n" for match in _matches(allow, chain.ingress, family)]
        rules.append(f"-A {name} -p tcp -j REJECT --reject-with tcp-reset\n-A {name} -j REJECT\n")
    return "".join(declared + rules)


def _matches(allow: Allow, ingress: bool, family: int) -> Iterator[str]:
    other = "-s" if ingress else "-d"
    for network in allow.networks:
        if network.version == family and allow.protocol != "SCTP":
            protocol = f" -p {allow.protocol.lower()}" if allow.protocol else ""
            ports = f" --dport {allow.ports[0]}:{allow.ports[1]}" if allow.ports else ""
            yield f"{other} {network}{protocol}{ports}"


def _has_a_network_of_its_own(pod: Object) -> bool:
    status = pod.get("status") or {}
    over = status.get("phase") in ("Succeeded", "Failed")
    return bool(status.get("podIPs")) and not over and not pod["spec"].get("hostNetwork")


def _pod(pod: Object) -> _Pod:
    return _Pod(
        namespace=pod["metadata"]["namespace"],
        labels=pod["metadata"].get("labels") or {},
        addresses=tuple(each["ip"] for each in pod["status"]["podIPs"]),
        ports=tuple(
            (port.get("name", ""), port.get("protocol", "TCP"), port["containerPort"])
            for container in pod["spec"]["containers"]
            for port in container.get("ports") or []
        ),
    )


def _fits(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for expression in selector.get("matchExpressions") or []:
        key, wanted = expression["key"], expression.get("values") or []
        fits = {
            "In": key in labels and labels[key] in wanted,
            "NotIn": key not in labels or labels[key] not in wanted,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }[expression["operator"]]
        if not fits:
            return False
    return True


def _allows(
    rule: Mapping[str, Any],
    direction: str,
    pod: _Pod,
    namespace: str,
    pods: list[_Pod],
    labels_of: Mapping[str, Mapping[str, str]],
) -> Iterator[Allow]:
    peers = rule.get("from" if direction == "Ingress" else "to") or []
    networks = [each for peer in peers for each in _networks(peer, namespace, pods, labels_of)]
    reached = tuple(networks) if peers else _EVERYWHERE
    for port in rule.get("ports") or [None]:
        if port is None:
            yield Allow(reached)
        elif port.get("port") is None:
            yield Allow(reached, port.get("protocol", "TCP"))
        elif isinstance(port["port"], int):
            yield Allow(reached, port.get("protocol", "TCP"), (port["port"], port.get("endPort", port["port"])))
        elif direction == "Ingress":
            for number in _named(pod, port):
                yield Allow(reached, port.get("protocol", "TCP"), (number, number))
        else:  # a name means something else at each pod that is spoken to
            for other in pods:
                for number in _named(other, port):
                    yield Allow(other.within(reached), port.get("protocol", "TCP"), (number, number))


def _networks(
    peer: Mapping[str, Any], namespace: str, pods: Iterable[_Pod], labels_of: Mapping[str, Mapping[str, str]]
) -> list[Network]:
    if block := peer.get("ipBlock"):
        left: list[Network] = [ip_network(block["cidr"])]
        for excepted in map(ip_network, block.get("except") or []):
            left = [part for network in left for part in _without(network, excepted)]
        return left
    return [
        ip_network(address)
        for pod in pods
        if _fits(peer.get("podSelector") or {}, pod.labels)
        and (
            _fits(peer["namespaceSelector"], labels_of.get(pod.namespace, {}))
            if "namespaceSelector" in peer
            else pod.namespace == namespace
        )
        for address in pod.addresses
    ]


def _without(network: Network, excepted: Network) -> list[Network]:
    if _contains(excepted, network):
        return []
    if not _contains(network, excepted):
        return [network]
    return list(collapse_addresses(network.address_exclude(excepted)))  # type: ignore[arg-type, type-var]


def _contains(network: Network, part: Network) -> bool:
    return network.version == part.version and part.subnet_of(network)  # type: ignore[arg-type]


def _named(pod: _Pod, port: Mapping[str, Any]) -> list[int]:
    wanted = (port["port"], port.get("protocol", "TCP"))
    return [number for name, protocol, number in pod.ports if (name, protocol) == wanted]
