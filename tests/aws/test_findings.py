"""The samples are written by hand from the documented formats; account ids and names are made up."""

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarantine.errors import Malformed
from quarantine.model import Finding, Severity, canonical
from quarantine_aws.asff import asff
from quarantine_aws.guardduty import guardduty

RECEIVED = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
TASK = "arn:aws:ecs:eu-west-1:111122223333:task/shop/0123456789abcdef0123456789abcdef"

# Security Hub: an S3 control that failed, one resource.
CONTROL: dict[str, Any] = {
    "SchemaVersion": "2018-10-08",
    "Id": "arn:aws:securityhub:eu-west-1:111122223333:security-control/S3.8/finding/5f0c",
    "ProductArn": "arn:aws:securityhub:eu-west-1::product/aws/securityhub",
    "ProductName": "Security Hub",
    "GeneratorId": "security-control/S3.8",
    "AwsAccountId": "111122223333",
    "Region": "eu-west-1",
    "Types": ["Software and Configuration Checks/Industry and Regulatory Standards"],
    "FirstObservedAt": "2026-02-28T08:00:00.000Z",
    "LastObservedAt": "2026-03-02T11:31:02.123Z",
    "CreatedAt": "2026-02-28T08:00:00.000Z",
    "UpdatedAt": "2026-03-02T11:30:55.000Z",
    "Severity": {"Label": "HIGH", "Normalized": 70, "Original": "HIGH"},
    "Title": "S3 general purpose buckets should block public access",
    "Description": "...",
    "Resources": [
        {"Type": "AwsS3Bucket", "Id": "arn:aws:s3:::crown-jewels", "Partition": "aws", "Region": "eu-west-1"},
    ],
    "Compliance": {"Status": "FAILED", "SecurityControlId": "S3.8"},
    "WorkflowState": "NEW",
    "Workflow": {"Status": "NEW"},
    "RecordState": "ACTIVE",
}

# Security Hub: a GuardDuty finding forwarded, with a task, the host that it runs on, and something that we do not know.
FORWARDED: dict[str, Any] = {
    "SchemaVersion": "2018-10-08",
    "Id": "arn:aws:guardduty:eu-west-1:111122223333:detector/d1/finding/f1",
    "ProductArn": "arn:aws:securityhub:eu-west-1::product/aws/guardduty",
    "GeneratorId": "arn:aws:guardduty:eu-west-1:111122223333:detector/d1",
    "AwsAccountId": "111122223333",
    "Region": "eu-west-1",
    "Types": ["Effects/Resource Consumption/CryptoCurrency:Runtime-BitcoinTool.B"],
    "CreatedAt": "2026-03-02T11:00:00Z",
    "UpdatedAt": "2026-03-02T11:05:00Z",
    "Severity": {"Product": 8, "Normalized": 70},
    "Title": "A container is querying a Bitcoin-related domain.",
    "Description": "...",
    "ProductFields": {"aws/guardduty/service/archived": "false"},
    "Resources": [
        {"Type": "AwsEcsTask", "Id": TASK, "Partition": "aws", "Region": "eu-west-1"},
        {"Type": "AwsEc2Instance", "Id": "arn:aws:ec2:eu-west-1:111122223333:instance/i-0a1b2c3d4e5f6a7b8"},
        {"Type": "AwsSomethingNew2Thing", "Id": "whatever it is called"},
    ],
    "RecordState": "ACTIVE",
}

# A partner's product: severity only where the provider puts it, region only at the resource.
PARTNER: dict[str, Any] = {
    "SchemaVersion": "2018-10-08",
    "Id": "partner/finding/1",
    "ProductArn": "arn:aws:securityhub:eu-west-1:444455556666:product/444455556666/default",
    "GeneratorId": "aws-foundational-security-best-practices/v/1.0.0/S3.2",
    "AwsAccountId": "111122223333",
    "CreatedAt": "2026-03-02T11:00:00+01:00",
    "UpdatedAt": "2026-03-02T11:00:00+01:00",
    "FindingProviderFields": {"Severity": {"Label": "CRITICAL"}},
    "Title": "Bucket answers to anonymous requests",
    "Resources": [{"Type": "AwsS3Bucket", "Id": "arn:aws-cn:s3:::schatzkammer", "Region": "cn-north-1"}],
}

