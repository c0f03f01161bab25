"""A security group as what may be deleted: whose it is, and who is in it."""

from typing import Annotated, Any, Final

from quarantine.action import Fact, Refusal, State
from quarantine.errors import Gone
from quarantine.model import Resource
from quarantine_aws.cloud import AwsCloud

KIND: Final = "aws:security-group"


class GroupPresence(State):
    """Nothing in it is managed: it is there, or it is not."""

    ours: Annotated[bool, Fact]
    used_by: Annotated[tuple[str, ...], Fact] = ()
    """The interfaces that are in it."""


def describe(cloud: AwsCloud, resource: Resource) -> dict[str, Any]:
    """The raw description. Raises Gone."""
    answer = cloud.read("ec2:DescribeSecurityGroups", "ec2.describe_security_groups", GroupIds=[resource.id])
    for group in answer.get("SecurityGroups", ()):
        if group.get("GroupId") == resource.id:
            described: dict[str, Any] = group
            return described
    raise Gone(f"EC2 knows no security group {resource.id} in {resource.scope}")


def refusal(before: GroupPresence) -> Refusal | None:
    if not before.ours:
        reason = "it is not a quarantine group of this installation, and what we did not make we do not delete"
        return Refusal(reason=reason, alternatives=("ask whoever made it",))
    if before.used_by:
        reason = f"it still isolates {', '.join(before.used_by)}"
        return Refusal(reason=reason, alternatives=("release their cases first", "give them other groups by hand"))
    return None
