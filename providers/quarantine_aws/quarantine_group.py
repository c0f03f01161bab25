"""The security group of an installation in a VPC that nothing gets through. All quarantined interfaces share it.

It is told by its name, which nobody can change, and by its tag, which says whose it is. It has no rule in either
direction: with one, it is no quarantine. It is made by the first case that needs it, and is nobody's to give back: it
goes by aws:ec2-remove-quarantine-group when no interface uses it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from quarantine.model import Value
from quarantine_aws import ec2_instance, security_group
from quarantine_aws.cloud import AwsCloud

INSTALLATION: Final = "cloud-quarantine/installation"
"""The tag whose value is the id of the installation that made the group."""


class Group(Value):
    """What stands under the name of our group in a VPC."""

    id: str
    ours: bool
    altered: bool
    """It has rules: somebody's, or those for egress that every new group starts with."""


def name(installation: str) -> str:
    """Unique in a VPC whatever the case of its letters (EC2 API Reference, CreateSecurityGroup)."""
    return f"cloud-quarantine-{installation}"


def request(vpc: str, installation: str) -> dict[str, Any]:
    """What CreateSecurityGroup is asked for. It comes with a rule for egress, and a second one where there is IPv6."""
    tags = [{"Key": INSTALLATION, "Value": installation}]
    return {
        "GroupName": name(installation),
        "Description": "Quarantine by cloud-quarantine: isolated by having no rules, so do not add any",
        "VpcId": vpc,
        "TagSpecifications": [{"ResourceType": "security-group", "Tags": tags}],
    }


def read_group(described: Mapping[str, Any], installation: str) -> Group:
    return Group(
        id=described["GroupId"],
        ours=is_ours(described, installation),
        altered=bool(described.get("IpPermissions") or described.get("IpPermissionsEgress")),
    )


def is_ours(described: Mapping[str, Any], installation: str) -> bool:
    """By name and tag: one of them alone can be anybody's."""
    tagged = ec2_instance.tags_of(described).get(INSTALLATION)
    return bool(installation) and described.get("GroupName") == name(installation) and tagged == installation


def find(cloud: AwsCloud, vpc: str) -> Group | None:
    wanted = {"vpc-id": vpc, "group-name": name(cloud.installation)}
    found = _groups(cloud, wanted)
    return read_group(found[0], cloud.installation) if found else None


def all_ours(cloud: AwsCloud) -> list[dict[str, Any]]:
    """Every group of this installation in the region."""
    found = _groups(cloud, {f"tag:{INSTALLATION}": cloud.installation})
    return [group for group in found if is_ours(group, cloud.installation)]


def rules(cloud: AwsCloud, group: str) -> dict[str, list[str]]:
    """The ids of a group's rules, by direction. They cover every kind: CIDR, IPv6, prefix list, another group."""
    found = security_group.rules(cloud, group)
    return {
        "Ingress": [rule["SecurityGroupRuleId"] for rule in found if not rule["IsEgress"]],
        "Egress": [rule["SecurityGroupRuleId"] for rule in found if rule["IsEgress"]],
    }


def absent(cloud: AwsCloud, groups: Iterable[str]) -> list[str]:
    """Which of these groups are not there any more."""
    asked = sorted(set(groups))
    there = {group["GroupId"] for group in _groups(cloud, {"group-id": asked})} if asked else set()
    return [group for group in asked if group not in there]


def users(cloud: AwsCloud, group: str) -> tuple[str, ...]:
    """The interfaces that are in the group."""
    found = security_group.members(cloud, group)
    return tuple(sorted(interface["NetworkInterfaceId"] for interface in found))


def _groups(cloud: AwsCloud, wanted: Mapping[str, str | list[str]]) -> list[dict[str, Any]]:
    filters = [{"Name": key, "Values": value if isinstance(value, list) else [value]} for key, value in wanted.items()]
    return cloud.pages("ec2:DescribeSecurityGroups", "ec2.describe_security_groups", "SecurityGroups", Filters=filters)
