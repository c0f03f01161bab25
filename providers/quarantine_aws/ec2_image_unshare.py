"""Takes back that everybody can start an image."""

from typing import ClassVar

from quarantine.model import Resource
from quarantine_aws import ec2_image
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.sharing import Sharing, Unsharing, sharing


class Ec2ImageUnshare(Unsharing):
    name: ClassVar[str] = "aws:ec2-image-unshare"
    resource: ClassVar[str] = ec2_image.KIND

    def permissions(self) -> tuple[str, ...]:
        return ("ec2:DescribeImageAttribute", "ec2:ModifyImageAttribute")

    def observe(self, cloud: AwsCloud, resource: Resource) -> Sharing:
        return sharing(ec2_image.shared_with(cloud, resource.id))

    def share(self, cloud: AwsCloud, resource: Resource, add: list[str], remove: list[str]) -> None:
        change = {
            verb: [ec2_image.permission(name) for name in names]
            for verb, names in (("Add", add), ("Remove", remove))
            if names
        }
        call = "ec2.modify_image_attribute"
        cloud.change("ec2:ModifyImageAttribute", call, ImageId=resource.id, LaunchPermission=change)
