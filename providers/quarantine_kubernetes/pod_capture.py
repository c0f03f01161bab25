"""Takes what the API server knows of a pod: the object, its events and the logs of its containers."""

import json
from collections.abc import Iterator
from typing import Any, ClassVar, Final

from pydantic import Field

from quarantine.action import Artifact, Capture
from quarantine.errors import Gone, Transient, Unsupported
from quarantine.model import Resource
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.pod import POD, get_pod

EVENTS: Final = "/api/v1/namespaces/{namespace}/events"
KINDS: Final = ("initContainers", "containers", "ephemeralContainers")


class PodCapture(Capture[KubernetesCloud]):
    """`pod.json` has the owners, the node, the images by digest and the service account; an owner lets go of a pod that
    loses its labels, so this comes before the isolation. `logs.json` says of each log whether there is one.
    """

    name: ClassVar[str] = "kubernetes:pod-capture"
    resource: ClassVar[str] = "kubernetes:pod"

    log_lines: int = Field(default=5_000, ge=1, le=1_000_000)
    """The last lines of each log that are taken."""
    log_bytes: int = Field(default=1_048_576, ge=1, le=104_857_600)
    """Bytes of these lines at which a log is cut off."""
    events: int = Field(default=500, ge=1, le=5_000)
    """Events that are taken."""

    def permissions(self) -> tuple[str, ...]:
        return ("get pods", "list events", "get pods/log")

    def collect(self, cloud: KubernetesCloud, resource: Resource) -> Iterator[Artifact]:
        pod = get_pod(cloud, resource)
        yield _document("pod.json", pod)
        query = {"fieldSelector": f"involvedObject.uid={pod['metadata']['uid']}", "limit": self.events}
        yield _document("events.json", cloud.read("list events", f"get {EVENTS}", namespace=resource.area, query=query))
        index: dict[str, str] = {}
        for container, previous in _logs(pod):
            name = f"logs/{container}{'.previous' if previous else ''}.log"
            try:
                content = self._log(cloud, resource, container, previous)
            except (Gone, Unsupported, Transient) as error:
                # No log yet, or the node does not answer. What there is must not wait for what there is not.
                index[name] = str(error)
                continue
            index[name] = f"{len(content)} bytes"
            if content:
                yield Artifact(name, "text/plain", content)
        yield _document("logs.json", index)

    def _log(self, cloud: KubernetesCloud, resource: Resource, container: str, previous: bool) -> bytes:
        query = {"container": container, "timestamps": "true", "tailLines": self.log_lines}
        query |= {"limitBytes": self.log_bytes, **({"previous": "true"} if previous else {})}
        where = {"namespace": resource.area, "name": resource.id}
        content: bytes = cloud.read("get pods/log", f"get {POD}/log", **where, query=query)
        return content


def _logs(pod: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Each container, and once more for what it wrote before its last restart."""
    for kind in KINDS:
        statuses = (pod.get("status") or {}).get(f"{kind.removesuffix('s')}Statuses", [])
        restarted = {status["name"] for status in statuses if status.get("restartCount")}
        for container in pod["spec"].get(kind) or []:
            yield container["name"], False
            if container["name"] in restarted:
                yield container["name"], True


def _document(name: str, value: object) -> Artifact:
    return Artifact(name, "application/json", json.dumps(value, indent=2, sort_keys=True).encode())
