"""The playbooks about credentials, shared copies, open ports and functions die everywhere, too."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quarantine.model import Resource
from quarantine.playbook import shipped
from quarantine.testing.crash import CrashContract, Scene, Stage
from quarantine.testing.installation import Installation
from quarantine_aws.provider import Aws
from tests.aws.conftest import SCOPE, provider
from tests.aws.test_iam_user_disable_keys import EVERYWHERE, USER, Person
from tests.aws.test_lambda_freeze import NAME, Function
from tests.aws.test_sg_revoke_open_ingress import Gate
from tests.aws.test_unsharing import Shared, cluster_snapshot, database_snapshot, image, snapshot
from tests.testbed.aws import Moto
from tests.testbed.ec2 import Vpc
from tests.testbed.proxy import FaultProxy

PLAYBOOKS = shipped() / "aws"


@pytest.fixture
def connected(moto: Moto, aws: FaultProxy) -> Aws:
    """Past the proxy."""
    return provider(moto.url)


class _Crash(CrashContract):
    """One resource lives all lives: each has to give it back as it was."""

    def stage(self, connected: Aws, resource: Resource, raw: Callable[[], object]) -> Stage:
        def again(folder: Path) -> Scene:
            return Scene(Installation(folder, connected, [self.playbook]), resource, raw=raw)

        return again


class TestDisableAUsersKeys(_Crash):
    playbook = PLAYBOOKS / "disable-user-keys.yaml"

    @pytest.fixture
    def scene(self, connected: Aws, client: Callable[[str], Any]) -> Stage:
        person = Person(client("iam"))
        user = Resource(kind="aws:iam-user", id=USER, scope=EVERYWHERE, uid=person.id)
        return self.stage(connected, user, raw=person.image)


class TestRevokeARolesSessions(_Crash):
    playbook = PLAYBOOKS / "revoke-role-sessions.yaml"

    @pytest.fixture
    def scene(self, connected: Aws, moto: Moto) -> Stage:
        vpc = Vpc(moto)
        role = Resource(kind="aws:iam-role", id="reporting", scope=EVERYWHERE, uid=vpc.role("reporting"))
        return self.stage(connected, role, raw=lambda: vpc.policies("reporting"))


class TestCloseOpenPorts(_Crash):
    playbook = PLAYBOOKS / "close-open-ports.yaml"

    @pytest.fixture
    def scene(self, connected: Aws, moto: Moto) -> Stage:
        gate = Gate(Vpc(moto))
        group = Resource(kind="aws:security-group", id=gate.id, scope=SCOPE, uid=gate.id)
        return self.stage(connected, group, raw=gate.image)


class TestFreezeAFunction(_Crash):
    playbook = PLAYBOOKS / "freeze-function.yaml"

    @pytest.fixture
    def scene(self, connected: Aws, client: Callable[[str], Any]) -> Stage:
        function = Function(client)
        return self.stage(connected, Resource(kind="aws:lambda-function", id=NAME, scope=SCOPE), raw=function.image)


class TestRestartATrail(_Crash):
    playbook = PLAYBOOKS / "restart-trail.yaml"

    @pytest.fixture
    def scene(self, connected: Aws, client: Callable[[str], Any]) -> Stage:
        client("s3").create_bucket(Bucket="trails")
        cloudtrail = client("cloudtrail")
        cloudtrail.create_trail(Name="everything", S3BucketName="trails")
        trail = Resource(kind="aws:cloudtrail-trail", id="everything", scope=SCOPE)
        return self.stage(connected, trail, raw=lambda: cloudtrail.get_trail_status(Name="everything")["IsLogging"])


class _UnshareCrash(_Crash):
    def unsharing(self, connected: Aws, shared: Shared) -> Stage:
        return self.stage(connected, shared.resource, raw=lambda: sorted(json.dumps(shared.image(), sort_keys=True)))


class TestUnshareASnapshot(_UnshareCrash):
    playbook = PLAYBOOKS / "unshare-snapshot.yaml"

    @pytest.fixture
    def scene(self, connected: Aws, client: Callable[[str], Any]) -> Stage:
        return self.unsharing(connected, snapshot(client))


class TestUnshareAnImage(_UnshareCrash):
    """With the snapshot in it, which is shared with everybody as well."""

    playbook = PLAYBOOKS / "unshare-image.yaml"

    @pytest.fixture
    def scene(self, connected: Aws, client: Callable[[str], Any]) -> Stage:
        shared, ec2 = image(client), client("ec2")
        described = ec2.describe_images(ImageIds=[shared.resource.id])["Images"][0]
        part = described["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
        attribute = {"SnapshotId": part, "Attribute": "createVolumePermission"}
        ec2.modify_snapshot_attribute(**attribute, OperationType="add", GroupNames=["all"])

        def raw() -> object:
            permissions = ec2.describe_snapshot_attribute(**attribute)["CreateVolumePermissions"]
            return [sorted(json.dumps(shared.image(), sort_keys=True)), permissions]

        return self.stage(connected, shared.resource, raw)


class TestUnshareADatabaseSnapshot(_UnshareCrash):
    playbook = PLAYBOOKS / "unshare-database-snapshot.yaml"

    @pytest.fixture
    def scene(self, connected: Aws, client: Callable[[str], Any]) -> Stage:
        return self.unsharing(connected, database_snapshot(client))


class TestUnshareAClusterSnapshot(_UnshareCrash):
    playbook = PLAYBOOKS / "unshare-database-cluster-snapshot.yaml"

    @pytest.fixture
    def scene(self, connected: Aws, client: Callable[[str], Any]) -> Stage:
        return self.unsharing(connected, cluster_snapshot(client))
