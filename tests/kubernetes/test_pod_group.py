"""The group of a pod: the last healthy one of its controller is not cut off without a person."""

from collections.abc import Callable

from quarantine.model import Resource
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.pod_group import PERMISSIONS, pod_group
from tests.kubernetes.conftest import Namespace
from tests.kubernetes.rbac import grant
from tests.testbed.controlplane import SERVICE
from tests.testbed.poll import until


def deploy(namespace: Namespace, name: str, replicas: int) -> list[Resource]:
    """A deployment whose pods run, made by the real controllers."""
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": "none"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    deployments = f"/apis/apps/v1/namespaces/{namespace.name}/deployments"
    namespace.api.create(deployments, {"metadata": {"name": name}, "spec": spec})

    def running() -> list[Resource]:
        pods = [pod for pod in namespace.api.play_kubelet(namespace.name) if pod["metadata"]["labels"]["app"] == name]
        return [namespace.resource(pod) for pod in pods] if len(pods) == replicas else []

    return until(running)


def test_a_pod_that_nobody_owns_has_no_group(cloud: KubernetesCloud, namespace: Namespace) -> None:
    assert pod_group(cloud, namespace.pod("alone")) is None


def test_the_pods_of_its_controller_are_counted_and_no_others(cloud: KubernetesCloud, namespace: Namespace) -> None:
    web = deploy(namespace, "web", 3)
    deploy(namespace, "shop", 2)
    namespace.pod("stray", {"app": "web"})
    groups = [pod_group(cloud, resource) for resource in web]
    assert groups[0] is not None
    assert (groups[0].size, groups[0].healthy) == (3, 3)
    assert groups[0].key.startswith(f"testbed/{namespace.name}/ReplicaSet/web-")
    assert groups[1:] == [groups[0], groups[0]]


def test_a_pod_that_is_not_ready_is_not_healthy(cloud: KubernetesCloud, namespace: Namespace) -> None:
    first, second = deploy(namespace, "web", 2)
    condition = {"type": "Ready", "status": "False"}
    namespace.api.patch_status(namespace.pod_path(second.id), {"conditions": [condition]})

    def one_is_left() -> bool:
        found = pod_group(cloud, first)
        return found is not None and (found.size, found.healthy) == (2, 1)

    until(one_is_left)  # the API server's cache may be a moment behind


def test_what_it_asks_for_is_what_it_says(cloud_of: Callable[[str], KubernetesCloud], namespace: Namespace) -> None:
    (resource,) = deploy(namespace, "web", 1)
    grant(namespace, SERVICE, PERMISSIONS)
    found = pod_group(cloud_of(SERVICE), resource)
    assert found is not None and found.healthy == 1