# GuardDuty, as EventBridge delivers it.
BUCKET_EVENT: dict[str, Any] = {
    "version": "0",
    "id": "c8c4daa7-a20c-2f03-0070-b7393dd542ad",
    "detail-type": "GuardDuty Finding",
    "source": "aws.guardduty",
    "account": "999999999999",
    "time": "2026-03-02T11:59:00Z",
    "region": "eu-central-1",
    "resources": [],
    "detail": {
        "schemaVersion": "2.0",
        "accountId": "111122223333",
        "region": "eu-west-1",
        "partition": "aws",
        "id": "16afba5c5c43e07c9e3e5e2e544e95df",
        "arn": "arn:aws:guardduty:eu-west-1:111122223333:detector/d1/finding/16af",
        "type": "Policy:S3/BucketAnonymousAccessGranted",
        "resource": {
            "resourceType": "S3Bucket",
            "accessKeyDetails": {
                "accessKeyId": "AKIAIOSFODNN7EXAMPLE",
                "principalId": "AIDA1",
                "userName": "deploy",
                "userType": "IAMUser",
            },
            "s3BucketDetails": [
                {
                    "arn": "arn:aws:s3:::crown-jewels",
                    "name": "crown-jewels",
                    "type": "Destination",
                    "owner": {"id": "c1"},
                }
            ],
        },
        "service": {
            "serviceName": "guardduty",
            "detectorId": "d1",
            "eventFirstSeen": "2026-03-02T10:00:00Z",
            "eventLastSeen": "2026-03-02T11:40:00Z",
            "archived": False,
            "count": 3,
            "additionalInfo": {"value": "{}", "type": "default"},
        },
        "severity": 8,
        "createdAt": "2026-03-02T10:05:00.123Z",
        "updatedAt": "2026-03-02T11:45:00.123Z",
        "title": "Anonymous access was granted on the S3 bucket crown-jewels.",
    },
}

# GuardDuty, as its API gives it.
TASK_REPLY: dict[str, Any] = {
    "AccountId": "111122223333",
    "Region": "eu-west-1",
    "Partition": "aws",
    "Id": "22bb",
    "Arn": "arn:aws:guardduty:eu-west-1:111122223333:detector/d1/finding/22bb",
    "Type": "CryptoCurrency:Runtime/BitcoinTool.B",
    "Resource": {
        "ResourceType": "ECSCluster",
        "EcsClusterDetails": {
            "Name": "shop",
            "Arn": "arn:aws:ecs:eu-west-1:111122223333:cluster/shop",
            "TaskDetails": {"Arn": TASK, "Group": "service:web", "LaunchType": "FARGATE"},
        },
    },
    "Service": {"ServiceName": "guardduty", "Archived": False},
    "Severity": 9.5,
    "CreatedAt": "2026-03-02T10:00:00Z",
    "UpdatedAt": "2026-03-02T11:00:00Z",
}

# GuardDuty, a stolen key used from elsewhere, and the instance that it belongs to.
KEY: dict[str, Any] = {
    "accountId": "111122223333",
    "region": "eu-west-1",
    "id": "33cc",
    "type": "UnauthorizedAccess:IAMUser/InstanceCredentialExfiltration.OutsideAWS",
    "resource": {
        "resourceType": "AccessKey",
        "accessKeyDetails": {"accessKeyId": "ASIAIOSFODNN7EXAMPLE", "userName": "web-role", "userType": "AssumedRole"},
        "instanceDetails": {"instanceId": "i-0a1b2c3d4e5f6a7b8", "tags": []},
    },
    "service": {"archived": True},
    "severity": 5.0,
    "updatedAt": "2026-03-02T11:00:00Z",
}

# GuardDuty, a user's key that is used from where it never was.
USER_KEY: dict[str, Any] = {
    "accountId": "111122223333",
    "region": "eu-west-1",
    "id": "55ee",
    "type": "UnauthorizedAccess:IAMUser/MaliciousIPCaller.Custom",
    "resource": {
        "resourceType": "AccessKey",
        "accessKeyDetails": {
            "accessKeyId": "AKIAIOSFODNN7EXAMPLE",
            "principalId": "AIDAEXAMPLEDEPLOY",
            "userName": "deploy",
            "userType": "IAMUser",
        },
    },
    "service": {"archived": False},
    "severity": 8,
    "updatedAt": "2026-03-02T11:00:00Z",
}

