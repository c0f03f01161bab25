import json
import math
import sys
import typing
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import azure.mgmt.compute.models
import pytest

from quarantine.action import Mark, Receipt
from quarantine.errors import (
    Conflict,
    Denied,
    Gone,
    ProviderError,
    Throttled,
    Transient,
    Unknown,
    Unreachable,
    Unsupported,
)
from quarantine.testing.contract import CountingGate
from quarantine_azure.arm_id import ArmId, covers, segment
from quarantine_azure.cloud import AzureCloud
from quarantine_azure.codes import coded
from quarantine_azure.isolation import group_body, rules
from quarantine_azure.session import Place, Session
from tests.azure.conftest import SCOPE, Machine, provider
from tests.testbed.arm import GROUP, ROUTES, SUBSCRIPTION, TOKEN, Arm, Request, Style, changes_of
from tests.testbed.arm_network import Body
from tests.testbed.process import free_port
from tests.testbed.proxy import FaultProxy

GROUPS = "Microsoft.Network/networkSecurityGroups"
MACHINES = "Microsoft.Compute/virtualMachines"
ID = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/{GROUPS}/ours"
VM_ID = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/{MACHINES}/web-1"
KEY = "0123456789abcdef0123456789abcdef"
MARK = Mark(installation="test", case="case-7f3a", step=0, key=KEY)
JSON = {"Content-Type": "application/json; charset=utf-8"}


def body(code: str, *details: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": "m", "details": [{"code": detail} for detail in details]}}


def put(cloud: AzureCloud, **conditions: Any) -> Receipt:
    content = group_body("westeurope", MARK, rules(False, False), False, None)
    arguments = {"id": ID, "body": content, **conditions}
    return cloud.through(CountingGate(), MARK).change(f"{GROUPS}/write", f"put {GROUPS}", **arguments)


def look(cloud: AzureCloud) -> Any:
    return cloud.read(f"{GROUPS}/read", f"get {GROUPS}", id=ID)


def look_at_machine(cloud: AzureCloud) -> Any:
    return cloud.read(f"{MACHINES}/read", f"get {MACHINES}", id=VM_ID)


# --- errors by code ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "codes", "read", "change"),
    [
        (429, ["TooManyRequests"], Throttled, Throttled),
        (429, ["SubscriptionRequestsThrottled"], Throttled, Throttled),
        (429, ["RetryableError", "RetryableErrorDueToAnotherOperation"], Transient, Transient),
        (429, ["RetryableError", "ReferencedResourceNotProvisioned"], Transient, Transient),
        (409, ["AnotherOperationInProgress"], Transient, Transient),
        (412, ["PreconditionFailed", "PreconditionFailedEtagMismatch"], Conflict, Conflict),
        (412, ["PreconditionFailed"], Conflict, Conflict),
        (412, ["ConditionNotMet"], Conflict, Conflict),
        (409, ["ScopeLocked"], Unsupported, Unsupported),
        (409, ["SomethingNew"], Conflict, Conflict),
        (400, ["InUseNetworkSecurityGroupCannotBeDeleted"], Conflict, Conflict),
        (403, ["AuthorizationFailed"], Denied, Denied),
        (403, ["LinkedAuthorizationFailed"], Denied, Denied),
        (403, ["DenyAssignmentAuthorizationFailed"], Denied, Denied),
        (403, ["SomethingNew"], Denied, Denied),
        (403, ["RequestDisallowedByPolicy"], Unsupported, Unsupported),
        (404, ["ResourceNotFound"], Gone, Gone),
        (404, ["ResourceGroupNotFound"], Gone, Gone),
        (404, ["SubscriptionNotFound"], Unreachable, Unreachable),
        (404, ["InvalidResourceType"], Unsupported, Unsupported),
        (401, ["ExpiredAuthenticationToken"], Unreachable, Unreachable),
        (401, ["SomethingNew"], Unreachable, Unreachable),
        (400, ["InvalidRequestFormat", "InvalidJson"], Unsupported, Unsupported),
        (409, ["MissingSubscriptionRegistration"], Unsupported, Unsupported),
        (500, ["InternalServerError"], Transient, Unknown),
        (503, ["ServiceUnavailable"], Transient, Unknown),
        (504, ["GatewayTimeout"], Transient, Unknown),
        (408, ["RequestTimeout"], Transient, Unknown),
    ],
)
def test_errors_are_told_apart_by_code(
    status: int, codes: list[str], read: type[ProviderError], change: type[ProviderError]
) -> None:
    assert type(coded(body(*codes), status, "get x", changes=False)) is read
    assert type(coded(body(*codes), status, "put x", changes=True)) is change


