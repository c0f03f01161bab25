"""Snapshots and images that everybody can copy: four kinds of them, and one way to take that back."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from quarantine.errors import Gone
from quarantine.model import Resource
from quarantine.testing.contract import CountingGate, Setting, Stranger
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.ebs_snapshot_unshare import EbsSnapshotUnshare
from quarantine_aws.ec2_image import SNAPSHOTS, permission
from quarantine_aws.ec2_image_unshare import Ec2ImageUnshare
from quarantine_aws.provider import Aws
from quarantine_aws.public_copies import PUBLIC_COPIES
from quarantine_aws.rds_cluster_snapshot_unshare import RdsClusterSnapshotUnshare
from quarantine_aws.rds_snapshot_unshare import RdsSnapshotUnshare
from quarantine_aws.sharing import Accounts, Sharing, Unsharing
from tests.aws.conftest import SCOPE, provider
from tests.aws.faults import AwsContract
from tests.aws.test_findings import RECEIVED
from tests.testbed.proxy import FaultProxy

PARTNER, NEWCOMER = "111122223333", "444455556666"
UNIT = "arn:aws:organizations::111122223333:ou/o-0123456789/ou-0123-01234567"
Client = Callable[[str], Any]


@dataclass
class Shared:
    """One that is shared with everybody and with a partner; how others share it with one more; what it is then."""

    action: type[Unsharing]
    resource: Resource
    more: Callable[[], Any]
    image: Callable[[], Any]


def snapshot(client: Client) -> Shared:
    ec2 = client("ec2")
    volume = ec2.create_volume(Size=1, AvailabilityZone="us-east-1a")["VolumeId"]
    name = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]

    def share(**whom: list[str]) -> None:
        ec2.modify_snapshot_attribute(SnapshotId=name, Attribute="createVolumePermission", OperationType="add", **whom)

    share(GroupNames=["all"])
    share(UserIds=[PARTNER])
    return Shared(
        EbsSnapshotUnshare,
        Resource(kind="aws:ebs-snapshot", id=name, scope=SCOPE, uid=name),
        lambda: share(UserIds=[NEWCOMER]),
        lambda: ec2.describe_snapshot_attribute(SnapshotId=name, Attribute="createVolumePermission")[
            "CreateVolumePermissions"
        ],
    )


def image(client: Client) -> Shared:
    ec2 = client("ec2")
    name = ec2.register_image(Name="golden")["ImageId"]

    def share(*whom: dict[str, str]) -> None:
        ec2.modify_image_attribute(ImageId=name, LaunchPermission={"Add": list(whom)})

    share({"Group": "all"}, {"UserId": PARTNER}, {"OrganizationalUnitArn": UNIT})
    return Shared(
        Ec2ImageUnshare,
        Resource(kind="aws:ec2-image", id=name, scope=SCOPE, uid=name),
        lambda: share({"UserId": NEWCOMER}),
        lambda: ec2.describe_image_attribute(ImageId=name, Attribute="launchPermission")["LaunchPermissions"],
    )


def database_snapshot(client: Client) -> Shared:
    rds = client("rds")
    rds.create_db_instance(
        DBInstanceIdentifier="orders", Engine="postgres", DBInstanceClass="db.m6g.large", AllocatedStorage=20
    )
    rds.create_db_snapshot(DBSnapshotIdentifier="orders-1", DBInstanceIdentifier="orders")

    def share(*whom: str) -> None:
        rds.modify_db_snapshot_attribute(
            DBSnapshotIdentifier="orders-1", AttributeName="restore", ValuesToAdd=list(whom)
        )

    share("all", PARTNER)
    return Shared(
        RdsSnapshotUnshare,
        Resource(kind="aws:rds-snapshot", id="orders-1", scope=SCOPE),
        lambda: share(NEWCOMER),
        lambda: rds.describe_db_snapshot_attributes(DBSnapshotIdentifier="orders-1")["DBSnapshotAttributesResult"],
    )


def cluster_snapshot(client: Client) -> Shared:
    rds = client("rds")
    rds.create_db_cluster(
        DBClusterIdentifier="orders",
        Engine="aurora-postgresql",
        MasterUsername="root",
        MasterUserPassword="not-a-secret",
    )
    rds.create_db_cluster_snapshot(DBClusterSnapshotIdentifier="orders-1", DBClusterIdentifier="orders")

    def share(*whom: str) -> None:
        rds.modify_db_cluster_snapshot_attribute(
            DBClusterSnapshotIdentifier="orders-1", AttributeName="restore", ValuesToAdd=list(whom)
        )

    share("all", PARTNER)
    return Shared(
        RdsClusterSnapshotUnshare,
        Resource(kind="aws:rds-cluster-snapshot", id="orders-1", scope=SCOPE),
        lambda: share(NEWCOMER),
        lambda: rds.describe_db_cluster_snapshot_attributes(DBClusterSnapshotIdentifier="orders-1")[
            "DBClusterSnapshotAttributesResult"
        ],
    )


KINDS = [snapshot, image, database_snapshot, cluster_snapshot]


class _Unsharing(AwsContract):
    make: Callable[[Client], Shared]

    @pytest.fixture
    def shared(self, client: Client, aws: FaultProxy) -> Shared:
        return type(self).make(client)

    @pytest.fixture
    def setting(self, cloud: AwsCloud, shared: Shared) -> Setting:
        return Setting(shared.action(), cloud, shared.resource)

    @pytest.fixture
    def stranger(self, shared: Shared) -> Stranger:
        return shared.more


class TestEbsSnapshot(_Unsharing):
    make = staticmethod(snapshot)


class TestEc2Image(_Unsharing):
    make = staticmethod(image)


class TestRdsSnapshot(_Unsharing):
    make = staticmethod(database_snapshot)


class TestRdsClusterSnapshot(_Unsharing):
    make = staticmethod(cluster_snapshot)


@pytest.fixture(params=KINDS, ids=lambda make: make.__name__)
def shared(request: pytest.FixtureRequest, client: Client, aws: FaultProxy) -> Shared:
    made: Shared = request.param(client)
    return made


def told(image: Any) -> str:
    """What the provider says, in an order of its own."""
    text = json.dumps(image, sort_keys=True)
    return "".join(sorted(text))


def test_everybody_goes_and_single_accounts_stay(cloud: AwsCloud, shared: Shared) -> None:
    setting = Setting(shared.action(), cloud, shared.resource)
    before = setting.observe()
    image = told(shared.image())
    assert isinstance(before, Sharing) and {"all", PARTNER} <= set(before.shared_with)
    setting.apply(setting.target(before))
    after = setting.observe()
    assert isinstance(after, Sharing) and set(after.shared_with) == set(before.shared_with) - {"all"}
    assert '"all"' not in json.dumps(shared.image())
    setting.apply(before)
    assert told(shared.image()) == image


def test_single_accounts_go_too_where_that_is_wanted(cloud: AwsCloud, shared: Shared) -> None:
    setting = Setting(shared.action(accounts=Accounts.REVOKE), cloud, shared.resource)
    before, image = setting.observe(), told(shared.image())
    setting.apply(setting.target(before))
    assert setting.observe() == Sharing(shared_with={})
    setting.apply(before)
    assert told(shared.image()) == image


def test_sharing_it_with_one_more_meanwhile_is_drift(cloud: AwsCloud, shared: Shared) -> None:
    setting = Setting(shared.action(), cloud, shared.resource)
    before = setting.observe()
    target = setting.target(before)
    setting.apply(target)
    shared.more()
    assert setting.observe() != target


def test_what_stays_possible_is_said(cloud: AwsCloud, shared: Shared) -> None:
    before = Setting(shared.action(), cloud, shared.resource).observe()
    assert isinstance(before, Sharing)
    said = {caveat.id: caveat.text for caveat in shared.action().caveats(before)}
    assert set(said) == {"copies", "account-guard", "shared-accounts"} and PARTNER in said["shared-accounts"]
    assert {caveat.id for caveat in shared.action(accounts=Accounts.REVOKE).caveats(before)} == {
        "copies",
        "account-guard",
    }


def test_it_is_resolved_and_gone_when_it_is_not_there(cloud: AwsCloud, aws: FaultProxy, shared: Shared) -> None:
    found, tags = provider(aws.url).resolve(cloud, shared.resource)
    assert found.uid and found.uid.startswith(shared.resource.id) and tags == {}
    names = {"aws:ebs-snapshot": "snap-0123456789abcdef0", "aws:ec2-image": "ami-0123456789abcdef0"}
    nobody = shared.resource.model_copy(update={"id": names.get(shared.resource.kind, "nobody"), "uid": None})
    with pytest.raises(Gone):
        provider(aws.url).resolve(cloud, nobody)
    with pytest.raises(Gone):
        shared.action().observe(cloud, nobody)


# --- images and the snapshots in them -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("all", {"Group": "all"}),
        (PARTNER, {"UserId": PARTNER}),
        (UNIT, {"OrganizationalUnitArn": UNIT}),
        ("arn:aws:organizations::1:organization/o-1", {"OrganizationArn": "arn:aws:organizations::1:organization/o-1"}),
    ],
)
def test_whom_an_image_is_shared_with_is_told_to_ec2_as_it_was_read(name: str, told: dict[str, str]) -> None:
    assert permission(name) == told


def test_an_image_leads_to_its_snapshots(cloud: AwsCloud, client: Client, aws: FaultProxy) -> None:
    shared = image(client)
    setting = Setting(Ec2ImageUnshare(), cloud, shared.resource)
    watched = cloud.through(CountingGate(0), setting.mark, setting.used.append)
    (found,) = SNAPSHOTS.find(watched, shared.resource)
    device = client("ec2").describe_images(ImageIds=[shared.resource.id])["Images"][0]["BlockDeviceMappings"][0]
    assert (found.kind, found.id, found.uid) == ("aws:ebs-snapshot", device["Ebs"]["SnapshotId"], found.id)
    assert {call.permission for call in setting.used} == set(SNAPSHOTS.permissions)
    assert Aws.relations["snapshots"] is SNAPSHOTS


def test_the_poll_finds_what_everybody_can_copy_and_nothing_else(
    cloud: AwsCloud, client: Client, aws: FaultProxy
) -> None:
    ours = [snapshot(client), image(client)]
    ec2 = client("ec2")
    volume = ec2.create_volume(Size=1, AvailabilityZone="us-east-1a")["VolumeId"]
    ec2.create_snapshot(VolumeId=volume)
    ec2.register_image(Name="private")
    setting = Setting(EbsSnapshotUnshare(), cloud, ours[0].resource)
    watched = cloud.through(CountingGate(0), setting.mark, setting.used.append)
    findings, cursor = PUBLIC_COPIES.run(watched, SCOPE, RECEIVED, None)
    assert [finding.resource for finding in findings] == [shared.resource for shared in ours]
    assert [finding.type for finding in findings] == ["public-snapshot", "public-image"]
    assert cursor is None
    assert {call.permission for call in setting.used} == set(PUBLIC_COPIES.permissions)
    assert len(aws.recorded("DescribeSnapshots")) == len(aws.recorded("DescribeImages")) == 1