# Security Hub, what GuardDuty found about a role's key.
ROLE_KEY: dict[str, Any] = {
    "SchemaVersion": "2018-10-08",
    "Id": "arn:aws:guardduty:eu-west-1:111122223333:detector/d1/finding/66ff",
    "ProductArn": "arn:aws:securityhub:eu-west-1::product/aws/guardduty",
    "GeneratorId": "arn:aws:guardduty:eu-west-1:111122223333:detector/d1",
    "AwsAccountId": "111122223333",
    "Region": "eu-west-1",
    "Types": ["TTPs/Discovery/Recon:IAMUser-TorIPCaller"],
    "UpdatedAt": "2026-03-02T11:45:00.123Z",
    "Severity": {"Label": "HIGH"},
    "Title": "API ListBuckets was invoked from a Tor exit node.",
    "Resources": [
        {
            "Type": "AwsIamAccessKey",
            "Id": "AWS::IAM::AccessKey:ASIAIOSFODNN7EXAMPLE",
            "Region": "eu-west-1",
            "Details": {
                "AwsIamAccessKey": {
                    "PrincipalId": "AROAEXAMPLEREPORTS:nightly",
                    "PrincipalName": "reporting",
                    "PrincipalType": "AssumedRole",
                }
            },
        }
    ],
    "RecordState": "ACTIVE",
}


def control(number: str, kind: str, identifier: str) -> dict[str, Any]:
    """A control of Security Hub that failed for one resource."""
    return {
        "SchemaVersion": "2018-10-08",
        "Id": f"arn:aws:securityhub:eu-west-1:111122223333:security-control/{number}/finding/77aa",
        "ProductArn": "arn:aws:securityhub:eu-west-1::product/aws/securityhub",
        "GeneratorId": f"security-control/{number}",
        "AwsAccountId": "111122223333",
        "Region": "eu-west-1",
        "UpdatedAt": "2026-03-02T11:30:55.000Z",
        "Severity": {"Label": "HIGH"},
        "Title": "...",
        "Resources": [{"Type": kind, "Id": identifier, "Region": "eu-west-1"}],
        "Compliance": {"Status": "FAILED", "SecurityControlId": number},
        "RecordState": "ACTIVE",
    }


GROUP_CONTROL = control(
    "EC2.19", "AwsEc2SecurityGroup", "arn:aws:ec2:eu-west-1:111122223333:security-group/sg-0123456789abcdef0"
)

DATABASE_SNAPSHOT = control("RDS.1", "AwsRdsDbSnapshot", "arn:aws:rds:eu-west-1:111122223333:snapshot:orders-1")
CLUSTER_SNAPSHOT = control(
    "RDS.1", "AwsRdsDbClusterSnapshot", "arn:aws:rds:eu-west-1:111122223333:cluster-snapshot:orders-1"
)

# GuardDuty's Lambda Protection.
FUNCTION_EVENT: dict[str, Any] = USER_KEY | {
    "id": "88bb",
    "type": "CryptoCurrency:Lambda/BitcoinTool.B",
    "resource": {
        "resourceType": "Lambda",
        "lambdaDetails": {
            "functionArn": "arn:aws:lambda:eu-west-1:111122223333:function:resize",
            "functionName": "resize",
            "functionVersion": "$LATEST",
        },
    },
}

# GuardDuty, an instance that talks to a command and control server, as EventBridge delivers it.
INSTANCE = "i-0a1b2c3d4e5f6a7b8"
INSTANCE_EVENT: dict[str, Any] = {
    "version": "0",
    "id": "7f1b6e7e-2f0b-4f0e-9a5c-0d4a6a3c1f10",
    "detail-type": "GuardDuty Finding",
    "source": "aws.guardduty",
    "account": "111122223333",
    "time": "2026-03-02T11:59:00Z",
    "region": "eu-west-1",
    "resources": [],
    "detail": {
        "schemaVersion": "2.0",
        "accountId": "111122223333",
        "region": "eu-west-1",
        "partition": "aws",
        "id": "44ddfba5c5c43e07c9e3e5e2e544e95d",
        "arn": "arn:aws:guardduty:eu-west-1:111122223333:detector/d1/finding/44dd",
        "type": "Backdoor:EC2/C&CActivity.B!DNS",
        "resource": {
            "resourceType": "Instance",
            "instanceDetails": {
                "instanceId": INSTANCE,
                "instanceType": "m6i.large",
                "launchTime": "2026-02-01T08:00:00.000Z",
                "platform": None,
                "productCodes": [],
                "iamInstanceProfile": {
                    "arn": "arn:aws:iam::111122223333:instance-profile/web", "id": "AIPAEXAMPLE"
                },
                "networkInterfaces": [
                    {
                        "networkInterfaceId": "eni-0123456789abcdef0",
                        "privateIpAddress": "10.0.0.1",
                        "subnetId": "subnet-1",
                        "vpcId": "vpc-1",
                        "securityGroups": [{"groupName": "web", "groupId": "sg-1"}],
                        "ipv6Addresses": [],
                    }
                ],
                "tags": [{"key": "team", "value": "shop"}],
                "instanceState": "running",
                "availabilityZone": "eu-west-1a",
                "imageId": "ami-1",
            },
        },
        "service": {
            "serviceName": "guardduty",
            "detectorId": "d1",
            "action": {"actionType": "DNS_REQUEST", "dnsRequestAction": {"domain": "bad.example", "protocol": "UDP"}},
            "resourceRole": "TARGET",
            "eventFirstSeen": "2026-03-02T10:00:00Z",
            "eventLastSeen": "2026-03-02T11:40:00Z",
            "archived": False,
            "count": 12,
            "additionalInfo": {"value": '{"threatListName":"x"}', "type": "default"},
        },
        "severity": 8,
        "createdAt": "2026-03-02T10:05:00.123Z",
        "updatedAt": "2026-03-02T11:45:00.123Z",
        "title": "EC2 instance is querying a domain name associated with a command and control server.",
        "description": "...",
    },
}  # fmt: skip

