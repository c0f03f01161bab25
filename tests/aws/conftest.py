"""An AWS with a bucket and a task in it, behind a proxy that records and breaks calls; and our connection to it."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from quarantine.model import Resource
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.provider import Aws, AwsAccount, AwsSettings
from tests.testbed.aws import ACCOUNT, REGION, Moto, aws_environment
from tests.testbed.ec2 import Vpc
from tests.testbed.proxy import FaultProxy

SCOPE = f"{ACCOUNT}/{REGION}"
BUCKET = Resource(kind="aws:s3-bucket", id="crown-jewels", scope=SCOPE)

PUBLIC_POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:GetObject",
                "Resource": f"arn:aws:s3:::{BUCKET.id}/*",
            }
        ],
    }
)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the test AWS, and nothing of the machine's own settings."""
    environment = aws_environment("unused")
    del environment["AWS_ENDPOINT_URL"]
    for name in [name for name in environment if name.startswith("AWS_")]:
        monkeypatch.setenv(name, environment[name])
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


@pytest.fixture(scope="session")
def client(moto: Moto) -> Callable[[str], Any]:
    """Somebody else's clients, past the proxy: `client("s3")`."""
    return cache(moto.client)


@pytest.fixture
def aws(moto: Moto, proxy: Callable[..., FaultProxy]) -> FaultProxy:
    moto.reset()
    return proxy(moto.url)


def provider(url: str, account: str = ACCOUNT, **access: Any) -> Aws:
    return Aws(AwsSettings(accounts={account: AwsAccount(regions=(REGION,), **access)}, endpoint_url=url))


@pytest.fixture
def cloud(aws: FaultProxy) -> AwsCloud:
    return provider(aws.url).connect(SCOPE)


@pytest.fixture
def s3(client: Callable[[str], Any], aws: FaultProxy) -> Any:
    return client("s3")


@pytest.fixture
def s3control(client: Callable[[str], Any], aws: FaultProxy) -> Any:
    """For the account's settings. By itself the SDK puts the account in front of the host."""

    def keep_the_host(params: dict[str, Any], **_: Any) -> None:
        params["url"] = params["url"].replace(f"//{ACCOUNT}.", "//")

    control = client("s3control")
    control.meta.events.register("before-call", keep_the_host, unique_id="keep-the-host")
    return control


@pytest.fixture
def bucket(s3: Any) -> Resource:
    s3.create_bucket(Bucket=BUCKET.id)
    return BUCKET


@pytest.fixture
def task(moto: Moto, aws: FaultProxy) -> Resource:
    """A Fargate task of the service `web`."""
    arn = moto.make_task()
    return Resource(kind="aws:ecs-task", id=arn, scope=SCOPE, uid=arn)


@pytest.fixture
def vpc(moto: Moto, aws: FaultProxy) -> Vpc:
    return Vpc(moto)


@pytest.fixture
def instance(vpc: Vpc) -> Resource:
    """Two interfaces, in two subnets; no role."""
    name = vpc.instance()
    return Resource(kind="aws:ec2-instance", id=name, scope=SCOPE, uid=name)
