"""Where disconnecting a machine cannot work or must not be done, and what stays possible where it is. Pure.

Nothing here goes by what the guest says about itself (host name, addresses): whoever has taken a machine could then
make it look like one that is left alone.
"""

import re
from typing import Final

from quarantine.action import Caveat, Refusal
from quarantine_vmware.nics import OFF, ON, Network

AGENT_MANAGER: Final = "com.vmware.vim.eam"
"""The extension that owns vSphere Cluster Services and other agent machines (vSphere ESX Agent Manager)."""
_CLUSTER_SERVICES: Final = re.compile(r"vCLS[ -].+")
_CONTROL_PLANE: Final = ("vcenter server", "nsx manager", "nsx-t manager", "nsx unified appliance")
"""In the product name of an appliance's vApp properties: as they read from memory, no list is documented. Whatever must
not be cut off belongs into `guards.protected` all the same."""


def refusal(before: Network) -> Refusal | None:
    if before.template:
        reason = "it is a template: it does not run, and its connections cannot be edited"
        return Refusal(reason=reason, alternatives=("contain the machines that were made from it",))
    if before.managed_by == AGENT_MANAGER or _CLUSTER_SERVICES.fullmatch(before.name):
        reason = "it is an agent machine of vSphere itself (vCLS, or one of the ESX Agent Manager)"
        return Refusal(reason=reason, alternatives=("put its cluster into retreat mode, so that vSphere removes it",))
    if any(word in before.product.lower() for word in _CONTROL_PLANE):
        reason = f"it is the control plane ({before.product}): without it nobody could undo this"
        return Refusal(reason=reason, alternatives=("isolate it at its host, with another way in at hand",))
    if before.host != "connected":
        reason = f"the vCenter does not reach it (connection state: {before.host})"
        return Refusal(reason=reason, alternatives=("cut it off at the physical switch", "reconnect its host"))
    if before.power not in (ON, OFF):
        reason = f"it is {before.power}: it sends nothing, and its connections are part of what was suspended"
        return Refusal(reason=reason, alternatives=("keep it suspended", "power it off, then contain it"))
    if not before.adapters:
        what = f"only devices that have no connection to cut ({', '.join(before.direct)})" if before.direct else "none"
        reason = f"it has no network adapter that can be disconnected: {what}"
        return Refusal(reason=reason, alternatives=("suspend it", "power it off"))
    return None


_ALWAYS: Final = {
    "established-connections": "Nothing passes any more, but both ends keep their open connections in memory: those"
    " that have not timed out go on after a release. Credentials that were stolen before stay valid elsewhere.",
    "other-channels": "The console, VMware Tools (guest operations, copy and paste), VMCI, USB and serial devices and"
    " shared disks are no network adapters, and stay.",
    "guest-storage": "Disks that the guest itself mounts over the network (NFS, iSCSI, SMB) are gone for it too: its"
    " programs may hang or lose what they have not written.",
    "reverted": "Reverting to a snapshot, or restoring a backup, brings back the connections as they were then. While"
    " the case is watched that is seen as drift.",
    "added-later": "Whoever may edit the machine can connect an adapter or add one. That is seen as drift; an adapter"
    " that is then cut again, and was not there before, stays cut after the release.",
}
_DIRECT: Final = "These go on sending: {direct}. SR-IOV and passed-through devices have no connection to cut."
_OFF: Final = "The machine is off now: this takes effect when it is powered on."
_MANAGED: Final = "{managed_by} manages the machine, and may connect it again or replace it."


def caveats(before: Network) -> tuple[Caveat, ...]:
    texts = dict(_ALWAYS)
    if before.direct:
        texts["direct-devices"] = _DIRECT.format(direct=", ".join(before.direct))
    if before.power == OFF:
        texts["powered-off"] = _OFF
    if before.managed_by:
        texts["managed"] = _MANAGED.format(managed_by=before.managed_by)
    return tuple(Caveat(id=name, text=text) for name, text in texts.items())
