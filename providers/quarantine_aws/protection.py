"""What would throw an instance or its volumes away, and what protecting them leaves. Pure."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import Field

from quarantine.action import Caveat, Fact, Refusal, State
from quarantine_aws.ec2_instance import tags_of


class Protection(State):
    termination_blocked: bool
    """Is TerminateInstances refused?"""
    shutdown: str
    """What a shutdown from inside does: stop or terminate."""
    deleted_with_it: dict[str, bool]
    """Volume -> does it go when the instance is terminated?"""
    devices: Annotated[dict[str, str], Fact] = Field(default_factory=dict)
    """Volume -> the device that it is."""
    spot: Annotated[bool, Fact] = False
    stoppable: Annotated[bool, Fact] = True
    """Not with a root device in the instance store."""
    auto_scaling_group: Annotated[str, Fact] = ""
    managed_by: Annotated[str, Fact] = ""
    """The service of AWS that owns the instance; empty if the account does."""


def read_protection(instance: Mapping[str, Any], termination_blocked: bool, shutdown: str) -> Protection:
    volumes = {
        mapping["Ebs"]["VolumeId"]: mapping for mapping in instance.get("BlockDeviceMappings", ()) if "Ebs" in mapping
    }
    operator = instance.get("Operator") or {}
    return Protection(
        termination_blocked=termination_blocked,
        shutdown=shutdown,
        deleted_with_it={key: bool(volumes[key]["Ebs"].get("DeleteOnTermination")) for key in sorted(volumes)},
        devices={key: mapping["DeviceName"] for key, mapping in volumes.items()},
        spot=instance.get("InstanceLifecycle") == "spot",
        stoppable=instance.get("RootDeviceType", "ebs") == "ebs",
        auto_scaling_group=tags_of(instance).get("aws:autoscaling:groupName", ""),
        managed_by=str(operator.get("Principal") or "a service of AWS") if operator.get("Managed") else "",
    )


def protected(before: Protection) -> Protection:
    """A spot instance cannot have termination protection (EC2 User Guide, "Change instance termination protection");
    what a shutdown does is left as its request said, too. One without an EBS root can only terminate."""
    changed: dict[str, Any] = {"deleted_with_it": dict.fromkeys(before.deleted_with_it, False)}
    if not before.spot:
        changed["termination_blocked"] = True
    if not before.spot and before.stoppable:
        changed["shutdown"] = "stop"
    return before.model_copy(update=changed)


def refusal(before: Protection) -> Refusal | None:
    if not before.managed_by:
        return None
    reason = f"the instance is managed by {before.managed_by}: AWS lets the account change nothing of it"
    return Refusal(reason=reason, alternatives=("contain what runs on it, with the tools of that service",))


# Amazon EC2 User Guide, "Change instance termination protection", "Change instance initiated shutdown behavior",
# "Preserve data when an instance is terminated" and "Spot Instance interruptions".
_ALWAYS: Final = {
    "memory-is-not-kept": "Whoever stops the instance, from outside or inside, loses its memory and what is in its"
    " instance store; this keeps the volumes alone.",
    "an-owner-can-undo-it": "Whoever may use ec2:ModifyInstanceAttribute can take the protection away again; it is"
    " seen as drift.",
    "volumes-can-be-changed": "What runs on the instance can still write to its volumes and delete from them: a"
    " snapshot keeps what they hold now.",
}
_AUTO_SCALING: Final = (
    "Auto Scaling group {group} may terminate the instance in spite of termination protection, as long as it is in"
    " service there: aws:ec2-leave-group takes it out."
)
_SPOT: Final = "AWS can take a spot instance back at any time, and gives it no termination protection."
_INSTANCE_STORE: Final = "Its root device is in the instance store: a shutdown ends it, and that device with it."


def caveats(before: Protection) -> tuple[Caveat, ...]:
    said = dict(_ALWAYS)
    if before.auto_scaling_group:
        said["auto-scaling"] = _AUTO_SCALING.format(group=before.auto_scaling_group)
    if before.spot:
        said["spot"] = _SPOT
    if not before.stoppable:
        said["instance-store-root"] = _INSTANCE_STORE
    return tuple(Caveat(id=key, text=text) for key, text in said.items())
