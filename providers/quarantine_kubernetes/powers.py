"""Rights in a cluster by which somebody can take over more of it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from quarantine_kubernetes.objects import RBAC

EVERYTHING: Final = "do everything"


@dataclass(frozen=True)
class Power:
    """What one can do with any of these verbs on any of these resources of an API group."""

    name: str
    verbs: frozenset[str]
    group: str
    resources: frozenset[str]
    even_named: bool = False
    """Also where the rule is for single objects by name: `bind` on cluster-admin alone is enough."""


_CREATE: Final = frozenset({"create"})
_PODS: Final = "create pods"
POWERS: Final = (
    Power(_PODS, _CREATE, "", frozenset({"pods", "replicationcontrollers"})),
    Power(_PODS, _CREATE, "apps", frozenset({"deployments", "daemonsets", "statefulsets", "replicasets"})),
    Power(_PODS, _CREATE, "batch", frozenset({"jobs", "cronjobs"})),
    Power("read secrets", frozenset({"get", "list", "watch"}), "", frozenset({"secrets"})),
    Power("bind or escalate roles", frozenset({"bind", "escalate"}), RBAC, frozenset({"roles", "clusterroles"}), True),
    Power("act as others", frozenset({"impersonate"}), "", frozenset({"users", "groups", "serviceaccounts"}), True),
)
"""kubernetes.io, Role Based Access Control Good Practices, Privilege escalation risks."""


def powers(role: Mapping[str, Any]) -> tuple[str, ...]:
    """What a Role or ClusterRole gives of these, each once."""
    rules = role.get("rules") or []
    if any(is_everything(rule) for rule in rules):
        return (EVERYTHING,)
    return tuple(sorted({power.name for power in POWERS if any(_gives(rule, power) for rule in rules)}))


def is_everything(rule: Mapping[str, Any]) -> bool:
    """A rule as cluster-admin has it, whatever its role is called."""
    parts = (rule.get("verbs"), rule.get("apiGroups"), rule.get("resources"))
    return all("*" in (part or ()) for part in parts) and not rule.get("resourceNames")


def _gives(rule: Mapping[str, Any], power: Power) -> bool:
    if rule.get("resourceNames") and not power.even_named:
        return False
    return (
        _meets(rule.get("verbs"), power.verbs)
        and _meets(rule.get("apiGroups"), {power.group})
        and _meets(rule.get("resources"), power.resources)
    )


def _meets(said: Iterable[str] | None, wanted: Iterable[str]) -> bool:
    return not {"*", *wanted}.isdisjoint(said or ())
