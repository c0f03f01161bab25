import copy
from datetime import UTC, datetime
from pathlib import Path

import pytest

from quarantine.action import OneWay
from quarantine.match import Matcher
from quarantine.model import Finding, Resource, Severity
from quarantine.playbook import Approval, Playbook, load, shipped
from quarantine.registry import Registry
from quarantine_aws.asff import asff
from quarantine_aws.guardduty import guardduty
from quarantine_aws.provider import Aws
from tests.aws.conftest import BUCKET, SCOPE
from tests.aws.test_findings import (
    BUCKET_EVENT,
    CLUSTER_SNAPSHOT,
    CONTROL,
    DATABASE_SNAPSHOT,
    FORWARDED,
    FUNCTION_EVENT,
    GROUP_CONTROL,
    INSTANCE_CONTROL,
    INSTANCE_EVENT,
    KEY,
    RECEIVED,
    ROLE_KEY,
    TASK_REPLY,
    USER_KEY,
    control,
)

REGISTRY = Registry([Aws], {})
FILES = sorted((shipped() / "aws").glob("*.yaml"))


def playbooks() -> list[Playbook]:
    return [load(path, REGISTRY) for path in FILES]


def answer(finding: Finding) -> str | None:
    playbook = Matcher(playbooks()).answer(finding)
    return playbook.name if playbook else None


def test_everything_that_can_be_done_is_done_by_some_playbook() -> None:
    assert {step.action for playbook in playbooks() for step in playbook.steps} == set(REGISTRY.actions)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_loads_and_asks_a_person_before_what_cannot_be_undone(path: Path) -> None:
    playbook = load(path, REGISTRY)
    one_way = any(issubclass(REGISTRY.actions[step.action], OneWay) for step in playbook.steps)
    assert playbook.approval is Approval.REQUIRED or not one_way


def test_the_samples_are_answered() -> None:
    assert [answer(finding) for finding in asff(CONTROL, "hub", RECEIVED)] == ["close-public-bucket"]
    assert [answer(finding) for finding in guardduty(BUCKET_EVENT, "gd", RECEIVED)] == ["close-public-bucket", None]
    assert [answer(finding) for finding in guardduty(TASK_REPLY, "gd", RECEIVED)] == ["stop-task"]
    assert [answer(finding) for finding in asff(FORWARDED, "hub", RECEIVED)] == ["stop-task", None, None]
    assert [answer(finding) for finding in guardduty(INSTANCE_EVENT, "gd", RECEIVED)] == ["isolate-instance"]
    assert [answer(finding) for finding in asff(INSTANCE_CONTROL, "hub", RECEIVED)] == ["isolate-instance"]
    assert [answer(finding) for finding in guardduty(USER_KEY, "gd", RECEIVED)] == ["disable-user-keys"]
    assert [answer(finding) for finding in asff(ROLE_KEY, "hub", RECEIVED)] == ["revoke-role-sessions"]
    assert [answer(finding) for finding in asff(GROUP_CONTROL, "hub", RECEIVED)] == ["close-open-ports"]
    assert [answer(finding) for finding in asff(DATABASE_SNAPSHOT, "hub", RECEIVED)] == ["unshare-database-snapshot"]
    assert [answer(finding) for finding in asff(CLUSTER_SNAPSHOT, "hub", RECEIVED)] == [
        "unshare-database-cluster-snapshot"
    ]
    assert [answer(finding) for finding in guardduty(FUNCTION_EVENT, "gd", RECEIVED)] == ["freeze-function"]
    assert [answer(finding) for finding in guardduty(KEY | {"severity": 8}, "gd", RECEIVED)] == [
        "isolate-instance",
        "revoke-role-sessions",
    ]


@pytest.mark.parametrize(
    ("kind", "severity", "name"),
    [
        ("public-bucket", Severity.HIGH, "close-public-bucket"),
        ("public-bucket", Severity.MEDIUM, None),
        ("Discovery:S3/MaliciousIPCaller", Severity.CRITICAL, None),
    ],
)
def test_a_bucket_is_closed_for_being_open_and_for_nothing_else(
    kind: str, severity: Severity, name: str | None
) -> None:
    finding = Finding(
        source="s", id="1", type=kind, severity=severity, resource=BUCKET, seen_at=datetime(2026, 3, 2, tzinfo=UTC)
    )
    assert answer(finding) == name
    task = Resource(kind="aws:ecs-service", id="web", scope=SCOPE)
    assert answer(finding.model_copy(update={"resource": task})) is None


@pytest.mark.parametrize(
    ("severity", "name"),
    [(Severity.MEDIUM, None), (Severity.HIGH, "isolate-instance"), (Severity.CRITICAL, "isolate-instance")],
)
def test_an_instance_is_isolated_for_what_is_bad_enough(severity: Severity, name: str | None) -> None:
    instance = Resource(kind="aws:ec2-instance", id="i-0a1b2c3d4e5f6a7b8", scope=SCOPE)
    finding = Finding(
        source="s", id="1", severity=severity, resource=instance, seen_at=datetime(2026, 3, 2, tzinfo=UTC)
    )
    assert answer(finding) == name