# Security Hub, about the same instance.
INSTANCE_CONTROL: dict[str, Any] = {
    "SchemaVersion": "2018-10-08",
    "Id": "arn:aws:guardduty:eu-west-1:111122223333:detector/d1/finding/44dd",
    "ProductArn": "arn:aws:securityhub:eu-west-1::product/aws/guardduty",
    "GeneratorId": "arn:aws:guardduty:eu-west-1:111122223333:detector/d1",
    "AwsAccountId": "111122223333",
    "Region": "eu-west-1",
    "Types": ["TTPs/Command and Control/Backdoor:EC2-C&CActivity.B!DNS"],
    "CreatedAt": "2026-03-02T10:05:00.123Z",
    "UpdatedAt": "2026-03-02T11:45:00.123Z",
    "Severity": {"Product": 8, "Label": "HIGH", "Normalized": 70},
    "Title": "EC2 instance is querying a domain name associated with a command and control server.",
    "Description": "...",
    "Resources": [
        {
            "Type": "AwsEc2Instance",
            "Id": f"arn:aws:ec2:eu-west-1:111122223333:instance/{INSTANCE}",
            "Partition": "aws",
            "Region": "eu-west-1",
            "Tags": {"team": "shop"},
            "Details": {
                "AwsEc2Instance": {
                    "Type": "m6i.large",
                    "IamInstanceProfileArn": "arn:aws:iam::111122223333:instance-profile/web",
                    "VpcId": "vpc-1",
                    "SubnetId": "subnet-1",
                    "LaunchedAt": "2026-02-01T08:00:00.000Z",
                }
            },
        }
    ],
    "WorkflowState": "NEW",
    "Workflow": {"Status": "NEW"},
    "RecordState": "ACTIVE",
}


def changed(sample: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**copy.deepcopy(sample), **fields}


def one(record: Any, parser: Callable[..., list[Finding]] = asff) -> Finding:
    (finding,) = parser(record, "hub", RECEIVED)
    return finding


# --- ASFF -----------------------------------------------------------------------------------------------------------


def test_a_failed_control_is_a_finding_on_its_bucket() -> None:
    finding = one(CONTROL)
    assert finding.source == "hub"
    assert finding.id == CONTROL["Id"]
    assert finding.type == "S3.8"
    assert finding.severity is Severity.HIGH
    assert str(finding.resource) == "aws:s3-bucket/crown-jewels in 111122223333/eu-west-1"
    assert finding.resource.uid is None
    assert finding.seen_at == datetime(2026, 3, 2, 11, 31, 2, 123000, tzinfo=UTC)
    assert finding.active
    assert not finding.sample
    assert finding.record == CONTROL


def test_several_resources_are_several_findings() -> None:
    findings = asff(FORWARDED, "hub", RECEIVED)
    assert [(finding.resource.kind, finding.resource.id) for finding in findings] == [
        ("aws:ecs-task", TASK),
        ("aws:ec2-instance", "i-0a1b2c3d4e5f6a7b8"),
        ("aws:something-new2-thing", "whatever it is called"),
    ]
    assert findings[0].resource.uid == TASK
    assert {finding.type for finding in findings} == {FORWARDED["Types"][0]}
    assert {finding.severity for finding in findings} == {Severity.HIGH}
    assert len({finding.key for finding in findings}) == 3


def test_a_partner_s_finding_is_read_where_its_fields_are() -> None:
    finding = one(PARTNER)
    assert finding.severity is Severity.CRITICAL
    assert finding.type == "S3.2"
    assert str(finding.resource) == "aws:s3-bucket/schatzkammer in 111122223333/cn-north-1"
    assert finding.seen_at == datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "record",
    [
        {
            "source": "aws.securityhub",
            "detail-type": "Security Hub Findings - Imported",
            "detail": {"findings": [CONTROL, PARTNER]},
        },
        {"Findings": [CONTROL, PARTNER]},
        [CONTROL, PARTNER],
    ],
)
def test_every_wrapping_is_known(record: Any) -> None:
    assert [finding.resource.id for finding in asff(record, "hub", RECEIVED)] == ["crown-jewels", "schatzkammer"]


