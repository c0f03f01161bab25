"""What a pod in quarantine may still do: nothing, be looked at by a named peer, ask for names. Pure."""

from ipaddress import ip_network
from typing import Any, Final, Self

from pydantic import field_validator, model_validator

from quarantine.model import Value

NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"
"""The label that every namespace has, with its name (kubernetes.io, "Well-Known Labels")."""
DNS_PORT: Final = 53


class Peer(Value):
    """Who may connect to the pod: pods by the labels of their namespace and their own, or addresses."""

    namespaces: dict[str, str] | None = None
    """Labels of their namespace: {kubernetes.io/metadata.name: forensics}."""
    pods: dict[str, str] | None = None
    """Labels of the pods."""
    cidr: str | None = None
    """Addresses outside of the cluster instead: 192.0.2.7/32."""

    @field_validator("cidr")
    @classmethod
    def _some(cls, cidr: str | None) -> str | None:
        if cidr is not None and ip_network(cidr).prefixlen == 0:
            raise ValueError("the whole world is no peer")
        return cidr

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        by_label = bool(self.namespaces) and bool(self.pods)
        if by_label == (self.cidr is not None) or (self.cidr is not None and (self.namespaces or self.pods)):
            raise ValueError("a peer has labels of namespaces and of pods, or it has a cidr")
        return self

    def __str__(self) -> str:
        if self.cidr is not None:
            return self.cidr
        both = (
            ",".join(f"{key}={value}" for key, value in (found or {}).items()) for found in (self.pods, self.namespaces)
        )
        return "pods with {} in namespaces with {}".format(*both)


DNS: Final = Peer(namespaces={NAMESPACE_NAME: "kube-system"}, pods={"k8s-app": "kube-dns"})
"""The cluster's DNS, as its Service selects it (kubernetes.io, "Customizing DNS Service")."""


class Exemption(Value):
    peer: Peer | None = None
    """May connect to the pod."""
    dns: bool = False
    """May the pod ask the cluster's DNS?"""


def selectors(peer: Peer) -> dict[str, Any]:
    """A peer with labels, as NetworkPolicy and ClusterNetworkPolicy name pods."""
    return {"namespaceSelector": {"matchLabels": peer.namespaces}, "podSelector": {"matchLabels": peer.pods}}
