from typing import Any

import pytest

from quarantine.action import reached
from quarantine.errors import Gone
from quarantine.model import Resource
from quarantine.testing.contract import Setting, Stranger
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.ec2_protect_evidence import Ec2ProtectEvidence
from quarantine_aws.protection import Protection, read_protection
from tests.aws.faults import AwsContract
from tests.testbed.ec2 import Vpc
from tests.testbed.proxy import FaultProxy


@pytest.fixture
def endangered(vpc: Vpc, instance: Resource) -> Resource:
    """A shutdown from inside ends it, and both volumes go with it."""
    vpc.ec2.modify_instance_attribute(InstanceId=instance.id, InstanceInitiatedShutdownBehavior={"Value": "terminate"})
    vpc.add_volume(instance.id)
    return instance


@pytest.fixture
def setting(cloud: AwsCloud, endangered: Resource) -> Setting:
    return Setting(Ec2ProtectEvidence(), cloud, endangered)


def observed(setting: Setting) -> Protection:
    state = setting.observe()
    assert isinstance(state, Protection)
    return state


class TestEc2ProtectEvidence(AwsContract):
    @pytest.fixture
    def setting(self, cloud: AwsCloud, endangered: Resource) -> Setting:
        return Setting(Ec2ProtectEvidence(), cloud, endangered)

    @pytest.fixture
    def stranger(self, vpc: Vpc, endangered: Resource) -> Stranger:
        """A switch has no third value: a volume more is a change that can be kept."""

        def attach_a_volume() -> None:
            vpc.add_volume(endangered.id, "/dev/sdg")

        return attach_a_volume


def test_nobody_can_terminate_it_and_a_release_gives_back_each_setting(
    setting: Setting, vpc: Vpc, endangered: Resource
) -> None:
    vpc.set_deleted_with_it(endangered.id, "/dev/sda1", deleted=False)
    image, before = vpc.protection(endangered.id), observed(setting)
    target = setting.action.contained(before)
    setting.apply(target)
    blocked, shutdown, volumes = vpc.protection(endangered.id)
    assert (blocked["Value"], shutdown["Value"]) == (True, "stop")
    assert [deleted for _, _, deleted in volumes] == [False, False]
    with pytest.raises(vpc.ec2.exceptions.ClientError, match="OperationNotPermitted"):
        vpc.ec2.terminate_instances(InstanceIds=[endangered.id])
    setting.apply(before)
    assert vpc.protection(endangered.id) == image


def test_what_is_protected_already_is_not_written(setting: Setting, vpc: Vpc, endangered: Resource) -> None:
    vpc.set_deleted_with_it(endangered.id, "/dev/sda1", deleted=False)
    assert len(setting.apply(setting.target(observed(setting))).calls) == 3, "blocked, shutdown, and one volume"
    assert setting.apply(setting.target(observed(setting))).calls == []


def test_a_volume_that_was_detached_is_left_alone_and_one_that_came_later_is_drift(
    setting: Setting, vpc: Vpc, endangered: Resource, aws: FaultProxy
) -> None:
    before = observed(setting)
    target = setting.action.contained(before)
    setting.apply(target)
    (first, second) = before.deleted_with_it
    lost = second if before.devices[second] == "/dev/sdf" else first
    vpc.ec2.detach_volume(VolumeId=lost, InstanceId=endangered.id)
    assert not reached(observed(setting), target)
    setting.apply(before)
    assert set(observed(setting).deleted_with_it) == {first, second} - {lost}
    setting.apply(target)
    vpc.add_volume(endangered.id)
    assert not reached(observed(setting), target)
    assert setting.apply(target).calls == [], "how it was is not in the record, so it is not changed"


def described(**more: Any) -> Protection:
    mapping = {"DeviceName": "/dev/xvda", "Ebs": {"VolumeId": "vol-1", "DeleteOnTermination": True}}
    return read_protection({"BlockDeviceMappings": [mapping], **more}, False, "terminate")


def test_a_spot_instance_keeps_what_cannot_be_changed_and_says_so() -> None:
    action, before = Ec2ProtectEvidence(), described(InstanceLifecycle="spot")
    target = action.contained(before)
    assert target == before.model_copy(update={"deleted_with_it": {"vol-1": False}})
    assert "spot" in {caveat.id for caveat in action.caveats(before)}


def test_an_instance_without_an_ebs_root_can_only_be_terminated_by_a_shutdown() -> None:
    action, before = Ec2ProtectEvidence(), described(RootDeviceType="instance-store")
    assert action.contained(before).shutdown == "terminate" and action.contained(before).termination_blocked
    assert "instance-store-root" in {caveat.id for caveat in action.caveats(before)}


def test_its_group_can_terminate_it_all_the_same_and_that_is_said() -> None:
    always = {"memory-is-not-kept", "an-owner-can-undo-it", "volumes-can-be-changed"}
    action, tag = Ec2ProtectEvidence(), {"Key": "aws:autoscaling:groupName", "Value": "shop"}
    assert {caveat.id for caveat in action.caveats(described())} == always
    said = {caveat.id: caveat.text for caveat in action.caveats(described(Tags=[tag]))}
    assert set(said) == always | {"auto-scaling"} and "group shop" in said["auto-scaling"]


def test_what_a_service_of_aws_manages_is_refused() -> None:
    action = Ec2ProtectEvidence()
    assert action.refusal(described()) is None and action.refusal(described(Operator={"Managed": False})) is None
    refusal = action.refusal(described(Operator={"Managed": True, "Principal": "eks.amazonaws.com"}))
    assert refusal is not None and "eks.amazonaws.com" in refusal.reason


def test_a_terminated_one_is_gone(setting: Setting, vpc: Vpc, endangered: Resource) -> None:
    vpc.ec2.terminate_instances(InstanceIds=[endangered.id])
    with pytest.raises(Gone):
        setting.action.observe(setting.cloud, setting.resource)
