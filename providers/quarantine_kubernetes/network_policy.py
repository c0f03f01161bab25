"""What networking.k8s.io/v1 NetworkPolicies do to one pod, read from raw objects. Pure.

A policy cannot deny: all that select a pod are OR-ed, so one that allows something undoes the isolation that another
brings ("The Two Sorts of Pod Isolation", kubernetes.io, Network Policies). What cannot be judged counts as an opening.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeGuard

from quarantine.model import Value


class Direction(StrEnum):
    INGRESS = "ingress"
    EGRESS = "egress"


class Opening(Value):
    """One thing that a policy allows."""

    policy: str
    direction: Direction
    description: str
    """`to pods with k8s-app=kube-dns in every namespace on UDP/53`."""

    def __str__(self) -> str:
        return f"policy {self.policy!r} allows {self.direction} {self.description}"


class Isolation(Value):
    """One direction of one pod. Not selected means that everything is allowed, as no policy has a say."""

    selected: bool
    openings: tuple[Opening, ...] = ()


class Unjudged(Exception):
    """The policy says something that this version does not know, and may therefore allow anything."""


def isolation(policies: Iterable[Mapping[str, Any]], labels: Mapping[str, str]) -> dict[Direction, Isolation]:
    """What `policies`, all of one namespace, mean for a pod with `labels` there."""
    selected: set[Direction] = set()
    openings: list[Opening] = []
    for policy in policies:
        name = str(_mapping(policy.get("metadata")).get("name", "without a name"))
        try:
            directions = _directions(policy, labels)
        except Unjudged as unknown:
            openings += [_opening(name, direction, f"as far as can be told: {unknown}") for direction in Direction]
            continue
        selected |= directions
        for direction in sorted(directions):
            openings += [_opening(name, direction, text) for text in _rules(policy, direction)]
    return {
        direction: Isolation(
            selected=direction in selected,
            openings=tuple(opening for opening in openings if opening.direction is direction),
        )
        for direction in Direction
    }


def selects(selector: Any, labels: Mapping[str, str]) -> bool:
    """A LabelSelector: all its requirements together; an empty one selects everything. Raises Unjudged."""
    selector = _known(selector or {}, ("matchLabels", "matchExpressions"), "a selector")
    expected = _known(selector.get("matchLabels") or {}, None, "matchLabels")
    expressions = selector.get("matchExpressions") or []
    if not _listed(expressions):
        raise Unjudged("matchExpressions is not a list")
    # No short cut: a requirement that nobody can judge must not hide behind one that does not match.
    met = [_meets(expression, labels) for expression in expressions]
    return all(labels.get(key) == value for key, value in expected.items()) and all(met)


def _meets(expression: Any, labels: Mapping[str, str]) -> bool:
    expression = _known(expression, ("key", "operator", "values"), "an expression")
    key, operator, values = expression.get("key"), expression.get("operator"), expression.get("values") or []
    if not isinstance(key, str) or not _listed(values):
        raise Unjudged("an expression without a key or with odd values")
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    if operator in ("In", "NotIn") and values:
        found = key in labels and labels[key] in values
        return found if operator == "In" else not found  # NotIn: a pod without the key is selected
    raise Unjudged(f"operator {operator!r} with values {list(values)!r}")


def _directions(policy: Mapping[str, Any], labels: Mapping[str, str]) -> set[Direction]:
    """The directions in which this policy has a say on the pod."""
    spec = _known(policy.get("spec"), ("podSelector", "policyTypes", "ingress", "egress"), "spec")
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    if not _listed(types) or not {str(item) for item in types} <= {"Ingress", "Egress"}:
        raise Unjudged(f"policyTypes {types!r}")
    if not selects(spec.get("podSelector"), labels):
        return set()
    return {Direction(str(item).lower()) for item in types}


def _rules(policy: Mapping[str, Any], direction: Direction) -> list[str]:
    rules = policy["spec"].get(direction.value) or []
    if not _listed(rules):
        return ["as far as can be told: its rules are not a list"]
    return [_rule(rule, direction) for rule in rules]


def _opening(policy: str, direction: Direction, description: str) -> Opening:
    return Opening(policy=policy, direction=direction, description=description)


# In words. Whatever a rule says, it is an opening; from here on only the description is at stake.


def _rule(rule: Any, direction: Direction) -> str:
    word = "from" if direction is Direction.INGRESS else "to"
    rule = _mapping(rule)
    peers, ports = rule.get("from" if direction is Direction.INGRESS else "to"), rule.get("ports")
    who = " or ".join(_peer(peer) for peer in _items(peers)) or "anywhere"
    where = ", ".join(_port(port) for port in _items(ports)) or "any port"
    return f"{word} {who} on {where}"


def _peer(peer: Any) -> str:
    peer = _mapping(peer)
    block = _mapping(peer.get("ipBlock"))
    if block:
        excepted = ", ".join(str(item) for item in _items(block.get("except")))
        return f"{block.get('cidr')}{f' except {excepted}' if excepted else ''}"
    who = _selector(peer.get("podSelector") or {}, "every pod", "pods with ")
    if "namespaceSelector" not in peer:
        return f"{who} of the namespace"
    return f"{who} in {_selector(peer['namespaceSelector'] or {}, 'every namespace', 'namespaces with ')}"


def _selector(selector: Any, everything: str, some: str) -> str:
    selector = _mapping(selector)
    parts = [f"{key}={value}" for key, value in sorted(_mapping(selector.get("matchLabels")).items())]
    for expression in map(_mapping, _items(selector.get("matchExpressions"))):
        values = ",".join(str(value) for value in _items(expression.get("values")))
        words = f"{expression.get('key')} {expression.get('operator')}"
        parts.append(f"{words} ({values})" if values else words)
    return some + ", ".join(parts) if parts else everything


def _port(port: Any) -> str:
    port = _mapping(port)
    first, last = port.get("port"), port.get("endPort")
    number = "any port" if first is None else f"{first}-{last}" if last is not None else first
    return f"{port.get('protocol') or 'TCP'}/{number}"


# Raw JSON from outside: never trust its shape.


def _known(value: Any, fields: Sequence[str] | None, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Unjudged(f"{what} is not an object")
    unknown = sorted(set(value) - set(fields)) if fields is not None else []
    if unknown:
        raise Unjudged(f"{what} has the unknown field {unknown[0]!r}")
    return value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _listed(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, (list, tuple))


def _items(value: Any) -> Sequence[Any]:
    return value if _listed(value) else ()
