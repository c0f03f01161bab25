import pytest

from quarantine.action import reached
from quarantine.errors import Conflict, Gone, Pending
from quarantine.model import Resource
from quarantine.testing.contract import CountingGate, Setting, Stranger
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.ec2_leave_group import Ec2LeaveGroup
from quarantine_aws.membership import Membership
from tests.aws.conftest import SCOPE
from tests.aws.faults import AwsContract, changes
from tests.testbed.ec2 import Vpc
from tests.testbed.proxy import FaultProxy

XML = {"Content-Type": "text/xml"}


@pytest.fixture
def groups(vpc: Vpc, instance: Resource) -> tuple[str, str]:
    """Behind its Auto Scaling group, and by hand."""
    return vpc.serve(instance.id)


@pytest.fixture
def setting(cloud: AwsCloud, instance: Resource, groups: tuple[str, str]) -> Setting:
    return Setting(Ec2LeaveGroup(), cloud, instance)


def observed(setting: Setting) -> Membership:
    state = setting.observe()
    assert isinstance(state, Membership)
    return state


class TestEc2LeaveGroup(AwsContract):
    @pytest.fixture
    def setting(self, cloud: AwsCloud, instance: Resource, groups: tuple[str, str]) -> Setting:
        return Setting(Ec2LeaveGroup(), cloud, instance)

    @pytest.fixture
    def stranger(self, vpc: Vpc, instance: Resource, groups: tuple[str, str]) -> Stranger:
        target = {"Id": instance.id, "Port": 9000}
        return lambda: vpc.balancing.register_targets(TargetGroupArn=groups[1], Targets=[target])


def test_its_group_replaces_it_and_keeps_it_and_nobody_balances_to_it(
    setting: Setting, vpc: Vpc, instance: Resource, groups: tuple[str, str]
) -> None:
    before, image = observed(setting), [vpc.targets(group) for group in groups]
    assert before.targets == {groups[0]: (80,), groups[1]: (8443,)} and not before.standby
    target = setting.action.contained(before)
    setting.apply(target)
    assert reached(observed(setting), target)
    members = vpc.members()
    assert members.pop(instance.id) == "Standby"
    assert list(members.values()) == ["InService"], "another one works in its place"
    assert all(instance.id not in dict(vpc.targets(group)) for group in groups)
    setting.apply(before)
    assert vpc.members()[instance.id] == "InService"
    assert [[one for one in vpc.targets(group) if one[0] == instance.id] for group in groups] == image


def test_it_leaves_its_group_before_its_load_balancers_and_what_the_group_did_is_not_done_twice(
    setting: Setting, aws: FaultProxy
) -> None:
    before = observed(setting)
    setting.apply(setting.target(before))
    assert [call.operation for call in changes(aws)] == ["EnterStandby", "DeregisterTargets"]
    assert aws.recorded("EnterStandby")[0].form["ShouldDecrementDesiredCapacity"] == "false"
    aws.forget()
    setting.apply(before)
    assert [call.operation for call in changes(aws)] == ["ExitStandby", "RegisterTargets"]


def test_one_that_stands_alone_has_nothing_to_leave(cloud: AwsCloud, vpc: Vpc) -> None:
    alone = Setting(Ec2LeaveGroup(), cloud, Resource(kind="aws:ec2-instance", id=vpc.instance(), scope=SCOPE))
    before = observed(alone)
    assert reached(before, alone.target(before)) and alone.apply(alone.target(before)).calls == []
    assert {caveat.id for caveat in alone.action.caveats(before)} == {"other-balancers"}


def members(state: str, instance: str) -> str:
    member = f"<member><InstanceId>{instance}</InstanceId><AutoScalingGroupName>shop</AutoScalingGroupName>"
    return (
        "<DescribeAutoScalingInstancesResponse><DescribeAutoScalingInstancesResult><AutoScalingInstances>"
        f"{member}<LifecycleState>{state}</LifecycleState></member>"
        "</AutoScalingInstances></DescribeAutoScalingInstancesResult></DescribeAutoScalingInstancesResponse>"
    )


