"""Lets nothing new be scheduled to a node, and keeps autoscalers from taking it away. What runs there stays."""

from typing import Any, ClassVar

from quarantine.action import Action, Caveat, State
from quarantine.model import Resource
from quarantine_kubernetes import objects, schedulability
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.schedulability import KEPT_BY, Schedulability

KIND = objects.KINDS[objects.NODE]


class NodeCordon(Action[KubernetesCloud, Schedulability]):
    """One patch: cordoned and kept, or neither."""

    name: ClassVar[str] = "kubernetes:node-cordon"
    resource: ClassVar[str] = objects.NODE
    state: ClassVar[type[State]] = Schedulability

    def permissions(self) -> tuple[str, ...]:
        return (KIND.permission("get"), KIND.permission("patch"))

    def observe(self, cloud: KubernetesCloud, resource: Resource) -> Schedulability:
        return schedulability.read_schedulability(objects.get(cloud, resource))

    def contained(self, before: Schedulability) -> Schedulability:
        return before.model_copy(update={"unschedulable": True, "kept_by": dict(KEPT_BY)})

    def apply(self, cloud: KubernetesCloud, resource: Resource, now: Schedulability, target: Any) -> None:
        if now.part() != target.part():
            objects.patch(cloud, resource, (now.uid, now.version), schedulability.change(now, target))

    def caveats(self, before: Schedulability) -> tuple[Caveat, ...]:
        return schedulability.caveats(before)
