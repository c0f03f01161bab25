"""How a task runs: what of its description the case keeps, and what stopping it leaves. Pure."""

from typing import Annotated, Any

from pydantic import Field

from quarantine.action import Caveat, Fact, State
from quarantine_aws.ecs_task import service_of, tags_of


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


def read_run(task: dict[str, Any]) -> TaskRun:
    """`task` as ECS describes it."""
    return TaskRun(
        running=task.get("lastStatus") != "STOPPED",
        desired_status=task.get("desiredStatus", ""),
        last_status=task.get("lastStatus", ""),
        service=service_of(task),
        group=task.get("group", ""),
        launch_type=task.get("launchType", ""),
        task_definition=task.get("taskDefinitionArn", ""),
        images={container["name"]: container.get("image", "") for container in task.get("containers", ())},
        network_interfaces=_interfaces(task),
        tags=tags_of(task),
    )


def _interfaces(task: dict[str, Any]) -> tuple[str, ...]:
    details = (detail for attachment in task.get("attachments", ()) for detail in attachment.get("details", ()))
    return tuple(sorted(detail["value"] for detail in details if detail.get("name") == "networkInterfaceId"))


def caveats(before: TaskRun) -> tuple[Caveat, ...]:
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
