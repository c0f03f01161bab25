"""The ClusterNetworkPolicy of policy.networking.k8s.io/v1alpha2 that denies a pod everything, before all others.

It has no word for who is outside of the cluster and connects (network-policy-api, apis/v1alpha2: the peers of ingress
are pods and namespaces), so it stands beside a plain NetworkPolicy, and what that one cannot deny stays open.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from quarantine_kubernetes.exemption import DNS, DNS_PORT, NAMESPACE_NAME, Exemption, selectors
from quarantine_kubernetes.policy_kind import ISOLATED, PolicyKind, Target
from quarantine_kubernetes.selector import mapping

PRIORITY: Final = 0
"""Nothing comes before it. Which of two with one priority comes first is not defined, so another one is in the way."""


def _says(target: Target, exempt: Exemption) -> dict[str, Any]:
    subject = {
        "namespaceSelector": {"matchLabels": {NAMESPACE_NAME: target.namespace}},
        "podSelector": {"matchLabels": {ISOLATED: target.uid}},
    }
    ingress: list[dict[str, Any]] = [{"name": "deny", "action": "Deny", "from": [{"namespaces": {}}]}]
    outside = {"networks": ["0.0.0.0/0", "::/0"]}
    egress: list[dict[str, Any]] = [{"name": "deny", "action": "Deny", "to": [{"namespaces": {}}, outside]}]
    if exempt.peer is not None and exempt.peer.cidr is None:
        ingress.insert(0, {"name": "peer", "action": "Accept", "from": [{"pods": selectors(exempt.peer)}]})
    if exempt.dns:
        ports = [{protocol: {"destinationPort": {"number": DNS_PORT}}} for protocol in ("udp", "tcp")]
        egress.insert(0, {"name": "dns", "action": "Accept", "to": [{"pods": selectors(DNS)}], "protocols": ports})
    return {"tier": "Admin", "priority": PRIORITY, "subject": {"pods": subject}, "ingress": ingress, "egress": egress}


CLUSTER_POLICY: Final = PolicyKind(
    name="cluster-network-policy",
    group="policy.networking.k8s.io/v1alpha2",
    kind="ClusterNetworkPolicy",
    plural="clusternetworkpolicies",
    says=_says,
    namespaced=False,
)


def in_the_way(policies: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Those of others that may come before ours. Two of ours never select the same pod."""
    found = []
    for policy in policies:
        spec, name = mapping(policy.get("spec")), str(policy["metadata"]["name"])
        ours = name.startswith(CLUSTER_POLICY.prefix)
        if not ours and spec.get("tier") == "Admin" and spec.get("priority", PRIORITY) <= PRIORITY:
            found.append(
                f"cluster network policy {name!r} has priority {spec.get('priority')}, and may come before ours"
            )
    return tuple(sorted(found))
