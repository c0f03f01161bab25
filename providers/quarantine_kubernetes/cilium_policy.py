"""The CiliumNetworkPolicy that denies a pod everything: Cilium's denies win over whatever any policy allows.

A deny has no exception for who else is allowed (docs.cilium.io, "Deny Policies"), so what is exempt must not be among
what is denied: the denied endpoints are all of which some label of the peer is not as the peer has it.
"""

from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any, Final

from quarantine_kubernetes.exemption import DNS, DNS_PORT, Exemption, Peer
from quarantine_kubernetes.policy_kind import ISOLATED, PolicyKind, Target
from quarantine_kubernetes.selector import items, mapping

ENDPOINTS: Final = "ciliumendpoints.cilium.io"
ENDPOINT: Final = "/apis/cilium.io/v2/namespaces/{namespace}/ciliumendpoints/{name}"

_NAMESPACE: Final = "k8s:io.kubernetes.pod.namespace"
"""What every pod has; a selector that names it is not confined to the namespace of its policy."""
_NAMESPACE_LABEL: Final = "k8s:io.cilium.k8s.namespace.labels."

# The node itself is left out: its kubelet probes the pod, and would restart, and so destroy, what is to be examined.
# `kube-apiserver` is left out because it may be that same node.
_SOURCES: Final = ("remote-node", "health", "init", "ingress", "unmanaged")
_DESTINATIONS: Final = ("world", "host", "remote-node", "kube-apiserver", "health", "init", "ingress", "unmanaged")


def _says(target: Target, exempt: Exemption) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "endpointSelector": {"matchLabels": {ISOLATED: target.uid}},
        "ingressDeny": [
            {"fromEntities": [*_SOURCES, *([] if exempt.peer and exempt.peer.cidr else ["world"])]},
            {"fromEndpoints": _all_but(exempt.peer)},
        ],
        "egressDeny": [{"toEntities": ["all"]}],
    }
    if exempt.peer is not None and exempt.peer.cidr is not None:
        spec["ingressDeny"].append({"fromCIDRSet": _world_but(exempt.peer.cidr)})
        spec["ingress"] = [{"fromCIDR": [exempt.peer.cidr]}]
    elif exempt.peer is not None:
        spec["ingress"] = [{"fromEndpoints": [_labels(exempt.peer)]}]
    if exempt.dns:
        spec["egressDeny"] = [{"toEntities": list(_DESTINATIONS)}, {"toEndpoints": _all_but(DNS)}]
        ports = [{"port": str(DNS_PORT), "protocol": protocol} for protocol in ("UDP", "TCP")]
        spec["egress"] = [{"toEndpoints": [_labels(DNS)], "toPorts": [{"ports": ports}]}]
    return spec


def _labels(peer: Peer) -> dict[str, Any]:
    return {"matchLabels": dict(_pairs(peer))}


def _pairs(peer: Peer) -> list[tuple[str, str]]:
    spaces = [(f"{_NAMESPACE_LABEL}{key}", value) for key, value in (peer.namespaces or {}).items()]
    return [*spaces, *((f"k8s:{key}", value) for key, value in (peer.pods or {}).items())]


def _all_but(peer: Peer | None) -> list[dict[str, Any]]:
    every = {"key": _NAMESPACE, "operator": "Exists"}
    pairs = _pairs(peer) if peer is not None else []
    if not pairs:
        return [{"matchExpressions": [every]}]
    others = [{"key": key, "operator": "NotIn", "values": [value]} for key, value in pairs]
    return [{"matchExpressions": [every, other]} for other in others]


def _world_but(cidr: str) -> list[dict[str, Any]]:
    """The CIDRs of policies select what is outside of the cluster alone (docs.cilium.io, "CIDR based")."""
    own, other = ("0.0.0.0/0", "::/0") if ip_network(cidr).version == 4 else ("::/0", "0.0.0.0/0")
    return [{"cidr": own, "except": [cidr]}, {"cidr": other}]


CILIUM_POLICY: Final = PolicyKind(
    name="cilium", group="cilium.io/v2", kind="CiliumNetworkPolicy", plural="ciliumnetworkpolicies", says=_says
)


def label_in_force(endpoint: Mapping[str, Any], uid: str) -> bool:
    """Is our label among those that Cilium made the pod's identity of? Which ones count is for its configuration."""
    identity = mapping(mapping(endpoint.get("status")).get("identity"))
    return f"k8s:{ISOLATED}={uid}" in items(identity.get("labels"))
