"""A machine and an interface as Azure shows them. The interface is that of a recorded session (kubernetes-sigs/
cloud-provider-azure, interfaceclient/testdata/AZURECLOUD.yaml), with every link that one can have."""

import uuid
from collections.abc import Iterable
from typing import Any

Body = dict[str, Any]


def machine_body(id_: str, location: str, nics: Iterable[str], **properties: Any) -> Body:
    top: Body = {key: properties.pop(key) for key in ("identity", "tags") if key in properties}
    attached = [{"id": nic, "properties": {"primary": not number}} for number, nic in enumerate(nics)]
    return {
        "id": id_,
        "name": id_.rpartition("/")[2],
        "type": "Microsoft.Compute/virtualMachines",
        "location": location,
        "tags": {"team": "shop"},
        "etag": '"1"',
        **top,
        "properties": {
            "vmId": str(uuid.uuid4()),
            "provisioningState": "Succeeded",
            "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
            "networkProfile": {"networkInterfaces": attached},
            **properties,
        },
    }


def nic_body(id_: str, location: str, **properties: Any) -> Body:
    """With two IP configurations. A hand-built body that knows one would lose the other."""
    network, name = id_.partition("/networkInterfaces/")[0], id_.rpartition("/")[2]
    return {
        "name": name,
        "id": id_,
        "properties": {
            "provisioningState": "Succeeded",
            "resourceGuid": str(uuid.uuid4()),
            "ipConfigurations": [
                _configuration(id_, network, "ipConfig1", primary=True, address="10.0.0.4", **_links(network, name)),
                _configuration(id_, network, "ipConfig2", primary=False, address="10.0.0.5"),
            ],
            "dnsSettings": {"dnsServers": ["10.0.0.53"], "appliedDnsServers": []},
            "macAddress": "00-0D-3A-1B-C7-21",
            "primary": True,
            "enableAcceleratedNetworking": True,
            "vnetEncryptionSupported": False,
            "enableIPForwarding": False,
            "disableTcpStateTracking": False,
            "hostedWorkloads": [],
            "tapConfigurations": [],
            "nicType": "Standard",
            "allowPort25Out": True,
            "auxiliaryMode": "None",
            "auxiliarySku": "None",
            **properties,
        },
        "type": "Microsoft.Network/networkInterfaces",
        "location": location,
        "kind": "Regular",
        "tags": {"cost": "42"},
    }


def _links(network: str, name: str) -> Body:
    balancer = f"{network}/loadBalancers/front"
    return {
        "publicIPAddress": {"id": f"{network}/publicIPAddresses/{name}"},
        "loadBalancerBackendAddressPools": [{"id": f"{balancer}/backendAddressPools/web"}],
        "loadBalancerInboundNatRules": [{"id": f"{balancer}/inboundNatRules/ssh"}],
        "applicationGatewayBackendAddressPools": [{"id": f"{network}/applicationGateways/waf/backendAddressPools/web"}],
        "applicationSecurityGroups": [{"id": f"{network}/applicationSecurityGroups/web"}],
    }


def _configuration(nic: str, network: str, name: str, *, primary: bool, address: str, **links: Any) -> Body:
    return {
        "name": name,
        "id": f"{nic}/ipConfigurations/{name}",
        "etag": 'W/"00000000-0000-0000-0000-000000000000"',
        "type": "Microsoft.Network/networkInterfaces/ipConfigurations",
        "properties": {
            "provisioningState": "Succeeded",
            "privateIPAddress": address,
            "privateIPAllocationMethod": "Dynamic" if primary else "Static",
            "subnet": {"id": f"{network}/virtualNetworks/shop/subnets/front"},
            "primary": primary,
            "privateIPAddressVersion": "IPv4",
            **links,
        },
    }


def account_body(id_: str, location: str, **properties: Any) -> Body:
    """As a recorded PATCH answers it (kubernetes-sigs/cloud-provider-azure, accountclient): without an ETag."""
    name = id_.rpartition("/")[2]
    said = {
        "allowBlobPublicAccess": True,
        "allowSharedKeyAccess": True,
        "publicNetworkAccess": "Enabled",
        "minimumTlsVersion": "TLS1_2",
        "supportsHttpsTrafficOnly": True,
        "networkAcls": {"bypass": "AzureServices", "virtualNetworkRules": [], "ipRules": [], "defaultAction": "Allow"},
        **properties,
    }
    return {
        "sku": {"name": "Standard_LRS", "tier": "Standard"},
        "kind": "StorageV2",
        "id": id_,
        "name": name,
        "type": "Microsoft.Storage/storageAccounts",
        "location": location,
        "tags": {"team": "shop"},
        "properties": {
            "provisioningState": "Succeeded",
            "creationTime": "2026-03-02T10:11:12.1314151Z",
            "primaryEndpoints": {"blob": f"https://{name}.blob.core.windows.net/"},
            "primaryLocation": location,
            "statusOfPrimary": "available",
            **{key: value for key, value in said.items() if value is not None},
        },
    }


def container_body(id_: str, level: str | None) -> Body:
    properties = {"lastModifiedTime": "2026-03-02T10:11:12Z", "leaseState": "Available", "hasLegalHold": False}
    return {
        "id": id_,
        "name": id_.rpartition("/")[2],
        "type": "Microsoft.Storage/storageAccounts/blobServices/containers",
        "etag": '"0x8DC3A1B2C3D4E5F"',
        "properties": {**properties, **({} if level is None else {"publicAccess": level})},
    }
