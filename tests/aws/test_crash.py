"""Every shipped playbook dies everywhere on an AWS of ours: see quarantine/testing/crash.py."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from quarantine.model import Resource
from quarantine.playbook import shipped
from quarantine.testing.crash import CrashContract, Scene, Stage
from quarantine.testing.installation import Installation
from quarantine_aws.provider import Aws
from quarantine_aws.quarantine_group import request
from tests.aws.conftest import PUBLIC_POLICY, SCOPE, provider
from tests.testbed.aws import Moto
from tests.testbed.ec2 import Vpc
from tests.testbed.proxy import FaultProxy

PLAYBOOKS = shipped() / "aws"


@pytest.fixture
def connected(moto: Moto, aws: FaultProxy) -> Aws:
    """Past the proxy."""
    return provider(moto.url)


class TestCloseAPublicBucket(CrashContract):
    playbook = PLAYBOOKS / "close-public-bucket.yaml"

    @pytest.fixture
    def scene(self, connected: Aws, client: Callable[[str], Any]) -> Stage:
        s3, numbers = client("s3"), count(1)

        def fresh(folder: Path) -> Scene:
            name = f"crown-jewels-{next(numbers)}"
            s3.create_bucket(Bucket=name)
            s3.put_bucket_policy(Bucket=name, Policy=PUBLIC_POLICY.replace("crown-jewels", name))
            bucket = Resource(kind="aws:s3-bucket", id=name, scope=SCOPE)
            return Scene(Installation(folder, connected, [self.playbook]), bucket, raw=lambda: access(s3, name))

        return fresh


def access(s3: Any, bucket: str) -> list[Any]:
    """Its switch, if it has one, and its policy."""
    try:
        block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    except s3.exceptions.ClientError:
        block = None
    return [block, s3.get_bucket_policy(Bucket=bucket)["Policy"]]


class TestIsolateAnInstance(CrashContract):
    """Two interfaces and a role. One instance lives all lives; each makes the quarantine group of the VPC anew."""

    playbook = PLAYBOOKS / "isolate-instance.yaml"

    @pytest.fixture
    def scene(self, connected: Aws, moto: Moto) -> Stage:
        vpc = Vpc(moto)
        vpc.role("web-server")
        name = vpc.instance("web-server")

        def remove_the_group() -> None:
            vpc.ec2.delete_security_group(GroupId=vpc.quarantine_group()["GroupId"])

        def again(folder: Path) -> Scene:
            return Scene(
                Installation(folder, connected, [self.playbook]),
                Resource(kind="aws:ec2-instance", id=name, scope=SCOPE, uid=name),
                raw=lambda: vpc.image(name, "web-server"),
                left=lambda: [rules(group) for group in vpc.quarantine_groups()],
                end=remove_the_group,
            )

        return again


def rules(group: dict[str, Any]) -> list[Any]:
    """A quarantine group has none."""
    return [group["IpPermissions"], group["IpPermissionsEgress"]]


class TestRemoveAQuarantineGroup(CrashContract):
    playbook = PLAYBOOKS / "remove-quarantine-group.yaml"

    @pytest.fixture
    def scene(self, connected: Aws, moto: Moto) -> Stage:
        vpc = Vpc(moto)

        def fresh(folder: Path) -> Scene:
            there = Installation(folder, connected, [self.playbook])
            made = vpc.ec2.create_security_group(**request(vpc.id, there.store.installation()))["GroupId"]
            group = Resource(kind="aws:security-group", id=made, scope=SCOPE, uid=made)
            return Scene(there, group, raw=lambda: len(vpc.quarantine_groups()))

        return fresh


class TestStopATask(CrashContract):
    playbook = PLAYBOOKS / "stop-task.yaml"

    @pytest.fixture
    def scene(self, connected: Aws, task: Resource, client: Callable[[str], Any]) -> Stage:
        ecs = client("ecs")

        def fresh(folder: Path) -> Scene:
            network = {"subnets": subnets(ecs, task.id), "securityGroups": ["sg-12345678"]}
            again = ecs.run_task(
                cluster="shop",
                taskDefinition="web",
                launchType="FARGATE",
                group="service:web",
                networkConfiguration={"awsvpcConfiguration": network},
            )["tasks"][0]["taskArn"]
            resource = Resource(kind="aws:ecs-task", id=again, scope=SCOPE, uid=again)
            return Scene(Installation(folder, connected, [self.playbook]), resource, raw=lambda: standing(ecs, again))

        return fresh


def subnets(ecs: Any, task: str) -> list[str]:
    interface = ecs.describe_tasks(cluster="shop", tasks=[task])["tasks"][0]["attachments"][0]
    return [detail["value"] for detail in interface["details"] if detail["name"] == "subnetId"]


def standing(ecs: Any, task: str) -> tuple[str, str]:
    found = ecs.describe_tasks(cluster="shop", tasks=[task])["tasks"][0]
    return found["lastStatus"], found["desiredStatus"]
