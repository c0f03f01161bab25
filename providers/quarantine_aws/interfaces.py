"""Which security groups an instance's network interfaces are in, and what putting them into quarantine leaves. Pure."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

from pydantic import Field

from quarantine.action import Caveat, Fact, Proof, Refusal, State, Token
from quarantine_aws.ec2_instance import tags_of
from quarantine_aws.quarantine_group import Group

QUARANTINE: Final = "quarantine"
"""Stands for our group, whichever id it has in a VPC. Ids of groups start with sg-."""

PERMISSIONS: Final = (
    "ec2:DescribeInstances",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSecurityGroupRules",
    "ec2:CreateSecurityGroup",
    "ec2:CreateTags",  # the group is made with its tag
    "ec2:RevokeSecurityGroupIngress",
    "ec2:RevokeSecurityGroupEgress",
    "ec2:ModifyNetworkInterfaceAttribute",
)


class Isolation(State):
    interfaces: dict[str, tuple[str, ...]]
    """Interface id -> the groups that it is in, sorted."""
    altered: Annotated[tuple[str, ...], Proof] = ()
    """VPCs where our group has rules: what is in it is not in quarantine. That the group is not made yet says nothing
    here: then nothing is in it. Our group belongs to all cases, so a release leaves it as it is."""
    foreign: Annotated[tuple[str, ...], Fact] = ()
    """VPCs where a group that is not ours has our group's name."""
    vpcs: Annotated[dict[str, str], Fact] = Field(default_factory=dict)
    """Interface id -> its VPC: most often the instance's, but it may be another one."""
    managed_by: Annotated[dict[str, str], Fact] = Field(default_factory=dict)
    """Interface id -> the service of AWS that owns it."""
    trunks: Annotated[tuple[str, ...], Fact] = ()
    secondary: Annotated[tuple[str, ...], Fact] = ()
    """Interfaces in secondary networks, without security groups (EC2 API Reference, InstanceSecondaryInterface)."""
    auto_scaling_group: Annotated[str, Fact] = ""
    group_ids: Annotated[dict[str, str], Token] = Field(default_factory=dict)
    """VPC -> the id of our group there."""


def read_isolation(
    instance: Mapping[str, Any], interfaces: Iterable[Mapping[str, Any]], groups: Mapping[str, Group | None]
) -> Isolation:
    """`groups`: for each VPC of the interfaces, what has the name of our group there."""
    ours = {vpc: group.id for vpc, group in groups.items() if group and group.ours}
    listed = {interface["NetworkInterfaceId"]: interface for interface in interfaces}
    return Isolation(
        interfaces={
            key: tuple(sorted(symbol(group["GroupId"], ours) for group in interface.get("Groups", ())))
            for key, interface in sorted(listed.items())
        },
        altered=tuple(sorted(vpc for vpc, group in groups.items() if group and group.ours and group.altered)),
        foreign=tuple(sorted(vpc for vpc, group in groups.items() if group and not group.ours)),
        vpcs={key: interface["VpcId"] for key, interface in listed.items()},
        managed_by={key: owner for key, interface in listed.items() if (owner := _owner(interface))},
        trunks=tuple(sorted(key for key, interface in listed.items() if interface.get("InterfaceType") == "trunk")),
        secondary=tuple(sorted(item["SecondaryInterfaceId"] for item in instance.get("SecondaryInterfaces", ()))),
        auto_scaling_group=tags_of(instance).get("aws:autoscaling:groupName", ""),
        group_ids=ours,
    )


def symbol(group: str, ours: Mapping[str, str]) -> str:
    return QUARANTINE if group in ours.values() else group


def _owner(interface: Mapping[str, Any]) -> str:
    """Who manages it; empty if the account does. Neither kind can be changed by the account (EC2 User Guide,
    "Requester-managed network interfaces" and "Managed resources")."""
    operator = interface.get("Operator") or {}
    if operator.get("Managed"):
        return str(operator.get("Principal") or "a service of AWS")
    return str(interface.get("RequesterId") or "a service of AWS") if interface.get("RequesterManaged") else ""


def isolated(before: Isolation) -> Isolation:
    return before.model_copy(update={"interfaces": dict.fromkeys(before.interfaces, (QUARANTINE,)), "altered": ()})


