import threading
from collections.abc import Callable
from typing import Any

import pytest
from botocore import exceptions as sdk

from quarantine.action import Mark
from quarantine.errors import (
    Conflict,
    Denied,
    Gone,
    NotFound,
    ProviderError,
    Throttled,
    Transient,
    Unknown,
    Unreachable,
    Unsupported,
)
from quarantine.model import Resource
from quarantine.testing.contract import CountingGate
from quarantine_aws.clients import Access, Clients, Patience
from quarantine_aws.cloud import AwsCloud, translate
from quarantine_aws.codes import Absent
from tests.aws.conftest import BUCKET, SCOPE, provider
from tests.testbed.aws import ACCOUNT, REGION
from tests.testbed.ec2 import Vpc
from tests.testbed.process import free_port
from tests.testbed.proxy import FaultProxy

MARK = Mark(installation="test", case="case-7f3a", step=0, key="key")
XML = {"Content-Type": "application/xml"}


def client_error(code: str, status: int, operation: str = "PutPublicAccessBlock") -> sdk.ClientError:
    answer: dict[str, Any] = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return sdk.ClientError(answer, operation)


@pytest.mark.parametrize(
    ("code", "status", "read", "change"),
    [
        ("SlowDown", 503, Throttled, Throttled),
        ("RequestLimitExceeded", 503, Throttled, Throttled),
        ("ThrottlingException", 400, Throttled, Throttled),
        ("SomethingNew", 429, Throttled, Throttled),
        ("AccessDenied", 403, Denied, Denied),
        ("AccessDeniedException", 400, Denied, Denied),
        ("UnauthorizedOperation", 403, Denied, Denied),
        ("NoSuchBucket", 404, Gone, Gone),
        ("404", 404, Gone, Gone),
        ("ClusterNotFoundException", 400, Gone, Gone),
        ("NoSuchPublicAccessBlockConfiguration", 404, Absent, Absent),
        ("NoSuchBucketPolicy", 404, Absent, Absent),
        ("InvalidInstanceID.NotFound", 400, Gone, Gone),
        ("InvalidGroup.NotFound", 400, Gone, Gone),
        ("InvalidNetworkInterfaceID.NotFound", 400, Gone, Gone),
        ("InvalidSecurityGroupRuleId.NotFound", 400, Gone, Gone),
        ("NoSuchEntity", 404, Gone, Gone),
        ("InvalidGroup.Duplicate", 400, Conflict, Conflict),
        ("DependencyViolation", 400, Conflict, Conflict),
        ("EntityAlreadyExists", 409, Conflict, Conflict),
        ("PreconditionFailed", 412, Conflict, Conflict),
        ("ConditionalRequestConflict", 409, Conflict, Conflict),
        ("OperationAborted", 409, Conflict, Conflict),
        ("ExpiredToken", 400, Unreachable, Unreachable),
        ("InvalidClientTokenId", 403, Unreachable, Unreachable),
        ("InternalError", 500, Transient, Unknown),
        ("ServiceUnavailable", 503, Transient, Unknown),
        ("502", 502, Transient, Unknown),
        ("InternalError", 200, Transient, Unknown),
        ("InvalidRequest", 400, Unsupported, Unsupported),
        ("MethodNotAllowed", 405, Unsupported, Unsupported),
        ("UnmodifiableEntity", 400, Unsupported, Unsupported),
        ("DryRunOperation", 412, Unsupported, Unsupported),
    ],
)
def test_errors_are_told_apart_by_code(
    code: str, status: int, read: type[ProviderError], change: type[ProviderError]
) -> None:
    error = client_error(code, status)
    assert type(translate(error, "s3.get_public_access_block", changes=False)) is read
    assert type(translate(error, "s3.put_public_access_block", changes=True)) is change


@pytest.mark.parametrize(
    ("error", "read", "change"),
    [
        (sdk.EndpointConnectionError(endpoint_url="http://x"), Unreachable, Unreachable),
        (sdk.ConnectTimeoutError(endpoint_url="http://x"), Unreachable, Unreachable),
        (sdk.NoCredentialsError(), Unreachable, Unreachable),
        (sdk.ReadTimeoutError(endpoint_url="http://x"), Transient, Unknown),
        (sdk.ConnectionClosedError(endpoint_url="http://x"), Transient, Unknown),
        (sdk.SSLError(endpoint_url="http://x", error="bad"), Unreachable, Unknown),
        (sdk.ParamValidationError(report="no"), Unsupported, Unsupported),
        (sdk.BotoCoreError(), Unreachable, Unknown),
    ],
)
def test_errors_without_an_answer_are_told_apart_by_class(
    error: Exception, read: type[ProviderError], change: type[ProviderError]
) -> None:
    assert type(translate(error, "s3.get_x", changes=False)) is read
    assert type(translate(error, "s3.put_x", changes=True)) is change


