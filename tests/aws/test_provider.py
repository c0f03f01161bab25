import importlib
import inspect
import pkgutil
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

import quarantine_aws
from quarantine.action import Action, Capture, Verdict
from quarantine.errors import Gone, NotFound, Unsupported
from quarantine.model import Resource
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.provider import Aws, AwsSettings
from quarantine_aws.resolvers import RESOLVERS
from tests.aws.conftest import SCOPE, provider
from tests.testbed.aws import ACCOUNT, REGION
from tests.testbed.ec2 import Vpc
from tests.testbed.process import free_port
from tests.testbed.proxy import FaultProxy

OTHER = "210987654321"


@pytest.mark.parametrize("module", ["quarantine_aws", "quarantine_aws.provider", "quarantine_aws.findings"])
def test_importing_it_imports_no_sdk(module: str) -> None:
    program = f"import sys, {module}; print({{'boto3', 'botocore'}} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "set()"


def test_making_and_connecting_it_opens_nothing() -> None:
    program = (
        "import sys; from quarantine_aws.provider import Aws, AwsSettings;"
        "Aws(AwsSettings.model_validate({'accounts': {'123456789012': {'regions': ['eu-west-1']}}}))"
        ".connect('123456789012/eu-west-1'); print('botocore' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "False"


@pytest.mark.parametrize("number", [123456789012, 1, "12345", "12345678901a", "1234567890123"])
def test_an_account_id_is_twelve_digits_in_quotes(number: object) -> None:
    with pytest.raises(ValidationError, match="12 digits in quotes"):
        AwsSettings.model_validate({"accounts": {number: {"regions": [REGION]}}})


@pytest.mark.parametrize(
    "account",
    [
        {},
        {"regions": []},
        {"regions": ["us east"]},
        {"regions": [REGION], "role_arn": "admin"},
        {"regions": [REGION], "external_id": "alone"},
        {"region": "x"},
    ],
)
def test_an_account_that_cannot_work_is_refused(account: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AwsSettings.model_validate({"accounts": {ACCOUNT: account}})


@pytest.mark.parametrize(
    "url", ["http://[", "http://a b", "http://127.0.0.1:99999", "localhost:5000", "ftp://a", "http:"]
)
def test_an_endpoint_that_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="scheme and host"):
        AwsSettings(endpoint_url=url)


def test_every_setting_is_described() -> None:
    schema = AwsSettings.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        assert all("description" in field for field in model["properties"].values())


def test_every_region_of_every_account_is_a_scope() -> None:
    aws = Aws(
        AwsSettings.model_validate(
            {"accounts": {ACCOUNT: {"regions": ["eu-west-1", "us-east-1"]}, OTHER: {"regions": ["eu-west-1"]}}}
        )
    )
    assert aws.scopes() == (f"{ACCOUNT}/eu-west-1", f"{ACCOUNT}/us-east-1", f"{OTHER}/eu-west-1")


@pytest.mark.parametrize(
    "scope",
    [
        f"{OTHER}/{REGION}",
        f"{ACCOUNT}/eu-west-1",
        ACCOUNT,
        "",
        f"{ACCOUNT}/{REGION}/x",
        f"{OTHER}/aws-global",
        "/aws-global",
    ],
)
def test_a_scope_that_is_not_configured_is_not_connected(scope: str) -> None:
    with pytest.raises(NotFound, match=SCOPE):
        provider("http://127.0.0.1:1").connect(scope)


def test_every_action_and_capture_of_the_package_is_offered() -> None:
    found = set()
    for module in pkgutil.iter_modules(quarantine_aws.__path__):
        inside = vars(importlib.import_module(f"quarantine_aws.{module.name}")).values()
        steps = (item for item in inside if inspect.isclass(item) and issubclass(item, Action | Capture))
        found |= {step for step in steps if "name" in vars(step)}
    assert found == {*Aws.actions, *Aws.captures}


def test_every_kind_that_something_is_done_to_is_told_from_others_of_its_name() -> None:
    assert {step.resource for step in (*Aws.actions, *Aws.captures)} <= set(RESOLVERS)


def test_the_names_of_all_it_can_be_asked_for() -> None:
    assert set(Aws.parsers) == {
        "aws:asff",
        "aws:guardduty",
        "aws:ocsf",
        "aws:inspector",
        "aws:macie",
        "aws:access-analyzer",
        "aws:config",
    }
    assert {poll.name for poll in Aws.polls} == {
        "aws:public-buckets",
        "aws:security-hub",
        "aws:public-copies",
        "aws:stopped-trails",
    }
    assert {leftover.poll.name: leftover.playbook for leftover in Aws.leftovers} == {
        "aws:unused-quarantine-groups": "remove-quarantine-group"
    }
    assert {(relation.resource, name) for name, relation in Aws.relations.items()} == {
        ("aws:ec2-instance", "role-sessions"),
        ("aws:ec2-image", "snapshots"),
    }


# --- resolve --------------------------------------------------------------------------------------------------------


def test_a_bucket_is_resolved_with_its_tags(aws: FaultProxy, cloud: AwsCloud, s3: Any, bucket: Resource) -> None:
    assert provider(aws.url).resolve(cloud, bucket) == (bucket, {})
    s3.put_bucket_tagging(Bucket=bucket.id, Tagging={"TagSet": [{"Key": "data", "Value": "public"}]})
    assert provider(aws.url).resolve(cloud, bucket) == (bucket, {"data": "public"})


def test_a_bucket_that_is_not_there_is_gone(aws: FaultProxy, cloud: AwsCloud) -> None:
    with pytest.raises(Gone):
        provider(aws.url).resolve(cloud, Resource(kind="aws:s3-bucket", id="never-made", scope=SCOPE))


def test_a_bucket_of_another_region_is_not_touched_under_this_scope(aws: FaultProxy, cloud: AwsCloud, s3: Any) -> None:
    s3.create_bucket(Bucket="far-away", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    with pytest.raises(Unsupported, match=f"{ACCOUNT}/eu-west-1"):
        provider(aws.url).resolve(cloud, Resource(kind="aws:s3-bucket", id="far-away", scope=SCOPE))


def test_a_task_is_resolved_with_its_arn_as_uid(aws: FaultProxy, cloud: AwsCloud, task: Resource) -> None:
    nameless = task.model_copy(update={"uid": None})
    assert provider(aws.url).resolve(cloud, nameless) == (task, {"team": "shop"})


def test_an_instance_is_resolved_with_its_id_as_uid_and_its_tags(
    aws: FaultProxy, cloud: AwsCloud, instance: Resource
) -> None:
    nameless = instance.model_copy(update={"uid": None})
    assert provider(aws.url).resolve(cloud, nameless) == (instance, {"team": "shop"})
    with pytest.raises(Gone):
        provider(aws.url).resolve(cloud, nameless.model_copy(update={"id": "i-0123456789abcdef0"}))


def test_a_security_group_is_resolved_with_its_tags(aws: FaultProxy, cloud: AwsCloud, vpc: Vpc) -> None:
    group = Resource(kind="aws:security-group", id=vpc.web, scope=SCOPE)
    resolved, tags = provider(aws.url).resolve(cloud, group)
    assert (resolved.uid, tags) == (vpc.web, {"made-by": "the customer"})
    with pytest.raises(Gone):
        provider(aws.url).resolve(cloud, group.model_copy(update={"id": "sg-0123456789abcdef0"}))


def test_a_role_session_is_resolved_with_what_aws_calls_its_user(aws: FaultProxy, vpc: Vpc) -> None:
    identifier = vpc.role("web")
    vpc.iam.tag_role(RoleName="web", Tags=[{"Key": "cloud-quarantine/protected", "Value": ""}])
    session = Resource(kind="aws:iam-role-session", id="web/i-0123456789abcdef0", scope=f"{ACCOUNT}/aws-global")
    cloud = provider(aws.url).connect(session.scope)
    resolved, tags = provider(aws.url).resolve(cloud, session)
    assert resolved.uid == f"{identifier}:i-0123456789abcdef0"
    assert tags == {"cloud-quarantine/protected": ""}
    with pytest.raises(Gone):
        provider(aws.url).resolve(cloud, session.model_copy(update={"id": "nobody/i-0123456789abcdef0"}))


def test_other_resources_are_not_resolved(aws: FaultProxy, cloud: AwsCloud) -> None:
    with pytest.raises(Unsupported, match="aws:ec2-instance, aws:ecs-"):
        provider(aws.url).resolve(cloud, Resource(kind="aws:sqs-queue", id="web", scope=SCOPE))


# --- doctor ---------------------------------------------------------------------------------------------------------


def test_the_doctor_is_content(aws: FaultProxy) -> None:
    checks = list(provider(aws.url).doctor())
    assert [check.verdict for check in checks] == [Verdict.OK] * 8
    assert "arn:aws:sts::123456789012" in checks[0].message


def test_the_doctor_sees_that_credentials_lead_into_another_account(aws: FaultProxy) -> None:
    (check,) = provider(aws.url, OTHER).doctor()
    assert check.verdict is Verdict.FAIL
    assert OTHER in check.message
    assert ACCOUNT in check.message
    assert "role_arn" in check.fix


@pytest.mark.parametrize("host", [f"127.0.0.1:{free_port()}", "nowhere.invalid"], ids=["closed port", "no such name"])
def test_the_doctor_sees_that_nothing_answers(host: str) -> None:
    (check,) = provider(f"http://{host}").doctor()
    assert check.verdict is Verdict.FAIL
    assert "Could not connect" in check.message


def test_the_doctor_sees_that_there_are_no_credentials(aws: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (check,) = provider(aws.url).doctor()
    assert check.verdict is Verdict.FAIL
    assert "credentials" in check.message


def test_the_doctor_sees_a_missing_permission(aws: FaultProxy) -> None:
    aws.answer("ListBuckets", 403, {"Content-Type": "application/xml"}, "<Error><Code>AccessDenied</Code></Error>")
    verdicts = {check.subject: check.verdict for check in provider(aws.url).doctor()}
    assert verdicts[f"aws {ACCOUNT} s3:ListAllMyBuckets"] is Verdict.WARN
    assert verdicts[f"aws {ACCOUNT} s3:GetAccountPublicAccessBlock"] is Verdict.OK


@pytest.mark.parametrize(
    "operation", ["DescribeInstances", "DescribeNetworkInterfaces", "DescribeSecurityGroupRules", "CreateSecurityGroup"]
)
def test_the_doctor_asks_ec2_beforehand_and_changes_nothing(aws: FaultProxy, operation: str) -> None:
    body = "<Response><Errors><Error><Code>UnauthorizedOperation</Code></Error></Errors></Response>"
    aws.answer(operation, 403, {"Content-Type": "text/xml"}, body)
    checks = {check.subject: check for check in provider(aws.url).doctor()}
    missing = checks[f"aws {ACCOUNT} ec2:{operation}"]
    assert missing.verdict is Verdict.WARN and missing.fix == f"allow ec2:{operation}"
    assert sum(check.verdict is Verdict.OK for check in checks.values()) == len(checks) - 1
    asked = [call for call in aws.recorded() if call.service == "ec2"]
    assert asked and all(call.form["DryRun"] == "true" for call in asked)


def test_the_doctor_says_when_ec2_cannot_tell(aws: FaultProxy) -> None:
    body = "<Response><Errors><Error><Code>VPCIdNotSpecified</Code></Error></Errors></Response>"
    aws.answer("CreateSecurityGroup", 400, {"Content-Type": "text/xml"}, body)
    checks = {check.subject: check for check in provider(aws.url).doctor()}
    unclear = checks[f"aws {ACCOUNT} ec2:CreateSecurityGroup"]
    assert unclear.verdict is Verdict.WARN and "could not be asked" in unclear.message


def test_the_doctor_says_when_there_is_nothing_to_look_at() -> None:
    (check,) = Aws(AwsSettings()).doctor()
    assert check.verdict is Verdict.WARN
