"""Every shipped playbook dies everywhere on a real API server: see quarantine/testing/crash.py."""

import uuid
from pathlib import Path
from typing import Any

import pytest

from quarantine.playbook import shipped
from quarantine.testing.crash import CrashContract, Scene, Stage
from quarantine.testing.installation import Installation
from quarantine_kubernetes import Kubernetes
from quarantine_kubernetes.provider import Cluster, KubernetesSettings
from tests.kubernetes.conftest import CLUSTER, Namespace
from tests.testbed.controlplane import ADMIN, ControlPlane

LABELS = {"app": "web", "pod-template-hash": "7d4b9", "tier": "front"}
WRITTEN = {"resourceVersion", "generation", "managedFields"}
"""What the API server notes of each write."""


def lasting(thing: dict[str, Any]) -> dict[str, Any]:
    """An object without what changes with each write."""
    metadata = {key: value for key, value in thing["metadata"].items() if key not in WRITTEN}
    return {**thing, "metadata": metadata}


@pytest.fixture
def kubernetes(control_plane: ControlPlane) -> Kubernetes:
    return Kubernetes(KubernetesSettings(clusters={CLUSTER: Cluster(kubeconfig=control_plane.kubeconfig(ADMIN))}))


class TestIsolatePod(CrashContract):
    playbook = shipped() / "kubernetes" / "isolate-pod.yaml"

    @pytest.fixture
    def scene(self, namespace: Namespace, kubernetes: Kubernetes) -> Stage:
        namespace.policy("allow-web", podSelector={"matchLabels": {"app": "web"}}, ingress=[{}], egress=[{}])

        def fresh(folder: Path) -> Scene:
            pod = namespace.pod(f"web-{uuid.uuid4().hex[:8]}", LABELS)
            path = namespace.pod_path(pod.id)
            return Scene(
                Installation(folder, kubernetes, [self.playbook]),
                pod,
                raw=lambda: [lasting(namespace.api.get(path)), *map(lasting, namespace.api.items(namespace.policies))],
                end=lambda: namespace.api.delete(path),
            )

        return fresh


class TestDeletePod(CrashContract):
    """With the kubelet that ends the containers when time has come."""

    playbook = shipped() / "kubernetes" / "delete-pod.yaml"

    @pytest.fixture
    def scene(self, namespace: Namespace, kubernetes: Kubernetes) -> Stage:
        def fresh(folder: Path) -> Scene:
            pod = namespace.pod(f"web-{uuid.uuid4().hex[:8]}", LABELS)
            path = namespace.pod_path(pod.id)
            return Scene(
                Installation(
                    folder, kubernetes, [self.playbook], passing=lambda _: namespace.api.play_kubelet(namespace.name)
                ),
                pod,
                raw=lambda: namespace.api.exists(path),
            )

        return fresh
