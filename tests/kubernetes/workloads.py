"""What keeps pods running, made by the real controllers."""

from typing import Any

from quarantine.model import Resource
from quarantine_kubernetes.objects import KINDS, WORKLOADS, Kind
from tests.kubernetes.conftest import Namespace
from tests.testbed.kubeapi import ApiError
from tests.testbed.poll import until

CONTAINERS = [{"name": "main", "image": "example.test/web:1"}]
TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": CONTAINERS}}
SELECTOR = {"matchLabels": {"app": "web"}}


def make(namespace: Namespace, plural: str, name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    path = kind_of(plural).collection.format(namespace=namespace.name)
    return namespace.api.create(path, {"metadata": {"name": name, **metadata}, "spec": spec})


def make_deployment(namespace: Namespace, name: str = "web", replicas: int = 2) -> dict[str, Any]:
    return make(namespace, "deployments", name, {"replicas": replicas, "selector": SELECTOR, "template": TEMPLATE})


def running(namespace: Namespace, count: int) -> list[Resource]:
    """The pods, once the controllers have made so many and the kubelet has started them."""

    until(lambda: len(namespace.api.play_kubelet(namespace.name)) == count)
    return [namespace.resource(pod) for pod in namespace.api.play_kubelet(namespace.name)]


def rest(namespace: Namespace, plural: str, name: str) -> None:
    """Until its controllers have written their last about a Deployment or a Job of two pods.

    A patch of what they write meanwhile is refused, and the engine would look and try again.
    """
    path = f"{kind_of(plural).path.format(namespace=namespace.name, name=name)}"
    versions: list[str] = []

    def nothing_goes_on() -> bool:
        try:
            namespace.api.play_kubelet(namespace.name)
        except ApiError as error:
            if error.status not in (404, 409):
                raise
            return False  # a controller was faster with a pod
        found = namespace.api.get(path)
        spec, status = found["spec"], found.get("status", {})
        versions.append(found["metadata"]["resourceVersion"])
        if plural == "jobs":
            wanted = 0 if spec["suspend"] else spec["parallelism"]
            there = {status.get("active", 0), status.get("ready", 0), wanted + status.get("terminating", 0)}
        else:
            wanted = spec["replicas"]
            there = {status.get("replicas", 0), status.get("availableReplicas", 0)}
            if status.get("observedGeneration") != found["metadata"]["generation"]:
                return False
        return there == {wanted} and versions[-2:-1] == versions[-1:]

    until(nothing_goes_on)


def kind_of(plural: str) -> Kind:
    (kind,) = (kind for kind in (*KINDS.values(), *WORKLOADS.values()) if kind.plural == plural)
    return kind


def node_of(namespace: Namespace) -> str:
    """A node of the namespace's own. Endpoints on a node that is not there are left out of every EndpointSlice."""
    if not namespace.api.exists(namespace.node_path):
        namespace.api.create("/api/v1/nodes", {"metadata": {"name": namespace.node}})
    return namespace.node
