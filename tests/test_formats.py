"""Every format, one sample after the other: what comes in, what is understood, and which playbook answers.

The samples are made by hand from the documented schemas that the parsers name; accounts and names are made up.
"""

import contextlib
import copy
import io
import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from quarantine.cli.explanation import Explanation, show
from quarantine.cli.screen import Screen
from quarantine.errors import Malformed
from quarantine.intake import strict_json
from quarantine.match import Matcher
from quarantine.model import Finding
from quarantine.playbook import load_all
from quarantine.record import unwrapped
from quarantine.registry import Registry, installed

RECEIVED = datetime(2026, 11, 25, 12, tzinfo=UTC)
REGISTRY = Registry(installed().values(), {})
SUBSCRIPTION = "0b1f6471-1bf0-4dda-aec3-cb9272f09590"
MACHINE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/Shop/providers/Microsoft.Compute/virtualMachines/Web-1"
STORE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/Shop/providers/Microsoft.Storage/storageAccounts/crown"
INSTANCE = "i-0123456789abcdef0"
ARN = f"arn:aws:ec2:eu-west-1:111122223333:instance/{INSTANCE}"
UID = "0b0a3c59-5bd0-4a53-9e8f-4a2a0d1e6f11"


class Expected(NamedTuple):
    """One finding: kind, id, scope, uid, severity, last and first seen on that day, link, the playbook that answers."""

    kind: str
    id: str
    scope: str
    uid: str | None
    severity: str
    last: str
    first: str | None
    link: str
    playbook: str | None
    active: bool = True
    sample: bool = False
    posture: bool = False


def event(source: str, type_: str, detail: dict[str, Any]) -> dict[str, Any]:
    """Amazon EventBridge User Guide, "AWS service event metadata"."""
    return {
        "version": "0",
        "id": "c8c4daa7-a20c-2f03-0070-b7393dd542ad",
        "detail-type": type_,
        "source": source,
        "account": "111122223333",
        "time": "2026-11-25T11:00:00Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": detail,
    }


def hub(**changes: Any) -> dict[str, Any]:
    return {
        "activity_id": 1,
        "category_uid": 2,
        "class_uid": 2004,
        "severity_id": 4,
        "status_id": 1,
        "time_dt": "2026-11-25T11:00:00.000Z",
        "cloud": {"account": {"uid": "111122223333"}, "provider": "AWS", "region": "eu-west-1"},
        "metadata": {"product": {"name": "Security Hub"}, "uid": "global-1", "version": "1.6.0"},
        "finding_info": {
            "uid": "hub-1",
            "title": "Possible credential compromise",
            "types": ["Exposure"],
            "created_time_dt": "2026-11-25T10:00:00.000Z",
            "modified_time_dt": "2026-11-25T11:30:00.000Z",
            "src_url": "https://eu-west-1.console.aws.amazon.com/securityhub/v2/home#hub-1",
        },
        "resources": [{"uid": ARN, "type": "AWS::EC2::Instance", "region": "eu-west-1", "tags": []}],
        **changes,
    }


