"""Calico's own NetworkPolicy in a tier that comes before all others: it denies a pod everything.

The tier is not made by us: it belongs to the cluster, and an empty one does nothing. See docs/kubernetes.md.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from quarantine_kubernetes.exemption import DNS, DNS_PORT, Exemption, Peer
from quarantine_kubernetes.policy_kind import ISOLATED, PolicyKind, Target
from quarantine_kubernetes.selector import mapping

TIER: Final = "cloud-quarantine"
TIERS: Final = "tiers.projectcalico.org"

_LAST: Final = float("inf")


def _says(target: Target, exempt: Exemption) -> dict[str, Any]:
    ingress, egress = [_rule("Deny")], [_rule("Deny")]
    if exempt.peer is not None:
        ingress.insert(0, _rule("Allow", source=_entity(exempt.peer)))
    if exempt.dns:
        entity = {**_entity(DNS), "ports": [DNS_PORT]}
        egress = [*(_rule("Allow", destination=entity, protocol=name) for name in ("UDP", "TCP")), *egress]
    return {
        "tier": TIER,
        "order": 0,
        "selector": f"{ISOLATED} == '{target.uid}'",
        "types": ["Ingress", "Egress"],
        "ingress": ingress,
        "egress": egress,
    }


def _rule(action: str, **more: Any) -> dict[str, Any]:
    return {"action": action, "source": {}, "destination": {}, **more}


def _entity(peer: Peer) -> dict[str, Any]:
    if peer.cidr is not None:
        return {"nets": [peer.cidr]}
    return {"namespaceSelector": _all(peer.namespaces or {}), "selector": _all(peer.pods or {})}


def _all(labels: Mapping[str, str]) -> str:
    return " && ".join(f"{key} == '{value}'" for key, value in labels.items())


CALICO_POLICY: Final = PolicyKind(
    name="calico",
    group="projectcalico.org/v3",
    kind="NetworkPolicy",
    plural="networkpolicies",
    says=_says,
    # Up to Calico 3.30 the name of a policy has to begin with its tier (docs.tigera.io, Network policy, tier).
    prefix=f"{TIER}.pod-",
)


def tier_missing(tiers: Iterable[Mapping[str, Any]]) -> str | None:
    """Why a policy in our tier would not be the first to decide, and what makes it so."""
    orders = {str(tier["metadata"]["name"]): _order(tier) for tier in tiers}
    fix = f"an administrator makes tier {TIER!r} once, with an order below that of all others"
    if TIER not in orders:
        return f"Calico has no tier {TIER!r}: {fix}"
    before = sorted(name for name, order in orders.items() if name != TIER and order <= orders[TIER])
    return f"Calico's tier {before[0]!r} comes before {TIER!r}: {fix}" if before else None


def _order(tier: Mapping[str, Any]) -> float:
    """Without one it is the last (Calico, Tier, `order`)."""
    order = mapping(tier.get("spec")).get("order")
    return _LAST if order is None else float(order)