@pytest.mark.parametrize(
    ("fields", "severity"),
    [
        ({"Label": "LOW", "Normalized": 90}, Severity.LOW),
        ({"Normalized": 0}, Severity.INFORMATIONAL),
        ({"Normalized": 1}, Severity.LOW),
        ({"Normalized": 39}, Severity.LOW),
        ({"Normalized": 40}, Severity.MEDIUM),
        ({"Normalized": 69}, Severity.MEDIUM),
        ({"Normalized": 70}, Severity.HIGH),
        ({"Normalized": 90}, Severity.CRITICAL),
    ],
)
def test_the_severity_of_asff(fields: dict[str, Any], severity: Severity) -> None:
    assert one(changed(CONTROL, Severity=fields)).severity is severity


@pytest.mark.parametrize(
    "fields",
    [
        {"RecordState": "ARCHIVED"},
        {"Workflow": {"Status": "RESOLVED"}},
        {"Workflow": {"Status": "SUPPRESSED"}},
        {"Compliance": {"Status": "PASSED", "SecurityControlId": "S3.8"}},
        {"Note": {"Text": "contained", "UpdatedBy": "cloud-quarantine", "UpdatedAt": "2026-03-02T11:45:00Z"}},
        {"Note": {"Text": "contained", "UpdatedBy": "cloud-quarantine/case-1"}},
    ],
)
def test_what_is_over_or_came_from_us_is_not_active(fields: dict[str, Any]) -> None:
    assert not one(changed(CONTROL, **fields)).active


@pytest.mark.parametrize(
    "note",
    [
        {"Text": "looking into it", "UpdatedBy": "alice", "UpdatedAt": "2026-03-02T11:45:00Z"},
        {"Text": "contained", "UpdatedBy": "cloud-quarantine", "UpdatedAt": "2026-03-01T00:00:00Z"},
    ],
)
def test_other_notes_and_our_old_ones_do_not_silence_it(note: dict[str, Any]) -> None:
    assert one(changed(CONTROL, Note=note)).active


@pytest.mark.parametrize(
    "fields",
    [
        {"Sample": True},
        {"Title": "[SAMPLE] A container is querying a domain."},
        {"ProductFields": {"aws/guardduty/service/additionalInfo/sample": "true"}},
    ],
)
def test_samples_are_known(fields: dict[str, Any]) -> None:
    assert one(changed(CONTROL, **fields)).sample


def test_nothing_was_seen_after_it_was_received() -> None:
    assert one(changed(CONTROL, LastObservedAt="2099-01-01T00:00:00Z")).seen_at == RECEIVED


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ({"Id": None}, "'Id' is missing"),
        ({"Id": ""}, "'Id' is missing"),
        ({"Id": 7}, "'Id' is not what it should be"),
        ({"AwsAccountId": None}, "'AwsAccountId' is missing"),
        ({"AwsAccountId": "prod"}, "'AwsAccountId' is not what it should be"),
        ({"Resources": []}, "'Resources' is missing"),
        ({"Resources": ["x"]}, r"'Resources\[0\]' must be an object"),
        ({"Resources": [{"Type": "AwsS3Bucket"}]}, r"'Resources\[0\].Id' is missing"),
        ({"Resources": [{"Id": "x"}]}, r"'Resources\[0\].Type' is missing"),
        ({"Resources": [{"Type": "AwsS3Bucket", "Id": "arn:aws:s3:::b/key"}]}, "does not name a bucket"),
        ({"Resources": [{"Type": "AwsEcsTask", "Id": "0123"}]}, "is not the ARN of an ECS task"),
        ({"Region": None, "Resources": [{"Type": "AwsS3Bucket", "Id": "arn:aws:s3:::b"}]}, "'Region' is missing"),
        ({"Region": "../x", "Resources": [{"Type": "AwsS3Bucket", "Id": "arn:aws:s3:::b"}]}, "'Region' is missing"),
        ({"Severity": {}}, "'Severity' is missing"),
        ({"LastObservedAt": None, "UpdatedAt": "yesterday", "CreatedAt": None}, "'UpdatedAt' is missing"),
        ({"Title": "\ud800"}, "title"),
    ],
)  # fmt: skip
def test_a_finding_without_identity_is_malformed_and_says_what_is_missing(fields: dict[str, Any], missing: str) -> None:
    with pytest.raises(Malformed, match=missing):
        asff(changed(CONTROL, **fields), "hub", RECEIVED)