INSPECTOR = {
    "awsAccountId": "111122223333",
    "description": "...",
    "exploitAvailable": "YES",
    "findingArn": "arn:aws:inspector2:eu-west-1:111122223333:finding/f1",
    "firstObservedAt": "Nov 25, 2026, 9:00:00 AM",
    "lastObservedAt": "Nov 25, 2026, 11:00:00 AM",
    "updatedAt": "Nov 25, 2026, 11:00:00 AM",
    "inspectorScore": 9.8,
    "severity": "CRITICAL",
    "status": "ACTIVE",
    "title": "CVE-2026-0001 - openssl",
    "type": "PACKAGE_VULNERABILITY",
    "resources": [{"id": INSTANCE, "partition": "aws", "region": "eu-west-1", "type": "AWS_EC2_INSTANCE"}],
}
FUNCTION = "arn:aws:lambda:eu-west-1:111122223333:function:orders:$LATEST"
MACIE = {
    "schemaVersion": "1.0",
    "id": "macie-1",
    "accountId": "111122223333",
    "partition": "aws",
    "region": "eu-west-1",
    "type": "Policy:IAMUser/S3BucketPublic",
    "title": "Public access is permitted for the S3 bucket",
    "severity": {"score": 3, "description": "High"},
    "createdAt": "2026-11-25T10:00:00Z",
    "updatedAt": "2026-11-25T11:00:00Z",
    "count": 1,
    "resourcesAffected": {"s3Bucket": {"arn": "arn:aws:s3:::crown-jewels", "name": "crown-jewels"}, "s3Object": None},
    "category": "POLICY",
    "archived": False,
    "sample": False,
}
ANALYZER = {
    "version": "1.0",
    "id": "aa-1",
    "status": "ACTIVE",
    "resourceType": "AWS::S3::Bucket",
    "resource": "arn:aws:s3:::crown-jewels",
    "createdAt": "2026-11-25T10:00:00Z",
    "analyzedAt": "2026-11-25T11:00:00Z",
    "updatedAt": "2026-11-25T11:00:00Z",
    "accountId": "111122223333",
    "region": "eu-west-1",
    "principal": {"AWS": "*"},
    "action": ["s3:GetObject"],
    "condition": {},
    "isDeleted": False,
    "isPublic": True,
}
CONFIG = {
    "resourceId": "sg-0123456789abcdef0",
    "resourceType": "AWS::EC2::SecurityGroup",
    "awsRegion": "eu-west-1",
    "awsAccountId": "111122223333",
    "configRuleName": "restricted-ssh",
    "recordVersion": "1.0",
    "messageType": "ComplianceChangeNotification",
    "notificationCreationTime": "2026-11-25T11:00:01Z",
    "newEvaluationResult": {"complianceType": "NON_COMPLIANT", "resultRecordedTime": "2026-11-25T11:00:00Z"},
    "oldEvaluationResult": {"complianceType": "COMPLIANT", "resultRecordedTime": "2026-11-24T11:00:00Z"},
}
DEFENDER = {
    "alertType": "VM_Miner",
    "systemAlertId": "defender-1",
    "alertDisplayName": "Digital currency mining",
    "severity": "High",
    "status": "Active",
    "startTimeUtc": "2026-11-25T10:00:00.1234567Z",
    "endTimeUtc": "2026-11-25T11:00:00.1234567Z",
    "alertUri": "https://portal.azure.com/#blade/Microsoft_Azure_Security_AzureDefenderForData/AlertBlade",
    "resourceIdentifiers": [
        {"type": "AzureResource", "azureResourceId": MACHINE},
        {"type": "LogAnalytics", "workspaceId": UID},
    ],
}
REST = {"id": "/x", "name": "other", "type": "Microsoft.Security/Locations/alerts", "properties": DEFENDER}


def pascal(record: dict[str, Any]) -> dict[str, Any]:
    """The spelling of workflow automation and of Resource Graph."""
    upper = {f"{key[0].upper()}{key[1:]}": value for key, value in record.items()}
    return {**upper, "ResourceIdentifiers": [{"Type": "AzureResource", "AzureResourceId": MACHINE}]}


def assessed(code: str, **metadata: Any) -> dict[str, Any]:
    return {
        "id": f"{STORE}/providers/Microsoft.Security/assessments/21300918-b2e3-0346-785f-c77ff57d243b",
        "name": "21300918-b2e3-0346-785f-c77ff57d243b",
        "type": "Microsoft.Security/assessments",
        "properties": {
            "resourceDetails": {"source": "Azure", "id": STORE},
            "displayName": "Storage account public access should be disallowed",
            "status": {
                "code": code,
                "firstEvaluationDate": "2026-11-25T09:00:00Z",
                "statusChangeDate": "2026-11-25T11:00:00Z",
            },
            **metadata,
        },
    }


