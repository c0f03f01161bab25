import json
from typing import Any

import pytest

from quarantine.action import reached, three_way
from quarantine.errors import Gone
from quarantine.model import Resource
from quarantine.testing.contract import Setting, Stranger
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.ingress import OpenRules, Rule, permission, read_open
from quarantine_aws.sg_revoke_open_ingress import SgRevokeOpenIngress
from tests.aws.conftest import SCOPE
from tests.aws.faults import AwsContract
from tests.testbed.ec2 import Vpc
from tests.testbed.proxy import FaultProxy

RISKY = (22, 3389, 5432)
V6 = "Ipv6Ranges"


class Gate:
    """A group of the customer's that lets in the world at some ports, and others at some."""

    def __init__(self, vpc: Vpc) -> None:
        self.ec2 = vpc.ec2
        self.id = vpc.web
        self.prefix_list = self.ec2.create_managed_prefix_list(
            PrefixListName="anybody",
            AddressFamily="IPv4",
            MaxEntries=4,
            Entries=[{"Cidr": "0.0.0.0/1"}, {"Cidr": "128.0.0.0/1"}],
        )["PrefixList"]["PrefixListId"]
        self.let("tcp", 22, 22, IpRanges=[{"CidrIp": "0.0.0.0/0", "Description": "ssh, for now"}], tags={"who": "ann"})
        self.let("tcp", 22, 22, Ipv6Ranges=[{"CidrIpv6": "::/0"}])
        self.let("tcp", 5000, 5999, PrefixListIds=[{"PrefixListId": self.prefix_list, "Description": "databases"}])
        self.let("tcp", 443, 443, IpRanges=[{"CidrIp": "0.0.0.0/0", "Description": "the shop"}])
        self.let("tcp", 22, 22, IpRanges=[{"CidrIp": "10.0.0.0/8", "Description": "us"}])
        self.let("tcp", 5432, 5432, UserIdGroupPairs=[{"GroupId": vpc.db, "Description": "between us"}])

    def let(self, protocol: str, first: int, last: int, tags: dict[str, str] | None = None, **source: Any) -> None:
        specification = [{"Key": key, "Value": value} for key, value in (tags or {}).items()]
        tagged = [{"ResourceType": "security-group-rule", "Tags": specification}] if specification else []
        self.ec2.authorize_security_group_ingress(
            GroupId=self.id,
            IpPermissions=[{"IpProtocol": protocol, "FromPort": first, "ToPort": last, **source}],
            TagSpecifications=tagged,
        )

    def rules(self) -> dict[str, dict[str, Any]]:
        """By their ids."""
        filters = [{"Name": "group-id", "Values": [self.id]}]
        found = self.ec2.describe_security_group_rules(Filters=filters)["SecurityGroupRules"]
        return {rule["SecurityGroupRuleId"]: rule for rule in found}

    def image(self) -> list[str]:
        """Everything of the rules but their ids: what a release must give back."""
        told = [{key: rule[key] for key in rule if key != "SecurityGroupRuleId"} for rule in self.rules().values()]
        return sorted(json.dumps(rule, sort_keys=True) for rule in told)


@pytest.fixture
def gate(vpc: Vpc) -> Gate:
    return Gate(vpc)


@pytest.fixture
def setting(cloud: AwsCloud, gate: Gate) -> Setting:
    group = Resource(kind="aws:security-group", id=gate.id, scope=SCOPE, uid=gate.id)
    return Setting(SgRevokeOpenIngress(ports=RISKY), cloud, group)


def observed(setting: Setting) -> OpenRules:
    state = setting.observe()
    assert isinstance(state, OpenRules)
    return state


class TestSgRevokeOpenIngress(AwsContract):
    @pytest.fixture
    def setting(self, cloud: AwsCloud, gate: Gate) -> Setting:
        group = Resource(kind="aws:security-group", id=gate.id, scope=SCOPE, uid=gate.id)
        return Setting(SgRevokeOpenIngress(ports=RISKY), cloud, group)

    @pytest.fixture
    def stranger(self, gate: Gate) -> Stranger:
        """Opens another port to the world."""
        return lambda: gate.let("tcp", 3389, 3389, IpRanges=[{"CidrIp": "0.0.0.0/0"}])


