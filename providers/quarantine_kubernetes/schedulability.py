"""Whether a node takes new pods, and whether an autoscaler may take the node away. Pure."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from quarantine.action import Caveat, Fact, State, Token
from quarantine_kubernetes.gitops import keeper_of

KEPT_BY: Final = {
    "cluster-autoscaler.kubernetes.io/scale-down-disabled": "true",
    "karpenter.sh/do-not-disrupt": "true",
}
"""A node that nothing new runs on is soon empty enough to be removed, with its disks and what is on them
(kubernetes/autoscaler, FAQ, "How can I prevent Cluster Autoscaler from scaling down a particular node"; karpenter.sh,
Disruption, Node-Level Controls)."""


class Schedulability(State):
    unschedulable: bool | None
    """None where it does not say: so the API server stores a no."""
    kept_by: dict[str, str]
    """The annotations that keep autoscalers from removing it, as far as it has them."""
    keeper: Annotated[str, Fact] = ""
    uid: Annotated[str, Fact]
    version: Annotated[str, Token] = ""


def read_schedulability(node: Mapping[str, Any]) -> Schedulability:
    metadata = node["metadata"]
    noted = metadata.get("annotations") or {}
    return Schedulability(
        unschedulable=node["spec"].get("unschedulable"),
        kept_by={key: noted[key] for key in KEPT_BY if key in noted},
        keeper=keeper_of(node, ("spec", "unschedulable"), *(("metadata", "annotations", key) for key in KEPT_BY)),
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
    )


def change(now: Schedulability, target: Schedulability) -> dict[str, Any]:
    """The merge patch from one to the other; what is absent there goes."""
    noted = {key: target.kept_by.get(key) for key in KEPT_BY if now.kept_by.get(key) != target.kept_by.get(key)}
    made: dict[str, Any] = {"metadata": {"annotations": noted}} if noted else {}
    return {**made, "spec": {"unschedulable": target.unschedulable}}


# kubernetes.io: "Safely Drain a Node", "Taints and Tolerations" (DaemonSets tolerate unschedulable), "Static Pods".
_ALWAYS: Final = (
    Caveat(
        id="pods-go-on",
        text="What runs on the node goes on, the suspect too. It is not drained and gets no NoExecute taint: that would"
        " end its pods, and destroy the evidence. Isolate or delete single pods.",
    ),
    Caveat(
        id="still-started",
        text="Pods of DaemonSets, static pods, and pods that name the node themselves (spec.nodeName) are still started"
        " there.",
    ),
    Caveat(
        id="node-credentials",
        text="The node's own credentials stay valid, and read what its pods may: isolate the machine at its cloud.",
    ),
    Caveat(
        id="not-by-the-cloud",
        text="Repair and upgrades of the node pool, spot interruptions and people may still replace the machine: take a"
        " snapshot of its disks.",
    ),
)


def caveats(before: Schedulability) -> tuple[Caveat, ...]:
    if not before.keeper:
        return _ALWAYS
    text = f"{before.keeper} may put it back: suspend it at its root, with the reason."
    return (*_ALWAYS, Caveat(id="kept-elsewhere", text=text))
