"""What the network resource provider of Azure accepts, and what it makes of it.

The names of fields and which of them a client may write are those of azure-mgmt-network 33.1.0; `KIND_UNKNOWN_TO_SDK`
are fields of real answers that no SDK model has (recorded sessions of kubernetes-sigs/cloud-provider-azure,
interfaceclient/testdata/AZURECLOUD.yaml). A newer field of a machine that a test made is known here too.
"""

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any

Body = dict[str, Any]

RESOURCE = {"id", "name", "type", "location", "tags", "properties", "etag"}
KIND_UNKNOWN_TO_SDK = {"kind", "allowPort25Out"}
NIC = RESOURCE | {"extendedLocation", "kind"}
NIC_READ_ONLY = {
    "virtualMachine", "privateEndpoint", "tapConfigurations", "macAddress", "primary", "vnetEncryptionSupported",
    "defaultOutboundConnectivityEnabled", "hostedWorkloads", "dscpConfiguration", "resourceGuid", "provisioningState",
    "allowPort25Out",
}  # fmt: skip
NIC_WRITABLE = {
    "networkSecurityGroup", "ipConfigurations", "dnsSettings", "enableAcceleratedNetworking", "disableTcpStateTracking",
    "enableIPForwarding", "workloadType", "nicType", "privateLinkService", "migrationPhase", "auxiliaryMode",
    "auxiliarySku",
}  # fmt: skip
IP_CONFIGURATION = {
    "gatewayLoadBalancer", "virtualNetworkTaps", "applicationGatewayBackendAddressPools",
    "loadBalancerBackendAddressPools", "loadBalancerInboundNatRules", "privateIPAddress",
    "privateIPAddressPrefixLength", "privateIPAllocationMethod", "privateIPAddressVersion", "subnet", "primary",
    "publicIPAddress", "applicationSecurityGroups", "provisioningState", "privateLinkConnectionProperties",
}  # fmt: skip
GROUP_READ_ONLY = {
    "defaultSecurityRules", "networkInterfaces", "subnets", "flowLogs", "resourceGuid", "provisioningState"
}  # fmt: skip
GROUP_WRITABLE = {"securityRules", "flushConnection"}
RULE = {
    "description", "protocol", "sourcePortRange", "destinationPortRange", "sourceAddressPrefix",
    "sourceAddressPrefixes", "sourceApplicationSecurityGroups", "destinationAddressPrefix",
    "destinationAddressPrefixes", "destinationApplicationSecurityGroups", "sourcePortRanges", "destinationPortRanges",
    "access", "priority", "direction", "provisioningState",
}  # fmt: skip
LISTS = ("sourcePortRanges", "destinationPortRanges", "sourceAddressPrefixes", "destinationAddressPrefixes")