@pytest.mark.parametrize("answer", [None, [], {}, {"error": None}, {"error": []}, {"error": {"details": [None, 3]}}, 7])
@pytest.mark.parametrize("status", [301, 400, 404, 409, 429, 500])
def test_any_answer_is_translated(answer: Any, status: int) -> None:
    assert isinstance(coded(answer, status, "get x", changes=False), ProviderError)


def test_the_404_of_something_on_the_way_is_not_gone() -> None:
    assert type(coded(None, 404, "get x", changes=False)) is Unreachable


def test_a_lock_and_a_policy_come_with_the_next_step() -> None:
    assert "az lock list" in str(coded(body("ScopeLocked"), 409, "put x", changes=True))
    assert "policy" in str(coded(body("RequestDisallowedByPolicy"), 403, "put x", changes=True))


# --- over the wire -------------------------------------------------------------------------------------------------


def stub(proxy: Callable[..., FaultProxy]) -> FaultProxy:
    """Nothing is behind it: it answers what a test tells it to."""
    return proxy(f"http://127.0.0.1:{free_port()}")


@pytest.fixture
def broken(proxy: Callable[..., FaultProxy]) -> FaultProxy:
    return stub(proxy)


@pytest.fixture
def hasty(broken: FaultProxy) -> AzureCloud:
    return AzureCloud(SUBSCRIPTION, Session(SUBSCRIPTION, Place(endpoint=broken.url, token="env:ARM_TOKEN"), 0.3))


def every(call: object) -> bool:
    return True


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_change_that_fails_was_one_request(broken: FaultProxy, hasty: AzureCloud, status: int) -> None:
    broken.answer(every, status, {**JSON, "Retry-After": "1"}, json.dumps(body("Whatever")), times=math.inf)
    with pytest.raises(Throttled if status == 429 else Unknown):
        put(hasty)
    assert len(broken.recorded()) == 1


def test_a_read_that_fails_was_one_request_too_since_the_engine_repeats_it(
    broken: FaultProxy, hasty: AzureCloud
) -> None:
    broken.answer(every, 503, JSON, json.dumps(body("Whatever")), times=math.inf)
    for attempt in (look, look_at_machine):
        with pytest.raises(Transient):
            attempt(hasty)
    assert len(broken.recorded()) == 2


def test_a_change_whose_connection_ends_is_unknown(broken: FaultProxy, hasty: AzureCloud) -> None:
    broken.drop(every, times=math.inf)
    with pytest.raises(Unknown):
        put(hasty)
    with pytest.raises(Transient):
        look(hasty)
    assert len(broken.recorded()) == 2


def test_a_change_without_an_answer_in_time_is_unknown(broken: FaultProxy, hasty: AzureCloud) -> None:
    broken.hold(every, times=3)
    with pytest.raises(Unknown):
        put(hasty)
    with pytest.raises(Transient):
        look(hasty)
    with pytest.raises(Transient):
        look_at_machine(hasty)


@pytest.mark.parametrize("answer", ["<html>Please sign in to the hotel's network", "[]", "null", "", '{"cut":'])
def test_what_is_no_resource_manager_is_neither_gone_nor_done(
    broken: FaultProxy, hasty: AzureCloud, answer: str
) -> None:
    broken.answer(every, 200, JSON, answer, times=math.inf)
    for attempt in (look, look_at_machine):
        with pytest.raises(Transient):
            attempt(hasty)


def test_a_redirect_is_not_followed(broken: FaultProxy, hasty: AzureCloud) -> None:
    broken.answer(every, 307, {"Location": f"{broken.url}/elsewhere"}, "", times=math.inf)
    for attempt in (look, put):
        with pytest.raises(ProviderError):
            attempt(hasty)
    assert {call.method for call in broken.recorded()} == {"GET", "PUT"}
    assert len(broken.recorded()) == 2


