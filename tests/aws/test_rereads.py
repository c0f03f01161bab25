"""Findings that are asked for again: at Security Hub, at GuardDuty, and at the bucket itself."""

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from quarantine.action import Call, Reread
from quarantine.errors import Denied, Malformed, Throttled, Unsupported
from quarantine.model import Finding, Standing
from quarantine.testing.contract import CountingGate
from quarantine_aws.asff import asff
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.guardduty import guardduty
from quarantine_aws.polls import PUBLIC_BUCKETS
from quarantine_aws.provider import Aws
from tests.acceptance.product import asff as event
from tests.aws.conftest import BUCKET, PUBLIC_POLICY, SCOPE
from tests.aws.test_cloud import MARK
from tests.aws.test_findings import USER_KEY
from tests.testbed.aws import ACCOUNT, REGION, Moto
from tests.testbed.proxy import FaultProxy

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
JSON = {"Content-Type": "application/json"}


def ask(name: str, cloud: AwsCloud, finding: Finding) -> Standing:
    """And the permissions used are those declared."""
    reread, used = Aws.rereads[name], list[Call]()
    said = reread.ask(cloud.through(CountingGate(0), MARK, used.append), finding, NOW)
    assert {call.permission for call in used} <= set(reread.permissions)
    return said


# --- Security Hub -----------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(moto: Moto, aws: FaultProxy) -> Callable[..., Finding]:
    """`hub(RecordState="ARCHIVED")`: a finding that came as an event, and what Security Hub says of it now."""

    def has(**now: Any) -> Finding:
        record = event(BUCKET.id, ACCOUNT)
        (finding,) = asff(record, "security-hub", NOW)
        moto.client("securityhub").batch_import_findings(Findings=[{**record["detail"]["findings"][0], **now}])
        return finding

    return has


@pytest.mark.parametrize(
    ("now", "standing"),
    [
        ({}, Standing.ACTIVE),
        ({"RecordState": "ARCHIVED"}, Standing.RESOLVED),
        ({"Workflow": {"Status": "RESOLVED"}}, Standing.RESOLVED),
        ({"Compliance": {"Status": "PASSED"}}, Standing.RESOLVED),
        ({"Workflow": {"Status": "SUPPRESSED"}}, Standing.SUPPRESSED),
        ({"Workflow": {"Status": "NOTIFIED"}}, Standing.ACTIVE),
        ({"VerificationState": "FALSE_POSITIVE"}, Standing.FALSE_POSITIVE),
        ({"VerificationState": "BENIGN_POSITIVE"}, Standing.SUPPRESSED),
        ({"VerificationState": "TRUE_POSITIVE"}, Standing.ACTIVE),
        (
            {"Note": {"Text": "-", "UpdatedBy": "cloud-quarantine", "UpdatedAt": "2026-03-02T12:00:00Z"}},
            Standing.ACTIVE,
        ),
    ],
)
def test_what_security_hub_says(cloud: AwsCloud, hub: Callable[..., Finding], now: Any, standing: Standing) -> None:
    finding = hub(**now)
    hub(Id="another-finding", RecordState="ARCHIVED")
    assert ask("aws:asff", cloud, finding) is standing


def test_security_hub_is_asked_for_this_finding_of_this_product(
    cloud: AwsCloud, hub: Callable[..., Finding], aws: FaultProxy
) -> None:
    finding = hub()
    ask("aws:security-hub", cloud, finding)
    (call,) = aws.recorded("GetFindings")
    filters = json.loads(call.body)["Filters"]
    assert {name: item[0]["Value"] for name, item in filters.items()} == {
        "Id": finding.id,
        "ProductArn": "arn:aws:securityhub:us-east-1::product/aws/securityhub",
    }


def test_what_security_hub_does_not_have_or_has_about_another_resource_is_unknown(
    cloud: AwsCloud, hub: Callable[..., Finding], aws: FaultProxy
) -> None:
    (forged,) = asff(event("never-reported", ACCOUNT), "security-hub", NOW)
    assert ask("aws:asff", cloud, forged) is Standing.UNKNOWN
    another = {"Type": "AwsS3Bucket", "Id": "arn:aws:s3:::another", "Partition": "aws", "Region": REGION}
    assert ask("aws:asff", cloud, hub(Resources=[another])) is Standing.UNKNOWN
    # Even if whoever answers ignores the filters.
    aws.answer("GetFindings", 200, JSON, json.dumps({"Findings": [{**forged.record, "Id": "another"}]}))
    assert ask("aws:asff", cloud, forged) is Standing.UNKNOWN


def test_one_finding_among_hundreds_is_found(
    cloud: AwsCloud, hub: Callable[..., Finding], moto: Moto, aws: FaultProxy
) -> None:
    """Security Hub gives a hundred at a time, of those that the filters say."""
    for batch in range(3):
        many = [event(f"other-{batch}-{number}", ACCOUNT)["detail"]["findings"][0] for number in range(60)]
        moto.client("securityhub").batch_import_findings(Findings=many)
    assert ask("aws:asff", cloud, hub()) is Standing.ACTIVE


def test_a_finding_is_asked_for_where_security_hub_keeps_it() -> None:
    """Not where its resource is: a finding of one region may be about a bucket of another."""
    elsewhere = {"Type": "AwsS3Bucket", "Id": "arn:aws:s3:::far", "Partition": "aws", "Region": "eu-west-1"}
    (finding,) = asff(event("far", ACCOUNT, Resources=[elsewhere]), "security-hub", NOW)
    assert finding.resource.scope == f"{ACCOUNT}/eu-west-1"
    assert Aws.rereads["aws:asff"].scope(finding) == f"{ACCOUNT}/us-east-1"
    with pytest.raises(Malformed, match="'Region' is missing"):
        Aws.rereads["aws:asff"].scope(finding.model_copy(update={"record": {"AwsAccountId": ACCOUNT}}))


