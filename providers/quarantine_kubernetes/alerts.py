"""What else sends alerts about pods: Alertmanager, the API server's audit log, Kubescape's node agent. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import JsonValue

from quarantine.errors import Malformed
from quarantine.model import Finding, Severity
from quarantine.record import digest, finding, first_seen, link, needed, objects, part, seen, text
from quarantine.scale import number, word
from quarantine_kubernetes.findings import cluster, pod, proper

_POD: Final = ("pod", "pod_name", "k8s_pod_name")
_NAMESPACE: Final = ("namespace", "pod_namespace", "k8s_ns_name")
_UID: Final = ("uid", "pod_uid", "k8s_pod_uid")
"""Labels of kube-state-metrics and cAdvisor, of Kubescape (node-agent, pkg/exporters/alert_manager.go), and of
falcosidekick (outputs/alertmanager.go)."""
_ENTRANCES: Final = ("exec", "attach", "ephemeralcontainers")
_MALWARE: Final = "KubescapeMalwareDetected"


def alertmanager(record: Mapping[str, JsonValue], source: str, received: datetime) -> list[Finding]:
    """Alertmanager's webhook, version 4: a finding for each alert whose labels name a pod; a resolved one never acts.

    prometheus/alertmanager, notify/webhook/webhook.go and template/template.go. A group is sent again at each
    `repeat_interval`, an alert that came back has another `startsAt`.
    """
    if record.get("version") != "4" or not isinstance(record.get("alerts"), list):
        raise Malformed("that is not Alertmanager's webhook, version 4: `version` or `alerts` is missing")
    alerts = ((alert, part(alert, "labels")) for alert in objects(record, "alerts"))
    return [_alert(alert, labels, record, source, received) for alert, labels in alerts if text(labels, *_POD)]


def audit(record: Mapping[str, JsonValue], source: str, received: datetime) -> list[Finding]:
    """The webhook back end of audit logs: who ran something in a pod, or attached to it, and was let.

    kubernetes/apiserver, pkg/apis/audit/v1/types.go. Only the stage ResponseComplete tells what came of a request.
    `get` is exec by WebSocket, `create` by SPDY; status 101 is the answer to both.
    """
    if record.get("kind") != "EventList" or record.get("apiVersion") != "audit.k8s.io/v1":
        raise Malformed("that is no EventList of audit.k8s.io/v1")
    account = cluster(record)
    return [_audited(event, account, source, received) for event in objects(record, "items") if _let_in(event)]


def kubescape(record: Mapping[str, JsonValue], source: str, received: datetime) -> list[Finding]:
    """Kubescape's node agent, HTTP exporter. kubescape/node-agent, pkg/exporters/http_exporter.go."""
    if record.get("kind") != "RuntimeAlerts":
        raise Malformed("that is no RuntimeAlerts of Kubescape's node agent")
    alerts = objects(part(record, "spec"), "alerts")
    return [_runtime(alert, record, source, received) for alert in alerts if text(alert, "podName")]


def _alert(
    alert: dict[str, Any], labels: dict[str, Any], record: Mapping[str, Any], source: str, received: datetime
) -> Finding:
    namespace = needed(labels, next((key for key in _NAMESPACE if key in labels), "namespace"), "alert.labels")
    name, status = text(labels, *_POD) or "", text(alert, "status")
    if status not in ("firing", "resolved"):
        raise Malformed(f"`alert.status` is neither firing nor resolved: {str(status)[:80]!r}")
    rule = text(labels, "rule_name", "rule", "alertname") or ""
    notes = part(alert, "annotations")
    resource = pod(
        cluster(record, labels), proper(namespace, "namespace"), proper(name, "pod"), text(labels, *_UID), "uid"
    )
    return finding(
        source=source,
        id=digest(needed(alert, "fingerprint", "alert"), needed(alert, "startsAt", "alert")),
        title=text(notes, "summary", "description", "info", "message") or rule,
        type=rule,
        severity=_graded(labels),
        resource=resource,
        # What fires, fires now: `startsAt` tells since when.
        seen_at=received if status == "firing" else seen(alert, ("endsAt",), received),
        first_seen_at=first_seen(alert, "startsAt"),
        link=link(alert, "generatorURL"),
        sample=rule == "Test rule",
        active=status == "firing",
        record={**record, "alerts": [alert]},
    )


def _graded(labels: Mapping[str, Any]) -> Severity:
    """By Falco's priority, Kubescape's number, or the word; one who says nothing counts as medium."""
    priority, said = text(labels, "priority"), text(labels, "severity")
    if priority is not None and text(labels, "source") == "falco":
        return word("falco", priority, "priority")
    if text(labels, "alertname") == _MALWARE:
        return Severity.CRITICAL
    if said is not None and said.isdigit():
        return number("kubescape", int(said))
    return Severity.MEDIUM if said is None else word("alertmanager", said)


def _let_in(event: Mapping[str, Any]) -> bool:
    target, code = part(event, "objectRef"), part(event, "responseStatus").get("code")
    entered = target.get("resource") == "pods" and target.get("subresource") in _ENTRANCES
    complete = event.get("stage") == "ResponseComplete" and event.get("verb") in ("create", "get", "patch", "update")
    return entered and complete and isinstance(code, int) and code < 400


def _audited(event: dict[str, Any], account: str, source: str, received: datetime) -> Finding:
    target, user = part(event, "objectRef"), part(event, "user")
    namespace, name = needed(target, "namespace", "objectRef"), needed(target, "name", "objectRef")
    what = f"pods/{target['subresource']}"
    return finding(
        source=source,
        id=f"{needed(event, 'auditID')}:ResponseComplete",
        title=f"{text(user, 'username') or 'somebody'} used {what} of {namespace}/{name}",
        type=what,
        severity=word("falco", "notice"),  # as Falco's rule "Attach/Exec Pod" has it
        resource=pod(account, proper(namespace, "namespace"), proper(name, "name"), text(target, "uid"), "uid"),
        seen_at=seen(event, ("stageTimestamp", "requestReceivedTimestamp"), received),
        first_seen_at=first_seen(event, "requestReceivedTimestamp"),
        record=event,
    )


def _runtime(alert: dict[str, Any], record: Mapping[str, Any], source: str, received: datetime) -> Finding:
    namespace, name = (
        text(alert, "podNamespace", "namespace") or needed(alert, "podNamespace"),
        needed(alert, "podName"),
    )
    rule = needed(alert, "alertName")
    uid = text(alert, "podUID")
    resource = pod(cluster(record, alert), proper(namespace, "podNamespace"), proper(name, "podName"), uid, "podUID")
    return finding(
        source=source,
        id=text(alert, "uniqueID") or digest(rule, namespace, name, uid, text(alert, "containerID")),
        title=text(alert, "message") or rule,
        type=rule,
        severity=number("kubescape", alert.get("severity")),
        resource=resource,
        seen_at=seen(alert, ("timestamp",), received),
        record=alert,
    )
