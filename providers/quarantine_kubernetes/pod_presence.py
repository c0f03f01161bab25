"""A pod that is to be deleted: what decides whether it may be, and what its end does not end. Pure."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from quarantine.action import Caveat, Fact, Refusal, State
from quarantine_kubernetes.pod import is_static, owner_of


class PodPresence(State):
    """It is there; that is all there is to manage."""

    uid: Annotated[str, Fact]
    phase: Annotated[str, Fact] = ""
    owner: Annotated[str, Fact] = ""
    node: Annotated[str, Fact] = ""
    static: Annotated[bool, Fact] = False
    claims: Annotated[tuple[str, ...], Fact] = ()
    """The persistent volume claims that it uses."""
    finalizers: Annotated[tuple[str, ...], Fact] = ()
    going: Annotated[int | None, Fact] = None
    """It is being deleted already, with so many seconds of grace."""


def read_presence(pod: Mapping[str, Any]) -> PodPresence:
    metadata, spec = pod["metadata"], pod["spec"]
    volumes = [volume.get("persistentVolumeClaim") for volume in spec.get("volumes") or []]
    return PodPresence(
        uid=metadata["uid"],
        phase=(pod.get("status") or {}).get("phase", ""),
        owner=owner_of(pod),
        node=spec.get("nodeName") or "",
        static=is_static(pod),
        claims=tuple(claim["claimName"] for claim in volumes if claim),
        finalizers=tuple(metadata.get("finalizers") or ()),
        going=metadata.get("deletionGracePeriodSeconds", 0) if "deletionTimestamp" in metadata else None,
    )


def refusal(before: PodPresence) -> Refusal | None:
    if before.static:
        reason = "the pod mirrors a manifest on its node: deleting the mirror leaves its containers running"
        return Refusal(reason=reason, alternatives=(f"remove the manifest on node {before.node}",))
    if before.phase in ("Succeeded", "Failed"):
        reason = f"the pod has finished ({before.phase}): nothing of it runs, and deleting it only destroys evidence"
        return Refusal(reason=reason, alternatives=("take evidence with kubernetes:pod-capture",))
    return None


# kubernetes.io: "Pod Lifecycle" (termination), "API-initiated Eviction", "Managing Service Accounts" (bound tokens).
_ALWAYS: Final = {
    "memory-is-lost": "Memory, processes and files outside of volumes are lost with the pod.",
    "told-before": "Its processes get SIGTERM and up to {grace} s before SIGKILL: they may use that to clean up.",
    "budget-not-asked": "It is deleted, not evicted: a PodDisruptionBudget cannot keep a suspect pod running.",
    "copied-tokens": "Its service account token ends about a minute after the pod. Whatever else was copied out of it"
    " (legacy tokens, secrets, keys) stays valid.",
}
_OWNED: Final = (
    "{owner} starts another pod from the same image, with the same weakness: scale it to zero or block the image too."
)
_CLAIMS: Final = "What it wrote to {claims} stays there, and comes back with the next pod that uses it."
_FINALIZERS: Final = "The object stays until {finalizers} let it go; its containers end all the same."


def caveats(before: PodPresence, grace: int) -> tuple[Caveat, ...]:
    texts = dict(_ALWAYS)
    if before.owner:
        texts["replacement"] = _OWNED
    if before.claims:
        texts["volumes-stay"] = _CLAIMS
    if before.finalizers:
        texts["finalizers"] = _FINALIZERS
    words = {"owner": before.owner, "claims": ", ".join(before.claims), "finalizers": ", ".join(before.finalizers)}
    return tuple(Caveat(id=name, text=text.format(grace=grace, **words)) for name, text in texts.items())
