"""What a pod is isolated with: the first of the means that would close it, in this cluster and on its node. Pure.

cilium                    a deny of Cilium: nothing that is allowed elsewhere undoes it
calico                    a policy in a tier of Calico that comes before all others: the same
cluster-network-policy    a ClusterNetworkPolicy before all others, and a plain policy for what is outside
network-policy            a plain policy, where no other one allows the pod anything
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from quarantine.model import Value
from quarantine_kubernetes.agent import Agent, takes
from quarantine_kubernetes.calico_policy import CALICO_POLICY
from quarantine_kubernetes.cilium_policy import CILIUM_POLICY
from quarantine_kubernetes.cluster_policy import CLUSTER_POLICY
from quarantine_kubernetes.plain_policy import PLAIN_POLICY
from quarantine_kubernetes.policy_kind import PolicyKind


class Means(StrEnum):
    """Best first."""

    CILIUM = "cilium"
    CALICO = "calico"
    CLUSTER = "cluster-network-policy"
    PLAIN = "network-policy"


KINDS: Final[Mapping[Means, tuple[PolicyKind, ...]]] = {
    Means.CILIUM: (CILIUM_POLICY,),
    Means.CALICO: (CALICO_POLICY,),
    Means.CLUSTER: (CLUSTER_POLICY, PLAIN_POLICY),
    Means.PLAIN: (PLAIN_POLICY,),
}


def kinds_of(means: tuple[Means, ...]) -> tuple[PolicyKind, ...]:
    """Each once."""
    return tuple(dict.fromkeys(kind for each in means for kind in KINDS[each]))


class Around(Value):
    """What decides between the means. `plain` and `outside` are sentences: what other policies would leave open."""

    apis: frozenset[str]
    agents: tuple[Agent, ...]
    plain: tuple[str, ...] = ()
    """Whatever other network policies allow the pod in quarantine."""
    outside: tuple[str, ...] = ()
    """Of that, what a ClusterNetworkPolicy could not deny, and what comes before it."""
    tier: str | None = None
    """Why Calico's tier is not there, or not the first."""

    def serves(self, means: Means) -> bool:
        return all(kind.group in self.apis for kind in KINDS[means])

    def taken(self, means: Means) -> bool:
        """Is there somebody on the node who enforces all of it?"""
        return any(all(takes(agent, kind) for kind in KINDS[means]) for agent in self.agents)

    def enforced(self, means: Means) -> bool:
        return any(agent.ready and all(takes(agent, kind) for kind in KINDS[means]) for agent in self.agents)

    def open_by(self, means: Means) -> tuple[str, ...]:
        return {Means.PLAIN: self.plain, Means.CLUSTER: self.outside}.get(means, ())

    def obstacles(self, means: Means) -> tuple[str, ...]:
        """Why it would not close the pod here."""
        if not self.serves(means):
            return (f"{means}: the cluster does not serve {', '.join(kind.group for kind in KINDS[means])}",)
        if not self.taken(means):
            return (f"{means}: no agent that is known to enforce it runs on the pod's node",)
        if means is Means.CALICO and self.tier is not None:
            return (f"{means}: {self.tier}",)
        return self.open_by(means)


def choose(means: tuple[Means, ...], around: Around) -> Means | None:
    return next((each for each in means if not around.obstacles(each)), None)