def common(condition: str, *targets: str, **more: Any) -> dict[str, Any]:
    return {
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {
            "essentials": {
                "alertId": f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.AlertsManagement/alerts/a1",
                "alertRule": "too much traffic",
                "severity": "Sev1",
                "signalType": "Metric",
                "monitorCondition": condition,
                "monitoringService": "Platform",
                "alertTargetIDs": list(targets),
                "originAlertId": "origin-1",
                "firedDateTime": "2026-11-25T11:00:00.0000000Z",
                **more,
            },
            "alertContext": {},
        },
    }


def prometheus(status: str, **labels: str) -> dict[str, Any]:
    return {
        "version": "4",
        "groupKey": '{}:{alertname="x"}',
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "quarantine",
        "externalURL": "http://alertmanager:9093",
        "cluster": "prod",
        "alerts": [
            {
                "status": status,
                "labels": {"alertname": "Miner", "namespace": "shop", "pod": "web-1", **labels},
                "annotations": {"summary": "a miner runs"},
                "startsAt": "2026-11-25T10:00:00.000Z",
                "endsAt": "2026-11-25T11:00:00.000Z" if status == "resolved" else "0001-01-01T00:00:00Z",
                "generatorURL": "http://prometheus:9090/graph?g0.expr=x",
                "fingerprint": "8d2f6e3a1b0c4d5e",
            },
            {"status": status, "labels": {"alertname": "Watchdog"}, "startsAt": "x", "fingerprint": "y"},
        ],
    }


def audited(**changes: Any) -> dict[str, Any]:
    item = {
        "level": "Metadata",
        "auditID": "7d2f7d69",
        "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/shop/pods/web-1/exec?command=sh",
        "verb": "create",
        "user": {"username": "eve"},
        "objectRef": {
            "resource": "pods",
            "namespace": "shop",
            "name": "web-1",
            "apiVersion": "v1",
            "subresource": "exec",
        },
        "responseStatus": {"metadata": {}, "code": 101},
        "requestReceivedTimestamp": "2026-11-25T10:59:00.000000Z",
        "stageTimestamp": "2026-11-25T11:00:00.000000Z",
    }
    return {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "cluster": "prod", "items": [{**item, **changes}]}


def scanned(**changes: Any) -> dict[str, Any]:
    alert = {
        "alertName": "Exec to pod",
        "ruleID": "R2000",
        "severity": 8,
        "timestamp": "2026-11-25T11:00:00.123456789Z",
        "uniqueID": "u-1",
        "clusterName": "prod",
        "podName": "web-1",
        "podNamespace": "shop",
        "podUID": UID,
        "containerID": "3ad7b26ded6d",
        "hostNetwork": False,
        "message": "somebody ran a shell",
    }
    spec = {"alerts": [{**alert, **changes}], "processTree": {}}
    return {"kind": "RuntimeAlerts", "apiVersion": "kubescape.io/v1", "metadata": {}, "spec": spec}


PLAIN = {
    "id": "wiz-1",
    "title": "Miner",
    "type": "miner",
    "severity": "critical",
    "seen_at": "2026-11-25T11:00:00Z",
    "first_seen_at": "2026-11-25T10:00:00Z",
    "link": "https://app.wiz.io/issues#wiz-1",
    "resources": [{"kind": "kubernetes:pod", "id": "web-1", "scope": "prod/shop", "uid": UID, "more": 1}],
}
NEUTRAL = hub(
    resources=[{"type": "kubernetes:pod", "name": "web-1", "namespace": "shop", "uid": UID, "cluster": "prod"}],
    cloud={},
)
CLOUD_EVENT = {
    "specversion": "1.0",
    "type": "com.example.finding",
    "source": "/detector",
    "id": "e1",
    "datacontenttype": "application/json",
    "data": PLAIN,
}
EVENT_GRID = {
    "id": "e1",
    "topic": "/subscriptions/x",
    "subject": "alerts/1",
    "eventType": "Defender.Alert",
    "eventTime": "2026-11-25T11:00:00Z",
    "dataVersion": "1",
    "data": REST,
}

