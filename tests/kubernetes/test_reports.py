"""What reports say, as findings: samples as their documentation has them, and what no finding may hold."""

from datetime import UTC, datetime
from typing import Any

import pytest

from quarantine.errors import Malformed
from quarantine.match import Matcher
from quarantine.model import Finding, Resource, Severity
from quarantine.playbook import load, shipped
from quarantine.registry import Registry
from quarantine_kubernetes import Kubernetes, kubescape, policy_report, trivy
from quarantine_kubernetes.feeds import FEEDS
from quarantine_kubernetes.objects import CRON_JOB, JOB, KINDS, POD, WORKLOADS
from quarantine_kubernetes.rbac import CLUSTER_WIDE
from tests.kubernetes.report_samples import (
    AUDIT,
    EXPOSED,
    INFRA,
    KUBESCAPE,
    OPEN_REPORT,
    POLICY_REPORT,
    SCANNED,
    VULNERABLE,
)

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
READERS: list[tuple[Any, dict[str, Any]]] = [
    (trivy.exposed_secrets, EXPOSED),
    (trivy.checks, AUDIT),
    (trivy.checks, INFRA),
    (trivy.vulnerabilities, VULNERABLE),
    (policy_report.failures, POLICY_REPORT),
    (policy_report.failures, OPEN_REPORT),
    (kubescape.controls, KUBESCAPE),
]


def said(reader: Any, report: dict[str, Any]) -> list[Finding]:
    return list(reader(report, "prod", NOW))


def test_secrets_in_an_image_are_one_finding_about_what_runs_it() -> None:
    (finding,) = said(trivy.exposed_secrets, EXPOSED)
    assert finding.resource == Resource(
        kind="kubernetes:workload",
        id="replicaset/app-67b77f5965",
        scope="prod/shop",
        uid="04a744fe-1126-42d5-bb8b-0917bdb51a28",
    )
    assert (finding.type, finding.record["severity"], finding.record["secrets"]) == ("exposed-secret", "critical", 2)
    assert finding.seen_at == datetime(2022, 6, 29, 14, 29, 37, tzinfo=UTC)
    assert "stripe-access-token in /app/config/secret.yaml" in finding.title
    assert "publishable_key" not in finding.model_dump_json(), "what matched is the secret, or a part of it"


def test_each_grave_check_that_fails_is_one_finding_however_many_containers_fail_it() -> None:
    found = {finding.type: finding for finding in said(trivy.checks, AUDIT)}
    assert set(found) == {"KSV-0017"}, "what passes, and what is low, is none"
    assert "main should not be privileged; Container side should not be" in found["KSV-0017"].title
    (node,) = said(trivy.checks, INFRA)
    assert node.resource == Resource(kind="kubernetes:node", id="node-1", scope="prod", uid="5b1c9d1e")


def test_only_critical_vulnerabilities_that_a_newer_version_does_not_have_are_said() -> None:
    (finding,) = said(trivy.vulnerabilities, VULNERABLE)
    assert finding.record["vulnerabilities"] == ["CVE-2022-37434"]
    assert finding.record["image"] == f"index.docker.io/library/nginx:1.16@{'sha256:' + 'a' * 64}"
    report = {**VULNERABLE["report"], "vulnerabilities": VULNERABLE["report"]["vulnerabilities"][1:]}
    assert said(trivy.vulnerabilities, {**VULNERABLE, "report": report}) == []


def test_what_claims_to_be_of_the_future_was_seen_when_it_was_read() -> None:
    """It would stay fresh, and whoever may write reports writes their times too."""
    scan = {**AUDIT, "report": {**AUDIT["report"], "updateTimestamp": "2099-01-01T00:00:00Z"}}
    result = POLICY_REPORT["results"][0]
    policies = {**POLICY_REPORT, "results": [{**result, "timestamp": {"seconds": 4070908800, "nanos": 0}}]}
    found = said(trivy.checks, scan) + said(policy_report.failures, policies)
    assert [finding.seen_at for finding in found] == [NOW, NOW]


def test_what_fails_a_policy_is_the_same_finding_in_both_groups() -> None:
    old, new = (said(policy_report.failures, report) for report in (POLICY_REPORT, OPEN_REPORT))
    assert [finding.id for finding in old] == [finding.id for finding in new]
    assert [finding.resource for finding in old] == [finding.resource for finding in new]
    (finding,) = old
    assert finding.type == "disallow-privileged-containers/privileged-containers"
    assert (finding.resource.id, finding.resource.uid) == ("deployment/web", "9f0d2c2e")
    assert finding.seen_at == datetime.fromtimestamp(1700000000, UTC)