def test_nothing_that_answers_is_unreachable(arm: Arm) -> None:
    cloud = provider(f"http://127.0.0.1:{free_port()}").connect(SCOPE)
    for attempt in (look, put, look_at_machine):
        with pytest.raises(Unreachable, match=r"providers\.azure\.endpoint_url"):
            attempt(cloud)


def test_a_token_that_is_not_accepted_is_unreachable(arm: Arm, machine: Machine) -> None:
    arm.token = "another"
    cloud = provider(arm.url).connect(SCOPE)
    for attempt in (look, put, look_at_machine):
        with pytest.raises(Unreachable, match="quarantine doctor"):
            attempt(cloud)


def test_a_token_that_is_not_there_is_unreachable(arm: Arm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARM_TOKEN")
    with pytest.raises(Unreachable, match="env:ARM_TOKEN"):
        look(provider(arm.url).connect(SCOPE))
    assert arm.requests == []


def test_a_token_may_be_in_a_file(arm: Arm, machine: Machine, tmp_path: Any) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    cloud = provider(arm.url, token=f"file:{tmp_path / 'token'}").connect(SCOPE)
    assert cloud.identity().account == SUBSCRIPTION


def test_a_change_needs_a_mark(cloud: AzureCloud) -> None:
    with pytest.raises(PermissionError):
        cloud.change(f"{GROUPS}/write", f"put {GROUPS}", id=ID, body={})


@pytest.mark.parametrize(
    "call", [f"put {GROUPS}", f"delete {GROUPS}", "post x", f"patch {GROUPS}", "getaway", "", "GET x", "lists x"]
)
def test_everything_but_get_and_list_is_a_change(cloud: AzureCloud, call: str) -> None:
    assert not cloud.reads(call)
    with pytest.raises(PermissionError):
        cloud.read("x", call, id=ID)


def test_a_denial_names_the_permission(arm: Arm, machine: Machine, cloud: AzureCloud) -> None:
    arm.granted = []
    with pytest.raises(Denied, match=rf"our identity needs {GROUPS}/write: grant"):
        put(cloud)


def test_a_machine_is_read_raw(machine: Machine, cloud: AzureCloud) -> None:
    """What the SDK's model does not know is not lost on the way."""
    vm = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/{MACHINES}/Web-1"
    machine.arm.alter(vm, lambda it: it["properties"].update(somethingNewOf2027={"a": [1]}))
    assert look_at_machine(cloud) == machine.arm.read(vm)


def test_a_change_carries_the_intents_key_for_the_activity_log(machine: Machine, cloud: AzureCloud) -> None:
    put(cloud)
    (request,) = [request for request in machine.arm.requests if request.changes]
    assert request.headers["x-ms-client-request-id"] == "01234567-89ab-cdef-0123-456789abcdef"


def test_conditions_are_sent(machine: Machine, cloud: AzureCloud) -> None:
    put(cloud, only_new=True)
    machine.arm.finish()
    with pytest.raises(Conflict):
        put(cloud, only_new=True)
    with pytest.raises(Conflict):
        put(cloud, etag='W/"another"')


def test_the_next_page_of_a_list_is_only_fetched_from_arm(broken: FaultProxy, hasty: AzureCloud) -> None:
    page = {"value": [{"id": "a"}], "nextLink": "http://169.254.169.254/metadata"}
    broken.answer(every, 200, JSON, json.dumps(page), times=math.inf)
    with pytest.raises(Unsupported, match="not fetched"):
        hasty.read("x", "list Microsoft.Authorization/locks", id=f"/subscriptions/{SUBSCRIPTION}")
    assert len(broken.recorded()) == 1


# --- operations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", [Style.ASYNC, Style.LOCATION, Style.BOTH])
def test_an_operation_runs_until_it_has_ended(arm: Arm, machine: Machine, cloud: AzureCloud, style: Style) -> None:
    arm.put_style, arm.polls = style, 2
    operation = put(cloud).operation
    assert operation is not None
    assert ("operationResults" in operation) == (style is Style.LOCATION)
    assert [cloud.running(operation) for _ in range(4)] == [True, True, False, False]


@pytest.mark.parametrize("style", [Style.LOCATION, Style.ASYNC])
def test_the_operation_of_a_deletion(arm: Arm, machine: Machine, cloud: AzureCloud, style: Style) -> None:
    arm.put_style, arm.delete_style, arm.polls = Style.AT_ONCE, style, 1
    put(cloud)
    changing = cloud.through(CountingGate(), MARK)
    operation = changing.change(f"{GROUPS}/delete", f"delete {GROUPS}", id=ID).operation
    assert operation is not None
    assert [cloud.running(operation) for _ in range(2)] == [True, False]
    assert arm.groups() == ["Web-NSG"]


@pytest.mark.parametrize("style", [Style.ASYNC, Style.LOCATION])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("AuthorizationFailed", Denied),
        ("RequestDisallowedByPolicy", Unsupported),
        ("PreconditionFailed", Conflict),
        ("CanceledAndSupersededDueToAnotherOperation", Conflict),
    ],
)
def test_an_operation_that_failed_raises_why(
    arm: Arm, machine: Machine, cloud: AzureCloud, style: Style, code: str, expected: type[ProviderError]
) -> None:
    arm.put_style = style
    arm.fail_next(code, "it did not work")
    operation = put(cloud).operation
    assert operation is not None
    with pytest.raises(expected, match="it did not work"):
        cloud.running(operation)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"status": "Failed"}, Unknown),
        ({"status": "Failed", "error": {"code": "InternalServerError"}}, Unknown),
        ({"status": "failed", "error": {"code": "RetryableError"}}, Conflict),
        ({"status": "Canceled"}, Conflict),
        ({"status": "Failed", "error": "text"}, Unknown),
    ],
)
def test_other_ends_of_an_operation(
    broken: FaultProxy, hasty: AzureCloud, answer: dict[str, Any], expected: type[ProviderError]
) -> None:
    broken.answer(every, 200, JSON, json.dumps(answer))
    with pytest.raises(expected):
        hasty.running(f"{broken.url}/operations/1")