def test_exactly_the_open_rules_on_these_ports_go_and_come_back_with_descriptions_and_tags(
    setting: Setting, gate: Gate
) -> None:
    image, rules = gate.image(), gate.rules()
    before = observed(setting)
    assert set(before.rules) == {"tcp 22-22 0.0.0.0/0", "tcp 22-22 ::/0", f"tcp 5000-5999 {gate.prefix_list}"}
    target = setting.target(before)
    setting.apply(target)
    stayed = gate.rules()
    assert len(rules) - len(stayed) == 3
    assert {key: rules[key] for key in stayed} == stayed, "no other rule was touched, not even by being made again"
    setting.apply(before)
    assert gate.image() == image
    assert set(gate.rules()) != set(rules), "the ids are new ones; nothing may depend on them"


def test_every_open_rule_goes_if_no_port_is_named(setting: Setting, gate: Gate) -> None:
    everything = Setting(SgRevokeOpenIngress(), setting.cloud, setting.resource)
    before = observed(everything)
    assert "tcp 443-443 0.0.0.0/0" in before.rules and before.left_open == ()
    everything.apply(everything.target(before))
    assert observed(everything).rules == {}


def test_what_is_revoked_is_named_by_its_id(setting: Setting, gate: Gate, aws: FaultProxy) -> None:
    """By protocol, port and block, one more than was planned might go."""
    setting.apply(setting.target(observed(setting)))
    for call in aws.recorded("RevokeSecurityGroupIngress"):
        assert set(call.form) >= {"GroupId", "SecurityGroupRuleId.1"}
        assert not any(name.startswith("IpPermissions") for name in call.form)


def test_a_rule_that_somebody_else_revoked_or_made_again_is_no_obstacle(setting: Setting, gate: Gate) -> None:
    before = observed(setting)
    target = setting.action.contained(before)
    gate.ec2.revoke_security_group_ingress(GroupId=gate.id, SecurityGroupRuleIds=[before.ids["tcp 22-22 0.0.0.0/0"]])
    setting.apply(target)
    assert reached(observed(setting), target)
    gate.let("tcp", 22, 22, Ipv6Ranges=[{"CidrIpv6": "::/0", "Description": "by hand"}])
    merged, kept = three_way(before, target, observed(setting))
    setting.apply(merged)
    assert observed(setting).rules["tcp 22-22 ::/0"].description == "by hand"
    assert [item.path[:2] for item in kept] == [("rules", "tcp 22-22 ::/0")]


BLOCKS = {
    "0.0.0.0/0": True,
    "0.0.0.0/1": True,
    "128.0.0.0/1": True,
    "32.0.0.0/7": True,
    "10.0.0.0/8": False,
    "52.0.0.0/8": False,
    "203.0.113.7/32": False,
    "::/0": True,
    "2000::/3": True,
    "2a00::/12": True,
    "2a00:1450::/32": False,
    "fc00::/7": False,
    "fd00::/8": False,
}


