"""Which APIs a cluster serves. That it serves one does not mean that anybody acts on it: see `agent.py`."""

from typing import Final

from quarantine_kubernetes.cloud import KubernetesCloud

PERMISSIONS: Final = ("get /apis",)
"""Everybody who is authenticated has it, unless somebody took it away (kubernetes.io, RBAC, `system:discovery`)."""
SECONDS: Final = 60.0

NOT_USED: Final = {
    "crd.antrea.io/v1beta1": "Antrea's own policies",
    "networking.k8s.aws/v1alpha1": "the policies of the AWS VPC plug-in",
    "policy.networking.k8s.io/v1alpha1": "AdminNetworkPolicy (v1alpha1)",
    "crd.projectcalico.org/v1": "Calico's raw objects (install its API server, for projectcalico.org/v3)",
}
"""What could deny, and this version makes no use of."""


def served(cloud: KubernetesCloud) -> frozenset[str]:
    """Groups with their versions: `cilium.io/v2`."""
    return cloud.recent.get(("apis",), SECONDS, lambda: _ask(cloud))


def _ask(cloud: KubernetesCloud) -> frozenset[str]:
    groups = cloud.read("get /apis", "get /apis")["groups"]
    return frozenset(version["groupVersion"] for group in groups for version in group["versions"])


def not_used(apis: frozenset[str]) -> tuple[str, ...]:
    has_calico = "projectcalico.org/v3" in apis
    names = [
        NOT_USED[api] for api in sorted(apis & set(NOT_USED)) if not (has_calico and api.startswith("crd.project"))
    ]
    return tuple(f"{name} could deny, and this version makes no use of them" for name in names)
