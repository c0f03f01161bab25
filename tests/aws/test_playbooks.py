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
    CONTROL,
    FORWARDED,
    INSTANCE_CONTROL,
    INSTANCE_EVENT,
    RECEIVED,
    TASK_REPLY,
)

REGISTRY = Registry([Aws], {})
FILES = sorted((shipped() / "aws").glob("*.yaml"))


def playbooks() -> list[Playbook]:
    return [load(path, REGISTRY) for path in FILES]


def answer(finding: Finding) -> str | None:
    playbook = Matcher(playbooks()).answer(finding)
    return playbook.name if playbook else None


def test_there_are_some() -> None:
    assert [path.stem for path in FILES] == [
        "close-public-bucket",
        "isolate-instance",
        "remove-quarantine-group",
        "stop-task",
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_loads_and_asks_a_person_before_what_cannot_be_undone(path: Path) -> None:
    playbook = load(path, REGISTRY)
    one_way = any(issubclass(REGISTRY.actions[step.action], OneWay) for step in playbook.steps)
    assert (playbook.approval is Approval.REQUIRED) == one_way


def test_the_samples_are_answered() -> None:
    assert [answer(finding) for finding in asff(CONTROL, "hub", RECEIVED)] == ["close-public-bucket"]
    assert [answer(finding) for finding in guardduty(BUCKET_EVENT, "gd", RECEIVED)] == ["close-public-bucket", None]
    assert [answer(finding) for finding in guardduty(TASK_REPLY, "gd", RECEIVED)] == ["stop-task"]
    assert [answer(finding) for finding in asff(FORWARDED, "hub", RECEIVED)] == ["stop-task", None, None]
    assert [answer(finding) for finding in guardduty(INSTANCE_EVENT, "gd", RECEIVED)] == ["isolate-instance"]
    assert [answer(finding) for finding in asff(INSTANCE_CONTROL, "hub", RECEIVED)] == ["isolate-instance"]


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


def test_isolating_an_instance_also_cuts_off_its_role() -> None:
    playbook = next(playbook for playbook in playbooks() if playbook.name == "isolate-instance")
    assert [(step.action, step.relation) for step in playbook.steps] == [
        ("aws:ec2-isolate-interfaces", None),
        ("aws:iam-deny-role-session", "role-sessions"),
    ]


def test_a_group_is_removed_for_being_unused_and_for_nothing_else() -> None:
    group = Resource(kind="aws:security-group", id="sg-1", scope=SCOPE)
    finding = Finding(
        source="s", id="1", type="unused-quarantine-group", resource=group, seen_at=datetime(2026, 3, 2, tzinfo=UTC)
    )
    assert answer(finding) == "remove-quarantine-group"
    assert answer(finding.model_copy(update={"type": "EC2.19", "severity": Severity.CRITICAL})) is None
