"""A task as ECS describes it. Shared by what stops one and what captures one."""

from collections.abc import Mapping
from typing import Any

from quarantine.errors import Gone, Unsupported
from quarantine.model import Resource
from quarantine_aws import arn
from quarantine_aws.cloud import AwsCloud


def cluster_of(task: str) -> str:
    """The cluster in a task's ARN. Raises Unsupported for the old format, which does not name it."""
    parsed = arn.parse(task)
    kind, _, path = parsed.resource.partition("/") if parsed else ("", "", "")
    cluster, _, short = path.partition("/")
    if parsed is None or parsed.service != "ecs" or kind != "task" or not short:
        raise Unsupported(f"'{task}' is not a full task ARN: arn:aws:ecs:REGION:ACCOUNT:task/CLUSTER/ID")
    return cluster


def describe(cloud: AwsCloud, resource: Resource) -> dict[str, Any]:
    """The raw description with tags. ECS keeps a stopped task for about an hour; after that, raises Gone."""
    answer = cloud.read(
        "ecs:DescribeTasks",
        "ecs.describe_tasks",
        cluster=cluster_of(resource.id),
        tasks=[resource.id],
        include=["TAGS"],
    )
    for task in answer.get("tasks", ()):
        if task.get("taskArn") == resource.id:
            described: dict[str, Any] = task
            return described
    reasons = {failure.get("reason", "") for failure in answer.get("failures", ())} - {"MISSING"}
    if reasons:
        raise Unsupported(f"ECS does not describe task {resource.id}: {', '.join(sorted(reasons))}")
    raise Gone(f"ECS knows no task {resource.id}: it stopped more than an hour ago, or never was")


def resolve(cloud: AwsCloud, resource: Resource) -> tuple[str, Mapping[str, str]]:
    return resource.id, tags_of(describe(cloud, resource))


def tags_of(task: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag.get("value", "") for tag in task.get("tags", ())}


def service_of(task: dict[str, Any]) -> str:
    """The service that keeps the task running; empty for a task that was started by itself."""
    group = str(task.get("group", ""))
    return group.removeprefix("service:") if group.startswith("service:") else ""
