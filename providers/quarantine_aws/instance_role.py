"""From an instance to the role whose credentials it gets."""

import logging
from collections.abc import Iterator
from typing import Final

from quarantine.action import Relation
from quarantine.errors import Gone
from quarantine.model import Resource
from quarantine_aws import ec2_instance, role_session
from quarantine_aws.cloud import GLOBAL, AwsCloud

log = logging.getLogger(__name__)


def related(cloud: AwsCloud, instance: Resource) -> Iterator[Resource]:
    """The role of the instance's profile, as far as the instance uses it. None without a profile."""
    arn = ec2_instance.describe(cloud, instance).get("IamInstanceProfile", {}).get("Arn", "")
    profile = arn.rpartition("/")[2]
    if not profile:
        return
    try:
        found = cloud.read("iam:GetInstanceProfile", "iam.get_instance_profile", InstanceProfileName=profile)
    except Gone as error:  # no telling which role it had: the instance must be isolated all the same
        log.warning("instance_profile_gone", extra={"instance": instance.id, "why": str(error)})
        return
    for role in found["InstanceProfile"].get("Roles", ()):
        yield Resource(
            kind=role_session.KIND,
            id=f"{role['RoleName']}/{instance.id}",
            scope=f"{instance.account}/{GLOBAL}",
            uid=role_session.uid(role, instance.id),
        )


ROLE_SESSIONS: Final = Relation(
    resource="aws:ec2-instance",
    related=role_session.KIND,
    permissions=("ec2:DescribeInstances", "iam:GetInstanceProfile"),
    find=related,
)
