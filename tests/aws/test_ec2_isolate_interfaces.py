from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarantine.action import Action, between, reached, three_way
from quarantine.errors import Conflict, Gone, Throttled, Transient, Unknown, Unsupported
from quarantine.model import Resource
from quarantine.testing.contract import CountingGate, ReversibleContract, Setting, Stranger
from quarantine_aws import quarantine_group
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.ec2_isolate_interfaces import Ec2IsolateInterfaces
from quarantine_aws.interfaces import QUARANTINE, Isolation, changes, isolated, read_isolation, refusal
from quarantine_aws.quarantine_group import INSTALLATION, Group
from tests.aws.conftest import SCOPE
from tests.testbed.ec2 import Vpc
from tests.testbed.proxy import FaultProxy

CHANGES = ("CreateSecurityGroup", "RevokeSecurityGroup", "ModifyNetworkInterfaceAttribute")
DEFAULT_EGRESS = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}


def observed(setting: Setting) -> Isolation:
    state = setting.observe()
    assert isinstance(state, Isolation)
    return state


def contain(setting: Setting) -> tuple[Isolation, Isolation]:
    """The before-image and the target, which is reached."""
    before = observed(setting)
    target = isolated(before)
    setting.apply(target)
    assert reached(observed(setting), target)
    return before, target


def release(setting: Setting, before: Isolation, target: Isolation) -> Isolation:
    merged, _ = three_way(before, target, observed(setting))
    setting.apply(merged)
    return merged


def has_no_rules(group: dict[str, Any]) -> bool:
    return not group["IpPermissions"] and not group["IpPermissionsEgress"]


@pytest.fixture
def setting(cloud: AwsCloud, instance: Resource) -> Setting:
    return Setting(Ec2IsolateInterfaces(), cloud, instance)


class TestWithoutAGroupYet(ReversibleContract):
    """The first one in its VPC: the group is made, with two rules for egress that must go."""

    @pytest.fixture
    def setting(self, cloud: AwsCloud, instance: Resource) -> Setting:
        return Setting(Ec2IsolateInterfaces(), cloud, instance)

    @pytest.fixture
    def stranger(self, vpc: Vpc, instance: Resource) -> Stranger:
        return lambda: vpc.put(vpc.interfaces(instance.id)[1], vpc.admin)

    @pytest.fixture(autouse=True)
    def _vpc(self, vpc: Vpc) -> None:
        self.vpc = vpc

    def whole_life(self, setting: Setting) -> None:
        """With a colleague in it, who gives our group a rule: to revoke that one is a permission of its own."""
        before, target = contain(setting)
        self.vpc.open_ssh(self.vpc.quarantine_group()["GroupId"])
        assert not reached(observed(setting), target)
        setting.apply(target)
        assert reached(observed(setting), target)
        release(setting, before, target)


class TestWithAGroupThatIsThere(ReversibleContract):
    """Another case has made it."""

    @pytest.fixture
    def setting(self, cloud: AwsCloud, vpc: Vpc, instance: Resource) -> Setting:
        other = Resource(kind="aws:ec2-instance", id=vpc.instance(), scope=SCOPE)
        contain(Setting(Ec2IsolateInterfaces(), cloud, other))
        return Setting(Ec2IsolateInterfaces(), cloud, instance)

    @pytest.fixture
    def stranger(self, vpc: Vpc, instance: Resource) -> Stranger:
        return lambda: vpc.put(vpc.interfaces(instance.id)[0], vpc.quarantine_group()["GroupId"], vpc.admin)

    def test_permissions_used_are_those_declared(self, setting: Setting) -> None:
        """Nothing is made and nothing revoked."""
        self.whole_life(setting)
        unused = {"CreateSecurityGroup", "CreateTags", "RevokeSecurityGroupIngress", "RevokeSecurityGroupEgress"}
        used = {call.permission.removeprefix("ec2:") for call in setting.used}
        assert used == {name.removeprefix("ec2:") for name in setting.action.permissions()} - unused - {
            "DescribeSecurityGroupRules"
        }


# --- the interfaces -------------------------------------------------------------------------------------------------


