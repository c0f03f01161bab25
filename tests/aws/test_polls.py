import json
import math
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from quarantine.action import Call
from quarantine.errors import Denied, Throttled
from quarantine.model import Finding, Severity
from quarantine.testing.contract import CountingGate
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.polls import PUBLIC_BUCKETS, SECURITY_HUB
from quarantine_aws.s3_exposure import CLOSED
from tests.aws.conftest import BUCKET, PUBLIC_POLICY, SCOPE
from tests.aws.test_cloud import MARK
from tests.aws.test_findings import CONTROL, changed
from tests.testbed.aws import ACCOUNT
from tests.testbed.proxy import FaultProxy

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
XML = {"Content-Type": "application/xml"}
DENIED = "<Error><Code>AccessDenied</Code></Error>"


def public(cloud: AwsCloud) -> list[Finding]:
    found, cursor = PUBLIC_BUCKETS.run(cloud, SCOPE, NOW, None)
    assert cursor is None
    return found


def make(
    s3: Any, name: str, *, acl: str = "private", policy: bool = False, block: dict[str, bool] | None = None
) -> None:
    s3.create_bucket(Bucket=name)
    s3.put_bucket_acl(Bucket=name, ACL=acl)
    if policy:
        s3.put_bucket_policy(Bucket=name, Policy=PUBLIC_POLICY.replace(BUCKET.id, name))
    if block is not None:
        s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=block)


def calls_per_bucket(aws: FaultProxy) -> Counter[str]:
    return Counter(call.path.strip("/") for call in aws.recorded() if call.path.strip("/").count("/") == 0)


def test_only_what_is_public_now_is_found_and_each_bucket_costs_little(
    cloud: AwsCloud, s3: Any, aws: FaultProxy
) -> None:
    half = {**CLOSED, "IgnorePublicAcls": False, "RestrictPublicBuckets": False}
    make(s3, "closed", policy=True, acl="public-read", block=CLOSED)
    make(s3, "private")
    make(s3, "open-policy", policy=True)
    make(s3, "open-acl", acl="public-read")
    make(s3, "open-both", policy=True, acl="authenticated-read", block=half)
    make(s3, "acl-is-ignored", acl="public-read", block={**half, "IgnorePublicAcls": True})
    make(s3, "policy-is-restricted", policy=True, block={**half, "RestrictPublicBuckets": True})
    ways = {finding.resource.id: finding.id for finding in public(cloud)}
    assert ways == {
        "open-acl": "public-bucket:open-acl:acl",
        "open-both": "public-bucket:open-both:policy+acl",
        "open-policy": "public-bucket:open-policy:policy",
    }
    calls = calls_per_bucket(aws)
    assert calls["closed"] == 1
    assert calls["acl-is-ignored"] == calls["policy-is-restricted"] == 2
    assert calls["private"] == calls["open-policy"] == calls["open-acl"] == calls["open-both"] == 3


def test_a_finding_says_what_was_read(cloud: AwsCloud, s3: Any) -> None:
    make(s3, BUCKET.id, policy=True)
    everybody = 'uri="http://acs.amazonaws.com/groups/global/AllUsers"'
    s3.put_bucket_acl(Bucket=BUCKET.id, GrantRead=everybody, GrantWrite=everybody)
    (finding,) = public(cloud)
    assert finding.resource == BUCKET
    assert finding.severity is Severity.HIGH
    assert finding.seen_at == NOW
    assert finding.title == "Bucket crown-jewels is public by its policy and its acl"
    assert finding.record == {
        "settings": None,
        "account_settings": None,
        "policy_public": True,
        "public_grants": ["AllUsers:READ", "AllUsers:WRITE"],
    }


def test_the_same_bucket_gives_the_same_finding(cloud: AwsCloud, s3: Any) -> None:
    make(s3, BUCKET.id, policy=True)
    assert public(cloud) == public(cloud)


