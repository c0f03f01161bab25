"""Keeps an instance and its volumes from being thrown away: by a call, or by a shutdown from inside."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar

from quarantine.action import Action, Caveat, Refusal, State
from quarantine.model import Resource
from quarantine_aws import ec2_instance, protection
from quarantine_aws.cloud import SIGNATURE, AwsCloud
from quarantine_aws.protection import Protection


class Ec2ProtectEvidence(Action[AwsCloud, Protection]):
    """One attribute in each call (EC2 API Reference, ModifyInstanceAttribute). EC2 is eventually consistent and AWS
    gives no number (EC2 Developer Guide, "Eventual consistency in the Amazon EC2 API"): the two durations are ours."""

    name: ClassVar[str] = "aws:ec2-protect-evidence"
    resource: ClassVar[str] = "aws:ec2-instance"
    state: ClassVar[type[State]] = Protection
    settles_within: ClassVar[timedelta] = timedelta(seconds=20)
    consistent_within: ClassVar[timedelta] = timedelta(seconds=10)
    late_within: ClassVar[timedelta] = SIGNATURE

    def permissions(self) -> tuple[str, ...]:
        return ("ec2:DescribeInstances", "ec2:DescribeInstanceAttribute", "ec2:ModifyInstanceAttribute")

    def observe(self, cloud: AwsCloud, resource: Resource) -> Protection:
        instance = ec2_instance.describe(cloud, resource)
        asked = ("disableApiTermination", "instanceInitiatedShutdownBehavior")
        return protection.read_protection(instance, *(self._attribute(cloud, resource.id, name) for name in asked))

    def _attribute(self, cloud: AwsCloud, instance: str, name: str) -> Any:
        """What a description of the instance leaves out."""
        answer = cloud.read(
            "ec2:DescribeInstanceAttribute", "ec2.describe_instance_attribute", InstanceId=instance, Attribute=name
        )
        return answer[name[0].upper() + name[1:]]["Value"]

    def contained(self, before: Protection) -> Protection:
        return protection.protected(before)

    def apply(self, cloud: AwsCloud, resource: Resource, now: Protection, target: Any) -> None:
        for attribute in _wrong(now, target):
            call = "ec2.modify_instance_attribute"
            cloud.change("ec2:ModifyInstanceAttribute", call, InstanceId=resource.id, **attribute)

    def refusal(self, before: Protection) -> Refusal | None:
        return protection.refusal(before)

    def caveats(self, before: Protection) -> tuple[Caveat, ...]:
        return protection.caveats(before)


def _wrong(now: Protection, target: Protection) -> Iterator[dict[str, Any]]:
    if now.termination_blocked is not target.termination_blocked:
        yield {"DisableApiTermination": {"Value": target.termination_blocked}}
    if now.shutdown != target.shutdown:
        yield {"InstanceInitiatedShutdownBehavior": {"Value": target.shutdown}}
    for volume, deleted in target.deleted_with_it.items():
        if now.deleted_with_it.get(volume, deleted) is not deleted:  # one that was detached is not the instance's
            kept = {"VolumeId": volume, "DeleteOnTermination": deleted}
            yield {"BlockDeviceMappings": [{"DeviceName": now.devices[volume], "Ebs": kept}]}