def test_a_policy_names_what_it_is_about_itself_or_in_each_result() -> None:
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "web-1", "uid": "u1"}
    results = [{**POLICY_REPORT["results"][0], "resources": [reference, {**reference, "name": "web-2", "uid": "u2"}]}]
    found = said(policy_report.failures, {**POLICY_REPORT, "results": results})
    assert [finding.resource.id for finding in found] == ["web-1", "web-2"]
    assert {finding.resource.scope for finding in found} == {"prod/shop"}
    bare = {key: value for key, value in POLICY_REPORT.items() if key != "scope"}
    assert said(policy_report.failures, bare) == []


def test_controls_of_kubescape_are_about_the_workload_that_its_labels_name() -> None:
    (finding,) = said(kubescape.controls, KUBESCAPE)
    assert (finding.type, finding.record["severity"]) == ("C-0057", "high")
    assert finding.resource == Resource(kind="kubernetes:workload", id="deployment/operator", scope="prod/kubescape")
    assert finding.seen_at == NOW


@pytest.mark.parametrize(("reader", "report"), READERS)
def test_a_report_never_says_more_than_medium_and_no_shipped_playbook_takes_it_for_an_attack(
    reader: Any, report: dict[str, Any]
) -> None:
    registry = Registry([Kubernetes], {})
    matcher = Matcher(load(path, registry) for path in sorted((shipped() / "kubernetes").glob("*.yaml")))
    found = said(reader, report)
    assert found
    for kind in (*KINDS, "kubernetes:workload"):
        for finding in found:
            moved = finding.model_copy(update={"resource": finding.resource.model_copy(update={"kind": kind})})
            assert Severity.MEDIUM.at_least(moved.severity)
            assert matcher.answer(moved) is None


@pytest.mark.parametrize(("reader", "report"), READERS)
def test_what_it_is_about_must_be_of_a_kind_that_can_be_contained(reader: Any, report: dict[str, Any]) -> None:
    strange = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "name": "reader", "uid": "u"}
    metadata = {**report["metadata"], "ownerReferences": [strange]}
    metadata["labels"] = {**metadata.get("labels", {}), "kubescape.io/workload-kind": "Role"}
    assert said(reader, {**report, "metadata": metadata, "scope": strange}) == []


@pytest.mark.parametrize("word", ["pod", "job", "cronjob", *WORKLOADS])
def test_every_kind_that_runs_pods_is_known_by_its_reference(word: str) -> None:
    group = {**WORKLOADS, "pod": KINDS[POD], "job": KINDS[JOB], "cronjob": KINDS[CRON_JOB]}[word].group
    scope = {**POLICY_REPORT["scope"], "apiVersion": f"{group}/v1" if group else "v1", "kind": word.title()}
    assert said(policy_report.failures, {**POLICY_REPORT, "scope": scope})


def test_whoever_may_write_reports_in_one_namespace_speaks_of_no_other() -> None:
    elsewhere = {**POLICY_REPORT["scope"], "namespace": "bank"}
    assert said(policy_report.failures, {**POLICY_REPORT, "scope": elsewhere}) == []
    node = {"apiVersion": "v1", "kind": "Node", "name": "node-1"}
    assert said(policy_report.failures, {**POLICY_REPORT, "scope": node}) == []
    cluster = {**POLICY_REPORT, "metadata": {"name": "nodes"}}
    for scope, place in ((node, "prod"), (elsewhere, "prod/bank")):
        (finding,) = said(policy_report.failures, {**cluster, "scope": scope})
        assert finding.resource.scope == place


def test_one_that_cannot_be_read_is_named() -> None:
    report = trivy.REPORTS[1]
    with pytest.raises(Malformed, match=r"configauditreports.*replicaset-app"):
        report.read({**AUDIT, "report": {"checks": [{"checkID": "KSV-0017"}]}}, "prod", NOW)


def test_what_is_in_no_namespace_is_granted_by_a_cluster_role() -> None:
    reports = [report for each in SCANNED for report in each.REPORTS]
    wide = {f"{report.kind.plural}.{report.kind.group}" for report in reports if not report.kind.namespaced}
    assert wide
    assert wide <= CLUSTER_WIDE
    assert len(FEEDS) == len(SCANNED)
