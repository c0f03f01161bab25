"""A network interface (NIC) as a body to put: it is changed by putting all of it back. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

GROUP_JOIN: Final = "Microsoft.Network/networkSecurityGroups/join/action"

_JOINS: Final = {
    "subnet": "Microsoft.Network/virtualNetworks/subnets/join/action",
    "publicIPAddress": "Microsoft.Network/publicIPAddresses/join/action",
    "loadBalancerBackendAddressPools": "Microsoft.Network/loadBalancers/backendAddressPools/join/action",
    "loadBalancerInboundNatRules": "Microsoft.Network/loadBalancers/inboundNatRules/join/action",
    "applicationGatewayBackendAddressPools": "Microsoft.Network/applicationGateways/backendAddressPools/join/action",
    "applicationSecurityGroups": "Microsoft.Network/applicationSecurityGroups/joinIpConfiguration/action",
}
"""What it takes to link an IP configuration to each of these (Azure, "Microsoft.Network permissions"). To put an
interface back states every one of its links anew."""

JOINS: Final = (GROUP_JOIN, *_JOINS.values())


def with_group(nic: Mapping[str, Any], group: str | None) -> dict[str, Any]:
    """The same interface with another network security group, or none; nothing else changes."""
    properties = {key: value for key, value in nic["properties"].items() if key != "networkSecurityGroup"}
    if group is not None:
        properties["networkSecurityGroup"] = {"id": group}
    return {**nic, "properties": properties}


def joins(nic: Mapping[str, Any]) -> tuple[str, ...]:
    """The permissions that its links ask for, when it is put."""
    return tuple(dict.fromkeys(_linked(nic)))


def _linked(nic: Mapping[str, Any]) -> Iterator[str]:
    if nic["properties"].get("networkSecurityGroup"):
        yield GROUP_JOIN
    for configuration in nic["properties"].get("ipConfigurations") or []:
        for link, permission in _JOINS.items():
            if configuration["properties"].get(link):
                yield permission
