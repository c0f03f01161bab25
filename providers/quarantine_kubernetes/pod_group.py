"""The pods that do the same work as one: those of its controller."""

from collections.abc import Mapping
from typing import Any, Final

from quarantine.action import Group
from quarantine.model import Resource
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.objects import is_ready
from quarantine_kubernetes.pod import get_pod, owner_of

PERMISSIONS: Final = ("get pods", "list pods")
PODS: Final = "/api/v1/namespaces/{namespace}/pods"

_TEMPLATE_LABELS: Final = ("pod-template-hash", "controller-revision-hash", "batch.kubernetes.io/controller-uid")
"""What ReplicaSets, DaemonSets and StatefulSets, and Jobs label their pods with (kubernetes.io, "Well-Known Labels").
With it, the API server sends the pods of one template and not those of the whole namespace.
"""


def pod_group(cloud: KubernetesCloud, resource: Resource) -> Group | None:
    """The pods of the same controller; None for a pod that has none. From the API server's cache."""
    pod = get_pod(cloud, resource)
    controller = _controller(pod)
    if controller is None:
        return None
    labels = pod["metadata"].get("labels") or {}
    query = {"resourceVersion": "0"}
    query |= next(({"labelSelector": f"{key}={labels[key]}"} for key in _TEMPLATE_LABELS if key in labels), {})
    found = cloud.read("list pods", f"get {PODS}", namespace=resource.area, query=query)
    members = [item for item in found["items"] if _controller(item) == controller]
    return Group(key=f"{resource.scope}/{owner_of(pod)}", size=len(members), healthy=sum(map(is_ready, members)))


def _controller(pod: Mapping[str, Any]) -> str | None:
    """The uid of its controller."""
    owners = pod["metadata"].get("ownerReferences") or []
    return next((owner["uid"] for owner in owners if owner.get("controller")), None)