EC2, BUCKET, VM, POD = "aws:ec2-instance", "aws:s3-bucket", "azure:vm", "kubernetes:pod"
EU, SHOP = "111122223333/eu-west-1", f"{SUBSCRIPTION}/shop"
HUB_LINK = "https://eu-west-1.console.aws.amazon.com/securityhub/v2/home#hub-1"
DEFENDER_LINK = DEFENDER["alertUri"]
PROMETHEUS = "http://prometheus:9090/graph?g0.expr=x"
ON_HOST = Expected(EC2, INSTANCE, EU, INSTANCE, "high", "11:30", "10:00", HUB_LINK, "isolate-instance")
ON_MACHINE = Expected(VM, "web-1", SHOP, None, "high", "11:00", "10:00", str(DEFENDER_LINK), "isolate-vm")
VULNERABLE = Expected(EC2, INSTANCE, EU, INSTANCE, "medium", "11:00", "09:00", "", None)
PUBLIC = Expected(BUCKET, "crown-jewels", EU, None, "high", "11:00", "10:00", "", "close-public-bucket", posture=True)
OPEN = Expected("aws:security-group", "sg-0123456789abcdef0", EU, None, "medium", "11:00", None, "", None, posture=True)
ADVISED = Expected("azure:storage-account", "crown", SHOP, None, "medium", "11:00", "09:00", "", None, posture=True)
MONITORED = Expected(VM, "web-1", SHOP, None, "high", "11:00", "11:00", "", "isolate-vm")
FIRING = Expected(POD, "web-1", "prod/shop", None, "critical", "12:00", "10:00", PROMETHEUS, "isolate-pod")
ENTERED = Expected(POD, "web-1", "prod/shop", None, "low", "11:00", "10:59", "", None)
SCANNED = Expected(POD, "web-1", "prod/shop", UID, "high", "11:00", None, "", "isolate-pod")
TOLD = Expected(POD, "web-1", "prod/shop", UID, "critical", "11:00", "10:00", str(PLAIN["link"]), "isolate-pod")