def test_a_finding_about_a_user_is_asked_for_where_guardduty_keeps_it() -> None:
    (finding,) = guardduty(USER_KEY, "guardduty", NOW)
    assert finding.resource.area == "aws-global", "a user is in no region"
    assert Aws.rereads["aws:guardduty"].scope(finding) == "111122223333/eu-west-1"


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (403, "AccessDeniedException", Denied),
        (429, "TooManyRequestsException", Throttled),
        (401, "InvalidAccessException", Unsupported),  # "not subscribed to AWS Security Hub"
    ],
)
def test_a_security_hub_that_does_not_answer_says_nothing(
    cloud: AwsCloud, hub: Callable[..., Finding], aws: FaultProxy, status: int, code: str, error: type[Exception]
) -> None:
    finding = hub()
    body = json.dumps({"Code": code, "Message": "no"})
    aws.answer("GetFindings", status, {**JSON, "x-amzn-ErrorType": code}, body, math.inf)
    for attempt in (Aws.rereads["aws:asff"].ask, lambda cloud, _f, _n: Aws.rereads["aws:asff"].probe(cloud)):
        with pytest.raises(error):
            attempt(cloud, finding, NOW)


# --- GuardDuty --------------------------------------------------------------------------------------------------------


@pytest.fixture
def duty(moto: Moto, aws: FaultProxy) -> Callable[..., Finding]:
    """`duty(archived=True)`: a finding that came as an event, and what GuardDuty says of it now."""
    detector = moto.client("guardduty").create_detector(Enable=True)["DetectorId"]

    def has(instance: str = "i-0123456789abcdef0", **now: Any) -> Finding:
        service = {"detectorId": detector, "archived": False, "eventLastSeen": "2026-03-02T11:59:00Z"}
        raw: dict[str, Any] = {
            "schemaVersion": "2.0",
            "id": "a4b8e4a5c1d2",
            "accountId": ACCOUNT,
            "region": REGION,
            "type": "Backdoor:EC2/C&CActivity.B",
            "severity": 8,
            "createdAt": "2026-03-02T11:59:00Z",
            "updatedAt": "2026-03-02T11:59:00Z",
            "arn": f"arn:aws:guardduty:{REGION}:{ACCOUNT}:detector/{detector}/finding/a4b8e4a5c1d2",
            "resource": {"resourceType": "Instance", "instanceDetails": {"instanceId": "i-0123456789abcdef0"}},
            "service": service,
        }
        (finding,) = guardduty({"detail-type": "GuardDuty Finding", "detail": raw}, "guardduty", NOW)
        shown = {"resourceType": "Instance", "instanceDetails": {"instanceId": instance}}
        moto.guardduty_says({**raw, "resource": shown, "service": {**service, **now}})
        return finding

    return has


def test_what_guardduty_says(cloud: AwsCloud, duty: Callable[..., Finding]) -> None:
    assert ask("aws:guardduty", cloud, duty()) is Standing.ACTIVE
    assert ask("aws:guardduty", cloud, duty(archived=True)) is Standing.SUPPRESSED
    assert ask("aws:guardduty", cloud, duty("i-0fffffffffffffff0")) is Standing.UNKNOWN
    forged = duty().model_copy(update={"id": "no-such-finding"})
    assert ask("aws:guardduty", cloud, forged) is Standing.UNKNOWN


def test_a_detector_that_is_not_ours_or_not_named_cannot_be_asked(
    cloud: AwsCloud, duty: Callable[..., Finding]
) -> None:
    finding = duty()
    other: dict[str, Any] = {**finding.record, "service": {"detectorId": "f" * 32}}
    with pytest.raises(Unsupported, match="not owned by the current account"):
        ask("aws:guardduty", cloud, finding.model_copy(update={"record": other}))
    with pytest.raises(Malformed, match=r"'service.detectorId' is missing"):
        ask("aws:guardduty", cloud, finding.model_copy(update={"record": {}}))


def test_the_probe_of_guardduty_needs_no_finding(cloud: AwsCloud, aws: FaultProxy) -> None:
    probe = Aws.rereads["aws:guardduty"].probe
    assert probe(cloud) is None
    aws.answer(
        lambda call: call.path.endswith("/findings/get"),
        403,
        {**JSON, "x-amzn-ErrorType": "AccessDeniedException"},
        "{}",
    )
    with pytest.raises(Denied, match="guardduty:GetFindings"):
        probe(cloud)


# --- the bucket itself ------------------------------------------------------------------------------------------------


def test_a_bucket_is_judged_again_as_the_poll_judges_it(cloud: AwsCloud, s3: Any) -> None:
    s3.create_bucket(Bucket=BUCKET.id)
    s3.put_bucket_policy(Bucket=BUCKET.id, Policy=PUBLIC_POLICY)
    ((finding,), _) = PUBLIC_BUCKETS.run(cloud, SCOPE, NOW, None)
    assert ask("aws:public-buckets", cloud, finding) is Standing.ACTIVE
    s3.delete_bucket_policy(Bucket=BUCKET.id)
    assert ask("aws:public-buckets", cloud, finding) is Standing.RESOLVED


@pytest.mark.parametrize("name", sorted(Aws.rereads))
def test_every_reread_belongs_to_a_parser_or_a_poll(name: str) -> None:
    reread: Reread = Aws.rereads[name]
    assert name in {*Aws.parsers, *(poll.name for poll in Aws.polls)}
    assert reread.permissions
