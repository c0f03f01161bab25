"""The NetworkPolicy of networking.k8s.io/v1 that allows a pod nothing. It cannot take away what another one allows."""

from typing import Any, Final

from quarantine_kubernetes.exemption import DNS, DNS_PORT, Exemption, selectors
from quarantine_kubernetes.policy_kind import ISOLATED, PolicyKind, Target


def _says(target: Target, exempt: Exemption) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "podSelector": {"matchLabels": {ISOLATED: target.uid}},
        "policyTypes": ["Ingress", "Egress"],
    }
    if exempt.peer is not None:
        peer = {"ipBlock": {"cidr": exempt.peer.cidr}} if exempt.peer.cidr else selectors(exempt.peer)
        spec["ingress"] = [{"from": [peer]}]
    if exempt.dns:
        ports = [{"protocol": protocol, "port": DNS_PORT} for protocol in ("UDP", "TCP")]
        spec["egress"] = [{"to": [selectors(DNS)], "ports": ports}]
    return spec


PLAIN_POLICY: Final = PolicyKind(
    name="network-policy", group="networking.k8s.io/v1", kind="NetworkPolicy", plural="networkpolicies", says=_says
)
