"""What Kubescape's scans of workloads say. Pure.

Fields: kubescape/storage, pkg/apis/softwarecomposition/v1beta1 (scan_types.go); labels: kubescape/k8s-interface,
instanceidhandler. Its API server is one of its own: without `fullSpec` for a version it lists metadata alone, and a
watch of it knows no past (pkg/registry/file/storage.go, GetList and Watch), so that the list is read each time.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from quarantine.model import Finding, Severity
from quarantine_kubernetes.feed import Report
from quarantine_kubernetes.objects import Kind
from quarantine_kubernetes.report_words import found_in, severity_of, subject

GROUP: Final = "spdx.softwarecomposition.kubescape.io"
LABEL: Final = "kubescape.io/workload-"


def controls(report: Mapping[str, Any], account: str, now: datetime) -> Iterator[Finding]:
    """One for each control that fails and is high or critical."""
    labels = report["metadata"].get("labels") or {}
    words = ("api-group", "api-version", "kind", "name", "namespace")
    said = {word: labels.get(f"{LABEL}{word}", "") for word in words}
    version = "/".join(filter(None, (said["api-group"], said["api-version"])))
    reference = {"apiVersion": version, "kind": said["kind"], "name": said["name"], "namespace": said["namespace"]}
    resource = subject(report, reference, account)
    if resource is None:
        return
    for name, control in sorted((report["spec"].get("controls") or {}).items()):
        severity = control["severity"].get("severity")
        if control["status"]["status"] != "failed" or not severity_of(severity).at_least(Severity.HIGH):
            continue
        what = {
            "id": f"kubescape:{name}",
            "title": f"Control {name} fails for {resource.id}",
            "type": name,
            "severity": severity,
        }
        yield found_in(report, resource, what, now)


REPORTS: Final = (
    Report(
        Kind("workloadconfigurationscansummaries", GROUP, version="v1beta1"),
        controls,
        watched=False,
        query=(("resourceVersion", "fullSpec"),),
    ),
)
