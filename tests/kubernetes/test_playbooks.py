"""The shipped playbooks, loaded as the program loads them, and asked about real alerts."""

from datetime import UTC, datetime
from typing import Any

import pytest

from quarantine.match import Matcher
from quarantine.playbook import load, shipped
from quarantine.registry import Registry
from quarantine_kubernetes import Kubernetes
from quarantine_kubernetes.findings import falco

CRITICAL: dict[str, Any] = {
    "rule": "Drop and execute new binary in container",
    "priority": "Critical",
    "cluster": "prod",
    "output_fields": {"k8s.ns.name": "shop", "k8s.pod.name": "web-1", "container.id": "77aa0c12fe34"},
}


def answer(record: dict[str, Any]) -> str | None:
    registry = Registry([Kubernetes], {})
    playbooks = [load(path, registry) for path in sorted((shipped() / "kubernetes").glob("*.yaml"))]
    (finding,) = falco(record, "falco", datetime.now(UTC))
    found = Matcher(playbooks).answer(finding)
    return found.name if found else None


def test_a_critical_alert_about_a_pod_is_answered() -> None:
    assert answer(CRITICAL) == "isolate-pod"


@pytest.mark.parametrize("priority", ["Notice", "Warning"])
def test_a_lesser_one_is_not(priority: str) -> None:
    assert answer({**CRITICAL, "priority": priority}) is None


def test_the_clusters_own_pods_are_left_alone() -> None:
    assert answer({**CRITICAL, "output_fields": {**CRITICAL["output_fields"], "k8s.ns.name": "kube-system"}}) is None