def described(block: str, **fields: Any) -> dict[str, Any]:
    family = "CidrIpv6" if ":" in block else "CidrIpv4"
    rule = {"IsEgress": False, "IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "SecurityGroupRuleId": "sgr-1"}
    return rule | {family: block} | fields


@pytest.mark.parametrize(("block", "is_open"), BLOCKS.items())
def test_what_counts_as_the_world(block: str, is_open: bool) -> None:
    rules, left, ids = read_open([described(block)], {}, ())
    assert (len(rules), left, len(ids)) == (int(is_open), (), int(is_open))


@pytest.mark.parametrize(
    ("fields", "concerned"),
    [
        ({}, True),
        ({"FromPort": 0, "ToPort": 65535}, True),
        ({"FromPort": 23, "ToPort": 1024}, False),
        ({"IpProtocol": "udp", "FromPort": 22, "ToPort": 22}, True),
        ({"IpProtocol": "-1", "FromPort": -1, "ToPort": -1}, True),
        ({"IpProtocol": "icmp", "FromPort": 22, "ToPort": -1}, False),
        ({"IpProtocol": "50", "FromPort": -1, "ToPort": -1}, False),
    ],
)
def test_which_rules_open_a_port(fields: dict[str, Any], concerned: bool) -> None:
    rules, left, _ = read_open([described("0.0.0.0/0", **fields)], {}, (22,))
    assert (bool(rules), bool(left)) == (concerned, not concerned)


def test_egress_and_other_groups_are_not_from_the_world() -> None:
    group = {"CidrIpv4": None, "ReferencedGroupInfo": {"GroupId": "sg-1"}}
    for fields in ({"IsEgress": True}, group):
        assert read_open([described("0.0.0.0/0", **fields)], {}, ()) == ({}, (), {})


@pytest.mark.parametrize(
    "rule",
    [
        Rule(protocol="-1", first=-1, last=-1, source="0.0.0.0/0"),
        Rule(protocol="icmp", first=8, last=-1, source="::/0", description="ping"),
        Rule(protocol="tcp", first=0, last=65535, source="0.0.0.0/0", description="", tags={"a": "b", "c": ""}),
        Rule(protocol="udp", first=53, last=53, source="pl-0123", description="names"),
    ],
)
def test_a_rule_is_told_to_ec2_as_it_was_read(rule: Rule) -> None:
    told = permission(rule)
    assert ("FromPort" in told) == (rule.protocol != "-1")
    (block,) = told.get("IpRanges") or told.get("Ipv6Ranges") or told["PrefixListIds"]
    assert ("Description" in block) == (rule.description is not None)
    assert block.get("Description") == rule.description
    assert rule.source in block.values()


def test_tags_that_aws_reserves_are_nobodys_to_give_back() -> None:
    tags = [{"Key": "aws:cloudformation:stack-name", "Value": "shop"}, {"Key": "who", "Value": "ann"}]
    rules, _, _ = read_open([described("0.0.0.0/0", Tags=tags)], {}, ())
    assert [rule.tags for rule in rules.values()] == [{"who": "ann"}]


def test_a_prefix_list_that_may_not_be_read_is_said_and_its_rules_stay(setting: Setting, aws: FaultProxy) -> None:
    body = "<Response><Errors><Error><Code>UnauthorizedOperation</Code></Error></Errors></Response>"
    aws.answer("GetManagedPrefixListEntries", 403, {"Content-Type": "text/xml"}, body, times=10)
    before = observed(setting)
    assert set(before.rules) == {"tcp 22-22 0.0.0.0/0", "tcp 22-22 ::/0"}
    said = {caveat.id: caveat.text for caveat in setting.action.caveats(before)}
    (unread,) = [key for key in said if key.startswith("unread-pl-")]
    assert "ec2:GetManagedPrefixListEntries" in said[unread]


def test_what_stays_possible_is_said(setting: Setting, vpc: Vpc, gate: Gate) -> None:
    vpc.instance()  # its first interface is in `web` and in `db`
    before = observed(setting)
    said = {caveat.id: caveat.text for caveat in setting.action.caveats(before)}
    assert set(said) == {"tracked-connections", "put-back-by-others", "whole-rules", "left-open", "other-groups"}
    assert "tcp 5000-5999" in said["whole-rules"] and "tcp 22-22" not in said["whole-rules"]
    assert "tcp 443-443 0.0.0.0/0" in said["left-open"]
    assert vpc.db in said["other-groups"]


def test_a_group_that_is_not_there_is_gone(setting: Setting) -> None:
    with pytest.raises(Gone):
        setting.action.observe(setting.cloud, setting.resource.model_copy(update={"id": "sg-0123456789abcdef0"}))
