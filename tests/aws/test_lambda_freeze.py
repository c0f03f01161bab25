import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from quarantine.action import reached
from quarantine.errors import Gone, Pending
from quarantine.model import Resource
from quarantine.testing.contract import CountingGate, Setting, Stranger
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.freeze import Freeze
from quarantine_aws.lambda_freeze import LambdaFreeze, Mappings
from tests.aws.conftest import SCOPE, provider
from tests.aws.faults import AwsContract, changes
from tests.testbed.ec2 import TRUST
from tests.testbed.proxy import FaultProxy

NAME = "resize"
Client = Callable[[str], Any]


class Function:
    """One that a queue and, by an alias, a second one bring messages to; a third mapping is switched off."""

    def __init__(self, client: Client) -> None:
        self.api: Any = client("lambda")
        role = client("iam").create_role(RoleName="resize", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("main.py", "def handler(event, context): pass\n")
        for name in (NAME, f"{NAME}-other"):
            self.api.create_function(
                FunctionName=name, Runtime="python3.12", Role=role, Handler="main.handler",
                Code={"ZipFile": code.getvalue()}, Tags={"team": "shop"},
            )  # fmt: skip
        self.sqs: Any = client("sqs")
        self.arn = self.api.get_function(FunctionName=NAME)["Configuration"]["FunctionArn"]
        self.on, self.off = self.map("orders"), self.map("returns", enabled=False)
        self.map("unrelated", function=f"{NAME}-other")

    def map(self, queue: str, *, enabled: bool = True, function: str = NAME) -> str:
        url = self.sqs.create_queue(QueueName=queue)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        made = self.api.create_event_source_mapping(EventSourceArn=arn, FunctionName=function, Enabled=enabled)
        return str(made["UUID"])

    def reserve(self, executions: int) -> None:
        self.api.put_function_concurrency(FunctionName=NAME, ReservedConcurrentExecutions=executions)

    def image(self) -> bytes:
        """What a release must give back, the absence of a reservation included."""
        reserved = self.api.get_function_concurrency(FunctionName=NAME)
        del reserved["ResponseMetadata"]
        mappings = self.api.list_event_source_mappings()["EventSourceMappings"]
        states = sorted((mapping["UUID"], mapping["State"]) for mapping in mappings)
        return json.dumps([reserved, states], sort_keys=True).encode()


@pytest.fixture
def function(client: Client, aws: FaultProxy) -> Function:
    return Function(client)


def made(cloud: AwsCloud, **settings: Any) -> Setting:
    return Setting(LambdaFreeze(**settings), cloud, Resource(kind="aws:lambda-function", id=NAME, scope=SCOPE))


@pytest.fixture
def setting(cloud: AwsCloud, function: Function) -> Setting:
    return made(cloud)


def observed(setting: Setting) -> Freeze:
    state = setting.observe()
    assert isinstance(state, Freeze)
    return state


class TestFromNoReservation(AwsContract):
    @pytest.fixture
    def setting(self, cloud: AwsCloud, function: Function) -> Setting:
        return made(cloud)

    @pytest.fixture
    def stranger(self, function: Function) -> Stranger:
        return lambda: function.reserve(5)

    def test_permissions_used_are_those_declared(self, setting: Setting) -> None:
        """From no reservation and from one: what gives back the one is not what gives back the other."""
        self.whole_life(setting)
        setting.apply(observed(setting).model_copy(update={"concurrency": 7}))
        assert {call.permission for call in setting.used} == set(setting.action.permissions())


@pytest.mark.parametrize("reserved", [None, 7])
def test_nothing_reserved_comes_back_as_nothing_and_a_number_as_that_number(
    setting: Setting, function: Function, reserved: int | None
) -> None:
    if reserved is not None:
        function.reserve(reserved)
    image, before = function.image(), observed(setting)
    assert before.concurrency == reserved
    target = setting.action.contained(before)
    setting.apply(target)
    assert observed(setting) == target.model_copy(update={"url": ""})
    assert target.concurrency == 0 and target.mappings == {function.on: False, function.off: False}
    setting.apply(before)
    assert function.image() == image


def test_it_is_stopped_first_and_only_what_was_on_is_switched(
    setting: Setting, function: Function, aws: FaultProxy
) -> None:
    before = observed(setting)
    setting.apply(setting.target(before))
    assert [call.operation for call in changes(aws)] == ["PutFunctionConcurrency", "UpdateEventSourceMapping"]
    (change,) = aws.recorded("UpdateEventSourceMapping")
    assert change.path.endswith(function.on) and change.json == {"Enabled": False}


def test_mappings_stay_where_that_is_wanted(cloud: AwsCloud, function: Function, aws: FaultProxy) -> None:
    setting = made(cloud, mappings=Mappings.KEEP)
    before = observed(setting)
    setting.apply(setting.target(before))
    assert observed(setting).mappings == before.mappings and observed(setting).concurrency == 0
    assert aws.recorded("UpdateEventSourceMapping") == []
    assert "lambda:UpdateEventSourceMapping" not in setting.action.permissions()
    assert "mappings-go-on" in {caveat.id for caveat in setting.action.caveats(before)}


def listed(function: Function, state: str) -> str:
    mapping = {"UUID": function.on, "State": state, "FunctionArn": f"{function.arn}:live"}
    return json.dumps({"EventSourceMappings": [mapping]})


def test_a_mapping_that_is_still_stopping_is_not_taken_for_stopped(
    setting: Setting, function: Function, aws: FaultProxy
) -> None:
    target = setting.action.contained(observed(setting))
    del target.mappings[function.off]
    setting.apply(target)
    aws.answer("ListEventSourceMappings", 200, {"Content-Type": "application/json"}, listed(function, "Disabling"))
    now = observed(setting)
    assert now.mappings == {function.on: False} and now.moving == (function.on,)
    assert not reached(now, target), "the mapping of an alias is its own, too"
    aws.answer("ListEventSourceMappings", 200, {"Content-Type": "application/json"}, listed(function, "Disabled"))
    assert reached(observed(setting), target)


@pytest.mark.parametrize("state", ["Enabling", "Updating", "Creating"])
def test_a_mapping_on_its_way_is_waited_for_after_the_function_was_stopped(
    setting: Setting, function: Function, aws: FaultProxy, state: str
) -> None:
    aws.answer("ListEventSourceMappings", 200, {"Content-Type": "application/json"}, listed(function, state))
    now = observed(setting)
    assert now.mappings == {function.on: True}
    with pytest.raises(Pending, match=function.on):
        setting.action.apply(
            setting.cloud.through(CountingGate(), setting.mark), setting.resource, now, setting.action.contained(now)
        )
    assert [call.operation for call in changes(aws)] == ["PutFunctionConcurrency"]
    assert setting.action.ours(now, setting.action.contained(now))
    assert now.moving == (function.on,) and setting.action.contained(now).moving == (), "or it is never verified"


def test_a_mapping_that_somebody_deleted_is_no_obstacle(setting: Setting, function: Function) -> None:
    before = observed(setting)
    setting.apply(setting.target(before))
    function.api.delete_event_source_mapping(UUID=function.on)
    setting.apply(before)
    assert observed(setting).concurrency is None and function.on not in observed(setting).mappings


def test_every_page_of_mappings_is_read(setting: Setting, function: Function, aws: FaultProxy) -> None:
    first = json.loads(listed(function, "Enabled")) | {"NextMarker": "more"}
    aws.answer("ListEventSourceMappings", 200, {"Content-Type": "application/json"}, json.dumps(first))
    assert set(observed(setting).mappings) == {function.on, function.off}
    assert aws.recorded("ListEventSourceMappings")[-1].query["Marker"] == "more"


@pytest.mark.parametrize(("auth", "who"), [("NONE", "anybody"), ("AWS_IAM", "whoever IAM lets")])
def test_what_stays_possible_is_said(setting: Setting, function: Function, auth: str, who: str) -> None:
    always = {"running-executions", "asynchronous-events", "credentials-stay-valid", "account-limit"}
    assert {caveat.id for caveat in setting.action.caveats(observed(setting))} == always
    function.api.create_function_url_config(FunctionName=NAME, AuthType=auth)
    said = {caveat.id: caveat.text for caveat in setting.action.caveats(observed(setting))}
    assert set(said) == always | {"function-url"} and who in said["function-url"]


def test_it_is_resolved_and_gone_when_it_is_not_there(
    cloud: AwsCloud, setting: Setting, function: Function, aws: FaultProxy
) -> None:
    found, tags = provider(aws.url).resolve(cloud, setting.resource)
    assert (found.uid, tags) == (function.arn, {"team": "shop"})
    function.api.delete_function(FunctionName=NAME)
    with pytest.raises(Gone):
        provider(aws.url).resolve(cloud, setting.resource)
    with pytest.raises(Gone):
        setting.action.observe(cloud, setting.resource)
