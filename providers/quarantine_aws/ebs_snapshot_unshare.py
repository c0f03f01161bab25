"""Takes back that everybody can make a volume of a snapshot."""

from typing import ClassVar

from quarantine.model import Resource
from quarantine_aws import ebs_snapshot
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.sharing import EVERYBODY, Sharing, Unsharing, sharing


class EbsSnapshotUnshare(Unsharing):
    name: ClassVar[str] = "aws:ebs-snapshot-unshare"
    resource: ClassVar[str] = ebs_snapshot.KIND

    def permissions(self) -> tuple[str, ...]:
        return ("ec2:DescribeSnapshotAttribute", "ec2:ModifySnapshotAttribute")

    def observe(self, cloud: AwsCloud, resource: Resource) -> Sharing:
        return sharing(ebs_snapshot.shared_with(cloud, resource.id))

    def share(self, cloud: AwsCloud, resource: Resource, add: list[str], remove: list[str]) -> None:
        """Everybody goes first, and comes back last."""
        for operation, names in (("remove", remove), ("add", add)):
            groups = {"GroupNames": [EVERYBODY]} if EVERYBODY in names else {}
            accounts = {"UserIds": users} if (users := [name for name in names if name != EVERYBODY]) else {}
            for whom in (groups, accounts) if operation == "remove" else (accounts, groups):
                if whom:
                    change = {"SnapshotId": resource.id, "Attribute": "createVolumePermission", **whom}
                    call = "ec2.modify_snapshot_attribute"
                    cloud.change("ec2:ModifySnapshotAttribute", call, OperationType=operation, **change)
