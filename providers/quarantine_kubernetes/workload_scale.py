"""How many pods a workload runs, who else decides on that, and what scaling it to zero does besides. Pure."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

from quarantine.action import Caveat, Fact, Proof, Refusal, State, Token
from quarantine_kubernetes.gitops import keeper_of
from quarantine_kubernetes.pod import owner_of

FINISHED: Final = ("Succeeded", "Failed")


class WorkloadScale(State):
    replicas: int | None
    """None for what has no such number: a DaemonSet."""
    pods: Annotated[int, Proof] = 0
    """Pods of it that have not ended, those that are on their way included."""
    word: Annotated[str, Fact]
    """`deployment`"""
    owner: Annotated[str, Fact] = ""
    keeper: Annotated[str, Fact] = ""
    resting: Annotated[tuple[str, ...], Fact] = ()
    """Autoscalers that leave it alone while it is at zero."""
    fighting: Annotated[tuple[str, ...], Fact] = ()
    """Autoscalers that scale it up from zero."""
    claims_deleted: Annotated[bool, Fact] = False
    """Its volume claims are deleted with the pods that are scaled away."""
    claims: Annotated[bool, Fact] = False
    in_order: Annotated[bool, Fact] = False
    """It ends one pod after the other."""
    uid: Annotated[str, Fact]
    version: Annotated[str, Token] = ""


def read_scale(
    word: str, found: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], scalers: Iterable[Mapping[str, Any]]
) -> WorkloadScale:
    """`scalers` are all autoscalers around it, HorizontalPodAutoscalers and KEDA's ScaledObjects."""
    metadata, spec = found["metadata"], found["spec"]
    mine = [item for item in scalers if _scales(item, word, metadata["name"])]
    ordered = word == "statefulset"
    return WorkloadScale(
        replicas=spec.get("replicas"),
        pods=sum(_runs(pod) and _is_of(pod, word, metadata) for pod in pods),
        word=word,
        owner=owner_of(found),
        keeper=keeper_of(found, ("spec", "replicas")),
        resting=tuple(sorted(_name(item) for item in mine if not _fights(item))),
        fighting=tuple(sorted(_name(item) for item in mine if _fights(item))),
        claims_deleted=(spec.get("persistentVolumeClaimRetentionPolicy") or {}).get("whenScaled") == "Delete",
        claims=bool(spec.get("volumeClaimTemplates")),
        in_order=ordered and spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady",
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
    )


def _runs(pod: Mapping[str, Any]) -> bool:
    return (pod.get("status") or {}).get("phase") not in FINISHED


def _is_of(pod: Mapping[str, Any], word: str, workload: Mapping[str, Any]) -> bool:
    """Not of another one whose selector selects it too. A Deployment's ReplicaSets have its name and a hash."""
    for owner in pod["metadata"].get("ownerReferences") or []:
        if owner.get("controller"):
            made = word == "deployment" and owner["kind"] == "ReplicaSet"
            named = owner["name"].rpartition("-")[0] == workload["name"]
            return bool((made and named) or owner["uid"] == workload["uid"])
    return False


def _scales(scaler: Mapping[str, Any], word: str, name: str) -> bool:
    target = scaler["spec"].get("scaleTargetRef") or {}
    return bool(target.get("name") == name and target.get("kind", "Deployment").lower() == word)


def _fights(scaler: Mapping[str, Any]) -> bool:
    """Does it scale up what somebody has scaled to zero?

    A HorizontalPodAutoscaler with a minimum above zero stops by itself then (kubernetes.io, Horizontal Pod
    Autoscaling, Implicit maintenance-mode deactivation). KEDA scales from zero when a trigger is active, and up to a
    minimum above zero in any case, unless it is paused (kedacore/keda, pkg/scaling/executor/scale_scaledobjects.go).
    """
    if "minReplicas" in scaler["spec"] or "maxReplicas" in scaler["spec"]:
        return bool(scaler["spec"].get("minReplicas", 1) == 0)
    noted = scaler["metadata"].get("annotations") or {}
    if (replicas := noted.get("autoscaling.keda.sh/paused-replicas")) is not None:  # it goes there, and then pauses
        return bool(replicas != "0")
    return noted.get("autoscaling.keda.sh/paused", "false") in _NOT_TRUE


_NOT_TRUE: Final = ("0", "f", "F", "false", "False", "FALSE")
"""Of an annotation that KEDA reads; everything else is true there (its getBoolAnnotation)."""


def _name(scaler: Mapping[str, Any]) -> str:
    horizontal = "maxReplicas" in scaler["spec"]
    return f"{'HorizontalPodAutoscaler' if horizontal else 'ScaledObject'}/{scaler['metadata']['name']}"


def refusal(before: WorkloadScale) -> Refusal | None:
    if before.word == "daemonset":
        reason = "a DaemonSet has no number of replicas: it runs on every node that it selects"
        return Refusal(
            reason=reason,
            alternatives=("delete the pod once evidence is taken", "block the image, then delete its pods"),
        )
    if before.word == "replicaset" and before.owner:
        return Refusal(reason=f"{before.owner} sets its replicas", alternatives=(f"scale {before.owner} to zero",))
    if before.claims_deleted:
        reason = (
            "its volume claims are deleted when it is scaled down (whenScaled: Delete), data and evidence with them"
        )
        keep = "set persistentVolumeClaimRetentionPolicy.whenScaled to Retain, then try again"
        return Refusal(reason=reason, alternatives=(keep, "isolate its pods"))
    return None


_ALWAYS: Final = {
    "all-pods-end": "All {pods} of its pods end, healthy ones too, and what they serve is down until the release."
    " Their memory and files are lost: evidence is taken before, or not at all.",
    "orphans-stay": "A pod that was cut off before (isolate-pod) is not its own any more, and stays.",
}
_SOME: Final = {
    "autoscaler-rests": "{resting} rests while this is at zero, and scales it again after the release.",
    "autoscaler-fights": "{fighting} will scale it up again: pause it (for KEDA the annotation"
    ' autoscaling.keda.sh/paused-replicas: "0" on the ScaledObject).',
    "kept-elsewhere": "{keeper} may put the number of replicas back: suspend it at its root, with the reason.",
    "operator": "{owner} has made it, and may put the number of replicas back.",
    "claims-stay": "Its volume claims stay, with what was written to them, and come back with its pods.",
    "in-order": "Its pods end one after the other, from the last, and it waits for each that is not ready.",
}


def caveats(before: WorkloadScale) -> tuple[Caveat, ...]:
    said = {
        "autoscaler-rests": before.resting,
        "autoscaler-fights": before.fighting,
        "kept-elsewhere": before.keeper,
        "operator": before.owner,
        "claims-stay": before.claims,
        "in-order": before.in_order,
    }
    texts = _ALWAYS | {name: text for name, text in _SOME.items() if said[name]}
    words = {"pods": before.pods, "keeper": before.keeper, "owner": before.owner}
    words |= {"resting": ", ".join(before.resting), "fighting": ", ".join(before.fighting)}
    return tuple(Caveat(id=name, text=text.format(**words)) for name, text in texts.items())
