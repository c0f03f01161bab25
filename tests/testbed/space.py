"""A namespace whose pods have wires."""

import uuid
from collections.abc import Sequence
from typing import Any, Self

from tests.testbed.kubeapi import KubeApi, Object
from tests.testbed.network import Host
from tests.testbed.node import Node
from tests.testbed.poll import until


class Space:
    """Deleted at the end of `with`."""

    def __init__(self, api: KubeApi, node: Node) -> None:
        self.name = f"wired-{uuid.uuid4().hex[:8]}"
        self.api = api
        self.node = node
        self.policies = f"/apis/networking.k8s.io/v1/namespaces/{self.name}/networkpolicies"
        self.pods = f"/api/v1/namespaces/{self.name}/pods"
        self.replica_sets = f"/apis/apps/v1/namespaces/{self.name}/replicasets"

    def __enter__(self) -> Self:
        self.api.make_namespace(self.name, {"name": self.name})
        self.node.serve(self.name)
        return self

    def __exit__(self, *_: object) -> None:
        self.api.delete(f"/api/v1/namespaces/{self.name}", grace=None)

    def create(self, name: str, labels: dict[str, str], **spec: object) -> Object:
        """A pod, which runs a moment later."""
        spec = {"containers": _containers(), **spec}
        return self.api.create(self.pods, {"metadata": {"name": name, "labels": labels}, "spec": spec})

    def host(self, name: str, **labels: str) -> Host:
        """The host of a new pod."""
        return self.node.host(self.create(name, labels))

    def pod(self, name: str) -> Object:
        return self.api.get(f"{self.pods}/{name}")

    def labels(self, name: str) -> dict[str, str]:
        labels: dict[str, str] = self.pod(name)["metadata"].get("labels") or {}
        return labels

    def policy(self, name: str, **spec: object) -> None:
        """For all pods of the namespace, unless the spec says otherwise."""
        self.api.create(self.policies, {"metadata": {"name": name}, "spec": {"podSelector": {}, **spec}})

    def delete_policy(self, name: str) -> None:
        self.api.delete(f"{self.policies}/{name}")

    def policy_names(self) -> list[str]:
        return [policy["metadata"]["name"] for policy in self.api.items(self.policies)]

    def replica_set(self, name: str, replicas: int) -> list[Object]:
        """The pods of a new one, labelled app=NAME, when all run."""
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": {"containers": _containers()}}
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        self.api.create(self.replica_sets, {"metadata": {"name": name}, "spec": spec})
        until(lambda: self.ready(name) == replicas)
        return [pod for pod in self.api.items(self.pods) if pod["metadata"]["labels"].get("app") == name]

    def ready(self, replica_set: str) -> int:
        status = self.api.get(f"{self.replica_sets}/{replica_set}")["status"]
        return int(status.get("readyReplicas", 0))

    def service(self, name: str) -> None:
        """For the pods labelled app=NAME."""
        body = {"metadata": {"name": name}, "spec": {"selector": {"app": name}, "ports": [{"port": 80}]}}
        self.api.create(f"/api/v1/namespaces/{self.name}/services", body)

    def endpoints(self, service: str) -> set[str]:
        """The addresses that the service sends its clients to."""
        path = f"/apis/discovery.k8s.io/v1/namespaces/{self.name}/endpointslices"
        slices = self.api.items(f"{path}?labelSelector=kubernetes.io/service-name%3D{service}")
        return {
            address
            for each in slices
            for endpoint in each.get("endpoints") or []
            if endpoint["conditions"].get("ready")
            for address in endpoint["addresses"]
        }


def _containers() -> Sequence[dict[str, Any]]:
    return [{"name": "main", "image": "example.test/main:1"}]
