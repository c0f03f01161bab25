"""The shipped playbooks, loaded as the program loads them, and asked about real alerts."""

from datetime import UTC, datetime
from typing import Any

import pytest

from quarantine.cli.hand import SOURCE
from quarantine.match import Matcher
from quarantine.model import Finding, Resource, Severity
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


def test_an_escape_also_makes_the_node_suspect() -> None:
    escape = {**CRITICAL, "rule": "Detect release_agent File Container Escapes"}
    assert answer(escape) == "contain-escape"
    assert answer({**escape, "output_fields": {**CRITICAL["output_fields"], "k8s.ns.name": "kube-system"}}) is None


@pytest.mark.parametrize("priority", ["Notice", "Warning"])
def test_a_lesser_one_is_not(priority: str) -> None:
    assert answer({**CRITICAL, "priority": priority}) is None


def test_the_clusters_own_pods_are_left_alone() -> None:
    assert answer({**CRITICAL, "output_fields": {**CRITICAL["output_fields"], "k8s.ns.name": "kube-system"}}) is None


def test_what_only_a_person_asks_for_answers_no_alert() -> None:
    registry = Registry([Kubernetes], {})
    asked = [load(path, registry) for path in (shipped() / "kubernetes").glob("*.yaml")]
    by_hand = [playbook for playbook in asked if playbook.match.source == (SOURCE,)]
    wanted = {"delete-pod", "stop-owner", "scale-to-zero", "suspend-job", "suspend-cronjob", "revoke-pod-rights"}
    wanted |= {"revoke-account-rights"}
    assert wanted <= {playbook.name for playbook in by_hand}
    (finding,) = falco(CRITICAL, "falco", datetime.now(UTC))
    assert not [trial for trial in Matcher(by_hand).trials(finding) if trial.answers]


@pytest.mark.parametrize(
    ("kind", "finding_type", "severity", "playbook"),
    [
        ("kubernetes:clusterrolebinding", "cluster-admin-binding", Severity.HIGH, "revoke-cluster-binding"),
        ("kubernetes:clusterrolebinding", "something-else", Severity.CRITICAL, None),
        ("kubernetes:service", "open-service", Severity.HIGH, "unexpose-service"),
        ("kubernetes:service", "something-else", Severity.CRITICAL, None),
        ("kubernetes:serviceaccount", "mounted-token-with-rights", Severity.HIGH, "disable-account-tokens"),
        ("kubernetes:serviceaccount", "mounted-token-with-rights", Severity.MEDIUM, None),
        ("kubernetes:serviceaccount", "something-else", Severity.CRITICAL, None),
        ("kubernetes:pod", "privileged-pod", Severity.MEDIUM, None),
    ],
)
def test_a_playbook_answers_its_polls_findings_and_no_others(
    kind: str, finding_type: str, severity: Severity, playbook: str | None
) -> None:
    registry = Registry([Kubernetes], {})
    playbooks = [load(path, registry) for path in sorted((shipped() / "kubernetes").glob("*.yaml"))]
    resource = Resource(kind=kind, id="web", scope="prod/shop")
    finding = Finding(
        source="posture", id="1", type=finding_type, severity=severity, resource=resource, seen_at=datetime.now(UTC)
    )
    found = Matcher(playbooks).answer(finding)
    assert (found.name if found else None) == playbook
