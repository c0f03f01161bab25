"""Reading one pod, and being sure that it is the one that was meant."""

from collections.abc import Mapping
from typing import Any, Final

from quarantine.model import Resource
from quarantine_kubernetes import objects
from quarantine_kubernetes.cloud import KubernetesCloud

POD: Final = objects.KINDS[objects.POD].path


def get_pod(cloud: KubernetesCloud, resource: Resource) -> dict[str, Any]:
    """Raises Gone, also when another pod has the name now."""
    return objects.get(cloud, resource)


def owner_of(pod: Mapping[str, Any]) -> str:
    """`ReplicaSet/web-7d4b9`: the controller if there is one; empty for a pod that nobody owns."""
    owners = pod["metadata"].get("ownerReferences") or []
    owners = [owner for owner in owners if owner.get("controller")] or owners
    return f"{owners[0]['kind']}/{owners[0]['name']}" if owners else ""


def is_static(pod: Mapping[str, Any]) -> bool:
    """Does it mirror a manifest on its node? Then the kubelet puts it back as it was."""
    return "kubernetes.io/config.mirror" in (pod["metadata"].get("annotations") or {})
