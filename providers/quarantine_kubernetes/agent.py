"""Who makes policies true on a node: the agent of the cluster's network plug-in, seen as a pod there.

A policy in the API server changes nothing by itself, and no status of it tells (kubernetes.io, Network Policies). An
agent that is ready on the pod's own node is the best that can be read; only packets would prove more.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from quarantine.model import Value
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.objects import is_ready
from quarantine_kubernetes.policy_kind import PolicyKind
from quarantine_kubernetes.selector import items

PERMISSIONS: Final = ("list pods",)
PODS: Final = "/api/v1/namespaces/{namespace}/pods"
SECONDS: Final = 30.0
"""How long the agents of a node are believed to be as they were, to plan and to begin."""
SECONDS_ISOLATED: Final = 2.0
"""The same for a pod that is isolated. A kubelet takes longer to notice that an agent is not ready any more."""

AGENTS: Final = {
    "k8s-app": ("aws-node", "azure-npm", "calico-node", "canal", "cilium", "kube-network-policies", "kube-router"),
    "app": ("antrea", "kube-network-policies", "ovnkube-node"),
}
"""By the label of their DaemonSets' pods, as each project's own manifests have it. Flannel's is not among them: alone
it enforces nothing (flannel-io/flannel, Documentation/netpol.md)."""

_DATAPLANE_V2: Final = "anetd"
"""Google's build of Cilium, which does not take CiliumNetworkPolicies of users (cloud.google.com, GKE Dataplane V2)."""
_CALICO_WITH_CLUSTER_POLICIES: Final = (3, 32)
"""projectcalico/calico release notes; network-policy-api, implementations."""


class Agent(Value):
    plug_in: str
    """`cilium`"""
    name: str
    """`kube-system/cilium-x7k2p`"""
    ready: bool
    owner: str = ""
    images: tuple[str, ...] = ()

    @property
    def enforces_plain(self) -> bool:
        if self.plug_in == "aws-node":  # policies are enforced by a second container, and only if it is there
            return any("network-policy-agent" in image for image in self.images)
        return not (self.plug_in == "antrea" and self.owner != "antrea-agent")

    @property
    def takes_cilium(self) -> bool:
        return self.plug_in == "cilium" and self.owner != _DATAPLANE_V2

    @property
    def takes_calico(self) -> bool:
        return self.plug_in in ("calico-node", "canal")

    @property
    def takes_cluster_policies(self) -> bool:
        if self.plug_in == "kube-network-policies":
            return any("npa-v1alpha2" in image for image in self.images)
        versions = [re.search(r":v(\d+)\.(\d+)", image) for image in self.images if "calico" in image]
        found = [(int(version[1]), int(version[2])) for version in versions if version]
        return self.takes_calico and any(version >= _CALICO_WITH_CLUSTER_POLICIES for version in found)


def agents_on(cloud: KubernetesCloud, node: str, isolated: bool) -> tuple[Agent, ...]:
    """From the namespaces that are trusted to run them: anybody may label a pod `k8s-app: cilium` elsewhere."""
    if not node:
        return ()
    if cloud.enforced_by:
        return (Agent(plug_in=cloud.enforced_by, name="the configuration", ready=True),)
    seconds = SECONDS_ISOLATED if isolated else SECONDS
    return cloud.recent.get(("agents", node), seconds, lambda: _ask(cloud, node))


def _ask(cloud: KubernetesCloud, node: str) -> tuple[Agent, ...]:
    """Asks on until one is found that enforces network policies, which every such plug-in does."""
    found: list[Agent] = []
    query = {"fieldSelector": f"spec.nodeName={node}", "resourceVersion": "0"}
    for key, names in AGENTS.items():
        query["labelSelector"] = f"{key} in ({','.join(names)})"
        for namespace in cloud.agents:
            pods = cloud.read("list pods", f"get {PODS}", namespace=namespace, query=query)["items"]
            found += [agent_of(pod, pod["metadata"]["labels"][key]) for pod in pods]
            if any(agent.enforces_plain for agent in found):
                return tuple(found)
    return tuple(found)


def agent_of(pod: Mapping[str, Any], plug_in: str) -> Agent:
    metadata = pod["metadata"]
    owners = [owner["name"] for owner in items(metadata.get("ownerReferences")) if owner.get("kind") == "DaemonSet"]
    return Agent(
        plug_in=plug_in,
        name=f"{metadata['namespace']}/{metadata['name']}",
        ready=is_ready(pod),
        owner=next(iter(owners), ""),
        images=tuple(str(container.get("image")) for container in pod["spec"]["containers"]),
    )


def takes(agent: Agent, kind: PolicyKind) -> bool:
    """Does this agent enforce this kind of policy?"""
    by_kind = {
        "cilium": agent.takes_cilium,
        "calico": agent.takes_calico,
        "cluster-network-policy": agent.takes_cluster_policies,
        "network-policy": agent.enforces_plain,
    }
    return by_kind[kind.name]
