"""Deletes the quarantine group of a VPC when nothing is in it any more. The next case there makes a new one."""

from contextlib import suppress
from datetime import timedelta
from typing import Any, ClassVar

from quarantine.action import GONE, Absence, OneWay, Refusal, State
from quarantine.errors import Conflict, Gone
from quarantine.model import Resource
from quarantine_aws import quarantine_group, security_group
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.security_group import GroupPresence


class Ec2RemoveQuarantineGroup(OneWay[AwsCloud, GroupPresence]):
    """A group that an interface is in, or that another group's rule names, EC2 does not delete (EC2 API Reference,
    DeleteSecurityGroup: DependencyViolation). The two durations are as in aws:ec2-isolate-interfaces."""

    name: ClassVar[str] = "aws:ec2-remove-quarantine-group"
    resource: ClassVar[str] = security_group.KIND
    state: ClassVar[type[State]] = GroupPresence
    settles_within: ClassVar[timedelta] = timedelta(seconds=20)
    consistent_within: ClassVar[timedelta] = timedelta(seconds=10)

    def permissions(self) -> tuple[str, ...]:
        return ("ec2:DescribeSecurityGroups", "ec2:DescribeNetworkInterfaces", "ec2:DeleteSecurityGroup")

    def observe(self, cloud: AwsCloud, resource: Resource) -> GroupPresence:
        ours = quarantine_group.is_ours(security_group.describe(cloud, resource), cloud.installation)
        return GroupPresence(ours=ours, used_by=quarantine_group.users(cloud, resource.id))

    def contained(self, before: GroupPresence) -> Absence:
        return GONE

    def apply(self, cloud: AwsCloud, resource: Resource, now: GroupPresence, target: Any) -> None:
        if (why := self.refusal(now)) is not None:  # a retry comes here without being asked again
            raise Conflict(f"security group {resource.id} stays: {why.reason}")
        with suppress(Gone):  # already gone is what was wanted
            cloud.change("ec2:DeleteSecurityGroup", "ec2.delete_security_group", GroupId=resource.id)

    def ours(self, before: GroupPresence, now: GroupPresence) -> bool:
        return now.ours and not now.used_by

    def refusal(self, before: GroupPresence) -> Refusal | None:
        return security_group.refusal(before)
