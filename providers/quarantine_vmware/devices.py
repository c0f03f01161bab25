"""What the API says about a machine's devices, as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from quarantine.action import sdk
from quarantine_vmware.calls import Connection


@dataclass(frozen=True)
class Card:
    """A network adapter whose connection can be cut."""

    key: str
    label: str
    mac: str
    network: str
    connection: Connection


def cards(devices: Sequence[Any]) -> list[Card]:
    """SR-IOV adapters are network adapters to the API, and are left out."""
    vim = sdk("pyVmomi", "vmware").vim.vm.device
    return [
        _card(device)
        for device in devices
        if isinstance(device, vim.VirtualEthernetCard) and not isinstance(device, vim.VirtualSriovEthernetCard)
    ]


def direct(devices: Sequence[Any]) -> tuple[str, ...]:
    """The labels of those that bypass the virtual switch, as far as they are network adapters or may be."""
    vim = sdk("pyVmomi", "vmware").vim.vm.device
    kinds = vim.VirtualSriovEthernetCard | vim.VirtualPCIPassthrough
    return tuple(device.deviceInfo.label for device in devices if isinstance(device, kinds))


def _card(device: Any) -> Card:
    state, backing = device.connectable, device.backing
    names = ("deviceName", "opaqueNetworkId")
    network = next((name for name in (getattr(backing, each, None) for each in names) if name), None)
    return Card(
        key=str(device.key),
        label=device.deviceInfo.label,
        mac=device.macAddress or "",
        network=network or getattr(getattr(backing, "port", None), "portgroupKey", None) or "",
        connection=Connection(state.connected, state.startConnected, state.allowGuestControl),
    )
