"""Scales what keeps suspect pods running to zero, and gives back the number that it had."""

from datetime import timedelta
from typing import Any, ClassVar

from quarantine.action import Action, Caveat, Refusal, State
from quarantine.model import Resource
from quarantine_kubernetes import objects, workload_scale
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.label_query import label_query
from quarantine_kubernetes.objects import KINDS, POD, WORKLOADS, Kind
from quarantine_kubernetes.workload_scale import WorkloadScale

SCALERS = (Kind("horizontalpodautoscalers", "autoscaling"), Kind("scaledobjects", "keda.sh", version="v1alpha1"))


class WorkloadScaleToZero(Action[KubernetesCloud, WorkloadScale]):
    """Through the scale subresource: the right to it changes nothing else of a workload.

    Pods end after their own grace, 30 s by default (kubernetes.io, Pod Lifecycle), and those of a StatefulSet one after
    the other: the five minutes are ours.
    """

    name: ClassVar[str] = "kubernetes:workload-scale-to-zero"
    resource: ClassVar[str] = objects.WORKLOAD
    state: ClassVar[type[State]] = WorkloadScale
    settles_within: ClassVar[timedelta] = timedelta(minutes=5)
    appears_within: ClassVar[timedelta | None] = timedelta(0)

    def permissions(self) -> tuple[str, ...]:
        read = tuple(kind.permission("get") for kind in WORKLOADS.values())
        around = tuple(kind.permission("list") for kind in (KINDS[POD], *SCALERS))
        scaled = (kind for word, kind in WORKLOADS.items() if word != "daemonset")
        return (*read, *around, *(kind.permission("patch", "scale") for kind in scaled))

    def observe(self, cloud: KubernetesCloud, resource: Resource) -> WorkloadScale:
        found = objects.get(cloud, resource)
        pods = objects.beside(cloud, resource, KINDS[POD], labelSelector=label_query(found))
        scalers = [item for kind in SCALERS for item in objects.beside(cloud, resource, kind)]
        return workload_scale.read_scale(resource.id.partition("/")[0], found, pods, scalers)

    def contained(self, before: WorkloadScale) -> WorkloadScale:
        return before.model_copy(update={"replicas": 0, "pods": 0})

    def apply(self, cloud: KubernetesCloud, resource: Resource, now: WorkloadScale, target: Any) -> None:
        if now.replicas != target.replicas:
            change = {"spec": {"replicas": target.replicas}}
            objects.patch(cloud, resource, (now.uid, now.version), change, part="scale")

    def refusal(self, before: WorkloadScale) -> Refusal | None:
        return workload_scale.refusal(before)

    def caveats(self, before: WorkloadScale) -> tuple[Caveat, ...]:
        return workload_scale.caveats(before)