def test_every_interface_is_in_our_group_alone_and_gets_its_own_back(
    setting: Setting, vpc: Vpc, instance: Resource
) -> None:
    image = vpc.image(instance.id)
    assert vpc.groups(instance.id) == [sorted([vpc.web, vpc.db]), [vpc.db]]
    before, target = contain(setting)
    ours = vpc.quarantine_group()["GroupId"]
    assert vpc.groups(instance.id) == [[ours], [ours]]
    release(setting, before, target)
    assert vpc.image(instance.id) == image


def test_no_id_of_ours_is_in_what_is_compared(setting: Setting, vpc: Vpc) -> None:
    _, target = contain(setting)
    ours = vpc.quarantine_group()["GroupId"]
    now = observed(setting)
    assert now.part() == target.part() == {"interfaces": {key: [QUARANTINE] for key in now.interfaces}}
    assert ours not in str(target.stored()), "the group was made after the target was known"
    assert ours in now.group_ids.values()


def test_one_change_for_each_interface_and_none_for_one_that_is_there_already(
    setting: Setting, vpc: Vpc, instance: Resource
) -> None:
    before, target = contain(setting)
    vpc.put(vpc.interfaces(instance.id)[1], vpc.db)
    gate = setting.apply(target)
    assert [call.call for call in gate.calls] == ["ec2.modify_network_interface_attribute"]
    assert len(setting.apply(observed(setting).model_copy(update={"interfaces": before.interfaces})).calls) == 2


def test_an_interface_that_is_attached_later_is_drift(setting: Setting, vpc: Vpc, instance: Resource) -> None:
    image = vpc.image(instance.id)
    before, target = contain(setting)
    third = vpc.attach(instance.id)
    assert not reached(observed(setting), target)
    assert not setting.action.ours(before, observed(setting))
    assert setting.apply(target).calls == [], "its groups were never kept, so they are not taken away"
    release(setting, before, target)
    vpc.detach(third)
    assert vpc.image(instance.id) == image


def test_an_interface_that_was_detached_is_left_alone(setting: Setting, vpc: Vpc, instance: Resource) -> None:
    before, target = contain(setting)
    first, second = vpc.interfaces(instance.id)
    vpc.detach(second)
    assert not reached(observed(setting), target)
    merged = release(setting, before, target)
    assert set(merged.interfaces) == {first}
    assert vpc.groups(instance.id) == [sorted([vpc.web, vpc.db])]


def test_an_interface_in_another_vpc_gets_the_group_of_that_vpc(
    setting: Setting, vpc: Vpc, moto: Any, instance: Resource
) -> None:
    """EC2 User Guide, "Elastic network interfaces": attach network interfaces in multiple VPCs."""
    other = Vpc(moto)
    interface = other.attach(instance.id)
    contain(setting)
    assert vpc.groups(instance.id)[2] == [other.quarantine_group()["GroupId"]]
    assert vpc.groups(instance.id)[0] == [vpc.quarantine_group()["GroupId"]]
    assert vpc.interfaces(instance.id)[2] == interface


def test_groups_that_were_deleted_meanwhile_are_named_and_nothing_is_half_released(
    setting: Setting, vpc: Vpc, instance: Resource
) -> None:
    before, target = contain(setting)
    vpc.ec2.delete_security_group(GroupId=vpc.web)
    held = vpc.image(instance.id)
    with pytest.raises(Unsupported, match=f"{vpc.web}, which is not there any more.*quarantine case handled"):
        release(setting, before, target)
    assert vpc.image(instance.id) == held


# --- the group ------------------------------------------------------------------------------------------------------


def test_a_new_group_loses_its_egress_of_both_families(setting: Setting, vpc: Vpc, aws: FaultProxy) -> None:
    assert any("::/0" in str(rule) for rule in vpc.ec2.describe_security_groups(GroupIds=[vpc.web])["SecurityGroups"])
    contain(setting)
    assert has_no_rules(vpc.quarantine_group())
    (revoked,) = aws.recorded("RevokeSecurityGroupEgress")
    assert {"SecurityGroupRuleId.1", "SecurityGroupRuleId.2"} <= set(revoked.form)


