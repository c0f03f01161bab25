"""Stops a task. It cannot be started again: only a new one can."""

from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from quarantine.action import Caveat, Fact, OneWay, State
from quarantine.model import Resource
from quarantine_aws import ecs_task
from quarantine_aws.cloud import AwsCloud


class TaskRun(State):
    """Running until ECS says that its last status is STOPPED; that it is desired is only a promise."""

    running: bool
    desired_status: Annotated[str, Fact] = ""
    last_status: Annotated[str, Fact] = ""
    service: Annotated[str, Fact] = ""
    group: Annotated[str, Fact] = ""
    launch_type: Annotated[str, Fact] = ""
    task_definition: Annotated[str, Fact] = ""
    images: Annotated[dict[str, str], Fact] = Field(default_factory=dict)
    network_interfaces: Annotated[tuple[str, ...], Fact] = ()
    tags: Annotated[dict[str, str], Fact] = Field(default_factory=dict)


class EcsStopTask(OneWay[AwsCloud, TaskRun]):
    """SIGTERM, then SIGKILL after the stop timeout: 30 s by default, 120 s at most on Fargate (ECS API Reference,
    StopTask). Before that a task leaves its load balancer, whose deregistration delay is 300 s by default: hence ten
    minutes. The ECS API is eventually consistent (ECS API Reference, RunTask); its number of seconds is ours.
    """

    name: ClassVar[str] = "aws:ecs-stop-task"
    resource: ClassVar[str] = "aws:ecs-task"
    state: ClassVar[type[State]] = TaskRun
    settles_within: ClassVar[timedelta] = timedelta(minutes=10)
    consistent_within: ClassVar[timedelta] = timedelta(seconds=15)

    def permissions(self) -> tuple[str, ...]:
        return ("ecs:DescribeTasks", "ecs:StopTask")

    def observe(self, cloud: AwsCloud, resource: Resource) -> TaskRun:
        task = ecs_task.describe(cloud, resource)
        return TaskRun(
            running=task.get("lastStatus") != "STOPPED",
            desired_status=task.get("desiredStatus", ""),
            last_status=task.get("lastStatus", ""),
            service=ecs_task.service_of(task),
            group=task.get("group", ""),
            launch_type=task.get("launchType", ""),
            task_definition=task.get("taskDefinitionArn", ""),
            images={container["name"]: container.get("image", "") for container in task.get("containers", ())},
            network_interfaces=_interfaces(task),
            tags=ecs_task.tags_of(task),
        )

    def contained(self, before: TaskRun) -> TaskRun:
        return before.model_copy(update={"running": False})

    def apply(self, cloud: AwsCloud, resource: Resource, now: TaskRun, target: Any) -> None:
        if not now.running or now.desired_status == "STOPPED":  # the second: it was asked for and is on its way
            return
        cloud.change(
            "ecs:StopTask",
            "ecs.stop_task",
            cluster=ecs_task.cluster_of(resource.id),
            task=resource.id,
            reason=f"cloud-quarantine case {cloud.mark.case}",
        )

    def caveats(self, before: TaskRun) -> tuple[Caveat, ...]:
        service = Caveat(
            id="service-restarts",
            text=f"Service '{before.service}' will start another task in its place, from {before.task_definition}.",
        )
        return (
            *((service,) if before.service else ()),
            Caveat(
                id="credentials-stay-valid",
                text="Credentials of the task role that were taken out of the task stay valid until they expire.",
            ),
            Caveat(id="memory-is-lost", text="Memory and writable layers of the containers are lost."),
            Caveat(id="tags-are-deleted", text="StopTask deletes the tags of the task; the case keeps a copy."),
        )


def _interfaces(task: dict[str, Any]) -> tuple[str, ...]:
    details = (detail for attachment in task.get("attachments", ()) for detail in attachment.get("details", ()))
    return tuple(sorted(detail["value"] for detail in details if detail.get("name") == "networkInterfaceId"))
