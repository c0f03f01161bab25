"""Our own look at snapshots of volumes and machine images that everybody can copy."""

from datetime import datetime
from typing import Final

from quarantine.action import Poll
from quarantine.model import Finding, Resource, Severity
from quarantine_aws import ebs_snapshot, ec2_image
from quarantine_aws.cloud import AwsCloud


def public_copies(cloud: AwsCloud, scope: str, now: datetime, cursor: str | None) -> tuple[list[Finding], str | None]:
    """Two questions, however many there are: EC2 names only those of ours that are shared with everybody."""
    snapshots = cloud.pages(
        "ec2:DescribeSnapshots", "ec2.describe_snapshots", "Snapshots", OwnerIds=["self"], RestorableByUserIds=["all"]
    )
    images = cloud.pages(
        "ec2:DescribeImages", "ec2.describe_images", "Images", Owners=["self"], ExecutableUsers=["all"]
    )
    found = [
        *((ebs_snapshot.KIND, "snapshot", snapshot["SnapshotId"]) for snapshot in snapshots),
        *((ec2_image.KIND, "image", image["ImageId"]) for image in images),
    ]
    return [
        Finding(
            source=PUBLIC_COPIES.name,
            id=f"public-{word}:{identifier}",
            title=f"Everybody can copy {word} {identifier}",
            type=f"public-{word}",
            severity=Severity.HIGH,
            resource=Resource(kind=kind, id=identifier, scope=scope, uid=identifier),
            seen_at=now,
        )
        for kind, word, identifier in found
    ], cursor


PUBLIC_COPIES: Final = Poll(
    name="aws:public-copies", permissions=("ec2:DescribeSnapshots", "ec2:DescribeImages"), run=public_copies
)
