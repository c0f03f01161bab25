"""The nodes that take the same pods as one: those of its pool."""

from collections.abc import Mapping
from typing import Any, Final

from quarantine.action import Group
from quarantine.model import Resource
from quarantine_kubernetes import objects
from quarantine_kubernetes.cloud import KubernetesCloud

KIND: Final = objects.KINDS[objects.NODE]
PERMISSIONS: Final = (KIND.permission("get"), KIND.permission("list"))
CONTROL_PLANE: Final = "node-role.kubernetes.io/control-plane"

_POOLS: Final = (
    "eks.amazonaws.com/nodegroup",
    "karpenter.sh/nodepool",
    "cloud.google.com/gke-nodepool",
    "kubernetes.azure.com/agentpool",
    "doks.digitalocean.com/node-pool",
    "k8s.scaleway.com/pool-name",
    "kops.k8s.io/instancegroup",
)
"""The labels that name a node's pool, as the documentation of each platform has them. Nodes that have none of them are
one pool, and those of the control plane another one."""


def node_pool(cloud: KubernetesCloud, resource: Resource) -> Group:
    """The nodes of its pool; healthy are those that take new pods, and it itself. From the API server's cache."""
    key, value = pool_of(objects.get(cloud, resource))
    query = {"resourceVersion": "0"} | ({"labelSelector": f"{key}={value}"} if value else {})
    found = cloud.read(KIND.permission("list"), f"get {KIND.collection}", query=query)
    members = [node for node in found["items"] if pool_of(node) == (key, value)]
    healthy = sum(node["metadata"]["name"] == resource.id or takes_pods(node) for node in members)
    return Group(key=f"{resource.account}/node pool {value or key}", size=len(members), healthy=healthy)


def pool_of(node: Mapping[str, Any]) -> tuple[str, str]:
    """A label and its value; without a value, the word for those that have no such label."""
    labels = node["metadata"].get("labels") or {}
    word = "of the control plane" if CONTROL_PLANE in labels else "without a name"
    return next(((key, labels[key]) for key in _POOLS if labels.get(key)), (word, ""))


def takes_pods(node: Mapping[str, Any]) -> bool:
    """May the scheduler put new pods there, and does its kubelet answer?"""
    return objects.is_ready(node) and not node["spec"].get("unschedulable")
