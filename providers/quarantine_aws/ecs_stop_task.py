"""Stops a task. It cannot be started again: only a new one can."""

from datetime import timedelta
from typing import Any, ClassVar

from quarantine.action import Caveat, OneWay, State
from quarantine.model import Resource
from quarantine_aws import ecs_task, task_run
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.task_run import TaskRun


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
        return task_run.read_run(ecs_task.describe(cloud, resource))

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
        return task_run.caveats(before)