def changes(now: Isolation, target: Isolation) -> dict[str, tuple[str, ...]]:
    """Interface id -> the groups that it must get. One that was detached meanwhile is nothing of the instance's."""
    return {
        key: groups
        for key, groups in target.interfaces.items()
        if key in now.interfaces and now.interfaces[key] != groups
    }


def others(changes: Mapping[str, tuple[str, ...]]) -> set[str]:
    """The groups in them that are not ours."""
    return {group for groups in changes.values() for group in groups} - {QUARANTINE}


def provider_ids(groups: Iterable[str], ours: str | None) -> list[str]:
    """The groups as EC2 knows them. `ours` is the id of our group in the interface's VPC."""
    return [ours if group == QUARANTINE and ours else group for group in groups]


def vpcs_to_make_ready(now: Isolation, target: Isolation) -> tuple[str, ...]:
    """The VPCs where `target` has interfaces in quarantine, and our group is not made yet or has rules."""
    held = {now.vpcs[key] for key, groups in target.interfaces.items() if QUARANTINE in groups and key in now.vpcs}
    spoilt = set(now.altered) - set(target.altered)
    return tuple(sorted(vpc for vpc in held if vpc not in now.group_ids or vpc in spoilt))


def refusal(before: Isolation) -> Refusal | None:
    nets = "deny its subnet's traffic with a network ACL, which hits everything in that subnet"
    if before.managed_by:
        whose = ", ".join(f"{key} is managed by {owner}" for key, owner in sorted(before.managed_by.items()))
        reason = f"AWS lets the account change only its own interfaces, and {whose}: that one would stay open"
        return Refusal(reason=reason, alternatives=("stop what it serves: aws:ecs-stop-task for a task", nets))
    if before.foreign:
        where = ", ".join(before.foreign)
        reason = f"in {where} a security group has the name of ours and does not carry our tag"
        return Refusal(reason=reason, alternatives=("look at it, and rename or delete what it is for", nets))
    return None


# Amazon EC2 User Guide, "Amazon EC2 security group connection tracking" (what is tracked and for how long, what groups
# never filter) and "Instance metadata"; Amazon EC2 Auto Scaling User Guide, "Health checks"; ECS Developer Guide,
# "Elastic network interface trunking".
_ALWAYS: Final = {
    "tracked-connections": "Connections that are open and tracked go on until they are idle for long enough: an"
    " established TCP connection 5 days by default, 350 s on Nitro v6, between 60 s and 5 days where it was set. One in"
    " use never ends by itself. A network ACL of the subnet, or stopping the instance, cuts them at once.",
    "always-tracked": "Connections through an NLB, NAT or transit gateway, Gateway Load Balancer, Network Firewall,"
    " Global Accelerator or interface endpoint are always tracked ones.",
    "dns-and-metadata": "Security groups never filter DNS at the VPC's resolver, DHCP, time and the instance metadata"
    " service: names can carry data out, and the instance goes on getting credentials of its role.",
    "management-is-cut": "Session Manager, Run Command and every agent on the instance lose their connection too.",
    "health-checks-fail": "A load balancer takes the instance out of its targets as unhealthy.",
}
_AUTO_SCALING: Final = (
    "Auto Scaling group {group} may take the instance for unhealthy and terminate it, with its memory and its volumes,"
    " unless it is in standby there: aws:ec2-leave-group comes first in isolate-instance."
)
_TRUNK: Final = "Branch interfaces of {trunks} have groups of their own, which stay: tasks and pods go on using them."
_SECONDARY: Final = "Interfaces in secondary networks have no security groups and stay connected: {secondary}."


def caveats(before: Isolation) -> tuple[Caveat, ...]:
    said = dict(_ALWAYS)
    if before.auto_scaling_group:
        said["auto-scaling"] = _AUTO_SCALING.format(group=before.auto_scaling_group)
    if before.trunks:
        said["branch-interfaces"] = _TRUNK.format(trunks=", ".join(before.trunks))
    if before.secondary:
        said["secondary-networks"] = _SECONDARY.format(secondary=", ".join(before.secondary))
    return tuple(Caveat(id=key, text=text) for key, text in said.items())
