"""What networking.k8s.io/v1 NetworkPolicies do to one pod, read from raw objects. Pure.

A policy cannot deny: all that select a pod are OR-ed, so one that allows something undoes the isolation that another
brings ("The Two Sorts of Pod Isolation", kubernetes.io, Network Policies). What cannot be judged counts as an opening.
Which single connections are let through says `connection.py`.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from quarantine.model import Value
from quarantine_kubernetes.policy_words import rule_words
from quarantine_kubernetes.selector import Unjudged, items, known, listed, mapping, selects


class Direction(StrEnum):
    INGRESS = "ingress"
    EGRESS = "egress"


class Opening(Value):
    """One thing that a policy allows."""

    policy: str
    direction: Direction
    description: str
    """`to pods with k8s-app=kube-dns in every namespace on UDP/53`."""
    outside: bool = True
    """May the other end be outside of the cluster's pods?"""
    elsewhere: bool = True
    """May the other end be outside of the policy's own namespace?"""

    def __str__(self) -> str:
        return f"policy {self.policy!r} allows {self.direction} {self.description}"


class Isolation(Value):
    """One direction of one pod. Not selected means that everything is allowed, as no policy has a say."""

    selected: bool
    openings: tuple[Opening, ...] = ()


def isolation(policies: Iterable[Mapping[str, Any]], labels: Mapping[str, str]) -> dict[Direction, Isolation]:
    """What `policies`, all of one namespace, mean for a pod with `labels` there."""
    selected: set[Direction] = set()
    openings: list[Opening] = []
    for policy in policies:
        name = str(mapping(policy.get("metadata")).get("name", "without a name"))
        try:
            directions = directions_of(policy, labels)
        except Unjudged as unknown:
            openings += [_unjudged(name, direction, str(unknown)) for direction in Direction]
            continue
        selected |= directions
        for direction in sorted(directions):
            openings += _openings(name, policy["spec"].get(direction.value), direction)
    return {
        direction: Isolation(
            selected=direction in selected,
            openings=tuple(opening for opening in openings if opening.direction is direction),
        )
        for direction in Direction
    }


def directions_of(policy: Mapping[str, Any], labels: Mapping[str, str]) -> set[Direction]:
    """The directions in which this policy has a say on a pod with these labels. Raises Unjudged.

    Without policyTypes a policy is about ingress, and about egress only if it has egress rules (kubernetes/api
    networking/v1 types.go): a "deny all" that forgets them leaves egress open.
    """
    spec = known(policy.get("spec"), ("podSelector", "policyTypes", "ingress", "egress"), "spec")
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    if not listed(types) or not {str(item) for item in types} <= {"Ingress", "Egress"}:
        raise Unjudged(f"policyTypes {types!r}")
    if not selects(spec.get("podSelector"), labels):
        return set()
    return {Direction(str(item).lower()) for item in types}


def _openings(policy: str, rules: Any, direction: Direction) -> list[Opening]:
    if not listed(rules or []):
        return [_unjudged(policy, direction, "its rules are not a list")]
    who = "from" if direction is Direction.INGRESS else "to"
    return [
        Opening(
            policy=policy,
            direction=direction,
            description=rule_words(rule, direction is Direction.INGRESS),
            outside=_outside(mapping(rule).get(who)),
            elsewhere=_elsewhere(mapping(rule).get(who)),
        )
        for rule in rules or []
    ]


def _unjudged(policy: str, direction: Direction, why: str) -> Opening:
    return Opening(policy=policy, direction=direction, description=f"as far as can be told: {why}")


def _outside(peers: Any) -> bool:
    """No peers at all are everybody; what is no selector of pods is an address, or not known."""
    if not peers or not listed(peers):
        return True
    return any(not {"podSelector", "namespaceSelector"} & set(mapping(peer)) for peer in items(peers))


def _elsewhere(peers: Any) -> bool:
    """Only a selector of pods without one of namespaces is certain to stay in the namespace."""
    return not peers or not listed(peers) or any(set(mapping(peer)) != {"podSelector"} for peer in peers)