@pytest.mark.parametrize(
    "record", [{}, [], [1], {"Findings": []}, {"Findings": "x"}, {"detail": 1, "source": "x"}, "x", None]
)
@pytest.mark.parametrize("parser", [asff, guardduty])
def test_what_is_no_finding_is_malformed(record: Any, parser: Callable[..., list[Finding]]) -> None:
    with pytest.raises(Malformed):
        parser(record, "hub", RECEIVED)


# --- GuardDuty ------------------------------------------------------------------------------------------------------


def test_an_event_is_a_finding_on_the_bucket_and_one_on_whose_key_it_was() -> None:
    bucket, user = guardduty(BUCKET_EVENT, "gd", RECEIVED)
    # Account and region are those of the finding: an administrator's account receives its members' events.
    assert str(bucket.resource) == "aws:s3-bucket/crown-jewels in 111122223333/eu-west-1"
    assert str(user.resource) == "aws:iam-user/deploy in 111122223333/aws-global"
    assert bucket.id == "16afba5c5c43e07c9e3e5e2e544e95df"
    assert bucket.type == "Policy:S3/BucketAnonymousAccessGranted"
    assert bucket.severity is Severity.HIGH
    assert bucket.seen_at == datetime(2026, 3, 2, 11, 40, tzinfo=UTC)
    assert bucket.active
    assert not bucket.sample


def test_what_the_api_gives_is_a_finding_on_the_task() -> None:
    finding = one(TASK_REPLY, guardduty)
    assert str(finding.resource) == f"aws:ecs-task/{TASK} in 111122223333/eu-west-1"
    assert finding.resource.uid == TASK
    assert finding.severity is Severity.CRITICAL
    assert finding.seen_at == datetime(2026, 3, 2, 11, 0, tzinfo=UTC)


def test_an_archived_finding_on_role_and_instance_is_not_active() -> None:
    findings = guardduty(KEY, "gd", RECEIVED)
    assert [finding.resource.kind for finding in findings] == ["aws:ec2-instance", "aws:iam-role"]
    assert not any(finding.active for finding in findings)
    assert {finding.severity for finding in findings} == {Severity.MEDIUM}


def test_both_say_the_same_about_an_instance() -> None:
    event, control = one(INSTANCE_EVENT, guardduty), one(INSTANCE_CONTROL)
    assert event.resource == control.resource
    assert str(event.resource) == f"aws:ec2-instance/{INSTANCE} in 111122223333/eu-west-1"
    assert event.resource.uid == INSTANCE
    assert event.type == "Backdoor:EC2/C&CActivity.B!DNS"
    assert event.severity is control.severity is Severity.HIGH
    assert event.active and control.active


@pytest.mark.parametrize("identifier", ["i-99999999", INSTANCE])
def test_an_instance_has_a_short_or_a_long_id(identifier: str) -> None:
    record = copy.deepcopy(INSTANCE_EVENT)
    record["detail"]["resource"]["instanceDetails"]["instanceId"] = identifier
    assert one(record, guardduty).resource.id == identifier
    resources = [{"Type": "AwsEc2Instance", "Id": identifier}]
    assert one(changed(INSTANCE_CONTROL, Resources=resources)).resource.id == identifier


@pytest.mark.parametrize(
    "identifier",
    [
        "i-1",
        "i-0a1b2c3d4e5f6a7b8c",
        "web",
        f"{INSTANCE}/..",
        f"arn:aws:ec2:eu-west-1:111122223333:volume/{INSTANCE}",
        7,
    ],
)
def test_what_does_not_name_an_instance_is_malformed(identifier: Any) -> None:
    record = copy.deepcopy(INSTANCE_EVENT)
    record["detail"]["resource"]["instanceDetails"]["instanceId"] = identifier
    with pytest.raises(Malformed, match=r"resource\.instanceDetails\.instanceId"):
        guardduty(record, "gd", RECEIVED)
    with pytest.raises(Malformed, match=r"Resources\[0\]"):
        asff(changed(INSTANCE_CONTROL, Resources=[{"Type": "AwsEc2Instance", "Id": identifier}]), "hub", RECEIVED)


def test_details_of_no_instance_leave_the_finding_with_what_it_is_about() -> None:
    resource = {"resourceType": "AccessKey", "accessKeyDetails": {"accessKeyId": "AKIA1"}, "instanceDetails": {}}
    assert one(changed(KEY, resource=resource), guardduty).resource.kind == "aws:iam-access-key"


