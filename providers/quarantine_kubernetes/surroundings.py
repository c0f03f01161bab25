"""Looks at what decides how a pod can be isolated: the APIs, the agents of its node, the policies of others."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from quarantine.errors import Gone
from quarantine.model import Resource
from quarantine_kubernetes import agent, discovery, keeper, pod_policy
from quarantine_kubernetes.agent import agents_on, takes
from quarantine_kubernetes.calico_policy import TIERS, tier_missing
from quarantine_kubernetes.cilium_policy import ENDPOINT, ENDPOINTS, label_in_force
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.cluster_policy import CLUSTER_POLICY, in_the_way
from quarantine_kubernetes.discovery import served
from quarantine_kubernetes.isolation import (
    PodIsolation,
    Policy,
    exempt_of,
    isolated_labels,
    means_of,
    origin_of,
    standing,
)
from quarantine_kubernetes.means import KINDS, Around, Means, choose, kinds_of
from quarantine_kubernetes.network_policy import Direction, Opening, isolation
from quarantine_kubernetes.plain_policy import PLAIN_POLICY
from quarantine_kubernetes.pod import is_static, owner_of
from quarantine_kubernetes.policy_kind import ISOLATED, PolicyKind, Target
from quarantine_kubernetes.probe import open_to_us

SECONDS: Final = 60.0
"""How long Calico's tiers are believed to be as they were."""

SECONDS_LISTED: Final = 1.0
"""How old a list of policies may be to plan with, beside what the API server's cache lags behind."""

_BY_ITSELF: Final = frozenset({Means.CILIUM, Means.CALICO})
"""Whatever other policies say does not matter to them."""


def permissions(means: tuple[Means, ...]) -> tuple[str, ...]:
    """What looking takes, for policies of ours and for all around them."""
    needed = [*discovery.PERMISSIONS, *agent.PERMISSIONS, *keeper.PERMISSIONS]
    needed += [permission for kind in kinds_of(means) for permission in kind.permissions(*pod_policy.VERBS)]
    if Means.CILIUM in means:
        needed.append(f"get {ENDPOINTS}")
    if Means.CALICO in means:
        needed.append(f"list {TIERS}")
    if Means.CLUSTER in means:
        needed += CLUSTER_POLICY.permissions("list")
    if not set(means) <= _BY_ITSELF:
        needed += PLAIN_POLICY.permissions("list")
    return tuple(dict.fromkeys(needed))


