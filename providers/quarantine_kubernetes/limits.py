"""Where isolating a pod cannot work, and what stays possible where it does. Pure."""

from collections.abc import Sequence
from typing import Final

from quarantine.action import Caveat, Refusal
from quarantine_kubernetes.exemption import Exemption
from quarantine_kubernetes.isolation import PodIsolation, Policy
from quarantine_kubernetes.means import KINDS, Means


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
    for kind in KINDS[before.means or Means.PLAIN]:
        if before.policies.get(kind.name) == Policy.FOREIGN:
            reason = f"somebody else made a {kind.kind} {kind.object_name(before.uid)!r}, the name that ours would have"
            return Refusal(reason=reason, alternatives=("look at it, and delete it", delete, *scale))
        if before.policies.get(kind.name) == Policy.ALTERED:  # it could not be given back as it stands
            reason = f"somebody has changed our {kind.kind} {kind.object_name(before.uid)!r}, or is deleting it"
            right = "put it right first: quarantine case retry, of the case that holds the pod"
            return Refusal(reason=reason, alternatives=(right, "look at it, and delete it", delete, *scale))
    if before.means is None:
        narrow = ("with its owner's approval, make that policy select by a label that the pod would lose",)
        trust = (
            "where a plug-in without agents on the nodes enforces policies, name it as `enforced_by` of the cluster",
        )
        if before.open_by:
            reason = "network policies cannot deny, and the pod would stay open: " + "; ".join(before.open_by)
            rest = [why for why in before.obstacles if why not in before.open_by]
            return Refusal(reason="; ".join((reason, *rest)), alternatives=(delete, *scale, *narrow))
        reason = f"nothing here would close the pod on node {before.node!r}: " + "; ".join(before.obstacles)
        return Refusal(reason=reason, alternatives=(delete, *scale, *trust))
    if before.open_by:
        reason = "the pod stays open: " + "; ".join(before.open_by)
        return Refusal(reason=reason, alternatives=(delete, *scale))
    return None


# The sources, name by name: projectcalico/calico issue 2759, antrea-io/antrea PR 5381, kube-router
# npc_iptables.go and cilium/cilium issue 14040; the comments of kubernetes/api networking/v1/types.go;
# kubernetes.io "Network Policies" (what they cannot do) and "Managing Service Accounts" (bound tokens).
_ALWAYS: Final = {
    "established-connections": "New connections are blocked, open ones unproven. Connections that are open already may"
    " go on: {flows} Deleting the pod, once evidence is taken, cuts them.",
    "enforcement-not-proven": "Enforced by {plug_in}, as far as its agent on the node is ready; no packet has been sent"
    " to prove it. ICMP and further network interfaces of the pod may be left out.",
    "node-traffic": "The pod's node still reaches it (probes, exec, logs), and its containers reach each other.",
    "service-account-token": "A service account token that was copied out of the pod stays valid until it expires or"
    " the pod is deleted.",
}
_FLOWS: Final = {
    "cilium": "Cilium looks at every packet, but replies of what is open may pass (cilium/cilium issue 14040).",
    "kube-network-policies": "kube-network-policies cuts them within half a minute in strict mode.",
}
_OTHER_FLOWS: Final = "Calico, Antrea, kube-router and Azure accept established traffic before they look at policies."
_REPLACED: Final = "{owner} lets go of the pod and starts another one from the same image, with the same weakness"
_TAKEN_BACK: Final = {
    "release-may-delete": "Deleting the pod is the usual end. A release gives it back to {owner}, which may then have"
    " one too many and deletes one: this one or a healthy one (kubernetes.io, ReplicaSet, Non-Template Pod"
    " acquisitions).",
}
_BY_OWNER: Final = {
    "": {},
    "StatefulSet": {
        "ordinal-blocked": "{owner} cannot start a replacement while this pod holds its name: it stays one short until"
        " the pod is released or deleted.",
    },
    "DaemonSet": {"replacement": f"{_REPLACED}, on the same node.", **_TAKEN_BACK},
    "Job": {
        "replacement": f"{_REPLACED}: another attempt at its work; this one does not count any more.",
        "release-may-delete": _TAKEN_BACK["release-may-delete"],
    },
}
_OTHER_OWNER: Final = {"replacement": f"{_REPLACED}.", **_TAKEN_BACK}
_ORPHAN: Final = {
    "orphan": "Nobody owns the pod until then, and nothing removes it: it keeps its place on the node.",
}


def lingers(before: PodIsolation) -> str:
    """A pod that had an owner is no orphan by its own choice; one that never had any is as its maker left it."""
    if not before.owner:
        return ""
    return (
        f"{before.owner} has let go of the pod, so that nothing removes it:"
        " escalate the case to delete-pod, or release it"
    )


def caveats(before: PodIsolation, exempt: Exemption, kept: Sequence[str]) -> tuple[Caveat, ...]:
    """What stays possible; `kept` are the label keys that stay."""
    texts = dict(_ALWAYS)
    if before.owner:
        texts |= _BY_OWNER.get(before.owner.partition("/")[0], _OTHER_OWNER) | _ORPHAN
    if before.kept_by:
        texts["gitops"] = (
            "{keepers} keeps what owns the pod. This pod's labels and our policy are outside of that and"
            " stay; a change to the owner would be put back."
        )
    if before.loses:
        texts["loses"] = "It loses: {loses}."
    if kept:
        texts["kept-labels"] = "Services, owners and policies that select by {kept} keep their hold on the pod."
    if exempt.peer is not None:
        texts["peer"] = "{peer} can still connect to it."
    if exempt.dns:
        texts["dns"] = "It can still ask the cluster's DNS, and so tell the world what fits into a name."
    words = {
        "owner": before.owner,
        "plug_in": before.plug_in or "the network plug-in",
        "flows": _FLOWS.get(before.plug_in, _OTHER_FLOWS),
        "keepers": before.kept_by,
        "loses": "; ".join(before.loses),
        "kept": ", ".join(kept),
        "peer": str(exempt.peer or ""),
    }
    return tuple(Caveat(id=name, text=text.format(**words)) for name, text in texts.items())