@pytest.mark.parametrize("status", ["InProgress", "Updating", "Accepted", "Running", "SomethingNew"])
def test_every_other_status_is_still_running(broken: FaultProxy, hasty: AzureCloud, status: str) -> None:
    broken.answer(every, 200, JSON, json.dumps({"status": status}))
    assert hasty.running(f"{broken.url}/operations/1") is True


def test_an_operation_that_nobody_knows_any_more_does_not_run(arm: Arm, machine: Machine, cloud: AzureCloud) -> None:
    operation = put(cloud).operation
    arm.forget_operations()
    assert operation is not None and cloud.running(operation) is False


def test_a_gateway_that_times_out_says_nothing_about_the_operation(broken: FaultProxy, hasty: AzureCloud) -> None:
    broken.answer(every, 504, JSON, json.dumps(body("GatewayTimeout")))
    with pytest.raises(Transient):
        hasty.running(f"{broken.url}/operations/1")


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/metadata/identity", "https://evil.example/op", "file:///etc/passwd", "", "/x"]
)
def test_only_urls_of_the_configured_resource_manager_are_fetched(
    arm: Arm, machine: Machine, cloud: AzureCloud, url: str
) -> None:
    with pytest.raises(Unsupported, match="not fetched"):
        cloud.running(url)
    assert arm.requests == []


def test_the_url_of_another_host_is_not_recorded_either(broken: FaultProxy, hasty: AzureCloud) -> None:
    headers = {**JSON, "Azure-AsyncOperation": "https://evil.example/op", "x-ms-request-id": "r"}
    broken.answer(every, 201, headers, json.dumps({"properties": {"provisioningState": "Updating"}}))
    receipt = put(hasty)
    assert (receipt.id, receipt.operation) == ("r", None)


def test_to_ask_about_operations_takes_permissions_of_its_own(broken: FaultProxy, hasty: AzureCloud) -> None:
    broken.answer(every, 403, JSON, json.dumps(body("AuthorizationFailed")), times=2)
    for where in ("operations", "operationResults"):
        with pytest.raises(Denied, match=rf"our identity needs Microsoft\.Network/locations/{where}/read"):
            hasty.running(f"{broken.url}/subscriptions/x/providers/Microsoft.Network/locations/y/{where}/1")


