from collections.abc import Callable
from typing import Any

import pytest

from quarantine.errors import Gone
from quarantine.model import Resource
from quarantine.testing.contract import CountingGate, Setting, Stranger
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.cloudtrail_restart import CloudtrailRestart
from quarantine_aws.cloudtrail_trail import STOPPED_TRAILS, Recording, refusal
from tests.aws.conftest import SCOPE, provider
from tests.aws.faults import AwsContract
from tests.aws.test_findings import RECEIVED
from tests.testbed.aws import ACCOUNT, REGION
from tests.testbed.proxy import FaultProxy

NAME = "everything"
ARN = f"arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/{NAME}"
TRAIL = Resource(kind="aws:cloudtrail-trail", id=NAME, scope=SCOPE, uid=ARN)


@pytest.fixture
def trail(client: Callable[[str], Any], aws: FaultProxy) -> Any:
    client("s3").create_bucket(Bucket="trails")
    cloudtrail = client("cloudtrail")
    for name in (NAME, "other"):
        cloudtrail.create_trail(Name=name, S3BucketName="trails")
    cloudtrail.start_logging(Name="other")
    return cloudtrail


@pytest.fixture
def setting(cloud: AwsCloud, trail: Any) -> Setting:
    return Setting(CloudtrailRestart(), cloud, TRAIL)


class TestCloudtrailRestart(AwsContract):
    @pytest.fixture
    def setting(self, cloud: AwsCloud, trail: Any) -> Setting:
        return Setting(CloudtrailRestart(), cloud, TRAIL)

    @pytest.fixture
    def stranger(self, trail: Any) -> Stranger:
        return lambda: trail.stop_logging(Name=NAME)


def test_it_records_and_a_release_leaves_it_as_it_was(setting: Setting, trail: Any) -> None:
    before = setting.observe()
    setting.apply(setting.target(before))
    assert trail.get_trail_status(Name=NAME)["IsLogging"]
    setting.apply(before)
    assert not trail.get_trail_status(Name=NAME)["IsLogging"]
    assert trail.get_trail_status(Name="other")["IsLogging"]


@pytest.mark.parametrize(
    ("arn", "home", "word"),
    [
        (ARN, REGION, None),
        (ARN, "eu-west-1", f"{ACCOUNT}/eu-west-1"),
        (ARN.replace(ACCOUNT, "111122223333"), REGION, "111122223333"),
    ],
)
def test_a_trail_is_started_where_it_was_made_and_by_whom_it_belongs_to(arn: str, home: str, word: str | None) -> None:
    refused = refusal(Recording(logging=False, arn=arn, home=home, region=REGION, account=ACCOUNT))
    assert (refused is None) == (word is None)
    assert refused is None or word is None or word in refused.alternatives[0]


def test_what_stays_possible_is_said() -> None:
    always = {"gap", "whoever-stopped-it", "event-selectors"}
    action = CloudtrailRestart()
    assert {caveat.id for caveat in action.caveats(Recording(logging=False))} == always
    said = action.caveats(Recording(logging=False, delivery_error="AccessDenied"))
    assert {caveat.id for caveat in said} == always | {"delivery-fails"}


def test_it_is_resolved_and_gone_when_it_is_not_there(cloud: AwsCloud, trail: Any, aws: FaultProxy) -> None:
    nameless = TRAIL.model_copy(update={"uid": None})
    assert provider(aws.url).resolve(cloud, nameless) == (TRAIL, {})
    with pytest.raises(Gone):
        CloudtrailRestart().observe(cloud, TRAIL.model_copy(update={"id": "nobody"}))


def test_the_poll_finds_the_trail_that_does_not_record_and_no_other(
    setting: Setting, cloud: AwsCloud, trail: Any
) -> None:
    watched = cloud.through(CountingGate(0), setting.mark, setting.used.append)
    findings, cursor = STOPPED_TRAILS.run(watched, SCOPE, RECEIVED, None)
    assert [(finding.resource, finding.type) for finding in findings] == [(TRAIL, "stopped-trail")]
    assert cursor is None
    assert {call.permission for call in setting.used} == set(STOPPED_TRAILS.permissions)
    trail.start_logging(Name=NAME)
    assert STOPPED_TRAILS.run(cloud, SCOPE, RECEIVED, None) == ([], None)
