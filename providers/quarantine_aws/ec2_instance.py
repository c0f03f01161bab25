"""An instance and its network interfaces, as EC2 describes them. Reads only."""

from collections.abc import Mapping
from typing import Any, Final

from quarantine.errors import Gone, Transient
from quarantine.model import Resource
from quarantine_aws.cloud import AwsCloud

ENDED: Final = ("shutting-down", "terminated")
"""Nothing leads back from these (EC2 User Guide, "Amazon EC2 instance state changes")."""


def describe(cloud: AwsCloud, resource: Resource) -> dict[str, Any]:
    """The raw description. EC2 keeps showing an instance for a while after its end: that one is Gone too."""
    answer = cloud.read("ec2:DescribeInstances", "ec2.describe_instances", InstanceIds=[resource.id])
    for reservation in answer.get("Reservations", ()):
        for instance in reservation.get("Instances", ()):
            if instance.get("InstanceId") != resource.id:
                continue
            if (state := instance["State"]["Name"]) in ENDED:
                raise Gone(f"instance {resource.id} is {state}")
            described: dict[str, Any] = instance
            return described
    raise Gone(f"EC2 knows no instance {resource.id} in {resource.scope}")


def resolve(cloud: AwsCloud, resource: Resource) -> tuple[str, Mapping[str, str]]:
    return resource.id, tags_of(describe(cloud, resource))


def interfaces(cloud: AwsCloud, instance: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every attached interface. An instance always has one, so none is a read that lags behind: raises Transient."""
    identifier = instance["InstanceId"]
    found = cloud.pages(
        "ec2:DescribeNetworkInterfaces",
        "ec2.describe_network_interfaces",
        "NetworkInterfaces",
        Filters=[{"Name": "attachment.instance-id", "Values": [identifier]}],
    )
    if not found:
        raise Transient(f"EC2 shows no network interface of {identifier} yet")
    return found


def tags_of(described: Mapping[str, Any]) -> dict[str, str]:
    """The tags of an instance or a security group."""
    return {tag["Key"]: tag.get("Value", "") for tag in described.get("Tags", ())}
