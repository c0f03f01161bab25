"""Where isolating a virtual machine cannot or must not work, and what stays possible where it does. Pure."""

from typing import Final

from quarantine.action import Caveat, Refusal
from quarantine_azure.isolation import Group, VmIsolation, group_name

_STOP: Final = "stop the machine (deallocate) once evidence is taken"


def refusal(before: VmIsolation) -> Refusal | None:
    if before.cluster_node:
        reason = "the machine is a node of an AKS cluster, whose machines must not be changed (AKS support policies)"
        return Refusal(
            reason=reason, alternatives=("cordon the node, and isolate its pods with kubernetes:pod-isolate",)
        )
    if not before.nics:
        reason = "the machine has no network interface of its own"
        uniform = "an instance of a Uniform scale set: change the set's model, or protect the instance and stop it"
        return Refusal(reason=reason, alternatives=(uniform, _STOP))
    if before.read_only:
        reason = f"a ReadOnly lock forbids every change: {', '.join(before.read_only)}"
        return Refusal(reason=reason, alternatives=("let who set the lock lift it; this program never does",))
    if before.group is Group.FOREIGN:
        made = f"installation {before.group_of!r}" if before.group_of else "somebody else"
        reason = f"{made} made a network security group {group_name(before.uid)!r}, the name that ours would have"
        return Refusal(reason=reason, alternatives=("look at it, and delete it", _STOP))
    return None


# The sources, name by name: Azure, "Network security groups" (rules are for new connections; platform addresses;
# security admin rules) and the SDK's text of flushConnection; a field report of Terraform and ARM deployments that put
# the owner's group back; "Managed identity best practice" (tokens are kept for 24 hours); "Run Command".
_ALWAYS: Final = {
    "established-connections": "Connections that are open already may go on: a network security group decides about"
    " new ones. The group is told to flush (flushConnection), and nothing proves that the platform has. A restart or"
    " deallocation cuts them, and loses the memory.",
    "admin-rules": "A security admin rule of Azure Virtual Network Manager that says `always allow` comes before every"
    " network security group.",
    "redeployment": "A deployment of the interface by Terraform, Bicep or ARM, or a policy that deploys, puts the"
    " owner's group back. That is drift.",
    "control-plane": "Whoever may use Run Command, extensions or the serial console still gets into the machine.",
}
_IMDS: Final = (
    "The machine still reaches the metadata service, 169.254.169.254, and with it the tokens of its managed identity:"
    " set deny_imds to forbid it."
)
_DNS: Final = (
    "The machine still resolves names through 168.63.129.16, and can carry data out in them: set deny_dns to forbid it."
)
_IDENTITY: Final = (
    "Tokens of its managed identity that were fetched before stay valid, up to 24 hours: remove the identity's role"
    " assignments."
)


def caveats(before: VmIsolation, deny_imds: bool, deny_dns: bool) -> tuple[Caveat, ...]:
    texts = dict(_ALWAYS)
    if not deny_imds:
        texts["metadata-service"] = _IMDS
    if not deny_dns:
        texts["platform-dns"] = _DNS
    if before.identity:
        texts["identity-tokens"] = _IDENTITY
    if before.public:
        count = len(before.public)
        texts["public-address"] = f"Its public address stays attached ({count} interface{'s' * (count > 1)}), and paid."
    if before.scale_set:
        texts["scale-set"] = (
            f"{before.scale_set} may delete the machine or put another beside it: protect the instance."
        )
    if before.undeletable:
        locks = ", ".join(before.undeletable)
        texts["lock"] = f"The release stops before it deletes our group, until a lock is lifted: {locks}."
    return tuple(Caveat(id=name, text=text) for name, text in texts.items())