class Refused(Exception):
    """An answer that is not a success, as ARM words it."""

    def __init__(self, status: int, code: str, message: str = "", *details: str, **headers: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.body = {
            "error": {
                "code": code,
                "message": message or f"{code}.",
                "details": [{"code": detail, "message": f"{detail}."} for detail in details],
            }
        }


def accept_nic(body: Body, before: Body | None, groups: Mapping[str, Body]) -> Body:
    """The interface as it stands after this PUT. Raises Refused."""
    known = NIC_WRITABLE | NIC_READ_ONLY | set((before or {}).get("properties", {}))
    properties = _checked(body, before, NIC | set(before or {}), known)
    configurations = properties.get("ipConfigurations")
    if not configurations:
        raise Refused(400, "InvalidRequestFormat", "A network interface has at least one ipConfiguration.")
    for configuration in configurations:
        _members(configuration, {"id", "name", "type", "properties", "etag"}, "ipConfiguration")
        _members(configuration.get("properties") or {}, IP_CONFIGURATION, "ipConfiguration.properties")
        if not configuration["properties"].get("subnet"):
            raise Refused(400, "NicIpConfigurationWithoutSubnet", "An ipConfiguration has a subnet.")
    group = (properties.get("networkSecurityGroup") or {}).get("id")
    if group is not None:
        _reference(group, body["location"], groups)
    return _merged(body, before, NIC_READ_ONLY)


def accept_group(body: Body, before: Body | None) -> Body:
    properties = _checked(body, before, RESOURCE, GROUP_WRITABLE | GROUP_READ_ONLY)
    taken: set[tuple[str, int]] = set()
    for rule in properties.get("securityRules") or []:
        _members(rule, {"id", "name", "type", "properties", "etag"}, "securityRule")
        said = rule.get("properties") or {}
        _members(said, RULE, "securityRule.properties")
        missing = {"access", "direction", "priority", "protocol"} - set(said)
        if not rule.get("name") or missing:
            raise Refused(400, "SecurityRuleInvalidFormat", f"A rule needs name, {', '.join(sorted(missing))}.")
        if not isinstance(said["priority"], int) or not 100 <= said["priority"] <= 4096:
            raise Refused(400, "SecurityRuleInvalidPriority", "The priority is between 100 and 4096.")
        for one, many in (("sourceAddressPrefix", "sourceAddressPrefixes"), ("sourcePortRange", "sourcePortRanges"),
                          ("destinationAddressPrefix", "destinationAddressPrefixes"),
                          ("destinationPortRange", "destinationPortRanges")):  # fmt: skip
            groups = said.get(many.replace("AddressPrefixes", "ApplicationSecurityGroups"))
            if not said.get(one) and not said.get(many) and not groups:
                raise Refused(400, "SecurityRuleParameterNotSpecified", f"A rule needs {one} or {many}.")
        if (said["direction"], said["priority"]) in taken:
            raise Refused(400, "SecurityRuleConflict", "Two rules have the same priority and direction.")
        taken.add((said["direction"], said["priority"]))
    made = _merged(body, before, GROUP_READ_ONLY)
    for rule in made["properties"].setdefault("securityRules", []):
        rule["properties"] = {**dict.fromkeys(LISTS), **rule["properties"]}
        rule["properties"].update({name: rule["properties"][name] or [] for name in LISTS})
        rule["type"] = "Microsoft.Network/networkSecurityGroups/securityRules"
    made["properties"]["defaultSecurityRules"] = DEFAULT_RULES
    return made


def _checked(body: Body, before: Body | None, members: Iterable[str], known: Iterable[str]) -> Body:
    if not isinstance(body, dict) or not isinstance(body.get("properties", {}), dict):
        raise Refused(400, "InvalidRequestContent", "The request content was not valid.")
    _members(body, set(members), "resource")
    if not body.get("location"):
        raise Refused(400, "LocationRequired", "The location property is required for this definition.")
    if before is not None and body["location"].lower() != before["location"].lower():
        raise Refused(409, "InvalidResourceLocation", f"The resource exists in {before['location']}.")
    for key, value in (body.get("tags") or {}).items():
        if re.search(r"[<>%&\\?/]", key) or len(key) > 512 or not isinstance(value, str) or len(value) > 256:
            raise Refused(400, "InvalidTagNameCharacters", f"{key!r} is no tag, or has no value that a tag can have.")
    properties: Body = body.get("properties", {})
    _members(properties, set(known), "properties")
    state = properties.get("provisioningState")
    if state is not None and before is not None and state != before["properties"]["provisioningState"]:
        raise Refused(400, "InvalidRequestContent", "provisioningState is not what it is.")  # RPC, Addendum
    return properties


def _members(thing: Body, known: set[str], what: str) -> None:
    for name in thing:
        if name not in known:
            raise Refused(400, "InvalidRequestFormat", f"Could not find member '{name}' on {what}.", "InvalidJson")


def _reference(group: str, location: str, groups: Mapping[str, Body]) -> None:
    found = groups.get(group.lower())
    if found is None:
        raise Refused(400, "InvalidResourceReference", f"{group} was not found.", "NotFound")
    if found["location"] != location:
        raise Refused(400, "InvalidResourceReference", f"{group} is in another region.")
    if found["properties"]["provisioningState"] in ("Updating", "Deleting"):
        raise Refused(429, "RetryableError", f"{group} is not provisioned.", "ReferencedResourceNotProvisioned")


def _merged(body: Body, before: Body | None, read_only: Iterable[str]) -> Body:
    """A PUT replaces all that a client may write: what it left out is gone. What is the server's stays."""
    own = {key: value for key, value in (before or {}).get("properties", {}).items() if key in read_only}
    written = {key: value for key, value in body.get("properties", {}).items() if key not in read_only}
    made = {key: value for key, value in body.items() if key not in ("etag", "id", "name", "type", "kind")}
    kept = {key: (before or {})[key] for key in ("id", "name", "type", "kind") if key in (before or {})}
    return copy.deepcopy({**kept, **made, "properties": {**written, **own}})


def _default(name: str, direction: str, priority: int, source: str, to: str, access: str) -> Body:
    return {
        "name": name,
        "properties": {
            "access": access, "direction": direction, "priority": priority, "protocol": "*",
            "sourceAddressPrefix": source, "sourcePortRange": "*", "destinationAddressPrefix": to,
            "destinationPortRange": "*",
        },
    }  # fmt: skip


DEFAULT_RULES = [
    _default("AllowVnetInBound", "Inbound", 65000, "VirtualNetwork", "VirtualNetwork", "Allow"),
    _default("AllowAzureLoadBalancerInBound", "Inbound", 65001, "AzureLoadBalancer", "*", "Allow"),
    _default("DenyAllInBound", "Inbound", 65500, "*", "*", "Deny"),
    _default("AllowVnetOutBound", "Outbound", 65000, "VirtualNetwork", "VirtualNetwork", "Allow"),
    _default("AllowInternetOutBound", "Outbound", 65001, "*", "Internet", "Allow"),
    _default("DenyAllOutBound", "Outbound", 65500, "*", "*", "Deny"),
]


def joins(body: Body) -> set[str]:
    """The linked actions that ARM checks for an interface, besides the write."""
    links = {
        "subnet": "Microsoft.Network/virtualNetworks/subnets/join/action",
        "publicIPAddress": "Microsoft.Network/publicIPAddresses/join/action",
        "loadBalancerBackendAddressPools": "Microsoft.Network/loadBalancers/backendAddressPools/join/action",
        "loadBalancerInboundNatRules": "Microsoft.Network/loadBalancers/inboundNatRules/join/action",
        "applicationGatewayBackendAddressPools":
            "Microsoft.Network/applicationGateways/backendAddressPools/join/action",
        "applicationSecurityGroups": "Microsoft.Network/applicationSecurityGroups/joinIpConfiguration/action",
    }  # fmt: skip
    properties = body.get("properties") or {}
    found = {"Microsoft.Network/networkSecurityGroups/join/action"} if properties.get("networkSecurityGroup") else set()
    for configuration in properties.get("ipConfigurations") or []:
        found |= {action for link, action in links.items() if (configuration.get("properties") or {}).get(link)}
    return found