def test_the_group_stands_without_rules_before_the_first_interface_is_in_it(setting: Setting, aws: FaultProxy) -> None:
    contain(setting)
    order = [call.operation for call in aws.recorded() if (call.operation or "").startswith(CHANGES)]
    modify = "ModifyNetworkInterfaceAttribute"
    assert order == ["CreateSecurityGroup", "RevokeSecurityGroupEgress", modify, modify]


def test_the_group_says_whose_it_is_from_its_first_moment(setting: Setting, vpc: Vpc, aws: FaultProxy) -> None:
    contain(setting)
    group = vpc.quarantine_group()
    assert group["Tags"] == [{"Key": INSTALLATION, "Value": "contract"}]
    assert group["GroupName"] == "cloud-quarantine-contract"
    assert aws.recorded("CreateTags") == []


def test_a_release_leaves_the_group_where_others_may_be_in_it(setting: Setting, vpc: Vpc) -> None:
    before, target = contain(setting)
    release(setting, before, target)
    assert has_no_rules(vpc.quarantine_group())


@pytest.mark.parametrize("direction", ["ingress", "egress", "egress to IPv6", "from a group"])
def test_a_rule_that_somebody_adds_is_drift_and_is_taken_away_again(setting: Setting, vpc: Vpc, direction: str) -> None:
    _, target = contain(setting)
    ours = vpc.quarantine_group()["GroupId"]
    if direction == "ingress":
        vpc.open_ssh(ours)
    elif direction == "egress":
        vpc.ec2.authorize_security_group_egress(GroupId=ours, IpPermissions=[DEFAULT_EGRESS])
    elif direction == "egress to IPv6":
        rule = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "Ipv6Ranges": [{"CidrIpv6": "2001:db8::/32"}]}
        vpc.ec2.authorize_security_group_egress(GroupId=ours, IpPermissions=[rule])
    else:
        rule = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": ours}]}
        vpc.ec2.authorize_security_group_ingress(GroupId=ours, IpPermissions=[rule])
    altered = observed(setting)
    assert altered.altered == (vpc.id,)
    assert not reached(altered, target)
    assert setting.action.ours(isolated(altered), altered), "the interfaces are where we put them"
    setting.apply(target)
    assert reached(observed(setting), target)
    assert has_no_rules(vpc.quarantine_group())


def test_a_release_does_not_clean_up_what_a_colleague_did_to_the_group(setting: Setting, vpc: Vpc) -> None:
    before, target = contain(setting)
    vpc.open_ssh(vpc.quarantine_group()["GroupId"])
    release(setting, before, target)
    assert not has_no_rules(vpc.quarantine_group())


def test_two_instances_share_one_group_and_one_release_leaves_the_other_isolated(
    setting: Setting, cloud: AwsCloud, vpc: Vpc
) -> None:
    other = Setting(Ec2IsolateInterfaces(), cloud, Resource(kind="aws:ec2-instance", id=vpc.instance(), scope=SCOPE))
    first, second = contain(setting), contain(other)
    vpc.quarantine_group()  # there is one
    release(setting, *first)
    assert reached(observed(other), second[1])
    release(other, *second)
    assert observed(other).part() == second[0].part()


def test_a_group_that_another_case_makes_at_the_same_time_is_used(
    setting: Setting, cloud: AwsCloud, vpc: Vpc, aws: FaultProxy
) -> None:
    """We read that there is none, then somebody is quicker: EC2 says InvalidGroup.Duplicate."""
    before = observed(setting)
    other = Setting(Ec2IsolateInterfaces(), cloud, Resource(kind="aws:ec2-instance", id=vpc.instance(), scope=SCOPE))
    contain(other)
    empty = "<DescribeSecurityGroupsResponse><securityGroupInfo/></DescribeSecurityGroupsResponse>"
    aws.answer("DescribeSecurityGroups", 200, {"Content-Type": "text/xml"}, empty)
    apply(setting, before, isolated(before))
    assert len(aws.recorded("CreateSecurityGroup")) == 2
    assert reached(observed(setting), isolated(before))
    vpc.quarantine_group()


