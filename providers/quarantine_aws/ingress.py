"""Which rules of a security group let the world in, and how one that was revoked is made again. Pure."""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Final

from pydantic import Field

from quarantine.action import Caveat, Fact, State, Token
from quarantine.model import Value
from quarantine_aws.ec2_instance import tags_of

_WIDEST: Final = {4: 8, 6: 32}
"""What is wider than this counts as everybody, as it does for S3 (S3 User Guide, "The meaning of public"): the halves
0.0.0.0/1 and 128.0.0.0/1 as well as 0.0.0.0/0."""
_WITH_PORTS: Final = ("tcp", "udp")
_ALL: Final = "-1"


class Rule(Value):
    """One rule for what comes in. Its id is not part of it: the same rule made again has another."""

    protocol: str
    first: int
    last: int
    """From port to port; the type and code of ICMP; -1 where there is none."""
    source: str
    """A CIDR block, or the id of a prefix list."""
    description: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    """Without those that AWS reserves: nobody else can set them."""

    @property
    def key(self) -> str:
        """No group has two rules with the same one (EC2 API Reference, InvalidPermission.Duplicate)."""
        return f"{self.protocol} {self.first}-{self.last} {self.source}"

    def concerns(self, ports: Iterable[int]) -> bool:
        """Does it let one of these ports through? Any, if none is named."""
        asked = tuple(ports)
        if not asked or self.protocol == _ALL:
            return True
        return self.protocol in _WITH_PORTS and any(self.first <= port <= self.last for port in asked)


class OpenRules(State):
    rules: dict[str, Rule]
    """The open ones that we were asked for, by their key."""
    left_open: Annotated[tuple[str, ...], Fact] = ()
    """Open ones on other ports."""
    unread: Annotated[dict[str, str], Fact] = Field(default_factory=dict)
    """Prefix list -> why its entries could not be read: then nobody knows whether its rules are open."""
    elsewhere: Annotated[dict[str, tuple[str, ...]], Fact] = Field(default_factory=dict)
    """Interface that is in the group -> the other groups that it is in."""
    ids: Annotated[dict[str, str], Token] = Field(default_factory=dict)
    """Key -> the id of the rule."""


def read_rule(described: Mapping[str, Any]) -> Rule | None:
    """None for one that names another group as its source: that is nobody from outside."""
    source = described.get("CidrIpv4") or described.get("CidrIpv6") or described.get("PrefixListId")
    if described["IsEgress"] or not source:
        return None
    return Rule(
        protocol=described["IpProtocol"],
        first=described.get("FromPort", -1),
        last=described.get("ToPort", -1),
        source=source,
        description=described.get("Description"),
        tags={key: value for key, value in tags_of(described).items() if not key.startswith("aws:")},
    )


def prefix_lists(rules: Iterable[Mapping[str, Any]]) -> list[str]:
    return sorted({rule["PrefixListId"] for rule in rules if rule.get("PrefixListId") and not rule["IsEgress"]})


def read_open(
    described: Iterable[Mapping[str, Any]], lists: Mapping[str, tuple[str, ...]], ports: tuple[int, ...]
) -> tuple[dict[str, Rule], tuple[str, ...], dict[str, str]]:
    """(the open rules on the ports, the keys of those on others, the ids of the first). `lists`: their CIDR blocks."""
    found = {rule["SecurityGroupRuleId"]: read for rule in described if (read := read_rule(rule)) is not None}
    ids = {
        rule.key: identifier
        for identifier, rule in sorted(found.items(), key=lambda item: item[1].key)
        if any(_is_open(block) for block in lists.get(rule.source, (rule.source,)))
    }
    rules = {key: found[identifier] for key, identifier in ids.items() if found[identifier].concerns(ports)}
    return rules, tuple(key for key in ids if key not in rules), {key: ids[key] for key in rules}


def _is_open(block: str) -> bool:
    if block.startswith("pl-"):
        return False
    network: IPv4Network | IPv6Network = ip_network(block, strict=False)
    return network.prefixlen < _WIDEST[network.version] and not network.is_private


def permission(rule: Rule) -> dict[str, Any]:
    """The rule as AuthorizeSecurityGroupIngress takes it."""
    told = {} if rule.description is None else {"Description": rule.description}
    ports = {} if rule.protocol == _ALL else {"FromPort": rule.first, "ToPort": rule.last}
    if rule.source.startswith("pl-"):
        source = {"PrefixListIds": [{"PrefixListId": rule.source, **told}]}
    elif ":" in rule.source:
        source = {"Ipv6Ranges": [{"CidrIpv6": rule.source, **told}]}
    else:
        source = {"IpRanges": [{"CidrIp": rule.source, **told}]}
    return {"IpProtocol": rule.protocol, **ports, **source}


def tagging(rule: Rule) -> dict[str, Any]:
    if not rule.tags:
        return {}
    tags = [{"Key": key, "Value": value} for key, value in rule.tags.items()]
    return {"TagSpecifications": [{"ResourceType": "security-group-rule", "Tags": tags}]}


# Amazon EC2 User Guide, "Amazon EC2 security group connection tracking".
_ALWAYS: Final = {
    "tracked-connections": "Connections that are open and tracked go on until they are idle for long enough, up to 5"
    " days by default. Those that a rule for all addresses let in untracked end at once.",
    "put-back-by-others": "What made the group by plan (Terraform, CloudFormation) may put the rules back at its next"
    " run; that is seen as drift.",
}
_ELSEWHERE: Final = "{interfaces} of the interfaces in the group are in others too, whose rules stay: {groups}."


def caveats(before: OpenRules) -> tuple[Caveat, ...]:
    said = {f"unread-{name}": f"Could not read prefix list {name}: {why}" for name, why in before.unread.items()}
    said |= _ALWAYS
    ranges = [key for key, rule in before.rules.items() if rule.protocol == _ALL or rule.first != rule.last]
    if ranges:
        said["whole-rules"] = f"A rule goes as a whole, with every port that it opens: {', '.join(ranges)}."
    if before.left_open:
        said["left-open"] = f"Also open to the world, and left so: {', '.join(before.left_open)}."
    if others := {group for groups in before.elsewhere.values() for group in groups}:
        count = sum(bool(groups) for groups in before.elsewhere.values())
        said["other-groups"] = _ELSEWHERE.format(interfaces=count, groups=", ".join(sorted(others)))
    return tuple(Caveat(id=key, text=text) for key, text in said.items())