# --- ids -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "type_", "name", "below"),
    [
        (VM_ID, "microsoft.compute/virtualmachines", "web-1", ""),
        (VM_ID.upper() + "/", "microsoft.compute/virtualmachines", "web-1", ""),
        (
            f"/subscriptions/{SUBSCRIPTION}/resourceGroups/g/providers/Microsoft.Compute/virtualMachineScaleSets/s/vms/3",
            "microsoft.compute/virtualmachinescalesets",
            "s",
            "/vms/3",
        ),
        (f"/subscriptions/{SUBSCRIPTION}", "", "", ""),
    ],
)
def test_an_id_is_taken_apart(text: str, type_: str, name: str, below: str) -> None:
    found = ArmId.parse(text)
    assert found is not None
    assert (found.type, found.name, found.below) == (type_, name, below)
    assert found.subscription == SUBSCRIPTION


@pytest.mark.parametrize(
    "text",
    ["", "/", "web-1", "/subscriptions/x", f"/subscriptions/{SUBSCRIPTION}/resourceGroups/../providers/a/b/c",
     VM_ID + "?x=1", VM_ID + "#x", VM_ID + "\n/x/y", VM_ID.replace("web-1", "a b"), VM_ID + "/half", "//" + VM_ID],
)  # fmt: skip
def test_what_is_no_id_is_none(text: str) -> None:
    assert ArmId.parse(text) is None


def test_a_scope_covers_what_is_below_it_and_no_namesake() -> None:
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
    assert covers(group, ID) and covers(group.upper() + "/", ID) and covers(ID, ID)
    assert not covers(group + "-2", ID) and not covers(group[:-1], ID) and not covers(ID, group)
    assert segment("Web_1.(x)-2") and not segment("..") and not segment("a%2fb")


# --- the fake itself -----------------------------------------------------------------------------------------------


def test_requests_that_the_real_one_refuses_are_refused(arm: Arm, machine: Machine, cloud: AzureCloud) -> None:
    nic = machine.arm.read(machine.first)
    kind = "Microsoft.Network/networkInterfaces"
    changing = cloud.through(CountingGate(), MARK)

    def refused(change: Callable[[Body], object], code: str, error: type[ProviderError] = Unsupported) -> None:
        altered = json.loads(json.dumps(nic))
        change(altered)
        with pytest.raises(error, match=code):
            changing.change(f"{kind}/write", f"put {kind}", id=machine.first, body=altered)

    refused(lambda it: it["properties"].update(networkSecurityGrp={}), "InvalidRequestFormat/InvalidJson")
    refused(lambda it: it.update(propertys={}), "InvalidRequestFormat/InvalidJson")
    refused(lambda it: it.pop("location"), "LocationRequired")
    refused(lambda it: it.update(location="eastus"), "InvalidResourceLocation", Conflict)
    refused(lambda it: it["properties"].update(ipConfigurations=[]), "InvalidRequestFormat")
    refused(lambda it: it["properties"].update(networkSecurityGroup={"id": ID}), "InvalidResourceReference", Conflict)
    refused(lambda it: it["properties"].update(provisioningState="Failed"), "InvalidRequestContent")
    refused(lambda it: it["tags"].update({"a/b": "c"}), "InvalidTagNameCharacters")
    assert arm.read(machine.first) == nic


def test_a_put_replaces_the_whole_and_drops_what_it_leaves_out(machine: Machine, cloud: AzureCloud) -> None:
    """The trap that playbooks fall into which build an interface's body by hand."""
    nic = machine.arm.read(machine.first)
    del nic["properties"]["ipConfigurations"][1], nic["properties"]["dnsSettings"]
    kind = "Microsoft.Network/networkInterfaces"
    cloud.through(CountingGate(), MARK).change(f"{kind}/write", f"put {kind}", id=machine.first, body=nic)
    now = machine.arm.read(machine.first)["properties"]
    assert len(now["ipConfigurations"]) == 1 and "dnsSettings" not in now


def test_a_resource_with_an_operation_on_it_is_busy(arm: Arm, machine: Machine, cloud: AzureCloud) -> None:
    arm.polls = math.inf
    put(cloud)
    with pytest.raises(Transient, match="RetryableErrorDueToAnotherOperation"):
        put(cloud)


