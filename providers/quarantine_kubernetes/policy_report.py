"""What policy engines say in PolicyReports, and in the reports of openreports.io that replace them. Pure.

Fields: openreports/reports-api, apis/openreports.io/v1alpha1; wgpolicyk8s.io v1alpha2 has the same names.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from quarantine.model import Finding
from quarantine_kubernetes.feed import Report
from quarantine_kubernetes.objects import Kind
from quarantine_kubernetes.report_words import found_in, subject

OLD: Final = "wgpolicyk8s.io"
NEW: Final = "openreports.io"


def failures(report: Mapping[str, Any], account: str, now: datetime) -> Iterator[Finding]:
    """One for each rule that fails for an object, whatever its severity: each policy is one that somebody wanted.

    Its id is the same in both groups, and in the next report about the object.
    """
    for result in report.get("results") or []:
        if result["result"] != "fail":
            continue
        names = [result["policy"], *([result["rule"]] if result.get("rule") else [])]
        engine = result.get("source") or report.get("source") or ""
        what = {
            "id": "policy:" + ":".join((engine, *names)),
            "title": result.get("message") or result.get("description") or " ".join(names),
            "type": "/".join(names),
            "severity": result.get("severity"),
        }
        seconds = (result.get("timestamp") or {}).get("seconds")
        seen_at = min(datetime.fromtimestamp(seconds, UTC), now) if seconds else now
        for reference in result.get("resources") or filter(None, [report.get("scope")]):
            resource = subject(report, reference, account)
            if resource is not None:
                record = {"engine": engine, "category": result.get("category", "")}
                yield found_in(report, resource, what, seen_at, **record)


REPORTS: Final = (
    Report(Kind("policyreports", OLD, version="v1alpha2"), failures),
    Report(Kind("clusterpolicyreports", OLD, namespaced=False, version="v1alpha2"), failures),
    Report(Kind("reports", NEW, version="v1alpha1"), failures),
    Report(Kind("clusterreports", NEW, namespaced=False, version="v1alpha1"), failures),
)
