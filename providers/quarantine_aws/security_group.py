"""A security group as what may be deleted: whose it is, and who is in it."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from quarantine.action import Fact, Refusal, State
from quarantine.errors import Gone
from quarantine.model import Resource
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.ec2_instance import tags_of

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


def resolve(cloud: AwsCloud, resource: Resource) -> tuple[str, Mapping[str, str]]:
    return resource.id, tags_of(describe(cloud, resource))


READS: Final = (
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSecurityGroupRules",
    "ec2:DescribeNetworkInterfaces",
    "ec2:GetManagedPrefixListEntries",
)


def rules(cloud: AwsCloud, group: str) -> list[dict[str, Any]]:
    """Every rule of the group, in both directions."""
    call = "ec2.describe_security_group_rules"
    filters = [{"Name": "group-id", "Values": [group]}]
    return cloud.pages("ec2:DescribeSecurityGroupRules", call, "SecurityGroupRules", Filters=filters)


def entries(cloud: AwsCloud, prefix_list: str) -> tuple[str, ...]:
    """The CIDR blocks in a prefix list; none if that is not there any more. Raises Denied."""
    call = "ec2.get_managed_prefix_list_entries"
    try:
        found = cloud.pages("ec2:GetManagedPrefixListEntries", call, "Entries", PrefixListId=prefix_list)
    except Gone:
        return ()
    return tuple(entry["Cidr"] for entry in found)


def members(cloud: AwsCloud, group: str) -> list[dict[str, Any]]:
    """The interfaces that are in the group."""
    call = "ec2.describe_network_interfaces"
    filters = [{"Name": "group-id", "Values": [group]}]
    return cloud.pages("ec2:DescribeNetworkInterfaces", call, "NetworkInterfaces", Filters=filters)


def other_groups(cloud: AwsCloud, group: str) -> dict[str, tuple[str, ...]]:
    """Interface that is in the group -> the others that it is in. The groups of an interface are a union."""
    return {
        member["NetworkInterfaceId"]: tuple(
            sorted(other["GroupId"] for other in member.get("Groups", ()) if other["GroupId"] != group)
        )
        for member in members(cloud, group)
    }


def refusal(before: GroupPresence) -> Refusal | None:
    if not before.ours:
        reason = "it is not a quarantine group of this installation, and what we did not make we do not delete"
        return Refusal(reason=reason, alternatives=("ask whoever made it",))
    if before.used_by:
        reason = f"it still isolates {', '.join(before.used_by)}"
        return Refusal(reason=reason, alternatives=("release their cases first", "give them other groups by hand"))
    return None
