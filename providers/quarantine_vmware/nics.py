"""What a machine without network looks like: no adapter is, or can get, connected. Pure."""

from collections.abc import Mapping
from typing import Annotated, Final

from quarantine.action import Fact, State, Token
from quarantine.errors import Unsupported
from quarantine.model import Value
from quarantine_vmware.calls import Connection

ON: Final = "poweredOn"
OFF: Final = "poweredOff"

CONNECTED: Final = "connected"
AT_START: Final = "startConnected"
BY_GUEST: Final = "allowGuestControl"
WAYS: Final = (CONNECTED, AT_START, BY_GUEST)
"""VirtualDeviceConnectInfo: it is connected now; it will be at the next power-on; the guest may connect it itself."""


class Adapter(Value):
    """One network adapter. What is not compared: it is evidence, and names the adapter to people."""

    label: str
    mac: str = ""
    network: str = ""
    """The port group or network that it is plugged into."""


class Network(State):
    """`ways` has an entry `<device key>/<way>` for each way in which an adapter is, or can get, connected.

    A way that is closed is not there. So the target is the empty map, an adapter that somebody adds later is not the
    target for as long as it has a way, and a release gives back each way by itself.
    """

    ways: dict[str, bool]
    adapters: Annotated[dict[str, Adapter], Fact]
    direct: Annotated[tuple[str, ...], Fact] = ()
    """Labels of SR-IOV adapters and passed-through PCI devices, which have no connection to cut."""
    power: Annotated[str, Fact] = ON
    host: Annotated[str, Fact] = CONNECTED
    """The vCenter's connection to the machine's host (VirtualMachineConnectionState)."""
    template: Annotated[bool, Fact] = False
    managed_by: Annotated[str, Fact] = ""
    """The extension that the machine belongs to."""
    product: Annotated[str, Fact] = ""
    """What the machine was deployed as, from its vApp properties."""
    name: Annotated[str, Fact] = ""
    machine: Annotated[str, Token]
    """Its managed object id."""
    version: Annotated[str, Token] = ""
    """The changeVersion of its configuration."""
    reconfiguring: Annotated[str, Token] = ""
    """A task that reconfigures it and has not ended."""


def ways(key: str, connection: Connection, power: str) -> dict[str, bool]:
    """`connected` is "valid only while the virtual machine is running" (API reference, VirtualDeviceConnectInfo).

    Of a machine that does not run, what counts is what it becomes at power-on: that is `startConnected`.
    """
    now = connection.connected if power == ON else connection.at_start
    values = zip(WAYS, (now, connection.at_start, connection.by_guest), strict=True)
    return {f"{key}/{way}": True for way, value in values if value}


def edits(now: Network, target: Network) -> dict[str, Connection]:
    """By device key, the adapters that must change. Raises Unsupported for what cannot be given back like this."""
    changed = {key: _wanted(now, target, key) for key in now.adapters if _of(now.ways, key) != _of(target.ways, key)}
    lost = sorted({key.partition("/")[0] for key in target.ways} - now.adapters.keys())
    if lost and not changed:
        raise Unsupported(
            f"network adapter {', '.join(lost)} was removed while the machine was held, and is not made anew:"
            " add one by hand if it is needed, then `quarantine case handled`"
        )
    return changed


def loosens(now: Network, target: Network) -> bool:
    """Does it open a way that is closed now?"""
    return bool(target.ways.keys() - now.ways.keys())


def _of(all_ways: Mapping[str, bool], key: str) -> frozenset[str]:
    return frozenset(way for way in WAYS if all_ways.get(f"{key}/{way}"))


def _wanted(now: Network, target: Network, key: str) -> Connection:
    wanted = _of(target.ways, key)
    if now.power not in (ON, OFF) and wanted - _of(now.ways, key):
        raise Unsupported(
            f"the machine is {now.power}: resume it, where it stays cut off, or power it off; then release again"
        )
    if now.power != ON and (CONNECTED in wanted) != (AT_START in wanted):
        raise Unsupported(
            f"{now.adapters[key].label} was {'' if CONNECTED in wanted else 'dis'}connected by hand, other than it is"
            " at power-on, and that can only be given back while the machine runs: power it on, then release again"
        )
    return Connection(CONNECTED in wanted if now.power == ON else None, AT_START in wanted, BY_GUEST in wanted)
