"""What the reports of Trivy Operator say of the object that they belong to. Pure.

Fields: aquasecurity/trivy-operator, pkg/apis/aquasecurity/v1alpha1. Its RBAC reports are about roles, which nothing
here contains; `kubernetes:cluster-admins` and `kubernetes:account-rights` find who holds them.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from quarantine.model import Finding, Resource, Severity
from quarantine.record import seen
from quarantine_kubernetes.feed import Report
from quarantine_kubernetes.objects import Kind
from quarantine_kubernetes.report_words import MOST_NAMED, found_in, severity_of, subject

GROUP: Final = "aquasecurity.github.io"
CONTAINER: Final = "trivy-operator.container.name"


def checks(report: Mapping[str, Any], account: str, now: datetime) -> Iterator[Finding]:
    """One for each failed check that is high or critical, however many containers fail it."""
    resource, content = _subject(report, account), report["report"]
    failed = [check for check in content.get("checks") or [] if not check["success"]]
    grave = {check["checkID"]: check for check in failed if severity_of(check["severity"]).at_least(Severity.HIGH)}
    if resource is None:
        return
    for name, check in sorted(grave.items()):
        messages = [text for each in failed if each["checkID"] == name for text in each.get("messages") or []]
        what = {
            "id": f"config-audit:{name}",
            "title": f"{check.get('title') or name}: {'; '.join(messages)}",
            "type": name,
            "severity": check["severity"],
        }
        yield found_in(report, resource, what, seen(content, ("updateTimestamp",), now))


def exposed_secrets(report: Mapping[str, Any], account: str, now: datetime) -> Iterator[Finding]:
    """One for each image. What matched is in no finding: it is the secret, or a part of it."""
    resource, content = _subject(report, account), report["report"]
    secrets = content.get("secrets") or []
    if resource is None or not secrets:
        return
    rules = sorted({f"{secret['ruleID']} in {secret['target']}" for secret in secrets})
    what = {
        "id": f"exposed-secret:{_container(report)}",
        "title": f"Image {_image(content)} has secrets in it: {', '.join(rules[:MOST_NAMED])}",
        "type": "exposed-secret",
        "severity": _worst(secret["severity"] for secret in secrets),
    }
    record = {"container": _container(report), "image": _image(content), "secrets": len(secrets)}
    yield found_in(report, resource, what, seen(content, ("updateTimestamp",), now), **record)


def vulnerabilities(report: Mapping[str, Any], account: str, now: datetime) -> Iterator[Finding]:
    """One for each image with a critical one that a newer version does not have."""
    resource, content = _subject(report, account), report["report"]
    known = content.get("vulnerabilities") or []
    names = sorted(
        {
            item["vulnerabilityID"]
            for item in known
            if severity_of(item["severity"]) is Severity.CRITICAL and item.get("fixedVersion")
        }
    )
    if resource is None or not names:
        return
    what = {
        "id": f"vulnerable-image:{_container(report)}",
        "title": f"Image {_image(content)} has {len(names)} critical vulnerabilities that are fixed in newer versions",
        "type": "vulnerable-image",
        "severity": "critical",
    }
    record = {"container": _container(report), "image": _image(content), "vulnerabilities": names[:MOST_NAMED]}
    yield found_in(report, resource, what, seen(content, ("updateTimestamp",), now), **record)


def _subject(report: Mapping[str, Any], account: str) -> Resource | None:
    """A report belongs to what it is about."""
    owners = report["metadata"].get("ownerReferences") or []
    return subject(report, owners[0], account) if owners else None


def _container(report: Mapping[str, Any]) -> str:
    return str((report["metadata"].get("labels") or {}).get(CONTAINER, ""))


def _image(content: Mapping[str, Any]) -> str:
    """`docker.io/library/nginx:1.2@sha256:...`, as far as it is known."""
    artifact, server = content.get("artifact") or {}, (content.get("registry") or {}).get("server")
    name = "/".join(filter(None, (server, artifact.get("repository"))))
    tag, digest = artifact.get("tag"), artifact.get("digest")
    return name + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")


def _worst(said: Iterable[str]) -> str:
    severities = list(Severity)
    return str(max((severity_of(each) for each in said), key=severities.index))


REPORTS: Final = (
    Report(Kind("exposedsecretreports", GROUP, version="v1alpha1"), exposed_secrets),
    Report(Kind("configauditreports", GROUP, version="v1alpha1"), checks),
    Report(Kind("infraassessmentreports", GROUP, version="v1alpha1"), checks),
    Report(Kind("clusterinfraassessmentreports", GROUP, namespaced=False, version="v1alpha1"), checks),
    Report(Kind("vulnerabilityreports", GROUP, version="v1alpha1"), vulnerabilities, page=10),  # up to 1 MB each
)
