"""Closes a Service and keeps its address: the cloud would give a load balancer's to somebody else."""

from datetime import timedelta
from typing import Any, ClassVar

from quarantine.action import Action, Caveat, Refusal, State
from quarantine.model import Resource
from quarantine_kubernetes import exposure, objects
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.exposure import Exposure, Means

KIND = objects.KINDS[objects.SERVICE]
SLICES = objects.Kind("endpointslices", "discovery.k8s.io")
INGRESSES = objects.Kind("ingresses", "networking.k8s.io")


class ServiceUnexpose(Action[KubernetesCloud, Exposure]):
    """The type stays as it is. That the endpoints are gone is seen in its EndpointSlices, which a controller empties in
    a moment; half a minute for a large cluster is ours.
    """

    name: ClassVar[str] = "kubernetes:service-unexpose"
    resource: ClassVar[str] = objects.SERVICE
    state: ClassVar[type[State]] = Exposure
    settles_within: ClassVar[timedelta] = timedelta(seconds=30)
    appears_within: ClassVar[timedelta | None] = timedelta(0)

    means: Means = Means.SELECTOR
    """`selector`: it leads to no pod any more. `source-ranges`: its load balancer lets nobody in."""

    def permissions(self) -> tuple[str, ...]:
        own = (KIND.permission("get"), KIND.permission("patch"), INGRESSES.permission("list"))
        return (*own, SLICES.permission("list")) if self.means is Means.SELECTOR else own

    def observe(self, cloud: KubernetesCloud, resource: Resource) -> Exposure:
        found = objects.get(cloud, resource)
        named = {"labelSelector": f"kubernetes.io/service-name={resource.id}"}
        slices = objects.beside(cloud, resource, SLICES, **named) if self.means is Means.SELECTOR else []
        return exposure.read_exposure(found, slices, objects.beside(cloud, resource, INGRESSES))

    def contained(self, before: Exposure) -> Exposure:
        return exposure.closed(before, self.means)

    def apply(self, cloud: KubernetesCloud, resource: Resource, now: Exposure, target: Any) -> None:
        if now.part() != target.part():
            objects.patch(cloud, resource, (now.uid, now.version), exposure.change(now, target))

    def refusal(self, before: Exposure) -> Refusal | None:
        return exposure.refusal(before, self.means)

    def caveats(self, before: Exposure) -> tuple[Caveat, ...]:
        return exposure.caveats(before, self.means)