@pytest.mark.parametrize(
    ("whose", "name", "identifier", "means"),
    [
        ("IAMUser", "deploy", "AIDAEXAMPLEDEPLOY", ("aws:iam-user", "deploy", "AIDAEXAMPLEDEPLOY")),
        ("IAMUser", "deploy", "unknown", ("aws:iam-user", "deploy", None)),
        ("AssumedRole", "web", "AROAEXAMPLEWEB12:i-0a1b2c3d4e5f6a7b8", ("aws:iam-role", "web", "AROAEXAMPLEWEB12")),
        ("Root", "root", "111122223333", ("aws:iam-access-key", "ASIA1", None)),
        ("FederatedUser", "deploy", "111122223333:deploy", ("aws:iam-access-key", "ASIA1", None)),
        ("IAMUser", "", None, ("aws:iam-access-key", "ASIA1", None)),
        (None, 7, None, ("aws:iam-access-key", "ASIA1", None)),
    ],
)
def test_a_key_means_the_user_or_the_role_that_has_it(whose: Any, name: Any, identifier: Any, means: Any) -> None:
    key = {"accessKeyId": "ASIA1", "userType": whose, "userName": name, "principalId": identifier}
    event = one(changed(KEY, resource={"resourceType": "AccessKey", "accessKeyDetails": key}), guardduty)
    details = {"PrincipalType": whose, "PrincipalName": name, "PrincipalId": identifier}
    named = {"Type": "AwsIamAccessKey", "Id": "ASIA1", "Details": {"AwsIamAccessKey": details}}
    for finding in (event, one(changed(CONTROL, Resources=[named]))):
        assert (finding.resource.kind, finding.resource.id, finding.resource.uid) == means
        assert finding.resource.area == ("eu-west-1" if means[0] == "aws:iam-access-key" else "aws-global")


@pytest.mark.parametrize(
    ("kind", "identifier", "means"),
    [
        (
            "AwsIamUser",
            "arn:aws:iam::111122223333:user/robots/deploy",
            "aws:iam-user/deploy in 111122223333/aws-global",
        ),
        ("AwsIamUser", "deploy", "aws:iam-user/deploy in 111122223333/aws-global"),
        (
            "AwsLambdaFunction",
            "arn:aws:lambda:eu-west-1:111122223333:function:resize:$LATEST",
            "aws:lambda-function/resize in 111122223333/eu-west-1",
        ),
        (
            "AwsEc2SecurityGroup",
            "arn:aws:ec2:eu-west-1:111122223333:security-group/sg-0123456789abcdef0",
            "aws:security-group/sg-0123456789abcdef0 in 111122223333/eu-west-1",
        ),
        ("AwsIamRole", "arn:aws-cn:iam::444455556666:role/web", "aws:iam-role/web in 444455556666/aws-global"),
    ],
)
def test_what_the_resources_of_asff_are_called(kind: str, identifier: str, means: str) -> None:
    assert str(one(changed(CONTROL, Resources=[{"Type": kind, "Id": identifier}])).resource) == means


@pytest.mark.parametrize(
    ("kind", "identifier"),
    [
        ("AwsIamUser", "arn:aws:iam::111122223333:root"),
        ("AwsRdsDbSnapshot", "arn:aws:rds:eu-west-1:111122223333:cluster-snapshot:orders-1"),
        ("AwsIamUser", "arn:aws:iam::111122223333:role/web"),
        ("AwsIamUser", "arn:aws:s3:::user/deploy"),
        ("AwsIamRole", "a b"),
        ("AwsIamRole", "../web"),
    ],
)
def test_what_does_not_name_one_of_its_type_is_malformed(kind: str, identifier: str) -> None:
    with pytest.raises(Malformed, match=r"Resources\[0\]\.Id"):
        asff(changed(CONTROL, Resources=[{"Type": kind, "Id": identifier}]), "hub", RECEIVED)


@pytest.mark.parametrize("record", [{"Findings": [TASK_REPLY]}, [TASK_REPLY], {"findings": [TASK_REPLY]}])
def test_lists_of_guardduty_findings(record: Any) -> None:
    assert one(record, guardduty).resource.id == TASK


def test_a_new_kind_of_resource_becomes_visible() -> None:
    finding = one(
        changed(TASK_REPLY, Resource={"ResourceType": "RecoveryPoint", "RecoveryPointDetails": {}}), guardduty
    )
    assert (finding.resource.kind, finding.resource.id) == ("aws:recovery-point", "22bb")


