"""Where isolating a pod cannot work, and what stays possible where it does. Pure."""

from collections.abc import Iterable
from typing import Final

from quarantine.action import Caveat, Refusal
from quarantine_kubernetes.isolation import PodIsolation, Policy, policy_name


def refusal(before: PodIsolation) -> Refusal | None:
    delete = "delete the pod once evidence is taken"
    scale = (f"scale {before.owner}, or what owns it, to zero",) if before.owner else ()
    if before.host_network:
        node = f"cordon node {before.node} and isolate it with its cloud's firewall"
        reason = "the pod shares its node's network (hostNetwork), and network policies do not apply there"
        return Refusal(reason=reason, alternatives=(delete, *scale, node))
    if before.phase in ("Succeeded", "Failed"):
        reason = f"the pod has finished ({before.phase}): nothing of it runs any more"
        return Refusal(reason=reason, alternatives=("take evidence with kubernetes:pod-capture",))
    if before.static:
        reason = "the pod mirrors a manifest on its node, and the kubelet puts it back as it was"
        return Refusal(reason=reason, alternatives=(f"remove the manifest on node {before.node}",))
    if before.policy is Policy.FOREIGN:
        reason = f"somebody else made a network policy {policy_name(before.uid)!r}, the name that ours would have"
        return Refusal(reason=reason, alternatives=("look at it, and delete it", delete, *scale))
    if before.open_by:
        reason = "network policies cannot deny, and the pod would stay open: " + "; ".join(before.open_by)
        narrow = "with its owner's approval, make that policy select by a label that the pod would lose"
        return Refusal(reason=reason, alternatives=(delete, *scale, narrow))
    return None


# The sources, name by name: projectcalico/calico issue 2759, antrea-io/antrea PR 5381, kube-router
# npc_iptables.go and cilium/cilium issue 14040; the comments of kubernetes/api networking/v1/types.go;
# kubernetes.io "Network Policies" (what they cannot do) and "Managing Service Accounts" (bound tokens).
_ALWAYS: Final = {
    "established-connections": "Connections that are open already may go on: Calico, Antrea, kube-router and Azure"
    " accept established traffic before they look at policies, Cilium cuts one direction. The end of the process cuts"
    " them.",
    "enforcement-not-proven": "That the API server stores a policy does not prove that the network plug-in enforces it"
    " (flannel alone does not). ICMP and further network interfaces of the pod may be left out.",
    "node-traffic": "The pod's node still reaches it (probes, exec, logs), and its containers reach each other.",
    "service-account-token": "A service account token that was copied out of the pod stays valid until it expires or"
    " the pod is deleted.",
}
_STATEFUL: Final = {
    "ordinal-blocked": "{owner} cannot start a replacement while this pod holds its name: it stays one short until the"
    " pod is released or deleted.",
}
_OWNED: Final = {
    "replacement": "{owner} lets go of the pod and starts another one from the same image, with the same weakness.",
    "release-may-delete": "On release {owner} takes the pod back, may then have one too many, and deletes one: this one"
    " or a healthy one (kubernetes.io, ReplicaSet, Non-Template Pod acquisitions).",
}
_KEPT: Final = {
    "kept-labels": "Services, owners and policies that select by {kept} keep their hold on the pod.",
}


def caveats(owner: str, kept: Iterable[str]) -> tuple[Caveat, ...]:
    """What stays possible. `owner` as in `StatefulSet/db`, empty for none; `kept` are the label keys that stay."""
    texts = dict(_ALWAYS)
    if owner:
        texts |= _STATEFUL if owner.startswith("StatefulSet/") else _OWNED
    if kept := tuple(kept):
        texts |= _KEPT
    words = {"owner": owner, "kept": ", ".join(kept)}
    return tuple(Caveat(id=name, text=text.format(**words)) for name, text in texts.items())
