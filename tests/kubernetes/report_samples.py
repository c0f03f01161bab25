"""Reports as the documentation of their authors shows them, each with something in it that is no finding."""

from typing import Any, Final

from quarantine_kubernetes import kubescape, policy_report, trivy

SCANNED: Final = (trivy, policy_report, kubescape)

_TRIVY: Final = "aquasecurity.github.io/v1alpha1"
_SCANNER: Final = {"name": "Trivy", "vendor": "Aqua Security", "version": "0.35.0"}
_REPLICA_SET: Final = {
    "apiVersion": "apps/v1",
    "blockOwnerDeletion": False,
    "controller": True,
    "kind": "ReplicaSet",
    "name": "app-67b77f5965",
    "uid": "04a744fe-1126-42d5-bb8b-0917bdb51a28",
}
_SECRET: Final = {
    "category": "Stripe",
    "match": "publishable_key: *****",
    "ruleID": "stripe-access-token",
    "severity": "HIGH",
    "target": "/app/config/secret.yaml",
    "title": "Stripe",
}


def _metadata(name: str, **labels: str) -> dict[str, Any]:
    return {"name": name, "namespace": "shop", "labels": labels, "ownerReferences": [_REPLICA_SET]}


EXPOSED: Final[dict[str, Any]] = {
    "apiVersion": _TRIVY,
    "kind": "ExposedSecretReport",
    "metadata": _metadata("replicaset-app-67b77f5965-app", **{"trivy-operator.container.name": "app"}),
    "report": {
        "artifact": {"repository": "myimagewithsecret", "tag": "v0.35.0"},
        "registry": {"server": "index.docker.io"},
        "scanner": _SCANNER,
        "secrets": [_SECRET, {**_SECRET, "severity": "CRITICAL", "match": "secret_key: *****"}],
        "summary": {"criticalCount": 1, "highCount": 1, "lowCount": 0, "mediumCount": 0},
        "updateTimestamp": "2022-06-29T14:29:37Z",
    },
}
_PRIVILEGED: Final = {
    "category": "Kubernetes Security Check",
    "checkID": "KSV-0017",
    "messages": ["Container main should not be privileged"],
    "severity": "HIGH",
    "success": False,
    "title": "Privileged",
}
AUDIT: Final[dict[str, Any]] = {
    "apiVersion": _TRIVY,
    "kind": "ConfigAuditReport",
    "metadata": _metadata("replicaset-app-67b77f5965"),
    "report": {
        "checks": [
            _PRIVILEGED,
            {**_PRIVILEGED, "messages": ["Container side should not be privileged"]},
            {**_PRIVILEGED, "checkID": "KSV-0010", "success": True},
            {**_PRIVILEGED, "checkID": "KSV-0011", "severity": "LOW"},
        ],
        "scanner": _SCANNER,
        "summary": {"criticalCount": 0, "highCount": 2, "lowCount": 1, "mediumCount": 0},
        "updateTimestamp": "2022-06-29T14:29:37Z",
    },
}
INFRA: Final[dict[str, Any]] = {
    "apiVersion": _TRIVY,
    "kind": "ClusterInfraAssessmentReport",
    "metadata": {
        "name": "node-node-1",
        "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "5b1c9d1e"}],
    },
    "report": {
        "checks": [{**_PRIVILEGED, "checkID": "KCV-0078", "severity": "CRITICAL", "title": "Anonymous kubelet"}],
        "scanner": _SCANNER,
    },
}
_OVERFLOW: Final = {
    "fixedVersion": "1:1.2.11.dfsg-2+deb11u2",
    "installedVersion": "1:1.2.11.dfsg-2",
    "resource": "zlib1g",
    "severity": "CRITICAL",
    "title": "zlib: heap-based buffer over-read",
    "vulnerabilityID": "CVE-2022-37434",
}
VULNERABLE: Final[dict[str, Any]] = {
    "apiVersion": _TRIVY,
    "kind": "VulnerabilityReport",
    "metadata": _metadata("replicaset-app-67b77f5965-nginx", **{"trivy-operator.container.name": "nginx"}),
    "report": {
        "artifact": {"repository": "library/nginx", "tag": "1.16", "digest": f"sha256:{'a' * 64}"},
        "registry": {"server": "index.docker.io"},
        "scanner": _SCANNER,
        "summary": {"criticalCount": 2, "highCount": 1, "lowCount": 0, "mediumCount": 0, "unknownCount": 0},
        "updateTimestamp": "2022-06-29T14:29:37Z",
        "vulnerabilities": [
            _OVERFLOW,
            {**_OVERFLOW, "vulnerabilityID": "CVE-2019-8457", "fixedVersion": ""},
            {**_OVERFLOW, "vulnerabilityID": "CVE-2022-1271", "severity": "HIGH"},
        ],
    },
}
_FAILURE: Final = {
    "category": "Pod Security Standards (Baseline)",
    "message": "validation error: Privileged mode is disallowed",
    "policy": "disallow-privileged-containers",
    "result": "fail",
    "rule": "privileged-containers",
    "severity": "medium",
    "source": "kyverno",
    "timestamp": {"nanos": 0, "seconds": 1700000000},
}
POLICY_REPORT: Final[dict[str, Any]] = {
    "apiVersion": "wgpolicyk8s.io/v1alpha2",
    "kind": "PolicyReport",
    "metadata": {"name": "9f0d2c2e", "namespace": "shop", "labels": {"app.kubernetes.io/managed-by": "kyverno"}},
    "results": [_FAILURE, {**_FAILURE, "result": "pass", "rule": "other"}, {**_FAILURE, "result": "warn", "rule": "w"}],
    "scope": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": "shop", "uid": "9f0d2c2e"},
    "summary": {"error": 0, "fail": 1, "pass": 1, "skip": 0, "warn": 1},
}
OPEN_REPORT: Final[dict[str, Any]] = {
    **POLICY_REPORT,
    "apiVersion": "openreports.io/v1alpha1",
    "kind": "Report",
    "source": "kyverno",
    "results": [{key: value for key, value in each.items() if key != "source"} for each in POLICY_REPORT["results"]],
}
_CONTROL: Final = {
    "controlID": "C-0057",
    "severity": {"severity": "High", "scoreFactor": 8},
    "status": {"status": "failed", "subStatus": "", "info": ""},
}
KUBESCAPE: Final[dict[str, Any]] = {
    "apiVersion": "spdx.softwarecomposition.kubescape.io/v1beta1",
    "kind": "WorkloadConfigurationScanSummary",
    "metadata": {
        "name": "deployment-operator",
        "namespace": "kubescape",
        "labels": {
            "kubescape.io/workload-api-group": "apps",
            "kubescape.io/workload-api-version": "v1",
            "kubescape.io/workload-kind": "Deployment",
            "kubescape.io/workload-name": "operator",
            "kubescape.io/workload-namespace": "kubescape",
        },
    },
    "spec": {
        "controls": {
            "C-0057": _CONTROL,
            "C-0016": {**_CONTROL, "controlID": "C-0016", "status": {"status": "passed"}},
            "C-0004": {**_CONTROL, "controlID": "C-0004", "severity": {"severity": "Medium", "scoreFactor": 6}},
        },
        "severities": {"critical": 0, "high": 1, "medium": 1, "low": 0, "unknown": 0},
    },
}