@dataclass(frozen=True)
class Look:
    """At one pod, and at what it would be with only the labels that are kept."""

    cloud: KubernetesCloud
    resource: Resource
    pod: Mapping[str, Any]
    keep_labels: tuple[str, ...]

    def state(self, means: tuple[Means, ...]) -> PodIsolation:
        found = self._own(means)
        target = Target(self.resource.area, self.resource.id, self.uid)
        policies = {kind.name: standing(policy, kind, target) for kind, policy in found}
        stands = means_of(policies)
        around, others = self.around((stands,) if stands else means)
        chosen = stands or choose(means, around)
        obstacles = [] if stands else [why for each in means if each != chosen for why in around.obstacles(each)]
        if chosen is not None and not stands:  # what comes after it was not asked for
            obstacles = [why for each in means[: means.index(chosen)] for why in around.obstacles(each)]
        agents = [agent for agent in around.agents if chosen and any(takes(agent, kind) for kind in KINDS[chosen])]
        metadata, labels = self.pod["metadata"], self.pod["metadata"].get("labels") or {}
        return PodIsolation(
            labels=labels,
            policies=policies,
            open_by=around.open_by(chosen) if chosen else around.plain,
            unenforced=self.unenforced(around, chosen, policies) if chosen else (),
            means=chosen,
            obstacles=tuple(dict.fromkeys((*obstacles, *(discovery.not_used(around.apis) if not chosen else ())))),
            loses=() if self.isolated else sentences(openings_of(others, labels)),
            uid=self.uid,
            phase=(self.pod.get("status") or {}).get("phase", ""),
            host_network=self.pod["spec"].get("hostNetwork") or False,
            static=is_static(self.pod),
            owner=owner_of(self.pod),
            owners=tuple(metadata.get("ownerReferences") or ()),
            kept_by=keeper.keeper_above(self.cloud, self.resource, self.pod),
            node=self.pod["spec"].get("nodeName") or "",
            plug_in=next((agent.plug_in for agent in agents), ""),
            origins={kind.name: origin_of(policy) for kind, policy in found},
            version=metadata["resourceVersion"],
        )

    @property
    def isolated(self) -> bool:
        return ISOLATED in (self.pod["metadata"].get("labels") or {})

    def _own(self, means: tuple[Means, ...]) -> list[tuple[PolicyKind, Mapping[str, Any]]]:
        """What stands under our names, of every kind that the cluster serves."""
        kinds = [kind for kind in kinds_of(means) if kind.group in served(self.cloud)]
        found = {kind: self._read(kind) for kind in kinds if kind is not PLAIN_POLICY}
        if PLAIN_POLICY in kinds:
            # A list is read anyway, unless something else closes the pod: ours is in it. Of a pod in quarantine it is
            # the latest one; to plan, one that is a little late will do, as none of ours can be made a second time.
            by_list = (self.isolated or self.cloud.glancing) and not any(found.values())
            found[PLAIN_POLICY] = self._listed_own() if by_list else self._read(PLAIN_POLICY)
        return [(kind, policy) for kind in kinds if (policy := found[kind]) is not None]

    def _read(self, kind: PolicyKind) -> Mapping[str, Any] | None:
        return pod_policy.own(self.cloud, kind, self.resource.area, self.uid)

    @cached_property
    def _listed(self) -> list[Mapping[str, Any]]:
        cloud, area = self.cloud, self.resource.area
        if self.isolated or not cloud.glancing:
            return pod_policy.listed(cloud, area, self.isolated)
        # In a storm, a namespace has a policy of ours for each pod that is cut off: not all of them for each of them.
        key = ("policies", area)
        return cloud.recent.get(key, SECONDS_LISTED, lambda: pod_policy.listed(cloud, area, latest=False))

    def _listed_own(self) -> Mapping[str, Any] | None:
        return next((policy for policy in self._listed if self._has_our_name(policy)), None)

    def _has_our_name(self, policy: Mapping[str, Any]) -> bool:
        return bool(policy["metadata"]["name"] == PLAIN_POLICY.object_name(self.uid))

    @property
    def uid(self) -> str:
        return str(self.pod["metadata"]["uid"])

    def around(self, means: tuple[Means, ...]) -> tuple[Around, list[Mapping[str, Any]]]:
        """With the network policies of others, if these means ask for them."""
        node = self.pod["spec"].get("nodeName") or ""
        around = Around(apis=served(self.cloud), agents=agents_on(self.cloud, node, self.isolated))
        possible = tuple(each for each in means if around.serves(each) and around.taken(each))
        if Means.CALICO in possible:
            around = around.model_copy(update={"tier": self._tier()})
        if choose(possible, around) in _BY_ITSELF:
            return around, []
        policies = [policy for policy in self._listed if not self._has_our_name(policy)]  # it is judged by itself
        after = isolated_labels(self.pod["metadata"].get("labels") or {}, self.uid, self.keep_labels)
        openings = openings_of(policies, after)
        outside = sentences(
            opening for opening in openings if opening.outside and opening.direction is Direction.INGRESS
        )
        if Means.CLUSTER in possible:
            outside += self._before_ours()
        return around.model_copy(update={"plain": sentences(openings), "outside": outside}), policies

    def unenforced(self, around: Around, means: Means, policies: Mapping[str, str]) -> tuple[str, ...]:
        """Why this means may not be what happens on the pod's node."""
        found: tuple[str, ...] = () if around.enforced(means) else (self._no_agent(around),)
        if means is Means.CILIUM and self.isolated and not self._in_force():
            found += ("Cilium has not made the label that the pod has in quarantine a part of its identity",)
        exempts = [exempt_of(policies.get(kind.name, Policy.ALTERED)) for kind in KINDS[means]]
        closed = all(exempt is not None and exempt.peer is None for exempt in exempts)  # a named peer may be us
        if self.cloud.probe is not None and self.isolated and closed and not found:
            return open_to_us(self.cloud.probe, self.cloud.recent, self.pod, means)
        return found

    def _no_agent(self, around: Around) -> str:
        node = self.pod["spec"].get("nodeName")
        names = ", ".join(agent.name for agent in around.agents)
        return f"{names} on node {node} is not ready" if names else f"nobody enforces policies on node {node}"

    def _in_force(self) -> bool:
        where = {"namespace": self.resource.area, "name": self.resource.id}
        try:
            found = self.cloud.read(f"get {ENDPOINTS}", f"get {ENDPOINT}", **where)
        except Gone:
            return False
        return label_in_force(found, self.uid)

    def _tier(self) -> str | None:
        def ask() -> str | None:
            found = self.cloud.read(f"list {TIERS}", "get /apis/projectcalico.org/v3/tiers", query={})
            return tier_missing(found["items"])

        return self.cloud.recent.get(("tier",), SECONDS, ask)

    def _before_ours(self) -> tuple[str, ...]:
        kind = CLUSTER_POLICY
        query = {} if self.isolated else {"resourceVersion": "0"}
        return in_the_way(self.cloud.read(f"list {kind.resource}", f"get {kind.collection}", query=query)["items"])


def openings_of(policies: list[Mapping[str, Any]], labels: Mapping[str, str]) -> list[Opening]:
    return [opening for found in isolation(policies, labels).values() for opening in found.openings]


def sentences(openings: Iterable[Opening]) -> tuple[str, ...]:
    return tuple(sorted({str(opening) for opening in openings}))
