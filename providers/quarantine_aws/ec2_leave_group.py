"""Takes an instance out of service: its Auto Scaling group replaces it and lets it be; no balancer sends to it."""

from datetime import timedelta
from typing import Any, ClassVar

from quarantine.action import Action, Caveat, State
from quarantine.errors import Conflict, Gone, Pending
from quarantine.model import Resource
from quarantine_aws import membership
from quarantine_aws.cloud import SIGNATURE, AwsCloud
from quarantine_aws.membership import Membership


class Ec2LeaveGroup(Action[AwsCloud, Membership]):
    """Standby keeps the membership, so that a release can give it back; health checks end with service (Amazon EC2 Auto
    Scaling User Guide, "Temporarily remove instances from your Auto Scaling group"). The durations are ours: a standby
    that waits for a load balancer to drain counts as one, but cannot be left before it is whole."""

    name: ClassVar[str] = "aws:ec2-leave-group"
    resource: ClassVar[str] = "aws:ec2-instance"
    state: ClassVar[type[State]] = Membership
    settles_within: ClassVar[timedelta] = timedelta(minutes=2)
    consistent_within: ClassVar[timedelta] = timedelta(seconds=10)
    late_within: ClassVar[timedelta] = SIGNATURE

    def permissions(self) -> tuple[str, ...]:
        return membership.PERMISSIONS

    def observe(self, cloud: AwsCloud, resource: Resource) -> Membership:
        return membership.observe(cloud, resource)

    def contained(self, before: Membership) -> Membership:
        return membership.left(before)

    def apply(self, cloud: AwsCloud, resource: Resource, now: Membership, target: Any) -> None:
        """Out of the group first: a load balancer's no would make the group end it. Back the other way: it is a target
        again, as the group makes it one, when it serves again."""
        try:
            if now.standby is not target.standby:
                self._move(cloud, resource, now, target.standby)
            for group in sorted(now.targets | target.targets):
                self._register(cloud, resource.id, group, now, target)
        except Gone as error:  # a target group, or the Auto Scaling group: the next look will tell
            raise Conflict(str(error)) from error

    def _move(self, cloud: AwsCloud, resource: Resource, now: Membership, standby: bool) -> None:
        if now.lifecycle in membership.MOVING:
            raise Pending(f"{resource.id} is {now.lifecycle} in Auto Scaling group {now.group}")
        if now.lifecycle not in membership.SETTLED:
            what = f"is {now.lifecycle} in group {now.group}" if now.group else "is in no Auto Scaling group any more"
            raise Conflict(f"{resource.id} {what}: look at it, then: quarantine case handled CASE")
        which: dict[str, Any] = {"AutoScalingGroupName": now.group, "InstanceIds": [resource.id]}
        if standby:  # the group keeps its wish for as many in service, and starts another one
            call = "autoscaling.enter_standby"
            cloud.change("autoscaling:EnterStandby", call, **which, ShouldDecrementDesiredCapacity=False)
        else:
            cloud.change("autoscaling:ExitStandby", "autoscaling.exit_standby", **which)

    def _register(self, cloud: AwsCloud, instance: str, group: str, now: Membership, target: Membership) -> None:
        has, wanted = set(now.targets.get(group, ())), set(target.targets.get(group, ()))
        for verb, ports in (("deregister", has - wanted), ("register", wanted - has)):
            if ports:
                cloud.change(
                    f"elasticloadbalancing:{verb.capitalize()}Targets",
                    f"elbv2.{verb}_targets",
                    TargetGroupArn=group,
                    Targets=[{"Id": instance, "Port": port} for port in sorted(ports)],
                )

    def caveats(self, before: Membership) -> tuple[Caveat, ...]:
        return membership.caveats(before)
