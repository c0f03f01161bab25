"""Keeps what ECS knows about a task, before it is stopped and forgotten."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar

from quarantine.action import Artifact, Capture
from quarantine.model import Resource
from quarantine_aws import ecs_task
from quarantine_aws.cloud import AwsCloud


class EcsTaskCapture(Capture[AwsCloud]):
    """The task with its tags, its definition, and its service if it has one.

    A task definition may hold secrets in plain environment variables: they are in the evidence then.
    """

    name: ClassVar[str] = "aws:ecs-task-capture"
    resource: ClassVar[str] = "aws:ecs-task"

    def permissions(self) -> tuple[str, ...]:
        return ("ecs:DescribeTasks", "ecs:DescribeTaskDefinition", "ecs:DescribeServices")

    def collect(self, cloud: AwsCloud, resource: Resource) -> Iterator[Artifact]:
        task = ecs_task.describe(cloud, resource)
        yield _artifact("task.json", task)
        yield _artifact(
            "task-definition.json",
            cloud.read(
                "ecs:DescribeTaskDefinition",
                "ecs.describe_task_definition",
                taskDefinition=task["taskDefinitionArn"],
                include=["TAGS"],
            ),
        )
        if service := ecs_task.service_of(task):
            answer = cloud.read(
                "ecs:DescribeServices",
                "ecs.describe_services",
                cluster=ecs_task.cluster_of(resource.id),
                services=[service],
                include=["TAGS"],
            )
            yield _artifact("service.json", answer)


def _artifact(name: str, answer: dict[str, Any]) -> Artifact:
    """The same answer always gives the same bytes."""
    told = {key: value for key, value in answer.items() if key != "ResponseMetadata"}
    text = json.dumps(told, sort_keys=True, indent=2, ensure_ascii=False, default=_plain)
    return Artifact(name=name, media_type="application/json", content=f"{text}\n".encode())


def _plain(value: Any) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)
