"""Cuts one pod off the network with the best means that its cluster and its node have, and leaves it running."""

from datetime import timedelta
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from quarantine.action import Action, Caveat, Refusal, State
from quarantine.model import Resource
from quarantine_kubernetes import bystanders, limits, objects, pod_policy, surroundings
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.exemption import Exemption, Peer
from quarantine_kubernetes.isolation import PodIsolation, isolated_labels, target_policies
from quarantine_kubernetes.means import Means


class PodIsolate(Action[KubernetesCloud, PodIsolation]):
    """All labels go, so that Services, owners and policies that select by them let go of the pod.

    What was written is never missing from a later get (Kubernetes API Concepts: "most recent"). What Cilium has made of
    it shows within ten seconds (cilium/cilium, pkg/endpointmanager/endpointsynchronizer.go, RunInterval).
    """

    name: ClassVar[str] = "kubernetes:pod-isolate"
    resource: ClassVar[str] = "kubernetes:pod"
    state: ClassVar[type[State]] = PodIsolation
    settles_within: ClassVar[timedelta] = timedelta(seconds=20)
    appears_within: ClassVar[timedelta | None] = timedelta(0)
    conditional: ClassVar[bool] = True

    level: Literal["isolate", "quarantine"] = "isolate"
    """`isolate`: nobody connects to it. `quarantine`: a named peer still may, to examine it."""
    peer: Peer | None = None
    """Who may connect to a pod in quarantine."""
    allow_dns: bool = False
    """Whether it may go on asking the cluster's DNS, through which data can leave as well."""
    keep_labels: tuple[str, ...] = ()
    """Keys of labels that stay on the pod."""
    means: tuple[Means, ...] = Field(default=tuple(Means), min_length=1)
    """What it may be isolated with, best first."""

    @model_validator(mode="after")
    def _peer_with_quarantine(self) -> Self:
        if (self.peer is not None) != (self.level == "quarantine"):
            raise ValueError("level quarantine needs a peer, and level isolate has none")
        return self

    def permissions(self) -> tuple[str, ...]:
        return ("get pods", "patch pods", *surroundings.permissions(self.means))

    def observe(self, cloud: KubernetesCloud, resource: Resource) -> PodIsolation:
        return surroundings.Look(cloud, resource, objects.get(cloud, resource), self.keep_labels).state(self.means)

    def contained(self, before: PodIsolation) -> PodIsolation:
        labels = isolated_labels(before.labels, before.uid, self.keep_labels)
        policies = before.policies | target_policies(before.means or self.means[-1], self._exempt())
        return before.model_copy(update={"labels": labels, "policies": policies, "open_by": (), "unenforced": ()})

    def apply(self, cloud: KubernetesCloud, resource: Resource, now: PodIsolation, target: Any) -> None:
        """The policies stand before the pod gets the label that they select, and go after the label has gone."""
        pod_policy.put_wanted(cloud, resource, now, target.policies)
        if now.labels != target.labels:
            gone: dict[str, str | None] = {key: None for key in now.labels if key not in target.labels}
            objects.patch(cloud, resource, (now.uid, now.version), {"metadata": {"labels": gone | target.labels}})
        pod_policy.delete_others(cloud, resource, now, target.policies)

    def refusal(self, before: PodIsolation) -> Refusal | None:
        return limits.refusal(before)

    def caveats(self, before: PodIsolation) -> tuple[Caveat, ...]:
        return limits.caveats(before, self._exempt(), tuple(key for key in self.keep_labels if key in before.labels))

    def lingers(self, before: PodIsolation) -> str:
        return limits.lingers(before)

    def bystanders(self, cloud: KubernetesCloud, resource: Resource, before: PodIsolation) -> tuple[str, ...]:
        return bystanders.of_pod(cloud, resource, self.contained(before).labels, self._exempt())

    def _exempt(self) -> Exemption:
        return Exemption(peer=self.peer, dns=self.allow_dns)