SAMPLES: list[tuple[str, Any, list[Expected]]] = [
    ("aws:ocsf", event("aws.securityhub", "Findings Imported V2", {"findings": [hub()]}), [ON_HOST]),
    ("aws:ocsf", hub(status_id=3), [ON_HOST._replace(active=False)]),
    ("aws:ocsf", hub(activity_id=3), [ON_HOST._replace(active=False)]),
    ("aws:ocsf", hub(severity_id=6), [ON_HOST._replace(severity="critical")]),
    ("aws:ocsf", hub(class_uid=2003, compliance={"control": "S3.8", "status_id": 3}, resources=[
        {"uid": "arn:aws:s3:::crown-jewels", "type": "AwsS3Bucket", "region": "eu-west-1"},
    ]), [ON_HOST._replace(kind=BUCKET, id="crown-jewels", uid=None, playbook="close-public-bucket", posture=True)]),
    ("aws:ocsf", hub(class_uid=2003, severity_id=5, compliance={"control": "EC2.8", "status_id": 3}), [
        ON_HOST._replace(severity="critical", playbook=None, posture=True)
    ]),
    ("aws:ocsf", hub(resources=[
        {"uid": ARN, "type": "AWS::EC2::Instance"},
        {"uid": "arn:aws:iam::111122223333:role/web", "type": "AWS::IAM::Role"},
    ]), [ON_HOST, ON_HOST._replace(
        kind="aws:iam-role", id="web", uid=None, scope="111122223333/aws-global", playbook=None
    )]),
    ("aws:ocsf", hub(class_uid=2002, severity_id=5), [ON_HOST._replace(severity="medium", playbook=None)]),
    ("aws:inspector", event("aws.inspector2", "Inspector2 Finding", INSPECTOR), [VULNERABLE]),
    ("aws:inspector", {**INSPECTOR, "status": "SUPPRESSED"}, [VULNERABLE._replace(active=False)]),
    ("aws:inspector", {"findings": [{**INSPECTOR, "severity": "UNTRIAGED", "resources": [
        {"id": FUNCTION, "type": "AWS_LAMBDA_FUNCTION", "region": "eu-west-1"},
    ]}]}, [VULNERABLE._replace(
        kind="aws:lambda-function", id="orders", uid=None, severity="informational", playbook=None
    )]),
    ("aws:macie", event("aws.macie", "Macie Finding", MACIE), [PUBLIC]),
    ("aws:macie", {**MACIE, "sample": True}, [PUBLIC._replace(sample=True)]),
    ("aws:macie", {**MACIE, "archived": True}, [PUBLIC._replace(active=False)]),
    ("aws:macie", {**MACIE, "category": "CLASSIFICATION", "type": "SensitiveData:S3Object/Credentials"}, [
        PUBLIC._replace(playbook=None, posture=False)
    ]),
    ("aws:access-analyzer", event("aws.access-analyzer", "Access Analyzer Finding", ANALYZER), [PUBLIC]),
    ("aws:access-analyzer", {**ANALYZER, "isPublic": False}, [PUBLIC._replace(severity="medium", playbook=None)]),
    ("aws:access-analyzer", {**ANALYZER, "status": "RESOLVED"}, [PUBLIC._replace(active=False)]),
    ("aws:access-analyzer", event("aws.access-analyzer", "Unused Access Finding for IAM entities", {
        **ANALYZER, "isPublic": False, "findingType": "UnusedIAMRole", "resourceType": "AWS::IAM::Role",
        "resource": "arn:aws:iam::111122223333:role/old",
    }), [PUBLIC._replace(
        kind="aws:iam-role", id="old", scope="111122223333/aws-global", severity="low", playbook=None
    )]),
    ("aws:config", event("aws.config", "Config Rules Compliance Change", CONFIG), [OPEN]),
    ("aws:config", {**CONFIG, "newEvaluationResult": {
        "complianceType": "COMPLIANT", "resultRecordedTime": "2026-11-25T11:00:00Z"
    }}, [OPEN._replace(active=False)]),
    ("aws:config", {**CONFIG, "resourceType": "AWS::IAM::User", "resourceId": "AIDACKCEVSQ6C2EXAMPLE"}, [
        OPEN._replace(kind="aws:user-unique-id", id="AIDACKCEVSQ6C2EXAMPLE")
    ]),
    ("azure:defender-alert", REST, [ON_MACHINE]),
    ("azure:defender-alert", pascal(DEFENDER), [ON_MACHINE]),
    ("azure:defender-alert", {"id": "/x", "properties": pascal(DEFENDER)}, [ON_MACHINE]),
    ("azure:defender-alert", [EVENT_GRID], [ON_MACHINE]),
    ("azure:defender-alert", {**CLOUD_EVENT, "data": REST}, [ON_MACHINE]),
    ("azure:defender-assessment", assessed("Unhealthy", metadata={"severity": "High"}), [ADVISED]),
    ("azure:defender-assessment", assessed("Unhealthy", metadata={"severity": "Low"}), [
        ADVISED._replace(severity="low")
    ]),
    ("azure:defender-assessment", assessed("Healthy"), [ADVISED._replace(active=False)]),
    ("azure:common-alert", common("Fired", MACHINE), [MONITORED]),
    ("azure:common-alert", common("Resolved", MACHINE), [MONITORED._replace(active=False)]),
    ("azure:common-alert", common(
        "Fired", f"/subscriptions/{SUBSCRIPTION}/resourceGroups/x/providers/microsoft.operationalinsights/workspaces/w",
        configurationItems=["web-1", MACHINE],
    ), [MONITORED]),
    ("kubernetes:alertmanager", prometheus("firing", severity="critical"), [FIRING]),
    ("kubernetes:alertmanager", prometheus("resolved", severity="critical"), [
        FIRING._replace(active=False, last="11:00")
    ]),
    ("kubernetes:alertmanager", prometheus("firing", source="falco", priority="Notice", severity="information"), [
        FIRING._replace(severity="low", playbook=None)
    ]),
    ("kubernetes:alertmanager", prometheus("firing", alertname="KubescapeMalwareDetected", pod_uid=UID), [
        FIRING._replace(uid=UID)
    ]),
    ("kubernetes:audit", audited(), [ENTERED]),
    ("kubernetes:audit", audited(stage="RequestReceived"), []),
    ("kubernetes:audit", audited(responseStatus={"code": 403}), []),
    ("kubernetes:audit", audited(verb="get"), [ENTERED]),
    ("kubernetes:kubescape", scanned(), [SCANNED]),
    ("kubernetes:kubescape", scanned(severity=10), [SCANNED._replace(severity="critical")]),
    ("kubernetes:kubescape", scanned(podName=""), []),
    ("plain", PLAIN, [TOLD]),
    ("plain", {**PLAIN, "status": "resolved"}, [TOLD._replace(active=False)]),
    ("plain", {**PLAIN, "sample": True}, [TOLD._replace(sample=True)]),
    ("plain", CLOUD_EVENT, [TOLD]),
    ("ocsf", NEUTRAL, [SCANNED._replace(last="11:30", first="10:00", link=HUB_LINK)]),
    ("ocsf", {**NEUTRAL, "status_id": 4}, [
        SCANNED._replace(last="11:30", first="10:00", link=HUB_LINK, active=False)
    ]),
    ("ocsf", {**NEUTRAL, "finding_info": {
        "uid": "o1", "last_seen_time": 1795604400000, "first_seen_time": 1795600800000, "title": "[SAMPLE] x",
    }}, [SCANNED._replace(first="10:00", sample=True)]),
]  # fmt: skip


