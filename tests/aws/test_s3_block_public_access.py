from typing import Any

import pytest

from quarantine.action import State
from quarantine.errors import Gone, Throttled, Unknown
from quarantine.model import Resource
from quarantine.testing.contract import ReversibleContract, Setting, Stranger
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.s3_block_public_access import BlockedAccess, S3BlockPublicAccess
from quarantine_aws.s3_exposure import CLOSED
from tests.aws.conftest import PUBLIC_POLICY
from tests.testbed.aws import ACCOUNT
from tests.testbed.proxy import FaultProxy

PARTLY = {**CLOSED, "BlockPublicPolicy": False, "RestrictPublicBuckets": False}
DENIED = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>"


def observed(setting: Setting) -> BlockedAccess:
    state = setting.observe()
    assert isinstance(state, BlockedAccess)
    return state


def caveats(setting: Setting) -> dict[str, str]:
    return {caveat.id: caveat.text for caveat in setting.action.caveats(observed(setting))}


@pytest.fixture
def setting(cloud: AwsCloud, bucket: Resource) -> Setting:
    return Setting(S3BlockPublicAccess(), cloud, bucket)


class TestFromNoSettings(ReversibleContract):
    @pytest.fixture
    def setting(self, cloud: AwsCloud, bucket: Resource) -> Setting:
        return Setting(S3BlockPublicAccess(), cloud, bucket)

    @pytest.fixture
    def stranger(self, s3: Any, bucket: Resource) -> Stranger:
        return lambda: s3.put_public_access_block(
            Bucket=bucket.id, PublicAccessBlockConfiguration={**CLOSED, "BlockPublicAcls": False}
        )

    def test_they_are_removed_again(self, setting: Setting, s3: Any) -> None:
        before = observed(setting)
        assert before.settings is None
        setting.apply(setting.target(before))
        self.release(setting, before)
        with pytest.raises(s3.exceptions.ClientError, match="NoSuchPublicAccessBlockConfiguration"):
            s3.get_public_access_block(Bucket=setting.resource.id)


class TestFromSomeSettings(ReversibleContract):
    @pytest.fixture
    def setting(self, cloud: AwsCloud, bucket: Resource, s3: Any) -> Setting:
        s3.put_public_access_block(Bucket=bucket.id, PublicAccessBlockConfiguration=PARTLY)
        return Setting(S3BlockPublicAccess(), cloud, bucket)

    @pytest.fixture
    def stranger(self, s3: Any, bucket: Resource) -> Stranger:
        return lambda: s3.put_public_access_block(
            Bucket=bucket.id, PublicAccessBlockConfiguration={**CLOSED, "BlockPublicAcls": False}
        )

    def test_what_was_false_is_false_again(self, setting: Setting, s3: Any) -> None:
        before = observed(setting)
        setting.apply(setting.target(before))
        self.release(setting, before)
        answer = s3.get_public_access_block(Bucket=setting.resource.id)
        assert answer["PublicAccessBlockConfiguration"] == PARTLY


def test_a_closed_bucket_costs_one_call(setting: Setting, s3: Any, aws: FaultProxy) -> None:
    s3.put_public_access_block(Bucket=setting.resource.id, PublicAccessBlockConfiguration=CLOSED)
    assert observed(setting) == BlockedAccess(settings=CLOSED)
    assert [call.operation for call in aws.recorded()] == ["GetPublicAccessBlock"]


def test_the_acl_is_read_before_it_is_masked(setting: Setting, s3: Any, aws: FaultProxy) -> None:
    s3.put_bucket_acl(Bucket=setting.resource.id, ACL="public-read")
    before = observed(setting)
    assert before.exposure is not None
    assert before.exposure.public_grants == ("AllUsers:READ",)
    setting.apply(setting.target(before))
    calls = [call.operation for call in aws.recorded()]
    assert calls.index("GetBucketAcl") < calls.index("PutPublicAccessBlock")


def test_what_stays_possible_is_said(setting: Setting, s3: Any, s3control: Any) -> None:
    name = setting.resource.id
    s3.put_bucket_policy(Bucket=name, Policy=PUBLIC_POLICY)
    s3.put_bucket_website(Bucket=name, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}})
    s3control.create_access_point(AccountId=ACCOUNT, Name="partners", Bucket=name)
    said = caveats(setting)
    assert set(said) == {"authorized-access", "account-block-off", "access-points", "website", "cross-account"}
    assert "partners" in said["access-points"]


def test_an_account_that_blocks_already_is_said(setting: Setting, s3control: Any) -> None:
    s3control.put_public_access_block(AccountId=ACCOUNT, PublicAccessBlockConfiguration=CLOSED)
    said = caveats(setting)
    assert "account-block-on" in said
    assert "account-block-off" not in said


@pytest.mark.parametrize(
    ("operation", "fact"),
    [
        ("GetBucketAcl", "public_grants"),
        ("GetBucketPolicyStatus", "policy_public"),
        ("GetBucketWebsite", "website"),
        ("ListAccessPoints", "access_points"),
    ],
)
def test_a_fact_that_may_not_be_read_is_a_caveat_and_no_obstacle(
    setting: Setting, aws: FaultProxy, operation: str, fact: str
) -> None:
    aws.answer(operation, 403, {"Content-Type": "application/xml"}, DENIED, times=10)
    before = observed(setting)
    said = {caveat.id: caveat.text for caveat in setting.action.caveats(before)}
    assert f"unread-{fact}" in said
    assert f"s3:{operation}" in said[f"unread-{fact}"]
    target = setting.target(before)
    setting.apply(target)
    assert observed(setting).settings == CLOSED


def test_settings_that_are_absent_are_not_a_bucket_that_is_gone(setting: Setting, s3: Any) -> None:
    assert observed(setting).settings is None
    s3.delete_bucket(Bucket=setting.resource.id)
    with pytest.raises(Gone, match="NoSuchBucket"):
        setting.action.observe(setting.cloud, setting.resource)


def test_a_throttled_fact_is_not_taken_for_a_missing_one(setting: Setting, aws: FaultProxy) -> None:
    aws.answer("GetBucketWebsite", 503, {}, "<Error><Code>SlowDown</Code></Error>", times=10)
    with pytest.raises(Throttled):
        setting.action.observe(setting.cloud, setting.resource)


def test_a_lost_answer_is_unknown_and_the_settings_are_on(setting: Setting, aws: FaultProxy) -> None:
    target = setting.target(observed(setting))
    aws.lose_answer("PutPublicAccessBlock")
    with pytest.raises(Unknown):
        setting.apply(target)
    assert len(aws.recorded("PutPublicAccessBlock")) == 1
    assert observed(setting).settings == CLOSED


def test_every_request_says_whose_bucket_it_must_be(setting: Setting, aws: FaultProxy) -> None:
    setting.apply(setting.target(observed(setting)))
    for call in aws.recorded():
        header = "x-amz-account-id" if "/v20180820/" in call.target else "x-amz-expected-bucket-owner"
        assert call.headers[header] == ACCOUNT, call


def test_the_change_says_for_which_case_it_is(setting: Setting, aws: FaultProxy) -> None:
    setting.apply(setting.target(observed(setting)))
    agents = {call.operation: call.headers["user-agent"] for call in aws.recorded()}
    assert agents["PutPublicAccessBlock"].endswith("cloud-quarantine case/case-contract")
    assert "case/" not in agents["GetBucketAcl"]


def test_the_target_keeps_nothing_but_the_four_settings(setting: Setting) -> None:
    target = setting.target(observed(setting))
    assert isinstance(target, State)
    assert target.part() == {"settings": CLOSED}
