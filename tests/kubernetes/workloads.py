"""What keeps pods running, made by the real controllers."""

from typing import Any

from quarantine.model import Resource
from quarantine_kubernetes.objects import KINDS, WORKLOADS
from tests.kubernetes.conftest import Namespace
from tests.testbed.poll import until

CONTAINERS = [{"name": "main", "image": "example.test/web:1"}]
TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": CONTAINERS}}
SELECTOR = {"matchLabels": {"app": "web"}}


def make(namespace: Namespace, plural: str, name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    (kind,) = (kind for kind in (*KINDS.values(), *WORKLOADS.values()) if kind.plural == plural)
    path = kind.collection.format(namespace=namespace.name)
    return namespace.api.create(path, {"metadata": {"name": name, **metadata}, "spec": spec})


def make_deployment(namespace: Namespace, name: str = "web", replicas: int = 2) -> dict[str, Any]:
    return make(namespace, "deployments", name, {"replicas": replicas, "selector": SELECTOR, "template": TEMPLATE})


def running(namespace: Namespace, count: int) -> list[Resource]:
    """The pods, once the controllers have made so many and the kubelet has started them."""

    until(lambda: len(namespace.api.play_kubelet(namespace.name)) == count)
    return [namespace.resource(pod) for pod in namespace.api.play_kubelet(namespace.name)]