def test_a_group_that_is_not_provisioned_cannot_be_referred_to(arm: Arm, machine: Machine, cloud: AzureCloud) -> None:
    arm.polls = math.inf
    put(cloud)
    nic = machine.arm.read(machine.first)
    nic["properties"]["networkSecurityGroup"] = {"id": ID}
    kind = "Microsoft.Network/networkInterfaces"
    with pytest.raises(Transient, match="ReferencedResourceNotProvisioned"):
        cloud.through(CountingGate(), MARK).change(f"{kind}/write", f"put {kind}", id=machine.first, body=nic)


@pytest.mark.parametrize("after", [False, True])
def test_an_answer_is_lost_before_or_after_the_effect(
    arm: Arm, machine: Machine, cloud: AzureCloud, after: bool
) -> None:
    arm.lose(changes_of("networkSecurityGroups"), after_the_effect=after)
    with pytest.raises(Unknown):
        put(cloud)
    assert ("ours" in arm.groups()) == after


def test_the_machines_and_interfaces_of_the_fake_are_such_as_the_sdk_knows(machine: Machine) -> None:
    """Every field by its name on the wire; the two that real interfaces have and no SDK knows are ours to keep."""
    vm = machine.arm.read(f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/{MACHINES}/Web-1")
    assert unknown(azure.mgmt.compute.models.VirtualMachine, vm) == []
    vm["properties"]["networkProfil"] = {}
    assert unknown(azure.mgmt.compute.models.VirtualMachine, vm) == ["properties.networkProfil"]


def unknown(model: Any, value: dict[str, Any], path: str = "") -> list[str]:
    """Fields that the SDK's model does not have."""
    model()  # fills its table of fields
    known = {field._rest_name: name for name, field in model._attr_to_rest_field.items()}
    names = {**vars(sys.modules[model.__module__]), "_models": azure.mgmt.compute.models}
    hints = typing.get_type_hints(model, names)
    found = []
    for key, item in value.items():
        if key not in known:
            found.append(f"{path}{key}")
            continue
        inner = next((arg for arg in (hints[known[key]], *typing.get_args(hints[known[key]])) if is_model(arg)), None)
        if inner is not None and isinstance(item, dict):
            found += unknown(inner, item, f"{path}{key}.")
    return found


def is_model(hint: Any) -> bool:
    return isinstance(hint, type) and hasattr(hint, "_attr_to_rest_field")


def test_a_body_with_what_the_sdk_does_not_know_or_only_the_server_writes_is_refused(
    arm: Arm, cloud: AzureCloud
) -> None:
    account = arm.make_account("shopdata")
    before = arm.read(account)
    changing = cloud.through(CountingGate(), MARK)
    kind = "Microsoft.Storage/storageAccounts"
    for properties in ({"allowBlobPublicAcess": False}, {"creationTime": "2026-11-01T00:00:00Z"}):
        with pytest.raises(Unsupported, match="Not a member that can be written"):
            changing.change(f"{kind}/write", f"patch {kind}", id=account, body={"properties": properties})
    assert arm.read(account) == before


def test_an_answer_of_the_fake_that_the_sdk_does_not_know_fails_the_test(arm: Arm, cloud: AzureCloud) -> None:
    (route,) = [it for it in ROUTES if it.method == "PATCH" and it.path.endswith("storageaccounts/[^/]+")]
    body = arm.read(arm.make_account("shopdata"))
    route.check_answered(body)
    body["properties"]["networkAcls"]["byPass"] = "None"
    with pytest.raises(AssertionError, match=r"properties\.networkAcls\.byPass"):
        route.check_answered(body)


def test_requests_without_token_or_version_are_refused(arm: Arm) -> None:
    status, _, _ = raw(arm, Request("GET", ID, {}, {}, None))
    assert status == 401
    status, answer, _ = raw(arm, Request("GET", ID, {}, {"authorization": f"Bearer {TOKEN}"}, None))
    assert (status, answer["error"]["code"]) == (400, "MissingApiVersionParameter")


def raw(arm: Arm, request: Request) -> tuple[int, Any, Any]:
    sent = urllib.request.Request(f"{arm.url}{request.path}", headers=dict(request.headers), method=request.method)
    try:
        with urllib.request.urlopen(sent, timeout=10) as response:
            return response.status, json.loads(response.read()), response.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read()), error.headers
