"""One rule of a network security group, raw, and whether it lets the whole internet in. Reading apart from judging.

A rule is named `group/rule`. Its ETag is that of its group: any change of the group makes a new one.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from pydantic import JsonValue

from quarantine.action import Caveat, Fact, Proof, Refusal, State, Token
from quarantine.errors import Gone
from quarantine.model import Resource
from quarantine_azure.cloud import AzureCloud
from quarantine_azure.locks import refused_by
from quarantine_azure.virtual_machine import GROUP, id_of

KIND: Final = "azure:nsg-rule"
RULE: Final = f"{GROUP}/securityRules"
ASG_JOIN: Final = "Microsoft.Network/applicationSecurityGroups/joinNetworkSecurityRule/action"

_ANYWHERE: Final = frozenset({"*", "0.0.0.0/0", "::/0", "internet", "any"})
_SETTLED: Final = frozenset({"Succeeded", "Failed", "Canceled"})
_JUST_IN_TIME: Final = ("microsoftdefenderforcloud-jitrule", "securitycenter-jitrule")


class OpenRule(State):
    rule: dict[str, JsonValue]
    """Every field that a client may write, as it stands there."""
    failed: Annotated[bool, Proof] = False
    """The last change of the group failed: what the platform enforces is not known."""
    busy: Annotated[bool, Fact] = False
    also_open: Annotated[tuple[str, ...], Fact] = ()
    """Other rules of the group that let the internet in, with their ports."""
    users: Annotated[int, Fact] = 0
    """Interfaces and subnets that have the group."""
    name: Annotated[str, Fact] = ""
    cluster: Annotated[bool, Fact] = False
    read_only: Annotated[tuple[str, ...], Fact] = ()
    etag: Annotated[str, Token] = ""


def get_group_of(cloud: AzureCloud, resource: Resource) -> dict[str, Any]:
    """The group that the rule is in. Raises Gone, also if it has no such rule."""
    name, _, rule = resource.id.partition("/")
    id_of(resource, RULE, f"{name}/{rule}")
    group: dict[str, Any] = cloud.read(f"{GROUP}/read", f"get {GROUP}", id=id_of(resource, GROUP, name))
    if rule.lower() not in {each["name"].lower() for each in rules_of(group)}:
        raise Gone(f"{resource}: the network security group has no such rule")
    return group


def rules_of(group: Mapping[str, Any]) -> list[dict[str, Any]]:
    return group["properties"].get("securityRules") or []


def seen(group: Mapping[str, Any], name: str) -> OpenRule:
    """The state, of what was read."""
    properties = group["properties"]
    (own,) = [each for each in rules_of(group) if each["name"].lower() == name.lower()]
    state = properties.get("provisioningState", "Succeeded")
    using = [*(properties.get("networkInterfaces") or []), *(properties.get("subnets") or [])]
    return OpenRule(
        rule={key: value for key, value in own["properties"].items() if key != "provisioningState"},
        failed=state in ("Failed", "Canceled"),
        busy=state not in _SETTLED,
        also_open=tuple(f"{each['name']} ({ports(each)})" for each in open_rules(group) if each is not own),
        users=len(using),
        name=own["name"],
        cluster=group["id"].lower().partition("/resourcegroups/")[2].startswith("mc_"),
        etag=str(group.get("etag", "")),
    )


def open_rules(group: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    return (each for each in rules_of(group) if is_open(each["properties"]))


def is_open(rule: Mapping[str, Any]) -> bool:
    """Does it let anybody in? A rule for an application security group of senders does not."""
    sources = [rule.get("sourceAddressPrefix"), *(rule.get("sourceAddressPrefixes") or [])]
    anywhere = any(str(source).lower() in _ANYWHERE for source in sources if source)
    return (rule["direction"], rule["access"]) == ("Inbound", "Allow") and anywhere


def ports(rule: Mapping[str, Any]) -> str:
    said = rule["properties"]
    found = [said.get("destinationPortRange"), *(said.get("destinationPortRanges") or [])]
    return f"{said['protocol']} {', '.join(str(port) for port in found if port)}"


def joins(rule: Mapping[str, Any]) -> tuple[str, ...]:
    """What it takes besides, to name application security groups (Azure, "Microsoft.Network permissions")."""
    linked = rule.get("sourceApplicationSecurityGroups") or rule.get("destinationApplicationSecurityGroups")
    return (ASG_JOIN,) if linked else ()


def refusal(before: OpenRule) -> Refusal | None:
    if not is_open(before.rule):
        reason = "the rule does not let the internet in: it is none that allows inbound traffic from anywhere"
        return Refusal(reason=reason, alternatives=("isolate the machine behind it with isolate-vm",))
    if before.cluster:
        reason = "the group is an AKS cluster's, which writes it anew (AKS support policies)"
        narrow = "narrow the Service with loadBalancerSourceRanges, or the cluster's authorised address ranges"
        return Refusal(reason=reason, alternatives=(narrow,))
    return refused_by(before.read_only)


# Azure, "Network security groups" (new connections only; security admin rules); a field report of deployments that put
# an owner's rule back; "Just-in-time machine access" (rules are put back when a request ends).
_ALWAYS: Final = {
    "established-connections": "Connections that are open already may go on: a rule decides about new ones.",
    "inside-too": "What the rule allowed from inside, it denies as well: no later rule is asked about that.",
    "admin-rules": "A security admin rule of Azure Virtual Network Manager that says `always allow` comes first.",
    "redeployment": "A deployment of the group by Terraform, Bicep or ARM puts the rule back. That is drift.",
}


def caveats(before: OpenRule) -> tuple[Caveat, ...]:
    texts = dict(_ALWAYS)
    if before.users > 1:
        texts["shared"] = f"{before.users} interfaces and subnets have this group: the rule closes for all of them."
    if before.also_open:
        texts["also-open"] = f"Other rules of the group let the internet in: {'; '.join(before.also_open)}."
    if before.name.lower().startswith(_JUST_IN_TIME):
        texts["just-in-time"] = "Defender made this rule for a just-in-time request, and writes it when that ends."
    return tuple(Caveat(id=name, text=text) for name, text in texts.items())
