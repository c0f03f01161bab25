"""A snapshot of a volume, as EC2 describes it. Reads only."""

from collections.abc import Mapping
from typing import Any, Final

from quarantine.errors import Gone
from quarantine.model import Resource
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.ec2_instance import tags_of

KIND: Final = "aws:ebs-snapshot"


def resolve(cloud: AwsCloud, resource: Resource) -> tuple[str, Mapping[str, str]]:
    found = cloud.read("ec2:DescribeSnapshots", "ec2.describe_snapshots", SnapshotIds=[resource.id])
    for snapshot in found.get("Snapshots", ()):
        if snapshot["SnapshotId"] == resource.id:
            return resource.id, tags_of(snapshot)
    raise Gone(f"EC2 knows no snapshot {resource.id} in {resource.scope}")


def shared_with(cloud: AwsCloud, snapshot: str) -> list[Any]:
    call = "ec2.describe_snapshot_attribute"
    attribute = {"SnapshotId": snapshot, "Attribute": "createVolumePermission"}
    found = cloud.read("ec2:DescribeSnapshotAttribute", call, **attribute)["CreateVolumePermissions"]
    return [item.get("Group") or item["UserId"] for item in found]