def test_a_group_that_ec2_does_not_show_yet_is_waited_for(setting: Setting, aws: FaultProxy) -> None:
    before = observed(setting)
    empty = "<DescribeSecurityGroupsResponse><securityGroupInfo/></DescribeSecurityGroupsResponse>"
    aws.answer("DescribeSecurityGroups", 200, {"Content-Type": "text/xml"}, empty, times=2)
    with pytest.raises(Transient, match="does not show our security group"):
        apply(setting, before, isolated(before))
    setting.apply(isolated(before))
    assert reached(observed(setting), isolated(before))


def test_a_foreign_group_under_our_name_is_refused_and_never_touched(
    setting: Setting, vpc: Vpc, aws: FaultProxy
) -> None:
    group = vpc.group("cloud-quarantine-contract")
    before = observed(setting)
    assert before.foreign == (vpc.id,)
    refused = setting.action.refusal(before)
    assert refused is not None and vpc.id in refused.reason and refused.alternatives
    with pytest.raises(Conflict, match=group):
        setting.apply(isolated(before))
    assert not has_no_rules(vpc.quarantine_group())
    assert [call.operation for call in aws.recorded() if (call.operation or "").startswith(CHANGES)] == []


def test_the_group_of_another_installation_is_not_ours(setting: Setting, vpc: Vpc) -> None:
    vpc.group("cloud-quarantine-other", {INSTALLATION: "other"})
    vpc.group("look-alike", {INSTALLATION: "contract"})
    contain(setting)
    assert {group["GroupName"] for group in vpc.quarantine_groups()} == {
        "cloud-quarantine-other", "look-alike", "cloud-quarantine-contract"
    }  # fmt: skip


def test_a_group_that_vanishes_while_it_is_needed_is_a_conflict_and_does_not_end_the_case(
    setting: Setting, vpc: Vpc, instance: Resource
) -> None:
    before, target = contain(setting)
    release(setting, before, target)
    now = observed(setting)
    vpc.ec2.delete_security_group(GroupId=vpc.quarantine_group()["GroupId"])
    with pytest.raises(Conflict, match=r"InvalidGroup\.NotFound"):
        apply(setting, now, target)
    setting.apply(target)
    assert reached(observed(setting), target)


def test_without_an_installation_nothing_is_ours() -> None:
    described = {"GroupId": "sg-1", "GroupName": "cloud-quarantine-", "Tags": [{"Key": INSTALLATION, "Value": ""}]}
    assert not quarantine_group.is_ours(described, "")


def apply(setting: Setting, now: Isolation, target: Isolation) -> None:
    """From a `now` that is not what is there."""
    setting.action.apply(setting.cloud.through(CountingGate(), setting.mark), setting.resource, now, target)


# --- on the wire ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", [*CHANGES[::2], "RevokeSecurityGroupEgress"])
def test_a_lost_answer_is_unknown_and_is_found_again(
    setting: Setting, vpc: Vpc, aws: FaultProxy, operation: str
) -> None:
    before = observed(setting)
    target = isolated(before)
    aws.lose_answer(operation)
    with pytest.raises(Unknown):
        setting.apply(target)
    assert setting.action.ours(before, observed(setting))
    setting.apply(target)
    assert reached(observed(setting), target)
    vpc.quarantine_group()
    assert len(aws.recorded("CreateSecurityGroup")) == 1


def test_stale_reads_after_the_change_do_not_make_a_second_one(setting: Setting, aws: FaultProxy) -> None:
    """What was read before shows the old groups once more: the same is written again, and nothing else."""
    before = observed(setting)
    target = isolated(before)
    aws.stale("DescribeNetworkInterfaces")
    apply(setting, before, target)
    again = observed(setting)
    assert again.part() == before.part(), "the stale answer"
    gate = CountingGate()
    setting.action.apply(setting.cloud.through(gate, setting.mark), setting.resource, again, target)
    assert {call.call for call in gate.calls} == {"ec2.modify_network_interface_attribute"}
    assert reached(observed(setting), target)


