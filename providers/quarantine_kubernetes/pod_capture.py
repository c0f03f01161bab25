"""Takes the raw objects that tell what a pod was: itself, what it is tied to, and what its service account may do."""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from quarantine.action import Artifact, Capture
from quarantine.model import Resource
from quarantine_kubernetes import account_rights, pod_ties
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.dossier import Dossier
from quarantine_kubernetes.isolation import PodIsolation
from quarantine_kubernetes.pod import get_pod
from quarantine_kubernetes.pod_isolate import PodIsolate


class PodCapture(Capture[KubernetesCloud]):
    """Owners and Services let go of a pod that loses its labels. After an isolation they are found by how it was.

    `missing.json` says of all that could not be read why. The values of Secrets are never asked for.
    """

    name: ClassVar[str] = "kubernetes:pod-capture"
    resource: ClassVar[str] = "kubernetes:pod"

    events: int = Field(default=500, ge=1, le=5_000)
    """Events that are taken."""

    def permissions(self) -> tuple[str, ...]:
        return ("get pods", *pod_ties.PERMISSIONS, *account_rights.PERMISSIONS)

    def collect(self, cloud: KubernetesCloud, resource: Resource) -> Iterator[Artifact]:
        dossier, pod = Dossier(), get_pod(cloud, resource)
        dossier.keep("pod.json", pod)
        if image := cloud.before.get(PodIsolate.name):
            before = PodIsolation.model_validate(image)
            was = {"labels": before.labels, "ownerReferences": before.owners}
            dossier.keep("metadata-before-isolation.json", was)
            pod = {**pod, "metadata": {**pod["metadata"], **was}}
        pod_ties.take_ties(dossier, cloud, resource, pod, self.events)
        account_rights.take_rights(dossier, cloud, resource, pod)
        yield from dossier.artifacts()