def test_entering_standby_counts_as_out_and_is_waited_for_before_it_is_left(setting: Setting, aws: FaultProxy) -> None:
    before = observed(setting)
    target = setting.action.contained(before)
    setting.apply(target)
    aws.answer("DescribeAutoScalingInstances", 200, XML, members("EnteringStandby", setting.resource.id))
    assert reached(observed(setting), target), "it gets no work, and no health check ends it"
    aws.answer("DescribeAutoScalingInstances", 200, XML, members("EnteringStandby", setting.resource.id))
    with pytest.raises(Pending, match="EnteringStandby"):
        setting.action.apply(
            setting.cloud.through(CountingGate(), setting.mark), setting.resource, observed(setting), before
        )
    assert aws.recorded("ExitStandby") == []


@pytest.mark.parametrize("state", ["Terminating", "Terminating:Wait", "Pending", "Warmed:Running"])
def test_what_is_not_in_service_cannot_leave_and_that_is_said(setting: Setting, aws: FaultProxy, state: str) -> None:
    aws.answer("DescribeAutoScalingInstances", 200, XML, members(state, setting.resource.id))
    before = observed(setting)
    assert setting.action.contained(before) == before.model_copy(update={"targets": {}})
    said = {caveat.id: caveat.text for caveat in setting.action.caveats(before)}
    assert set(said) == {"other-balancers", "draining", "cannot-leave"} and state in said["cannot-leave"]


def test_what_stays_possible_names_the_group(setting: Setting) -> None:
    said = {caveat.id: caveat.text for caveat in setting.action.caveats(observed(setting))}
    about_the_group = {"replacement-is-the-same", "group-can-still-end-it", "group-grows-at-release"}
    assert set(said) == {"other-balancers", "draining"} | about_the_group
    assert all("shop" in said[key] for key in about_the_group)


def test_one_that_somebody_detached_meanwhile_is_a_conflict(setting: Setting, vpc: Vpc) -> None:
    target = setting.target(observed(setting))
    setting.apply(target)
    vpc.scaling.detach_instances(
        AutoScalingGroupName="shop", InstanceIds=[setting.resource.id], ShouldDecrementDesiredCapacity=True
    )
    assert not reached(observed(setting), target)
    with pytest.raises(Conflict, match="in no Auto Scaling group any more"):
        setting.apply(target)


def test_a_target_group_that_was_deleted_is_a_conflict(setting: Setting, vpc: Vpc, groups: tuple[str, str]) -> None:
    before = observed(setting)
    setting.apply(setting.target(before))
    vpc.balancing.delete_target_group(TargetGroupArn=groups[1])
    with pytest.raises(Conflict, match="TargetGroupNotFound"):
        setting.apply(before)
    assert observed(setting).targets == {groups[0]: (80,)}


def test_a_group_of_another_vpc_is_not_asked(setting: Setting, vpc: Vpc, moto: object, aws: FaultProxy) -> None:
    Vpc(moto).target_group("elsewhere")  # type: ignore[arg-type]
    aws.forget()
    observed(setting)
    assert len(aws.recorded("DescribeTargetHealth")) == 2


def test_every_page_of_target_groups_is_read(setting: Setting, aws: FaultProxy, groups: tuple[str, str]) -> None:
    page = "<DescribeTargetGroupsResponse><DescribeTargetGroupsResult><TargetGroups/><NextMarker>more</NextMarker>"
    aws.answer("DescribeTargetGroups", 200, XML, f"{page}</DescribeTargetGroupsResult></DescribeTargetGroupsResponse>")
    assert set(observed(setting).targets) == set(groups)
    assert aws.recorded("DescribeTargetGroups")[-1].form["Marker"] == "more"


def test_a_target_that_drains_is_out(setting: Setting, aws: FaultProxy, groups: tuple[str, str]) -> None:
    def health(reason: str) -> str:
        one = (
            f"<member><Target><Id>{setting.resource.id}</Id><Port>80</Port></Target>"
            f"<TargetHealth><State>draining</State><Reason>{reason}</Reason></TargetHealth></member>"
        )
        return (
            "<DescribeTargetHealthResponse><DescribeTargetHealthResult><TargetHealthDescriptions>"
            f"{one}</TargetHealthDescriptions></DescribeTargetHealthResult></DescribeTargetHealthResponse>"
        )

    for reason, asked in (("Target.DeregistrationInProgress", 1), ("Target.FailedHealthChecks", 2)):
        aws.answer("DescribeTargetHealth", 200, XML, health(reason))
        assert len(observed(setting).targets) == asked


def test_a_terminated_one_is_gone(setting: Setting, vpc: Vpc) -> None:
    vpc.ec2.terminate_instances(InstanceIds=[setting.resource.id])
    with pytest.raises(Gone):
        setting.action.observe(setting.cloud, setting.resource)
