"""Deletes one pod: the cut of what a network policy leaves open, and nothing that can be undone."""

from contextlib import suppress
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import Field

from quarantine.action import GONE, Absence, Caveat, OneWay, Refusal, State
from quarantine.errors import Gone
from quarantine.model import Resource
from quarantine_kubernetes import objects, pod_presence
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.pod_presence import PodPresence

KIND = objects.KINDS[objects.POD]


class PodDelete(OneWay[KubernetesCloud, PodPresence]):
    """DELETE, and not an eviction, which a disruption budget may refuse for ever (kubernetes.io, API-initiated
    Eviction: 429). A pod is gone when its kubelet has confirmed that the containers ended; two minutes on top of the
    longest grace are ours.
    """

    name: ClassVar[str] = "kubernetes:pod-delete"
    resource: ClassVar[str] = objects.POD
    state: ClassVar[type[State]] = PodPresence
    settles_within: ClassVar[timedelta] = timedelta(minutes=3)
    appears_within: ClassVar[timedelta | None] = timedelta(0)

    grace_seconds: int = Field(default=1, ge=1, le=60)
    """Seconds between SIGTERM and SIGKILL. Zero is not for sale: the object would be gone at once, while the containers
    may still run on a node that nobody has asked (kubernetes.io, Pod Lifecycle, Forced Pod termination)."""

    def permissions(self) -> tuple[str, ...]:
        return (KIND.permission("get"), KIND.permission("delete"))

    def observe(self, cloud: KubernetesCloud, resource: Resource) -> PodPresence:
        return pod_presence.read_presence(objects.get(cloud, resource))

    def contained(self, before: PodPresence) -> Absence:
        return GONE

    def apply(self, cloud: KubernetesCloud, resource: Resource, now: PodPresence, target: Any) -> None:
        if now.going is not None and now.going <= self.grace_seconds:
            return  # it was asked for and is on its way
        options = {"preconditions": {"uid": now.uid}, "gracePeriodSeconds": self.grace_seconds}
        where = {"namespace": resource.area, "name": resource.id}
        with suppress(Gone):  # already gone is what was wanted
            cloud.change(KIND.permission("delete"), f"delete {KIND.path}", **where, body=options)

    def refusal(self, before: PodPresence) -> Refusal | None:
        return pod_presence.refusal(before)

    def caveats(self, before: PodPresence) -> tuple[Caveat, ...]:
        return pod_presence.caveats(before, self.grace_seconds)
