"""What a pod in quarantine looks like: its labels, and the policies that deny it everything. Pure."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import JsonValue

from quarantine.action import Fact, Mark, Proof, State, Token
from quarantine.model import Value, canonical
from quarantine_kubernetes.exemption import Exemption
from quarantine_kubernetes.means import KINDS, Means
from quarantine_kubernetes.policy_kind import DOMAIN, ISOLATED, PolicyKind, Target, same

INSTALLATION: Final = f"{DOMAIN}/installation"
EXCEPT: Final = f"{DOMAIN}/except"
"""The annotation of our policy that says what it leaves the pod, as it was asked for."""


class Policy(StrEnum):
    """What stands under the name that our policy for a pod has; see `stand_of` for one with exceptions."""

    QUARANTINE = "quarantine"
    """It leaves the pod nothing."""
    ALTERED = "altered"
    """Ours, but somebody has changed what it says, or is deleting it."""
    FOREIGN = "foreign"
    """Not ours: it does not carry our mark."""


class Origin(Value):
    """Who made the policy under our name, and which it is."""

    installation: str | None
    """The one whose mark it carries."""
    uid: str
    version: str


class PodIsolation(State):
    labels: dict[str, str]
    policies: dict[str, str] = {}  # noqa: RUF012  a frozen model copies it
    """By kind of policy. What stands there is what a release takes away, by whatever means it would be done today. It
    says by itself what is exempt: so one isolation on top of another one is undone to exactly that other one."""
    open_by: Annotated[tuple[str, ...], Proof] = ()
    """What all other policies allow the pod with the labels that it has in quarantine, and ours cannot deny."""
    unenforced: Annotated[tuple[str, ...], Proof] = ()
    """Why our policies, as they stand, may not be what happens on the pod's node."""
    means: Annotated[Means | None, Fact] = None
    """What it is isolated with, or would be; None where nothing would close it."""
    obstacles: Annotated[tuple[str, ...], Fact] = ()
    """Why better means, or without any all means, would not close it."""
    loses: Annotated[tuple[str, ...], Fact] = ()
    """What policies allow the pod now, and it will not have."""
    uid: Annotated[str, Fact]
    phase: Annotated[str, Fact] = ""
    host_network: Annotated[bool, Fact] = False
    static: Annotated[bool, Fact] = False
    """The pod mirrors a manifest on its node; the kubelet puts it back as it was."""
    owner: Annotated[str, Fact] = ""
    owners: Annotated[tuple[dict[str, JsonValue], ...], Fact] = ()
    """Its ownerReferences: controllers take theirs away from a pod that has lost its labels."""
    kept_by: Annotated[str, Fact] = ""
    """Who brings its owner back to what a repository says: Argo CD, Flux, Helm."""
    node: Annotated[str, Fact] = ""
    plug_in: Annotated[str, Fact] = ""
    """Who enforces policies on its node: `cilium`."""
    origins: Annotated[dict[str, Origin], Token] = {}  # noqa: RUF012
    """By kind of policy."""
    version: Annotated[str, Token] = ""


def isolated_labels(labels: Mapping[str, str], uid: str, keep: Iterable[str]) -> dict[str, str]:
    return {key: labels[key] for key in keep if key in labels} | {ISOLATED: uid}


def target_policies(means: Means, exempt: Exemption) -> dict[str, str]:
    return {kind.name: stand_of(exempt) for kind in KINDS[means]}


def stand_of(exempt: Exemption) -> str:
    """`quarantine`, or `quarantine except {"dns":true}`."""
    said = exempt.model_dump(mode="json", exclude_defaults=True)
    return f"{Policy.QUARANTINE} except {canonical(said).decode()}" if said else str(Policy.QUARANTINE)


def exempt_of(stands: str) -> Exemption | None:
    """What is exempt where this stands; None for what is not as we write it."""
    if stands in (Policy.ALTERED, Policy.FOREIGN):
        return None
    return Exemption.model_validate_json(stands.partition(" except ")[2] or "{}")


def means_of(policies: Mapping[str, str]) -> Means | None:
    """What a pod was isolated with, by what of ours stands: a release and a check go by that, not by today's choice."""
    ours = {name for name, stands in policies.items() if stands != Policy.FOREIGN}
    return next((means for means in Means if KINDS[means][0].name in ours), None)


def policy_object(kind: PolicyKind, target: Target, exempt: Exemption, mark: Mark) -> dict[str, Any]:
    """The object as we write it. Within the pod's namespace it goes with the pod: the garbage collector sees to that.

    An owner without a namespace, or of another one, is not allowed, so what has none stays until the release
    (Kubernetes, "Garbage Collection": owner references across namespaces are disallowed by design).
    """
    metadata: dict[str, Any] = {
        "name": kind.object_name(target.uid),
        "labels": {"app.kubernetes.io/managed-by": "cloud-quarantine"},
        "annotations": {
            INSTALLATION: mark.installation,
            f"{DOMAIN}/case": mark.case,
            f"{DOMAIN}/step": str(mark.step),
            f"{DOMAIN}/key": mark.key,
            **({EXCEPT: exempt.model_dump_json(exclude_defaults=True)} if exempt != Exemption() else {}),
        },
    }
    if kind.namespaced:
        pod = {"apiVersion": "v1", "kind": "Pod", "name": target.name, "uid": target.uid}
        metadata["ownerReferences"] = [pod]
    return {"apiVersion": kind.group, "kind": kind.kind, "metadata": metadata, "spec": kind.says(target, exempt)}


def origin_of(policy: Mapping[str, Any]) -> Origin:
    metadata = policy["metadata"]
    return Origin(
        installation=(metadata.get("annotations") or {}).get(INSTALLATION),
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
    )


def standing(policy: Mapping[str, Any], kind: PolicyKind, target: Target) -> str:
    """How the policy under our name for a pod stands. What it says must be what its own annotation says."""
    if origin_of(policy).installation is None:
        return Policy.FOREIGN
    try:
        exempt = Exemption.model_validate_json(policy["metadata"]["annotations"].get(EXCEPT, "{}"))
    except ValueError:
        return Policy.ALTERED
    going = "deletionTimestamp" in policy["metadata"]
    right = same(kind.says(target, exempt), policy.get("spec")) and not going
    return stand_of(exempt) if right else Policy.ALTERED