def test_an_account_that_blocks_everything_has_no_public_bucket(
    cloud: AwsCloud, s3: Any, s3control: Any, aws: FaultProxy
) -> None:
    make(s3, BUCKET.id, policy=True, acl="public-read")
    s3control.put_public_access_block(AccountId=ACCOUNT, PublicAccessBlockConfiguration=CLOSED)
    assert public(cloud) == []
    assert [call.operation for call in aws.recorded()] == ["GetPublicAccessBlock"]


def test_account_and_bucket_settings_add_up(cloud: AwsCloud, s3: Any, s3control: Any) -> None:
    nothing = dict.fromkeys(CLOSED, False)
    make(s3, BUCKET.id, policy=True, acl="public-read", block={**nothing, "RestrictPublicBuckets": True})
    s3control.put_public_access_block(
        AccountId=ACCOUNT, PublicAccessBlockConfiguration={**nothing, "IgnorePublicAcls": True}
    )
    assert public(cloud) == []


def test_a_bucket_that_may_not_be_read_does_not_hide_the_others(
    cloud: AwsCloud, s3: Any, aws: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    make(s3, "locked", policy=True)
    make(s3, "open", policy=True)
    aws.answer(lambda call: call.path.strip("/") == "locked", 403, XML, DENIED, math.inf)
    assert [finding.resource.id for finding in public(cloud)] == ["open"]
    (record,) = caplog.records
    assert record.message == "bucket_not_judged"
    assert record.__dict__["bucket"] == "locked"


def test_a_missing_permission_is_not_an_account_without_public_buckets(
    cloud: AwsCloud, s3: Any, aws: FaultProxy
) -> None:
    make(s3, "one", policy=True)
    make(s3, "two", policy=True)
    aws.answer("GetBucketPolicyStatus", 403, XML, DENIED, math.inf)
    with pytest.raises(Denied, match="s3:GetBucketPolicyStatus"):
        public(cloud)


def test_a_bucket_that_goes_meanwhile_is_left_out(cloud: AwsCloud, s3: Any, aws: FaultProxy) -> None:
    make(s3, "going", policy=True)
    aws.answer("GetBucketAcl", 404, XML, "<Error><Code>NoSuchBucket</Code></Error>", math.inf)
    assert public(cloud) == []


def test_being_slowed_down_ends_the_poll(cloud: AwsCloud, s3: Any, aws: FaultProxy) -> None:
    make(s3, "one", policy=True)
    aws.answer("GetBucketAcl", 503, XML, "<Error><Code>SlowDown</Code></Error>", math.inf)
    with pytest.raises(Throttled):
        public(cloud)


def test_buckets_come_in_pages_and_only_those_of_the_region(cloud: AwsCloud, aws: FaultProxy) -> None:
    def page(name: str, region: str, token: str) -> str:
        return (
            f"<ListAllMyBucketsResult><Buckets><Bucket><Name>{name}</Name><BucketRegion>{region}</BucketRegion>"
            f"</Bucket></Buckets>{token}</ListAllMyBucketsResult>"
        )

    aws.answer("ListBuckets", 200, XML, page("far-away", "eu-west-1", "<ContinuationToken>t</ContinuationToken>"))
    aws.answer("ListBuckets", 200, XML, page("gone-since", "us-east-1", ""))
    assert public(cloud) == []
    listed = aws.recorded("ListBuckets")
    assert [call.query.get("continuation-token") for call in listed] == [None, "t"]
    assert listed[0].query["bucket-region"] == "us-east-1"
    assert set(calls_per_bucket(aws)) == {"", "gone-since"}


def test_polls_use_the_permissions_that_they_declare(cloud: AwsCloud, s3: Any, aws: FaultProxy) -> None:
    make(s3, BUCKET.id, policy=True)
    for poll in (PUBLIC_BUCKETS, SECURITY_HUB):
        used: list[Call] = []
        poll.run(cloud.through(CountingGate(0), MARK, used.append), SCOPE, NOW, None)
        assert {call.permission for call in used} == set(poll.permissions)


# --- Security Hub ---------------------------------------------------------------------------------------------------


def hub_answers(aws: FaultProxy, *pages: list[dict[str, Any]]) -> None:
    for number, findings in enumerate(pages):
        answer: dict[str, Any] = {"Findings": findings}
        if number < len(pages) - 1:
            answer["NextToken"] = f"page-{number + 1}"
        aws.answer("GetFindings", 200, {"Content-Type": "application/json"}, json.dumps(answer))


def finding(number: int, **fields: Any) -> dict[str, Any]:
    return changed(CONTROL, Id=f"finding-{number}", **fields)


def test_findings_of_all_pages_are_read(cloud: AwsCloud, aws: FaultProxy) -> None:
    hub_answers(aws, [finding(1), finding(2)], [finding(3)])
    found, cursor = SECURITY_HUB.run(cloud, SCOPE, NOW, None)
    assert [each.id for each in found] == ["finding-1", "finding-2", "finding-3"]
    assert {each.source for each in found} == {"aws:security-hub"}
    assert cursor == NOW.isoformat()
    assert [call.json.get("NextToken") for call in aws.recorded()] == [None, "page-1"]


def test_it_asks_for_what_is_new_with_an_overlap(cloud: AwsCloud, aws: FaultProxy) -> None:
    hub_answers(aws, [])
    hub_answers(aws, [])
    _, cursor = SECURITY_HUB.run(cloud, SCOPE, NOW, None)
    SECURITY_HUB.run(cloud, SCOPE, NOW + timedelta(minutes=1), cursor)
    first, second = (call.json["Filters"] for call in aws.recorded())
    assert first["UpdatedAt"] == [{"Start": "2026-03-01T11:50:00.000Z", "End": "2026-03-02T12:00:00.000Z"}]
    assert second["UpdatedAt"] == [{"Start": "2026-03-02T11:50:00.000Z", "End": "2026-03-02T12:01:00.000Z"}]
    assert first["WorkflowStatus"] == [{"Value": "NEW", "Comparison": "EQUALS"}]
    assert first["RecordState"] == [{"Value": "ACTIVE", "Comparison": "EQUALS"}]


@pytest.mark.parametrize(
    "fields",
    [
        {"UpdatedAt": "2026-01-01T00:00:00Z"},
        {"RecordState": "ARCHIVED"},
        {"Workflow": {"Status": "RESOLVED"}},
        {"Workflow": {"Status": "NOTIFIED"}},
    ],
)
def test_what_was_not_asked_for_is_left_out(cloud: AwsCloud, aws: FaultProxy, fields: dict[str, Any]) -> None:
    hub_answers(aws, [finding(1, **fields), finding(2)])
    found, _ = SECURITY_HUB.run(cloud, SCOPE, NOW, None)
    assert [each.id for each in found] == ["finding-2"]


@pytest.mark.parametrize("fields", [{"Resources": []}, {"UpdatedAt": "2026-03-02T11:00:00"}, {"UpdatedAt": "now"}])
def test_a_strange_finding_does_not_hide_the_others(
    cloud: AwsCloud, aws: FaultProxy, fields: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    hub_answers(aws, [finding(1, **fields), finding(2)])
    found, _ = SECURITY_HUB.run(cloud, SCOPE, NOW, None)
    assert "finding-2" in {each.id for each in found}


def test_findings_of_a_real_hub(cloud: AwsCloud, client: Callable[[str], Any], aws: FaultProxy) -> None:
    client("securityhub").batch_import_findings(Findings=[finding(1), finding(2, RecordState="ARCHIVED")])
    found, _ = SECURITY_HUB.run(cloud, SCOPE, NOW, None)
    assert [each.id for each in found] == ["finding-1"]
