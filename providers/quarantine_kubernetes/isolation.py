"""What a pod in quarantine looks like: its labels, and the policy that denies it everything. Pure."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

from quarantine.action import Fact, Mark, Proof, State, Token
from quarantine_kubernetes.network_policy import isolation

DOMAIN: Final = "cloud-quarantine.dev"
ISOLATED: Final = f"{DOMAIN}/isolated"
"""The label of a pod in quarantine. Its value is the pod's uid, so that a policy selects exactly one pod.

The key is in a domain of our own: Cilium by default ignores labels of kubernetes.io (docs.cilium.io, "Limiting
Identity-Relevant Labels").
"""
INSTALLATION: Final = f"{DOMAIN}/installation"


class Policy(StrEnum):
    """What stands under the name that our policy for a pod has."""

    QUARANTINE = "quarantine"
    ALTERED = "altered"
    """Ours, but somebody has changed what it says, or is deleting it."""
    FOREIGN = "foreign"
    """Not ours: it does not carry our mark."""


class PodIsolation(State):
    labels: dict[str, str]
    policy: Policy | None = None
    open_by: Annotated[tuple[str, ...], Proof] = ()
    """What all other policies allow the pod with the labels that it has in quarantine."""
    uid: Annotated[str, Fact]
    phase: Annotated[str, Fact] = ""
    host_network: Annotated[bool, Fact] = False
    static: Annotated[bool, Fact] = False
    """The pod mirrors a manifest on its node; the kubelet puts it back as it was."""
    owner: Annotated[str, Fact] = ""
    node: Annotated[str, Fact] = ""
    policy_of: Annotated[str | None, Fact] = None
    """The installation whose mark the policy carries."""
    policy_uid: Annotated[str | None, Token] = None
    version: Annotated[str, Token] = ""


def isolated_labels(labels: Mapping[str, str], uid: str, keep: Iterable[str]) -> dict[str, str]:
    return {key: labels[key] for key in keep if key in labels} | {ISOLATED: uid}


def policy_name(uid: str) -> str:
    return f"cloud-quarantine-{uid}"


def deny_all(uid: str) -> dict[str, Any]:
    """Selects the pod for both directions and allows nothing."""
    return {"podSelector": {"matchLabels": {ISOLATED: uid}}, "policyTypes": ["Ingress", "Egress"]}


def deny_all_policy(uid: str, mark: Mark) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": policy_name(uid),
            "labels": {"app.kubernetes.io/managed-by": "cloud-quarantine"},
            "annotations": {
                INSTALLATION: mark.installation,
                f"{DOMAIN}/case": mark.case,
                f"{DOMAIN}/step": str(mark.step),
                f"{DOMAIN}/key": mark.key,
            },
        },
        "spec": deny_all(uid),
    }


def installation_of(policy: Mapping[str, Any]) -> str | None:
    """Whose mark it carries."""
    return (policy["metadata"].get("annotations") or {}).get(INSTALLATION)


def standing(policy: Mapping[str, Any], uid: str) -> Policy:
    """How the policy under our name for this pod stands."""
    if installation_of(policy) is None:
        return Policy.FOREIGN
    going = "deletionTimestamp" in policy["metadata"]
    return Policy.QUARANTINE if policy.get("spec") == deny_all(uid) and not going else Policy.ALTERED


def open_by(policies: Iterable[Mapping[str, Any]], labels: Mapping[str, str]) -> tuple[str, ...]:
    """What the policies of its namespace allow a pod with `labels`, in sentences."""
    found = isolation(policies, labels).values()
    return tuple(sorted({str(opening) for direction in found for opening in direction.openings}))
