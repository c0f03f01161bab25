from datetime import UTC, datetime

import pytest

from quarantine.action import GONE, OneWay
from quarantine.errors import Conflict, Unknown, Unsupported
from quarantine.model import Resource, Severity
from quarantine.testing.contract import CountingGate, OneWayContract, Setting
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.ec2_isolate_interfaces import Ec2IsolateInterfaces
from quarantine_aws.ec2_remove_quarantine_group import Ec2RemoveQuarantineGroup
from quarantine_aws.leftovers import UNUSED_GROUPS
from quarantine_aws.quarantine_group import INSTALLATION, request
from quarantine_aws.security_group import GroupPresence
from tests.aws.conftest import SCOPE
from tests.testbed.ec2 import Vpc
from tests.testbed.proxy import FaultProxy

NOW = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)


def quarantine_group(vpc: Vpc, installation: str = "contract") -> Resource:
    made = vpc.ec2.create_security_group(**request(vpc.id, installation))
    return Resource(kind="aws:security-group", id=made["GroupId"], scope=SCOPE, uid=made["GroupId"])


def observed(setting: Setting) -> GroupPresence:
    state = setting.observe()
    assert isinstance(state, GroupPresence)
    return state


@pytest.fixture
def setting(cloud: AwsCloud, vpc: Vpc) -> Setting:
    return Setting(Ec2RemoveQuarantineGroup(), cloud, quarantine_group(vpc))


class TestEc2RemoveQuarantineGroup(OneWayContract):
    @pytest.fixture
    def setting(self, cloud: AwsCloud, vpc: Vpc) -> Setting:
        return Setting(Ec2RemoveQuarantineGroup(), cloud, quarantine_group(vpc))


def test_it_is_one_way() -> None:
    assert issubclass(Ec2RemoveQuarantineGroup, OneWay)


def test_the_group_is_gone_and_the_others_are_not(setting: Setting, vpc: Vpc) -> None:
    setting.apply(GONE)
    assert vpc.quarantine_groups() == []
    assert setting.observe() is GONE


@pytest.mark.parametrize("made_by", ["customer", "other installation", "our tag, another name", "our name, no tag"])
def test_what_we_did_not_make_is_refused_and_stays(cloud: AwsCloud, vpc: Vpc, made_by: str) -> None:
    group = {
        "customer": lambda: vpc.web,
        "other installation": lambda: quarantine_group(vpc, "other").id,
        "our tag, another name": lambda: vpc.group("look-alike", {INSTALLATION: "contract"}),
        "our name, no tag": lambda: vpc.group("cloud-quarantine-contract"),
    }[made_by]()
    resource = Resource(kind="aws:security-group", id=group, scope=SCOPE)
    setting = Setting(Ec2RemoveQuarantineGroup(), cloud, resource)
    before = observed(setting)
    refused = setting.action.refusal(before)
    assert refused is not None and "not make" in refused.reason
    assert not setting.action.ours(before, before)
    with pytest.raises(Conflict, match="stays"):
        setting.apply(GONE)
    assert isinstance(setting.observe(), GroupPresence)


def test_one_that_still_isolates_something_is_refused_with_what(setting: Setting, vpc: Vpc, aws: FaultProxy) -> None:
    instance = vpc.instance()
    interface = vpc.interfaces(instance)[0]
    vpc.put(interface, setting.resource.id)
    before = observed(setting)
    refused = setting.action.refusal(before)
    assert refused is not None and interface in refused.reason
    with pytest.raises(Conflict, match=interface):
        setting.apply(GONE)
    assert aws.recorded("DeleteSecurityGroup") == []


def test_one_that_gets_used_in_the_last_moment_is_a_conflict(setting: Setting, vpc: Vpc) -> None:
    """EC2 itself is the last guard: DependencyViolation."""
    before = observed(setting)
    vpc.put(vpc.interfaces(vpc.instance())[0], setting.resource.id)
    with pytest.raises(Conflict, match="DependencyViolation"):
        setting.action.apply(setting.cloud.through(CountingGate(), setting.mark), setting.resource, before, GONE)
    assert not setting.action.ours(before, observed(setting)), "it must not be tried again"


def test_one_that_somebody_else_deletes_first_is_done(setting: Setting, vpc: Vpc) -> None:
    before = observed(setting)
    vpc.ec2.delete_security_group(GroupId=setting.resource.id)
    setting.action.apply(setting.cloud.through(CountingGate(), setting.mark), setting.resource, before, GONE)
    assert setting.observe() is GONE


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_a_lost_message_is_unknown_and_can_be_looked_up(setting: Setting, aws: FaultProxy, lost: str) -> None:
    before = observed(setting)
    (aws.drop if lost == "request" else aws.lose_answer)("DeleteSecurityGroup")
    with pytest.raises(Unknown):
        setting.apply(GONE)
    if lost == "answer":
        assert setting.observe() is GONE
        return
    assert setting.action.ours(before, observed(setting)), "nothing speaks against trying again"
    setting.apply(GONE)
    assert setting.observe() is GONE


# --- what is left over ----------------------------------------------------------------------------------------------


def left_over(cloud: AwsCloud, installation: str = "contract") -> list[str]:
    findings, cursor = UNUSED_GROUPS.run(cloud.belonging_to(installation), SCOPE, NOW, "cursor")
    assert cursor == "cursor"
    return [finding.resource.id for finding in findings]


def test_a_group_is_left_over_when_the_last_interface_has_left_it(cloud: AwsCloud, vpc: Vpc) -> None:
    isolations = [
        Setting(Ec2IsolateInterfaces(), cloud, Resource(kind="aws:ec2-instance", id=vpc.instance(), scope=SCOPE))
        for _ in range(2)
    ]
    images = [isolation.observe() for isolation in isolations]
    for isolation, image in zip(isolations, images, strict=True):
        isolation.apply(isolation.target(image))
    assert left_over(cloud) == []
    isolations[0].apply(images[0])
    assert left_over(cloud) == [], "the second one is still in it"
    isolations[1].apply(images[1])
    assert left_over(cloud) == [vpc.quarantine_group()["GroupId"]]


def test_a_finding_about_one_says_which_and_where(cloud: AwsCloud, vpc: Vpc) -> None:
    group = quarantine_group(vpc)
    ((finding,), _) = UNUSED_GROUPS.run(cloud.belonging_to("contract"), SCOPE, NOW, None)
    assert finding.resource == group
    assert (finding.type, finding.severity) == ("unused-quarantine-group", Severity.INFORMATIONAL)
    assert (finding.source, finding.seen_at) == ("aws:unused-quarantine-groups", NOW)
    assert vpc.id in finding.title and finding.record["vpc"] == vpc.id


def test_the_groups_of_others_are_not_ours_to_clear_away(cloud: AwsCloud, vpc: Vpc) -> None:
    quarantine_group(vpc, "other")
    vpc.group("look-alike", {INSTALLATION: "contract"})
    assert left_over(cloud) == []
    assert len(left_over(cloud, "other")) == 1


def test_a_connection_that_does_not_know_whose_it_is_finds_nothing_to_clear_away(cloud: AwsCloud, vpc: Vpc) -> None:
    quarantine_group(vpc)
    with pytest.raises(Unsupported, match="whose"):
        UNUSED_GROUPS.run(cloud, SCOPE, NOW, None)


def test_the_poll_asks_for_what_it_says(setting: Setting) -> None:
    cloud = setting.cloud.through(CountingGate(0), setting.mark, setting.used.append)
    UNUSED_GROUPS.run(cloud, SCOPE, NOW, None)
    assert {call.permission for call in setting.used} == set(UNUSED_GROUPS.permissions)