def test_a_throttled_change_did_not_happen(setting: Setting, aws: FaultProxy) -> None:
    target = isolated(observed(setting))
    body = "<Response><Errors><Error><Code>RequestLimitExceeded</Code></Error></Errors></Response>"
    aws.answer("ModifyNetworkInterfaceAttribute", 503, {"Content-Type": "text/xml"}, body)
    with pytest.raises(Throttled):
        setting.apply(target)
    assert len(aws.recorded("ModifyNetworkInterfaceAttribute")) == 1
    setting.apply(target)
    assert reached(observed(setting), target)


def test_no_interface_at_all_is_a_read_that_lags_and_not_an_isolated_instance(
    setting: Setting, aws: FaultProxy
) -> None:
    empty = "<DescribeNetworkInterfacesResponse><networkInterfaceSet/></DescribeNetworkInterfacesResponse>"
    aws.answer("DescribeNetworkInterfaces", 200, {"Content-Type": "text/xml"}, empty)
    with pytest.raises(Transient, match="no network interface"):
        setting.observe()


def test_an_instance_that_is_gone_or_going_is_gone(setting: Setting, vpc: Vpc, instance: Resource) -> None:
    nowhere = instance.model_copy(update={"id": "i-0123456789abcdef0"})
    with pytest.raises(Gone, match=r"InvalidInstanceID\.NotFound"):
        setting.action.observe(setting.cloud, nowhere)
    vpc.ec2.terminate_instances(InstanceIds=[instance.id])
    with pytest.raises(Gone, match="terminated"):
        setting.action.observe(setting.cloud, instance)


def test_pages_are_followed(setting: Setting, aws: FaultProxy, vpc: Vpc, instance: Resource) -> None:
    first, second = vpc.interfaces(instance.id)
    for interface, token in ((first, "<nextToken>more</nextToken>"), (second, "")):
        item = (
            f"<item><networkInterfaceId>{interface}</networkInterfaceId><vpcId>{vpc.id}</vpcId>"
            f"<groupSet><item><groupId>{vpc.db}</groupId></item></groupSet></item>"
        )
        body = (
            f"<DescribeNetworkInterfacesResponse><networkInterfaceSet>{item}</networkInterfaceSet>{token}"
            "</DescribeNetworkInterfacesResponse>"
        )
        aws.answer("DescribeNetworkInterfaces", 200, {"Content-Type": "text/xml"}, body)
    assert set(observed(setting).interfaces) == {first, second}
    assert aws.recorded("DescribeNetworkInterfaces")[1].form["NextToken"] == "more"


# --- refusals and caveats -------------------------------------------------------------------------------------------

INTERFACE: dict[str, Any] = {
    "NetworkInterfaceId": "eni-1", "VpcId": "vpc-1", "Groups": [{"GroupId": "sg-1"}], "InterfaceType": "interface"
}  # fmt: skip
BARE: dict[str, Any] = {"InstanceId": "i-1", "State": {"Name": "running"}}


def read(interface: dict[str, Any] | None = None, instance: dict[str, Any] | None = None) -> Isolation:
    return read_isolation(BARE | (instance or {}), [INTERFACE | (interface or {})], {"vpc-1": None})


@pytest.mark.parametrize(
    ("fields", "owner"),
    [
        ({"RequesterManaged": True, "RequesterId": "578734482556"}, "578734482556"),
        ({"RequesterManaged": True}, "a service of AWS"),
        ({"Operator": {"Managed": True, "Principal": "eks.amazonaws.com"}}, "eks.amazonaws.com"),
    ],
)
def test_an_interface_that_a_service_owns_is_refused_with_its_owner(fields: dict[str, Any], owner: str) -> None:
    refused = refusal(read(fields))
    assert refused is not None
    assert f"eni-1 is managed by {owner}" in refused.reason
    assert any("ecs-stop-task" in instead for instead in refused.alternatives)
    assert refusal(read({"RequesterManaged": False, "RequesterId": "1", "Operator": {"Managed": False}})) is None