def test_what_is_absent_is_never_taken_for_gone() -> None:
    assert not issubclass(Absent, Gone)


@pytest.mark.parametrize(
    "call",
    [
        "s3.get_public_access_block",
        "ecs.describe_tasks",
        "s3.list_buckets",
        "s3.head_bucket",
        "ec2.create_security_group?dry-run",
    ],
)
def test_reads_are_known_by_their_verb(call: str) -> None:
    assert AwsCloud(SCOPE, Clients({})).reads(call)


@pytest.mark.parametrize(
    "call",
    ["s3.put_public_access_block", "ecs.stop_task", "iam.simulate_principal_policy", "sts.assume_role", "getaway.x",
     "s3.getaway", "get_x", "s3.put_get_x", "s3.get_x\n", "s3.put_bucket_acl?dry-run",
     "ec2.create_security_group?dry-run=false", "ec2.create_security_group?", "ec2.create_security_group"],
)  # fmt: skip
def test_everything_else_is_a_change(call: str) -> None:
    assert not AwsCloud(SCOPE, Clients({})).reads(call)


# --- dry runs -------------------------------------------------------------------------------------------------------


def test_a_dry_run_changes_nothing_whatever_it_is_given(cloud: AwsCloud, aws: FaultProxy, vpc: Vpc) -> None:
    call = "ec2.create_security_group?dry-run"
    answer = cloud.read("ec2:CreateSecurityGroup", call, GroupName="x", Description="x", VpcId=vpc.id, DryRun=False)
    assert answer == {}
    assert vpc.quarantine_groups() == []
    assert aws.recorded("CreateSecurityGroup")[0].form["DryRun"] == "true"


def test_a_dry_run_that_is_not_allowed_is_denied(cloud: AwsCloud, aws: FaultProxy) -> None:
    body = "<Response><Errors><Error><Code>UnauthorizedOperation</Code></Error></Errors></Response>"
    aws.answer("CreateSecurityGroup", 403, XML, body)
    with pytest.raises(Denied, match="ec2:CreateSecurityGroup"):
        cloud.read("ec2:CreateSecurityGroup", "ec2.create_security_group?dry-run", GroupName="x", Description="x")


# --- over the wire --------------------------------------------------------------------------------------------------


def changing(cloud: AwsCloud) -> AwsCloud:
    return cloud.through(CountingGate(), MARK)


def close(cloud: AwsCloud) -> Any:
    block = {"BlockPublicAcls": True}
    return changing(cloud).change(
        "s3:PutBucketPublicAccessBlock",
        "s3.put_public_access_block",
        Bucket=BUCKET.id,
        PublicAccessBlockConfiguration=block,
    )


def look(cloud: AwsCloud) -> Any:
    return cloud.read("s3:GetBucketPublicAccessBlock", "s3.get_public_access_block", Bucket=BUCKET.id)


@pytest.fixture
def broken(proxy: Callable[..., FaultProxy]) -> FaultProxy:
    """Nothing is behind it: it answers what a test tells it to."""
    return proxy(f"http://127.0.0.1:{free_port()}")


@pytest.fixture
def hasty(broken: FaultProxy) -> AwsCloud:
    return AwsCloud(SCOPE, Clients({ACCOUNT: Access()}, broken.url, Patience(connect=2, read=0.3)))


@pytest.mark.parametrize(("status", "code"), [(500, "InternalError"), (503, "SlowDown"), (503, "ServiceUnavailable")])
def test_a_change_that_fails_was_one_request(broken: FaultProxy, hasty: AwsCloud, status: int, code: str) -> None:
    broken.answer("PutPublicAccessBlock", status, XML, f"<Error><Code>{code}</Code></Error>", times=10)
    with pytest.raises(Throttled if code == "SlowDown" else Unknown):
        close(hasty)
    assert len(broken.recorded()) == 1


def test_a_change_whose_connection_ends_was_one_request_and_is_unknown(broken: FaultProxy, hasty: AwsCloud) -> None:
    broken.drop("PutPublicAccessBlock", times=10)
    with pytest.raises(Unknown):
        close(hasty)
    assert len(broken.recorded()) == 1


def test_a_change_without_an_answer_in_time_is_unknown(broken: FaultProxy, hasty: AwsCloud) -> None:
    broken.hold("PutPublicAccessBlock")
    with pytest.raises(Unknown, match="Read timeout"):
        close(hasty)
    assert len(broken.recorded()) == 1


def test_a_read_is_tried_three_times(broken: FaultProxy, hasty: AwsCloud) -> None:
    broken.answer("GetPublicAccessBlock", 500, XML, "<Error><Code>InternalError</Code></Error>", times=10)
    with pytest.raises(Transient):
        look(hasty)
    assert len(broken.recorded()) == 3


