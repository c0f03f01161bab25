"""A namespace of its own for each test, with pods in it, and our connection to the API server."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from quarantine.model import Resource
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.session import from_kubeconfig
from tests.testbed.controlplane import ADMIN, ControlPlane

CLUSTER = "testbed"


@dataclass
class Namespace:
    """What the tests do here, they do as the administrator and without our code."""

    name: str
    api: ControlPlane

    @property
    def policies(self) -> str:
        return f"/apis/networking.k8s.io/v1/namespaces/{self.name}/networkpolicies"

    @property
    def node(self) -> str:
        """The name of a node of its own, for those who make one."""
        return f"node-of-{self.name}"

    @property
    def node_path(self) -> str:
        return f"/api/v1/nodes/{self.node}"

    def pod_path(self, name: str) -> str:
        return f"/api/v1/namespaces/{self.name}/pods/{name}"

    def pod(self, name: str, labels: dict[str, str] | None = None, **spec: object) -> Resource:
        made = self.api.make_pod(self.name, name, {"app": "web"} if labels is None else labels, **spec)
        return self.resource(made)

    def resource(self, pod: dict[str, Any]) -> Resource:
        metadata = pod["metadata"]
        return Resource(kind="kubernetes:pod", id=metadata["name"], scope=f"{CLUSTER}/{self.name}", uid=metadata["uid"])

    def labels(self, pod: str) -> dict[str, str]:
        labels: dict[str, str] = self.api.get(self.pod_path(pod))["metadata"].get("labels", {})
        return labels

    def policy(self, name: str, **spec: object) -> dict[str, Any]:
        return self.api.create(self.policies, {"metadata": {"name": name}, "spec": spec})

    def policy_names(self) -> list[str]:
        return [policy["metadata"]["name"] for policy in self.api.items(self.policies)]


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[Namespace]:
    with new_namespace(control_plane) as made:
        yield made


@contextmanager
def new_namespace(control_plane: ControlPlane) -> Iterator[Namespace]:
    name = f"shop-{uuid.uuid4().hex[:8]}"
    control_plane.make_namespace(name)
    made = Namespace(name, control_plane)
    yield made
    control_plane.delete(f"/api/v1/namespaces/{name}", grace=None)
    if control_plane.exists(made.node_path):
        control_plane.delete(made.node_path)


@pytest.fixture
def cloud_of(control_plane: ControlPlane) -> Callable[[str], KubernetesCloud]:
    """Our connection, as a user of the control plane."""
    return lambda user: KubernetesCloud(CLUSTER, from_kubeconfig(control_plane.kubeconfig(user)))


@pytest.fixture
def cloud(cloud_of: Callable[[str], KubernetesCloud]) -> KubernetesCloud:
    return cloud_of(ADMIN)
