"""What starts pods by itself, and is told to stop: Jobs and CronJobs have the same switch, `spec.suspend`."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from quarantine.action import Action, Fact, Proof, State, Token
from quarantine.model import Resource
from quarantine_kubernetes import objects
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.gitops import keeper_of
from quarantine_kubernetes.pod import owner_of

QUEUE = "kueue.x-k8s.io/queue-name"


class Suspension(State):
    suspend: bool | None
    """None where it does not say, which is not the same as a no."""
    running: Annotated[int, Proof] = 0
    """Pods of a Job that have not ended. Those that a CronJob's Jobs run are not its own."""
    active: Annotated[tuple[str, ...], Fact] = ()
    """The Jobs that a CronJob has running."""
    finished: Annotated[str, Fact] = ""
    """`Complete` or `Failed` for a Job that has ended."""
    catches_up: Annotated[bool, Fact] = False
    """A CronJob that runs what it missed, however late."""
    owner: Annotated[str, Fact] = ""
    keeper: Annotated[str, Fact] = ""
    uid: Annotated[str, Fact]
    version: Annotated[str, Token] = ""


class Suspend(Action[KubernetesCloud, Suspension]):
    """Pods of a Job end after their own grace, 30 s by default (kubernetes.io, Pod Lifecycle): two minutes are ours."""

    state: ClassVar[type[State]] = Suspension
    settles_within: ClassVar[timedelta] = timedelta(minutes=2)
    appears_within: ClassVar[timedelta | None] = timedelta(0)

    def permissions(self) -> tuple[str, ...]:
        kind = objects.KINDS[self.resource]
        return (kind.permission("get"), kind.permission("patch"))

    def observe(self, cloud: KubernetesCloud, resource: Resource) -> Suspension:
        return read_suspension(objects.get(cloud, resource))

    def contained(self, before: Suspension) -> Suspension:
        return before.model_copy(update={"suspend": True, "running": 0})

    def apply(self, cloud: KubernetesCloud, resource: Resource, now: Suspension, target: Any) -> None:
        if now.suspend is not target.suspend:
            objects.patch(cloud, resource, (now.uid, now.version), {"spec": {"suspend": target.suspend}})


def read_suspension(found: Mapping[str, Any]) -> Suspension:
    metadata, spec, status = found["metadata"], found["spec"], found.get("status") or {}
    active = status.get("active") or 0
    jobs, running = (active, 0) if isinstance(active, list) else ([], active)  # a CronJob's Jobs, or a Job's pods
    conditions = [item["type"] for item in status.get("conditions") or [] if item["status"] == "True"]
    manager = spec.get("managedBy", "") or ("Kueue" if QUEUE in (metadata.get("labels") or {}) else "")
    keeper = keeper_of(found, ("spec", "suspend"))
    return Suspension(
        suspend=spec.get("suspend"),
        running=running + (status.get("terminating") or 0),
        active=tuple(sorted(item["name"] for item in jobs)),
        finished=next((item for item in conditions if item in ("Complete", "Failed")), ""),
        catches_up="jobTemplate" in spec and spec.get("startingDeadlineSeconds") is None,
        owner=owner_of(found),
        keeper=manager if manager not in ("", "kubernetes.io/job-controller") else keeper,
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
    )
