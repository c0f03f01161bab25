"""Takes the logs of a pod's containers, and says what of them is cut off or not to be had."""

import time
from collections.abc import Iterator
from typing import Any, ClassVar, Final

from pydantic import Field

from quarantine.action import Artifact, Capture
from quarantine.errors import Gone, Transient, Unsupported
from quarantine.model import Resource
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.dossier import document
from quarantine_kubernetes.pod import POD, get_pod

KINDS: Final = ("initContainers", "containers", "ephemeralContainers")


class PodLogsCapture(Capture[KubernetesCloud]):
    """The kubelet is asked for each, which takes far longer than the rest: after an isolation, before a deletion."""

    name: ClassVar[str] = "kubernetes:pod-logs-capture"
    resource: ClassVar[str] = "kubernetes:pod"

    log_lines: int = Field(default=5_000, ge=1, le=1_000_000)
    """The last lines of each log that are taken."""
    log_bytes: int = Field(default=1_048_576, ge=1, le=104_857_600)
    """Bytes of these lines at which a log is cut off."""
    seconds: int = Field(default=60, ge=0, le=3_600)
    """After which no further log is begun."""

    def permissions(self) -> tuple[str, ...]:
        return ("get pods", "get pods/log")

    def collect(self, cloud: KubernetesCloud, resource: Resource) -> Iterator[Artifact]:
        pod, index, begun = get_pod(cloud, resource), dict[str, str](), time.monotonic()
        for container, previous in _logs(pod):
            name = f"logs/{container}{'.previous' if previous else ''}.log"
            if time.monotonic() - begun >= self.seconds:
                index[name] = f"not taken: {self.seconds} s were over"
                continue
            try:
                content = self._log(cloud, resource, container, previous)
            except (Gone, Unsupported, Transient) as error:
                # No log yet, or the node does not answer. What there is must not wait for what there is not.
                index[name] = str(error)
                continue
            index[name] = self._extent(content)
            if content:
                yield Artifact(name, "text/plain", content)
        yield document("logs.json", index)

    def _extent(self, content: bytes) -> str:
        lines = content.count(b"\n")
        cuts = [f"cut off at {self.log_bytes} bytes"] if len(content) >= self.log_bytes else []
        cuts += [f"the last {self.log_lines} lines: there may be earlier ones"] if lines >= self.log_lines else []
        return "; ".join((f"{len(content)} bytes", *cuts))

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