def test_an_answer_that_is_no_answer_leaves_a_change_unknown(broken: FaultProxy, hasty: AwsCloud) -> None:
    broken.answer(lambda call: True, 200, XML, "<html>Please sign in to the hotel's network", times=10)
    with pytest.raises(ProviderError):
        look(hasty)


def test_a_change_needs_a_mark(cloud: AwsCloud) -> None:
    with pytest.raises(PermissionError):
        cloud.change("ecs:StopTask", "ecs.stop_task", cluster="c", task="t")


def test_a_denial_names_permission_principal_and_next_step(aws: FaultProxy, cloud: AwsCloud) -> None:
    aws.answer("GetPublicAccessBlock", 403, XML, "<Error><Code>AccessDenied</Code></Error>", times=2)
    with pytest.raises(Denied, match=r"our identity may not use s3:GetBucketPublicAccessBlock in account 123456789012"):
        look(cloud)
    principal = cloud.identity().principal
    with pytest.raises(Denied, match=rf"{principal} may not use .*: allow s3:GetBucketPublicAccessBlock in its policy"):
        look(cloud)


def test_a_change_leaves_the_request_id(cloud: AwsCloud, bucket: Resource) -> None:
    receipt = close(cloud)
    assert receipt.id
    assert receipt.id == receipt.answer["ResponseMetadata"]["RequestId"]


def test_nothing_that_answers_is_unreachable() -> None:
    cloud = provider(f"http://127.0.0.1:{free_port()}").connect(SCOPE)
    with pytest.raises(Unreachable, match=r"providers\.aws\.endpoint_url"):
        look(cloud)
    with pytest.raises(Unreachable):
        close(cloud)


def test_no_credentials_is_unreachable(cloud: AwsCloud, aws: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for attempt in (look, close):
        with pytest.raises(Unreachable, match="quarantine doctor"):
            attempt(cloud)
    assert aws.recorded() == []


def test_a_profile_that_does_not_exist_is_unreachable(aws: FaultProxy) -> None:
    with pytest.raises(Unreachable, match="nobody"):
        look(provider(aws.url, profile="nobody").connect(SCOPE))


def test_an_account_that_is_not_configured_has_no_client() -> None:
    with pytest.raises(NotFound, match="999999999999"):
        look(AwsCloud("999999999999/us-east-1", Clients({})))


# --- clients --------------------------------------------------------------------------------------------------------


def test_clients_are_made_once_also_by_many_threads(aws: FaultProxy) -> None:
    clients = Clients({ACCOUNT: Access()}, aws.url)
    made: list[int] = []
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait()
        made.append(id(clients.reading(ACCOUNT, REGION, "s3")))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(made)) == 1


def test_sessions_share_their_data_loader() -> None:
    clients = Clients({ACCOUNT: Access(), "210987654321": Access()})
    loaders = {
        id(clients._session(account, "", REGION).get_component("data_loader")) for account in (ACCOUNT, "210987654321")
    }
    assert len(loaders) == 1


def test_reads_and_changes_have_clients_of_their_own() -> None:
    clients = Clients({ACCOUNT: Access()}, "http://127.0.0.1:1")
    reading, changing = clients.reading(ACCOUNT, REGION, "s3"), clients.changing(ACCOUNT, REGION, "s3", "case-1")
    assert reading.meta.config.retries == {"mode": "standard", "total_max_attempts": 3}
    assert changing.meta.config.retries == {"mode": "standard", "total_max_attempts": 1}
    assert (reading.meta.config.connect_timeout, reading.meta.config.read_timeout) == (3, 15)
    assert clients.changing(ACCOUNT, REGION, "s3", "case-2") is changing


ROLE = "arn:aws:iam::123456789012:role/quarantine"


def test_an_assumed_role_is_named_after_the_case(aws: FaultProxy, bucket: Resource) -> None:
    cloud = provider(aws.url, role_arn=ROLE, external_id="between-us").connect(SCOPE)
    cloud.read("s3:ListAllMyBuckets", "s3.list_buckets")
    close(cloud)
    close(cloud)
    assumed = [call.form for call in aws.recorded("AssumeRole")]
    assert [form["RoleSessionName"] for form in assumed] == ["cloud-quarantine", "case-7f3a"]
    assert {(form["RoleArn"], form["ExternalId"]) for form in assumed} == {(ROLE, "between-us")}
    assert len(aws.recorded("PutPublicAccessBlock")) == 2


def test_a_role_that_cannot_be_assumed_is_unreachable_since_nothing_was_sent(aws: FaultProxy) -> None:
    answer = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
    aws.answer("AssumeRole", 403, {"Content-Type": "text/xml"}, answer, times=10)
    with pytest.raises(Unreachable, match="trust policy"):
        close(provider(aws.url, role_arn=ROLE).connect(SCOPE))
    assert {call.operation for call in aws.recorded()} == {"AssumeRole"}