STRANGE: list[dict[str, Any]] = [
    {},
    {"detail": 1, "source": "x"},
    {"findings": [1]},
    {"specversion": "1.0", "type": 1, "source": 1},
]
ODD: list[Any] = [
    None,
    True,
    -1,
    1e300,
    "",
    "x" * 2000,
    "<NA>",
    "../..",
    "0001-01-01T00:00:00+14:00",
    [],
    [[]],
    {},
    [{}],
    {"a": 1},
]
LINKS = ["javascript:alert(1)", "https://a b", "https://u:p@x", "http://", "x" * 3000, "https://[x", 7]


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return Matcher(load_all([], REGISTRY).playbooks.values())


def read(parser: str, record: Any) -> list[Finding]:
    records = strict_json(json.dumps(record).encode())
    return [found for one in records for found in REGISTRY.parsers[parser](unwrapped(one), "detector", RECEIVED)]


@pytest.mark.parametrize(("parser", "record", "expected"), SAMPLES)
def test_a_sample_is_understood_and_answered(
    parser: str, record: Any, expected: list[Expected], matcher: Matcher
) -> None:
    found = read(parser, record)
    assert [_told(finding, matcher) for finding in found] == expected
    assert {finding.source for finding in found} <= {"detector"}


def _told(finding: Finding, matcher: Matcher) -> Expected:
    first, answer = finding.first_seen_at, matcher.answer(finding)
    resource = finding.resource
    return Expected(
        resource.kind,
        resource.id,
        resource.scope,
        resource.uid,
        str(finding.severity),
        f"{finding.seen_at:%H:%M}",
        f"{first:%H:%M}" if first else None,
        finding.link,
        answer.name if answer else None,
        finding.active,
        finding.sample,
        finding.posture,
    )


def test_every_new_format_has_three_samples() -> None:
    own_tests = {"aws:asff", "aws:guardduty", "docker:falco", "kubernetes:falco", "vmware:alarm"}
    counted = [parser for parser, _, _ in SAMPLES]
    assert {name for name in REGISTRY.parsers if name not in own_tests and counted.count(name) < 3} == set()