@pytest.mark.parametrize(
    "service",
    [
        {"additionalInfo": {"sample": True}},
        {"additionalInfo": {"value": '{"sample":true}', "type": "default"}},
        {"AdditionalInfo": {"Value": '{"sample":true}'}},
    ],
)
def test_guardduty_samples_are_known(service: dict[str, Any]) -> None:
    assert one(changed(KEY, service=service, resource=TASK_REPLY["Resource"]), guardduty).sample


@pytest.mark.parametrize("value", ["not json", "[" * 100_000, "[]", '"sample"', ""])
def test_further_information_that_is_no_json_is_no_sample(value: str) -> None:
    assert not one(changed(TASK_REPLY, Service={"AdditionalInfo": {"Value": value}}), guardduty).sample


@pytest.mark.parametrize("when", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-13-01", ""])
def test_a_time_that_cannot_be_is_passed_over(when: str) -> None:
    assert one(changed(CONTROL, LastObservedAt=when)).seen_at == datetime(2026, 3, 2, 11, 30, 55, tzinfo=UTC)


def test_a_sample_is_known_by_its_title() -> None:
    assert one(changed(TASK_REPLY, Title="[SAMPLE] something"), guardduty).sample


@pytest.mark.parametrize(
    ("number", "severity"),
    [
        (9, Severity.CRITICAL),
        (8.9, Severity.HIGH),
        (7, Severity.HIGH),
        (6.9, Severity.MEDIUM),
        (4, Severity.MEDIUM),
        (3.9, Severity.LOW),
        (1, Severity.LOW),
        (0.5, Severity.INFORMATIONAL),
    ],
)
def test_the_severity_of_guardduty(number: float, severity: Severity) -> None:
    assert one(changed(TASK_REPLY, Severity=number), guardduty).severity is severity


@pytest.mark.parametrize(
    ("field", "value", "missing"),
    [
        ("Id", None, "'id' is missing"),
        ("AccountId", "1", "'accountId' is not what it should be"),
        ("Region", None, "'region' is missing"),
        ("Resource", None, "'resource' is missing"),
        ("Resource", {"x": 1}, "'resource.resourceType' is missing"),
        ("Resource", {"S3BucketDetails": [{}]}, r"'resource.s3BucketDetails\[0\].name' is missing"),
        ("Resource", {"S3BucketDetails": [{"Name": "a b"}]}, "does not name a bucket"),
        ("Resource", {"EcsClusterDetails": {"TaskDetails": {"Arn": "x"}}}, "is not the ARN of an ECS task"),
        ("Severity", "high", "`severity` is missing"),
        ("Severity", True, "`severity` is missing"),
        ("UpdatedAt", None, "'updatedAt' is missing"),
    ],
)
def test_a_guardduty_finding_without_identity_is_malformed(field: str, value: Any, missing: str) -> None:
    record = changed(TASK_REPLY, CreatedAt=None)
    record[field] = value
    with pytest.raises(Malformed, match=missing):
        guardduty(record, "gd", RECEIVED)


# --- anything at all ------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["AwsS3Bucket", TASK]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
SAMPLES: list[Any] = [
    CONTROL,
    FORWARDED,
    PARTNER,
    BUCKET_EVENT,
    TASK_REPLY,
    KEY,
    USER_KEY,
    ROLE_KEY,
    GROUP_CONTROL,
    DATABASE_SNAPSHOT,
    CLUSTER_SNAPSHOT,
    FUNCTION_EVENT,
    INSTANCE_EVENT,
    INSTANCE_CONTROL,
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a sample."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in places(inner, (*path, key)))]


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """A real sample in which something else stands somewhere."""
    sample = copy.deepcopy(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(1, 3))):
        *path, last = draw(st.sampled_from([place for place in places(sample) if place]))
        here = sample
        for key in path:
            here = here[key]
        here[last] = draw(JSON)
    return sample


@pytest.mark.parametrize("parser", [asff, guardduty])
@settings(max_examples=400, deadline=timedelta(seconds=2))
@given(record=JSON | damaged())
def test_anything_is_findings_or_malformed(parser: Callable[..., list[Finding]], record: Any) -> None:
    try:
        findings = parser(record, "hub", RECEIVED)
    except Malformed:
        return
    assert findings
    for finding in findings:
        assert len(finding.resource.account) == 12
        assert finding.seen_at <= RECEIVED


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("parser", [asff, guardduty])
def test_a_finding_is_stored_as_it_came(sample: Any, parser: Callable[..., list[Finding]]) -> None:
    try:
        findings = parser(sample, "hub", RECEIVED)
    except Malformed:
        return
    for finding in findings:
        assert json.loads(canonical(finding.record)) == finding.record


def test_deep_nesting_is_malformed() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(Malformed):
        asff(changed(CONTROL) | {"Extra": deep}, "hub", RECEIVED)
