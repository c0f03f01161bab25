"""A machine image, as EC2 describes it, and the snapshots in it. Reads only."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from quarantine.action import Relation
from quarantine.errors import Gone
from quarantine.model import Resource
from quarantine_aws import ebs_snapshot
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.ec2_instance import tags_of

KIND: Final = "aws:ec2-image"
_NAMES: Final = ("Group", "UserId", "OrganizationArn", "OrganizationalUnitArn")


def describe(cloud: AwsCloud, resource: Resource) -> dict[str, Any]:
    """The raw description. Raises Gone."""
    answer = cloud.read("ec2:DescribeImages", "ec2.describe_images", ImageIds=[resource.id])
    for image in answer.get("Images", ()):
        if image["ImageId"] == resource.id:
            described: dict[str, Any] = image
            return described
    raise Gone(f"EC2 knows no image {resource.id} in {resource.scope}")


def resolve(cloud: AwsCloud, resource: Resource) -> tuple[str, Mapping[str, str]]:
    return resource.id, tags_of(describe(cloud, resource))


def shared_with(cloud: AwsCloud, image: str) -> list[str]:
    attribute = {"ImageId": image, "Attribute": "launchPermission"}
    found = cloud.read("ec2:DescribeImageAttribute", "ec2.describe_image_attribute", **attribute)
    return [item[name] for item in found["LaunchPermissions"] for name in _NAMES if item.get(name)]


def permission(name: str) -> dict[str, str]:
    """As LaunchPermission takes it (EC2 API Reference, LaunchPermission)."""
    if name.startswith("arn:"):
        return {"OrganizationalUnitArn" if ":ou/" in name else "OrganizationArn": name}
    return {"UserId" if name.isdigit() else "Group": name}


def snapshots(cloud: AwsCloud, image: Resource) -> Iterator[Resource]:
    """Those that the image is made of: whoever they are shared with can read them without it."""
    for device in describe(cloud, image).get("BlockDeviceMappings", ()):
        if snapshot := device.get("Ebs", {}).get("SnapshotId"):
            yield Resource(kind=ebs_snapshot.KIND, id=snapshot, scope=image.scope, uid=snapshot)


SNAPSHOTS: Final = Relation(
    resource=KIND, related=ebs_snapshot.KIND, permissions=("ec2:DescribeImages",), find=snapshots
)
