"""Which groups send work to an instance, or decide about its life: Auto Scaling, and the targets of load balancers."""

from typing import Annotated, Any, Final

from quarantine.action import Caveat, Fact, State
from quarantine.model import Resource
from quarantine_aws import ec2_instance
from quarantine_aws.cloud import AwsCloud

PERMISSIONS: Final = (
    "ec2:DescribeInstances",
    "autoscaling:DescribeAutoScalingInstances",
    "elasticloadbalancing:DescribeTargetGroups",
    "elasticloadbalancing:DescribeTargetHealth",
    "autoscaling:EnterStandby",
    "autoscaling:ExitStandby",
    "elasticloadbalancing:DeregisterTargets",
    "elasticloadbalancing:RegisterTargets",
)
_OUT: Final = ("Standby", "EnteringStandby")
SETTLED: Final = ("InService", "Standby")
MOVING: Final = ("EnteringStandby", "Pending", "Pending:Wait", "Pending:Proceed")
"""On its way to one of these (Amazon EC2 Auto Scaling User Guide, "Amazon EC2 Auto Scaling instance lifecycle")."""
_NOT_TARGETS: Final = ("Target.NotRegistered", "Target.DeregistrationInProgress")
"""Reason codes (Elastic Load Balancing API Reference, TargetHealth): it gets no new connections."""


class Membership(State):
    standby: bool
    """In a group, and out of service there. False also for one in no group."""
    targets: dict[str, tuple[int, ...]]
    """Target group -> the ports under which it is registered there, sorted."""
    group: Annotated[str, Fact] = ""
    lifecycle: Annotated[str, Fact] = ""
    """What the group says of it; empty without one."""


def observe(cloud: AwsCloud, resource: Resource) -> Membership:
    """Nothing leads from an instance to its target groups: those of its VPC are asked one by one."""
    instance = ec2_instance.describe(cloud, resource)
    answer = cloud.read(
        "autoscaling:DescribeAutoScalingInstances",
        "autoscaling.describe_auto_scaling_instances",
        InstanceIds=[resource.id],
    )
    known: dict[str, dict[str, str]] = {each["InstanceId"]: each for each in answer["AutoScalingInstances"]}
    member = known.get(resource.id, {})
    lifecycle = member.get("LifecycleState", "")
    groups = _target_groups(cloud, instance.get("VpcId", ""))
    ports = {group: _ports(cloud, group, resource.id) for group in groups}
    return Membership(
        standby=lifecycle in _OUT,
        targets={group: found for group, found in sorted(ports.items()) if found},
        group=member.get("AutoScalingGroupName", ""),
        lifecycle=lifecycle,
    )


def _target_groups(cloud: AwsCloud, vpc: str) -> list[str]:
    found: list[str] = []
    page: dict[str, str] = {}
    while True:
        answer: Any = cloud.read(
            "elasticloadbalancing:DescribeTargetGroups", "elbv2.describe_target_groups", PageSize=400, **page
        )
        found += [
            group["TargetGroupArn"]
            for group in answer["TargetGroups"]
            if group.get("VpcId") == vpc and group.get("TargetType", "instance") == "instance"
        ]
        if not answer.get("NextMarker"):
            return found
        page = {"Marker": answer["NextMarker"]}


def _ports(cloud: AwsCloud, group: str, instance: str) -> tuple[int, ...]:
    call = "elbv2.describe_target_health"
    answer = cloud.read("elasticloadbalancing:DescribeTargetHealth", call, TargetGroupArn=group)
    return tuple(
        sorted(
            each["Target"]["Port"]
            for each in answer["TargetHealthDescriptions"]
            if each["Target"]["Id"] == instance and each["TargetHealth"].get("Reason") not in _NOT_TARGETS
        )
    )


def left(before: Membership) -> Membership:
    """Only what is in service can go to standby (Auto Scaling API Reference, EnterStandby)."""
    standby = before.standby or before.lifecycle == "InService"
    return before.model_copy(update={"standby": standby, "targets": {}})


# Amazon EC2 Auto Scaling User Guide, "Temporarily remove instances from your Auto Scaling group" and "Instance
# refresh"; Elastic Load Balancing, "Deregistration delay".
_REPLACED: Final = {
    "replacement-is-the-same": "Group {group} starts another instance from the same template: if that is bad, so is the"
    " next one. It starts none while its process Launch is suspended.",
    "group-can-still-end-it": "Group {group} ends it all the same if the group is deleted, or by an instance refresh"
    " with StandbyInstances=Terminate.",
    "group-grows-at-release": "ExitStandby raises the desired capacity of {group} by one, and nobody lowers it again"
    " for you: it keeps one instance more, and fails where its maximum is reached; raise that first.",
}
_LEAVING: Final = "It is {lifecycle} in group {group}, so it cannot go to standby now: the group may end it."
_DRAINING: Final = "Connections through a load balancer go on until its deregistration delay is over: 300 s by default."
_OTHERS: Final = (
    "Found are targets by the instance's id, in its VPC. Targets by its address and Classic Load Balancers that were"
    " told of it by hand go on sending to it, until its interfaces are in quarantine."
)


def caveats(before: Membership) -> tuple[Caveat, ...]:
    said = {"other-balancers": _OTHERS}
    if before.targets:
        said["draining"] = _DRAINING
    if before.group and left(before).standby:
        said |= {key: text.format(group=before.group) for key, text in _REPLACED.items()}
    elif before.group:
        said["cannot-leave"] = _LEAVING.format(lifecycle=before.lifecycle, group=before.group)
    return tuple(Caveat(id=key, text=text) for key, text in said.items())