@pytest.mark.parametrize(("parser", "record", "expected"), [sample for sample in SAMPLES if sample[2]])
def test_a_repetition_is_the_same_finding_and_unknown_fields_do_not_matter(
    parser: str, record: Any, expected: list[Expected]
) -> None:
    more = {**record, "something_new": {"a": [1]}} if isinstance(record, dict) else record
    assert [found.key for found in read(parser, more)] == [found.key for found in read(parser, record)]


@pytest.mark.parametrize("parser", sorted(REGISTRY.parsers))
@pytest.mark.parametrize("record", STRANGE)
def test_what_is_none_of_it_is_malformed(parser: str, record: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        read(parser, record)


@pytest.mark.parametrize("link", LINKS)
def test_what_is_no_web_address_is_no_link(link: Any) -> None:
    assert read("plain", {**PLAIN, "link": link})[0].link == ""


def test_nothing_was_seen_after_it_came() -> None:
    assert read("plain", {**PLAIN, "seen_at": "2099-01-01T00:00:00Z"})[0].seen_at == RECEIVED


@pytest.mark.parametrize(("parser", "record"), [
    ("plain", {**PLAIN, "severity": "scary"}),
    ("plain", {**PLAIN, "status": "gone"}),
    ("plain", {**PLAIN, "resources": [{"kind": "pod", "id": "x", "scope": "y"}]}),
    ("plain", {**PLAIN, "seen_at": "yesterday"}),
    ("aws:ocsf", hub(class_uid=6003)),
    ("aws:ocsf", hub(severity_id=17)),
    ("aws:ocsf", hub(resources=[])),
    ("aws:ocsf", hub(resources=[{"uid": "nonsense", "type": "AWS::EC2::Instance"}])),
    ("aws:config", {**CONFIG, "awsAccountId": "1"}),
    ("azure:defender-assessment", assessed("Maybe")),
    ("azure:common-alert", common("Fired", "web-1")),
    ("kubernetes:alertmanager", {**prometheus("firing"), "version": "5"}),
    ("kubernetes:alertmanager", prometheus("firing", pod="../../secrets")),
    ("kubernetes:alertmanager", prometheus("firing", severity="weird")),
    ("kubernetes:kubescape", scanned(severity="8")),
    ("kubernetes:audit", audited(objectRef={"resource": "pods", "subresource": "exec", "namespace": "shop"})),
])  # fmt: skip
def test_without_identity_or_with_a_new_word_it_is_malformed(parser: str, record: Any) -> None:
    with pytest.raises(Malformed):
        read(parser, record)


def test_the_document_names_every_format_and_its_sample_is_read() -> None:
    document = (Path(__file__).parents[1] / "docs/findings.md").read_text()
    assert {name for name in REGISTRY.parsers if f"`{name}`" not in document} == set()
    sample = document.partition("```json")[2].partition("```")[0]
    (found,) = read("plain", json.loads(sample))
    assert (found.id, str(found.resource)) == ("wiz-4711", "kubernetes:pod/web-1 in prod/shop")


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def damaged(record: Any, path: tuple[Any, ...], odd: Any) -> Any:
    changed = copy.deepcopy(record)
    inside = changed
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = odd
    return changed


@pytest.mark.parametrize(("parser", "record", "expected"), SAMPLES)
def test_whatever_stands_in_a_place_there_are_findings_or_it_is_malformed(
    parser: str, record: Any, expected: list[Expected]
) -> None:
    for path, odd in itertools.product(places(record), ODD):
        with contextlib.suppress(Malformed):
            read(parser, damaged(record, path, odd))


def test_explain_shows_since_when_and_where() -> None:
    (finding,) = read("plain", {**PLAIN, "link": "https://example.org/issues/1"})
    shown = io.StringIO()
    show(Screen(shown), Explanation(finding, ignored="enough"))
    assert "seen 2026-11-25 11:00:00 UTC, first 2026-11-25 10:00:00 UTC" in shown.getvalue()
    assert "https://example.org/issues/1" in shown.getvalue()
