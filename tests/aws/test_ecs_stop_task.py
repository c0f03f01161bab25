import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from quarantine.action import State, reached
from quarantine.errors import Gone, Unsupported
from quarantine.model import Resource
from quarantine.testing.contract import OneWayContract, Setting
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.ecs_stop_task import EcsStopTask
from quarantine_aws.task_run import TaskRun
from tests.testbed.proxy import FaultProxy


@pytest.fixture
def setting(cloud: AwsCloud, task: Resource) -> Setting:
    return Setting(EcsStopTask(), cloud, task)


class TestEcsStopTask(OneWayContract):
    @pytest.fixture
    def setting(self, cloud: AwsCloud, task: Resource) -> Setting:
        return Setting(EcsStopTask(), cloud, task)


def observed(setting: Setting) -> TaskRun:
    state = setting.observe()
    assert isinstance(state, TaskRun)
    return state


def described_as(aws: FaultProxy, task: Resource, **fields: Any) -> None:
    answer = {"tasks": [{"taskArn": task.id, **fields}], "failures": []}
    aws.answer("DescribeTasks", 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(answer), math.inf)


def test_what_the_case_keeps_of_the_task(setting: Setting) -> None:
    run = observed(setting)
    assert (run.running, run.last_status, run.service, run.launch_type) == (True, "RUNNING", "web", "FARGATE")
    assert run.images == {"web": "registry.example/web:1"}
    assert run.tags == {"team": "shop"}
    assert run.task_definition.endswith(":task-definition/web:1")
    assert len(run.network_interfaces) == 1


def test_a_task_that_was_only_asked_to_stop_is_not_stopped(setting: Setting, aws: FaultProxy, task: Resource) -> None:
    target = setting.target(observed(setting))
    assert isinstance(target, State)
    described_as(aws, task, lastStatus="STOPPING", desiredStatus="STOPPED")
    assert not reached(observed(setting), target)
    described_as_stopped = {"lastStatus": "STOPPED", "desiredStatus": "STOPPED"}
    aws.clear()
    described_as(aws, task, **described_as_stopped)
    assert reached(observed(setting), target)


def test_a_task_that_is_stopping_is_not_told_again(setting: Setting, aws: FaultProxy, task: Resource) -> None:
    target = setting.target(observed(setting))
    described_as(aws, task, lastStatus="DEACTIVATING", desiredStatus="STOPPED")
    assert setting.apply(target).calls == []


def test_the_reason_names_the_case(setting: Setting, client: Callable[[str], Any]) -> None:
    setting.apply(setting.target(observed(setting)))
    stopped = client("ecs").describe_tasks(cluster="shop", tasks=[setting.resource.id])["tasks"][0]
    assert stopped["stoppedReason"] == "cloud-quarantine case case-contract"


@pytest.mark.parametrize("failures", [[], [{"arn": "arn", "reason": "MISSING"}]])
def test_a_task_that_ecs_has_forgotten_is_gone(setting: Setting, aws: FaultProxy, failures: list[Any]) -> None:
    answer = json.dumps({"tasks": [], "failures": failures})
    aws.answer("DescribeTasks", 200, {"Content-Type": "application/x-amz-json-1.1"}, answer)
    with pytest.raises(Gone, match="more than an hour ago"):
        setting.action.observe(setting.cloud, setting.resource)


def test_a_task_whose_cluster_is_gone_is_gone(setting: Setting) -> None:
    elsewhere = setting.resource.model_copy(update={"id": setting.resource.id.replace("task/shop/", "task/closed/")})
    with pytest.raises(Gone, match="ClusterNotFoundException"):
        setting.action.observe(setting.cloud, elsewhere)


@pytest.mark.parametrize("name", ["1234", "arn:aws:ecs:us-east-1:123456789012:task/1234", "arn:aws:s3:::task/a/b"])
def test_a_name_without_a_cluster_is_refused_before_anything_is_asked(
    setting: Setting, aws: FaultProxy, name: str
) -> None:
    with pytest.raises(Unsupported, match="full task ARN"):
        setting.action.observe(setting.cloud, setting.resource.model_copy(update={"id": name}))
    assert aws.recorded() == []


def test_the_service_that_starts_it_again_is_named() -> None:
    said = {caveat.id: caveat.text for caveat in EcsStopTask().caveats(TaskRun(running=True, service="web"))}
    assert "'web'" in said["service-restarts"]
    assert set(said) == {"service-restarts", "credentials-stay-valid", "memory-is-lost", "tags-are-deleted"}
    assert "service-restarts" not in {caveat.id for caveat in EcsStopTask().caveats(TaskRun(running=True))}