def test_the_host_of_a_container_is_not_isolated_for_what_its_container_does() -> None:
    event = copy.deepcopy(INSTANCE_EVENT)
    assert [answer(finding) for finding in guardduty(event, "gd", RECEIVED)] == ["isolate-instance"]
    cluster = {"arn": "arn:aws:eks:eu-west-1:111122223333:cluster/shop", "name": "shop"}
    event["detail"]["resource"] |= {"resourceType": "EKSCluster", "eksClusterDetails": cluster}
    findings = guardduty(event, "gd", RECEIVED)
    assert [finding.resource.kind for finding in findings] == ["aws:ec2-instance", "aws:eks-cluster"]
    assert [answer(finding) for finding in findings] == [None, None]


@pytest.mark.parametrize(
    ("kind", "answered"),
    [
        ("UnauthorizedAccess:IAMUser/MaliciousIPCaller.Custom", True),
        ("TTPs/Discovery/Recon:IAMUser-TorIPCaller", True),
        ("CredentialAccess:IAMUser/AnomalousBehavior", True),
        ("AttackSequence:IAM/CompromisedCredentials", True),
        ("Policy:S3/BucketAnonymousAccessGranted", False),
        ("Policy:IAMUser/RootCredentialUsage", False),
        ("IAM.8", False),
        ("", False),
    ],
)
def test_a_user_or_a_role_is_cut_off_for_what_is_about_its_credentials(kind: str, answered: bool) -> None:
    for principal, name in (("user", "disable-user-keys"), ("role", "revoke-role-sessions")):
        resource = Resource(kind=f"aws:iam-{principal}", id="deploy", scope="111122223333/aws-global")
        finding = Finding(source="s", id="1", type=kind, severity=Severity.HIGH, resource=resource, seen_at=RECEIVED)
        assert answer(finding) == (name if answered else None)


@pytest.mark.parametrize(
    ("number", "name"), [("EC2.13", "close-open-ports"), ("EC2.54", "close-open-ports"), ("EC2.18", None)]
)
def test_a_group_is_closed_for_risky_ports_alone(number: str, name: str | None) -> None:
    (finding,) = asff(control(number, "AwsEc2SecurityGroup", "sg-0123456789abcdef0"), "hub", RECEIVED)
    assert answer(finding) == name


@pytest.mark.parametrize(
    ("kind", "word", "name"),
    [("aws:ebs-snapshot", "snapshot", "unshare-snapshot"), ("aws:ec2-image", "image", "unshare-image")],
)
def test_what_everybody_can_copy_is_shared_no_longer(kind: str, word: str, name: str) -> None:
    copy_of_ours = Resource(kind=kind, id="1", scope=SCOPE)
    finding = Finding(
        source="s", id="1", type=f"public-{word}", severity=Severity.HIGH, resource=copy_of_ours, seen_at=RECEIVED
    )
    assert answer(finding) == name
    assert answer(finding.model_copy(update={"type": "EC2.7"})) is None


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Backdoor:Lambda/C&CActivity.B", "freeze-function"),
        ("TTPs/Command and Control/Backdoor:Lambda-C&CActivity.B", "freeze-function"),
        ("Lambda.1", None),
        ("Software and Configuration Checks/Vulnerabilities/CVE", None),
    ],
)
def test_a_function_is_frozen_for_what_it_does_and_not_for_what_it_could(kind: str, name: str | None) -> None:
    function = Resource(kind="aws:lambda-function", id="resize", scope=SCOPE)
    finding = Finding(source="s", id="1", type=kind, severity=Severity.HIGH, resource=function, seen_at=RECEIVED)
    assert answer(finding) == name


def test_a_trail_is_started_for_being_stopped_and_for_nothing_else() -> None:
    trail = Resource(kind="aws:cloudtrail-trail", id="everything", scope=SCOPE)
    finding = Finding(
        source="s", id="1", type="stopped-trail", severity=Severity.HIGH, resource=trail, seen_at=RECEIVED
    )
    assert answer(finding) == "restart-trail"
    assert answer(finding.model_copy(update={"type": "CloudTrail.2"})) is None


def test_isolating_an_instance_also_cuts_off_its_role() -> None:
    playbook = next(playbook for playbook in playbooks() if playbook.name == "isolate-instance")
    assert [(step.action, step.relation) for step in playbook.steps] == [
        ("aws:ec2-protect-evidence", None),
        ("aws:ec2-leave-group", None),  # before its health checks fail
        ("aws:ec2-isolate-interfaces", None),
        ("aws:iam-deny-role-session", "role-sessions"),
    ]


def test_a_group_is_removed_for_being_unused_and_for_nothing_else() -> None:
    group = Resource(kind="aws:security-group", id="sg-1", scope=SCOPE)
    finding = Finding(
        source="s", id="1", type="unused-quarantine-group", resource=group, seen_at=datetime(2026, 3, 2, tzinfo=UTC)
    )
    assert answer(finding) == "remove-quarantine-group"
    assert answer(finding.model_copy(update={"type": "EC2.2", "severity": Severity.CRITICAL})) is None
