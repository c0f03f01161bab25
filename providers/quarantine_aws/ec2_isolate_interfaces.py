"""Puts every network interface of an instance into a security group without rules, and leaves it running."""

from contextlib import suppress
from datetime import timedelta
from typing import Any, ClassVar

from quarantine.action import Action, Caveat, Refusal, State
from quarantine.errors import Conflict, Gone, Transient, Unsupported
from quarantine.model import Resource
from quarantine_aws import ec2_instance, interfaces, quarantine_group, security_group
from quarantine_aws.cloud import SIGNATURE, AwsCloud
from quarantine_aws.interfaces import Isolation


class Ec2IsolateInterfaces(Action[AwsCloud, Isolation]):
    """The groups of an interface are a union, so ours replaces them all. EC2 is eventually consistent and AWS gives no
    number (EC2 Developer Guide, "Eventual consistency in the Amazon EC2 API"): the two durations are ours."""

    name: ClassVar[str] = "aws:ec2-isolate-interfaces"
    resource: ClassVar[str] = "aws:ec2-instance"
    state: ClassVar[type[State]] = Isolation
    shares: ClassVar[str] = security_group.KIND
    settles_within: ClassVar[timedelta] = timedelta(seconds=20)
    consistent_within: ClassVar[timedelta] = timedelta(seconds=10)
    late_within: ClassVar[timedelta] = SIGNATURE

    def permissions(self) -> tuple[str, ...]:
        return interfaces.PERMISSIONS

    def observe(self, cloud: AwsCloud, resource: Resource) -> Isolation:
        instance = ec2_instance.describe(cloud, resource)
        attached = ec2_instance.interfaces(cloud, instance)
        groups = {vpc: quarantine_group.find(cloud, vpc) for vpc in sorted({item["VpcId"] for item in attached})}
        return interfaces.read_isolation(instance, attached, groups)

    def contained(self, before: Isolation) -> Isolation:
        return interfaces.isolated(before)

    def apply(self, cloud: AwsCloud, resource: Resource, now: Isolation, target: Any) -> None:
        """The group is ready before the first interface is put into it, and stays when the last one has left."""
        changes = interfaces.changes(now, target)
        if lost := quarantine_group.absent(cloud, interfaces.others(changes)):
            what = f"{resource.id} was in security group {', '.join(lost)}, which is not there any more"
            raise Unsupported(f"{what}: give its interfaces groups by hand, then: quarantine case handled CASE")
        try:
            made = {vpc: self._ready(cloud, vpc) for vpc in interfaces.vpcs_to_make_ready(now, target)}
            for interface, groups in changes.items():
                wanted = interfaces.provider_ids(groups, (now.group_ids | made).get(now.vpcs[interface]))
                call = "ec2.modify_network_interface_attribute"
                cloud.change("ec2:ModifyNetworkInterfaceAttribute", call, NetworkInterfaceId=interface, Groups=wanted)
        except Gone as error:  # the group or the interface; whether the instance is gone, the next look will tell
            raise Conflict(str(error)) from error

    def _ready(self, cloud: AwsCloud, vpc: str) -> str:
        """The id of our group in the VPC, without rules."""
        group, made = quarantine_group.find(cloud, vpc), False
        if group is None:
            with suppress(Conflict):  # the name is taken: another case of ours was quicker, or somebody else
                request = quarantine_group.request(vpc, cloud.mark.installation)
                cloud.change("ec2:CreateSecurityGroup", "ec2.create_security_group", **request)
                made = True
            group = quarantine_group.find(cloud, vpc)
        if group is None:
            raise Transient(f"EC2 does not show our security group in {vpc} yet")
        if not group.ours:
            raise Conflict(f"security group {group.id} in {vpc} has the name of ours and not our tag: look at it")
        rules = quarantine_group.rules(cloud, group.id)
        if not any(rules.values()) and (made or group.altered):  # a new one has some, and they must not be missed
            raise Transient(f"EC2 does not show the rules of security group {group.id} yet")
        for direction, ids in rules.items():
            if ids:
                call = f"ec2.revoke_security_group_{direction.lower()}"
                cloud.change(f"ec2:RevokeSecurityGroup{direction}", call, GroupId=group.id, SecurityGroupRuleIds=ids)
        return group.id

    def refusal(self, before: Isolation) -> Refusal | None:
        return interfaces.refusal(before)

    def caveats(self, before: Isolation) -> tuple[Caveat, ...]:
        return interfaces.caveats(before)
