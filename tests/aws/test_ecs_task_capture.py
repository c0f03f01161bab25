import json
from collections.abc import Callable
from typing import Any

import pytest

from quarantine.action import Artifact
from quarantine.model import Resource
from quarantine.testing.contract import CaptureContract, Setting
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.ecs_task_capture import EcsTaskCapture
from tests.testbed.proxy import FaultProxy


@pytest.fixture
def setting(cloud: AwsCloud, task: Resource) -> Setting:
    return Setting(EcsTaskCapture(), cloud, task)


class TestEcsTaskCapture(CaptureContract):
    @pytest.fixture
    def setting(self, cloud: AwsCloud, task: Resource) -> Setting:
        return Setting(EcsTaskCapture(), cloud, task)

    @pytest.fixture
    def workload(self, client: Callable[[str], Any], task: Resource) -> Callable[[], object]:
        ecs = client("ecs")
        return lambda: ecs.describe_tasks(cluster="shop", tasks=[task.id], include=["TAGS"])["tasks"]


def test_the_task_its_definition_and_its_service_are_kept(setting: Setting) -> None:
    kept = {artifact.name: json.loads(artifact.content) for artifact in collect(setting)}
    assert list(kept) == ["task.json", "task-definition.json", "service.json"]
    assert kept["task.json"]["tags"] == [{"key": "team", "value": "shop"}]
    assert kept["task-definition.json"]["taskDefinition"]["family"] == "web"
    assert kept["service.json"]["services"][0]["serviceName"] == "web"


def test_the_same_answer_gives_the_same_bytes(setting: Setting) -> None:
    assert [artifact.content for artifact in collect(setting)] == [artifact.content for artifact in collect(setting)]


def test_a_task_without_a_service_needs_no_service(
    setting: Setting, client: Callable[[str], Any], aws: FaultProxy
) -> None:
    ecs = client("ecs")
    task = ecs.describe_tasks(cluster="shop", tasks=[setting.resource.id])["tasks"][0]
    answer = json.dumps({"tasks": [{**task, "group": "family:web"}], "failures": []}, default=str)
    aws.answer("DescribeTasks", 200, {"Content-Type": "application/x-amz-json-1.1"}, answer)
    assert [artifact.name for artifact in collect(setting)] == ["task.json", "task-definition.json"]
    assert aws.recorded("DescribeServices") == []


def collect(setting: Setting) -> list[Artifact]:
    return list(setting.action.collect(setting.cloud, setting.resource))