def said(state: Isolation) -> dict[str, str]:
    return {caveat.id: caveat.text for caveat in Ec2IsolateInterfaces().caveats(state)}


def test_what_stays_possible_is_always_said() -> None:
    always = said(read())
    assert set(always) == {
        "tracked-connections", "always-tracked", "dns-and-metadata", "management-is-cut", "health-checks-fail"
    }  # fmt: skip
    assert "5 days" in always["tracked-connections"] and "350 s" in always["tracked-connections"]


@pytest.mark.parametrize(
    ("state", "caveat", "word"),
    [
        (
            read(instance={"Tags": [{"Key": "aws:autoscaling:groupName", "Value": "web-fleet"}]}),
            "auto-scaling",
            "web-fleet",
        ),
        (read({"InterfaceType": "trunk"}), "branch-interfaces", "eni-1"),
        (
            read(instance={"SecondaryInterfaces": [{"SecondaryInterfaceId": "secondary-1"}]}),
            "secondary-networks",
            "secondary-1",
        ),
    ],
    ids=["auto scaling", "trunk", "secondary network"],
)
def test_what_stays_possible_here_is_said(state: Isolation, caveat: str, word: str) -> None:
    assert word in said(state)[caveat]


def test_an_auto_scaling_group_is_read_from_the_tags_of_the_instance(cloud: AwsCloud, vpc: Vpc) -> None:
    name = vpc.instance(tags={"aws:autoscaling:groupName": "web-fleet"})
    state = Ec2IsolateInterfaces().observe(cloud, Resource(kind="aws:ec2-instance", id=name, scope=SCOPE))
    assert state.auto_scaling_group == "web-fleet"


def test_how_long_ec2_may_take_is_less_than_a_person_waits() -> None:
    action: type[Action[Any, Any]] = Ec2IsolateInterfaces
    assert timedelta(0) < action.consistent_within < action.settles_within <= timedelta(minutes=1)


# --- pure -----------------------------------------------------------------------------------------------------------

GROUPS = st.lists(st.sampled_from(["sg-1", "sg-2", "sg-3", QUARANTINE]), min_size=1, unique=True).map(
    lambda groups: tuple(sorted(groups))
)
IMAGES = st.dictionaries(st.sampled_from(["eni-1", "eni-2", "eni-3"]), GROUPS, min_size=1)


@given(IMAGES, IMAGES)
def test_a_release_writes_only_what_we_wrote(before_image: Any, now_image: Any) -> None:
    before, now = Isolation(interfaces=before_image), Isolation(interfaces=now_image)
    merged, _ = three_way(before, isolated(before), now)
    for interface, groups in changes(now, merged).items():
        assert now.interfaces[interface] == (QUARANTINE,), "somebody else's choice is not overwritten"
        assert groups == before.interfaces[interface]


@given(IMAGES, st.data())
def test_any_half_way_state_is_known_as_ours(image: Any, data: st.DataObject) -> None:
    before = Isolation(interfaces=image)
    moved = data.draw(st.sets(st.sampled_from(sorted(image))))
    half = Isolation(interfaces={key: (QUARANTINE,) if key in moved else groups for key, groups in image.items()})
    assert between(before, isolated(before), half)
    assert set(changes(half, isolated(before))) == {key for key in image if half.interfaces[key] != (QUARANTINE,)}


@given(st.sets(st.sampled_from(["sg-1", "sg-2", "sg-ours"]), min_size=1), st.booleans(), st.booleans())
def test_our_group_is_a_symbol_and_a_foreign_one_stays_what_it_is(groups: set[str], ours: bool, altered: bool) -> None:
    interface = INTERFACE | {"Groups": [{"GroupId": group} for group in groups]}
    state = read_isolation(BARE, [interface], {"vpc-1": Group(id="sg-ours", ours=ours, altered=altered)})
    assert ("sg-ours" in state.interfaces["eni-1"]) == ("sg-ours" in groups and not ours)
    assert (QUARANTINE in state.interfaces["eni-1"]) == ("sg-ours" in groups and ours)
    assert bool(state.altered) == (ours and altered)
    assert bool(state.foreign) == (not ours)
