import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quarantine.action import Check, Needs, Verdict
from quarantine.errors import Denied, Gone, Missing, Misused, NotFound, Unreachable, Unsupported
from quarantine.model import Resource
from quarantine_azure.cloud import AzureCloud
from quarantine_azure.permissions import allowed
from quarantine_azure.provider import Azure, AzureSettings
from quarantine_azure.session import PLACES, Session
from quarantine_azure.storage_block_public import StorageBlockPublic
from tests.azure.conftest import SCOPE, Machine, provider
from tests.testbed.arm import GROUP, OBJECT_ID, SUBSCRIPTION, Arm
from tests.testbed.process import free_port

OTHER = "11111111-2222-3333-4444-555555555555"


@pytest.mark.parametrize("module", ["quarantine_azure", "quarantine_azure.vm_isolate", "quarantine_azure.findings"])
def test_importing_it_imports_no_sdk(module: str) -> None:
    program = f"import sys, {module}; print({{'azure', 'requests', 'urllib3'}} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "set()"


def test_making_and_connecting_it_opens_nothing() -> None:
    program = (
        "import sys; from quarantine_azure.provider import Azure, AzureSettings;"
        f"Azure(AzureSettings.model_validate({{'subscriptions': {{'{SUBSCRIPTION}': {{}}}}}}))"
        f".connect('{SUBSCRIPTION}/web'); print('azure.core' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "False"


# --- settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id_", ["", "web", OTHER[:-1], OTHER + "0", OTHER.replace("-", ""), 12])
def test_a_subscription_id_is_a_guid(id_: object) -> None:
    with pytest.raises(ValidationError):
        AzureSettings.model_validate({"subscriptions": {id_: {}}})


@pytest.mark.parametrize(
    "settings",
    [
        {"token": "env:TOKEN"},
        {"endpoint_url": "http://127.0.0.1:5000"},
        {"endpoint_url": "http://arm.example", "token": "env:TOKEN"},
        {"endpoint_url": "http://10.0.0.1:80", "token": "env:TOKEN"},
        {"endpoint_url": "http://127.0.0.1.evil.example", "token": "env:TOKEN"},
        {"endpoint_url": "http://127.0.0.1:5000", "token": "eyJ0eXAiOiJKV1Qi"},
        {"endpoint_url": "localhost:5000"},
        {"endpoint_url": "ftp://a"},
        {"endpoint_url": "http://a b"},
        {"cloud": "germany"},
        {"subscription": {}},
        {"subscriptions": {OTHER: {"resource_groups": ["a/b"]}}},
        {"subscriptions": {OTHER: {"resource_groups": [".."]}}},
    ],
)
def test_settings_that_cannot_work_or_would_leak_a_token_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AzureSettings.model_validate(settings)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"cloud": "us-government"},
        {"endpoint_url": "https://management.local.azurestack.external/"},
        {"endpoint_url": "http://127.0.0.1:5000", "token": "env:TOKEN"},
        {"endpoint_url": "http://[::1]:5000", "token": "file:/run/token"},
        {"endpoint_url": "http://localhost:5000", "token": "env:TOKEN"},
    ],
)
def test_settings_that_work(settings: dict[str, Any]) -> None:
    AzureSettings.model_validate(settings)


def test_every_setting_is_described() -> None:
    schema = AzureSettings.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        assert all("description" in field for field in model["properties"].values())


def test_a_clouds_token_is_for_its_own_audience() -> None:
    assert AzureSettings().place == PLACES["public"]
    government = AzureSettings.model_validate({"cloud": "us-government"}).place
    assert "management.core.usgovcloudapi.net" in government.scope and "core" not in government.endpoint


def test_the_clouds_are_those_of_the_sdk() -> None:
    from azure.core import AzureClouds
    from azure.identity import AzureAuthorityHosts
    from azure.mgmt.core.tools import get_arm_endpoints

    clouds = {
        "public": (AzureClouds.AZURE_PUBLIC_CLOUD, None),
        "china": (AzureClouds.AZURE_CHINA_CLOUD, AzureAuthorityHosts.AZURE_CHINA),
        "us-government": (AzureClouds.AZURE_US_GOVERNMENT, AzureAuthorityHosts.AZURE_GOVERNMENT),
    }
    assert clouds.keys() == PLACES.keys()
    for name, (cloud, authority) in clouds.items():
        endpoints = get_arm_endpoints(cloud)
        assert PLACES[name].endpoint == endpoints["resource_manager"].rstrip("/")
        assert [PLACES[name].scope] == endpoints["credential_scopes"]
        assert PLACES[name].authority == authority


def test_scopes_are_subscriptions_or_their_resource_groups() -> None:
    settings = {"subscriptions": {SUBSCRIPTION.upper(): {"resource_groups": ["Web", "Data"]}, OTHER: {}}}
    azure = Azure(AzureSettings.model_validate(settings))
    assert azure.scopes() == (f"{SUBSCRIPTION}/web", f"{SUBSCRIPTION}/data", OTHER)
    assert azure.connect(f"{OTHER}/any") is azure.connect(OTHER)
    assert azure.connect(f"{SUBSCRIPTION}/WEB").subscription == SUBSCRIPTION


@pytest.mark.parametrize("scope", [f"{OTHER}/{GROUP}", "", f"{SUBSCRIPTION}/elsewhere"])
def test_a_scope_that_is_not_configured_is_not_connected(scope: str) -> None:
    with pytest.raises(NotFound, match=SCOPE):
        provider("http://127.0.0.1:1", subscription={"resource_groups": [GROUP]}).connect(scope)


def test_the_names_of_all_it_can_do() -> None:
    assert {action.name for action in Azure.actions} == {
        "azure:vm-isolate",
        "azure:storage-block-public",
        "azure:container-block-public",
        "azure:storage-credentials",
        "azure:nsg-close-rule",
        "azure:vm-stop",
    }
    assert set(Azure.parsers) == {"azure:defender-alert", "azure:defender-assessment", "azure:common-alert"}


# --- credentials ---------------------------------------------------------------------------------------------------


def test_without_a_token_the_chain_of_the_sdk_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """One kind is named, so that nothing of this machine takes part. It has no settings: nothing can be sent."""
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    cloud = AzureCloud(SUBSCRIPTION, Session(SUBSCRIPTION, PLACES["public"]))
    with pytest.raises(Unreachable, match="quarantine doctor"):
        cloud.identity()


def test_a_missing_package_comes_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    cloud = AzureCloud(SUBSCRIPTION, Session(SUBSCRIPTION, PLACES["public"]))
    with pytest.raises(Missing, match=r'pip install "cloud-quarantine\[azure\]"'):
        cloud.identity()


# --- identity, resolve ---------------------------------------------------------------------------------------------


def test_the_subscription_that_answers_is_the_account_and_the_token_says_who_we_are(
    arm: Arm, cloud: AzureCloud
) -> None:
    identity = provider(arm.url).identity(cloud)
    assert identity.account == SUBSCRIPTION
    assert identity.principal == f"cloud-quarantine-app {OBJECT_ID}"


def test_another_subscription_is_another_account(arm: Arm) -> None:
    whole = {"subscriptions": {OTHER: {}}, "endpoint_url": arm.url, "token": "env:ARM_TOKEN"}
    azure = Azure(AzureSettings.model_validate(whole))
    with pytest.raises(Unreachable, match="SubscriptionNotFound"):
        azure.identity(azure.connect(OTHER))


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "a.bnVsbA.c", "..", "a.W10.c"])
def test_a_token_that_says_nothing_is_an_unknown_principal(
    arm: Arm, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    arm.token = token
    monkeypatch.setenv("ARM_TOKEN", token)
    azure = provider(arm.url)
    assert azure.identity(azure.connect(SCOPE)).principal == "unknown"


def test_a_machine_is_resolved_to_its_vm_id_and_tags(machine: Machine, cloud: AzureCloud) -> None:
    azure = provider(machine.arm.url)
    asked = machine.resource.model_copy(update={"uid": None, "id": "WEB-1", "scope": SCOPE.upper()})
    found, tags = azure.resolve(cloud, asked)
    assert found == machine.resource
    assert tags == {"team": "shop"}


def test_another_machine_of_that_name_is_gone(machine: Machine, cloud: AzureCloud) -> None:
    with pytest.raises(Gone, match="another machine has this name now"):
        provider(machine.arm.url).resolve(cloud, machine.resource.model_copy(update={"uid": "x"}))


def test_an_account_is_resolved_to_the_time_it_was_made_and_a_container_to_its_name(
    arm: Arm, cloud: AzureCloud
) -> None:
    arm.make_container(arm.make_account("shopdata"), "images")
    azure = provider(arm.url)
    found, tags = azure.resolve(cloud, Resource(kind="azure:storage-account", id="ShopData", scope=SCOPE))
    assert (found.id, found.uid, tags) == ("shopdata", "2026-03-02T10:11:12.1314151Z", {"team": "shop"})
    found, tags = azure.resolve(cloud, Resource(kind="azure:blob-container", id="shopdata/Images", scope=SCOPE))
    assert (found.id, found.uid, tags) == ("shopdata/images", None, {})


def test_other_resources_are_not_resolved(machine: Machine, cloud: AzureCloud) -> None:
    with pytest.raises(Unsupported, match="azure:resource"):
        provider(machine.arm.url).resolve(cloud, Resource(kind="azure:resource", id="x", scope=SCOPE))


# --- doctor --------------------------------------------------------------------------------------------------------

NEEDED = tuple(dict.fromkeys(permission for action in Azure.actions for permission in action().permissions()))


def by_subject(azure: Azure) -> dict[str, Check]:
    return {check.subject: check for check in azure.doctor()}


def test_the_doctor_is_content(arm: Arm) -> None:
    checks = by_subject(provider(arm.url))
    assert {check.verdict for check in checks.values()} == {Verdict.OK}
    assert OBJECT_ID in checks[f"azure {SUBSCRIPTION}"].message


def test_the_doctor_names_every_permission_that_is_missing(arm: Arm) -> None:
    arm.granted = [{"actions": ["*/read"], "notActions": []}]
    missing = {subject.rpartition(" ")[2] for subject, it in by_subject(provider(arm.url)).items() if it.fix}
    assert missing == {permission for permission in NEEDED if not permission.endswith("/read")}


@pytest.mark.parametrize("permission", NEEDED)
def test_the_doctor_names_the_one_permission_that_is_missing(arm: Arm, permission: str) -> None:
    arm.granted = [{"actions": ["*"], "notActions": [permission.upper()]}]
    (check,) = [check for check in provider(arm.url).doctor() if check.verdict is not Verdict.OK]
    assert check.subject == f"azure {SUBSCRIPTION} {permission}" and check.verdict is Verdict.WARN


def test_the_doctor_asks_about_each_resource_group_where_some_are_named(arm: Arm) -> None:
    checks = by_subject(provider(arm.url, subscription={"resource_groups": [GROUP, "Data"]}))
    assert f"azure {SCOPE} permissions" in checks and f"azure {SUBSCRIPTION}/data permissions" in checks


def test_the_doctor_says_that_permissions_cannot_be_asked(arm: Arm) -> None:
    arm.granted = [{"actions": ["Microsoft.Resources/subscriptions/read"], "notActions": []}]
    check = by_subject(provider(arm.url))[f"azure {SUBSCRIPTION} permissions"]
    assert check.verdict is Verdict.WARN and "Reader" in check.fix


def test_the_doctor_sends_nothing_but_questions(arm: Arm) -> None:
    list(provider(arm.url).doctor())
    assert {request.method for request in arm.requests} == {"GET"}


def test_the_doctor_sees_that_nothing_answers_and_that_the_token_is_not_taken(arm: Arm) -> None:
    for azure in (provider(f"http://127.0.0.1:{free_port()}"), provider(arm.url)):
        arm.token = "another"
        (check,) = azure.doctor()
        assert check.verdict is Verdict.FAIL and check.fix


def test_the_doctor_sees_that_there_are_no_rights_at_all(arm: Arm) -> None:
    arm.granted = []
    (check,) = provider(arm.url).doctor()
    assert check.verdict is Verdict.FAIL and "Microsoft.Resources/subscriptions/read" in check.message


def test_the_doctor_says_when_there_is_nothing_to_look_at() -> None:
    (check,) = Azure(AzureSettings()).doctor()
    assert check.verdict is Verdict.WARN


@pytest.mark.parametrize(("chosen", "verdict"), [("", Verdict.WARN), ("prod", Verdict.OK)])
def test_the_doctor_warns_of_the_open_chain_of_credentials(
    monkeypatch: pytest.MonkeyPatch, chosen: str, verdict: Verdict
) -> None:
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", chosen)
    azure = Azure(AzureSettings.model_validate({"subscriptions": {OTHER: {}}}))
    assert next(iter(azure.doctor())).verdict is verdict


def test_a_denied_identity_is_an_error(arm: Arm, cloud: AzureCloud) -> None:
    arm.granted = []
    with pytest.raises(Denied):
        cloud.identity()


def test_the_role_grants_exactly_what_is_needed_in_the_configured_scopes() -> None:
    azure = provider("http://127.0.0.1:1", subscription={"resource_groups": [GROUP]})
    needs = Needs(permissions=dict.fromkeys(StorageBlockPublic().permissions(), ("close-public-storage",)))
    said = json.loads(azure.permissions_document(needs))
    assert set(said["Actions"]) == {*StorageBlockPublic().permissions(), "Microsoft.Resources/subscriptions/read"}
    assert said["AssignableScopes"] == [f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP.lower()}"]
    assert "close-public-storage" in said["Description"] and said["NotActions"] == []


def test_a_role_for_no_subscription_is_not_written() -> None:
    for azure, needs in [(Azure(AzureSettings()), {}), (provider("http://127.0.0.1:1"), {"principal": "somebody"})]:
        with pytest.raises(Misused):
            azure.permissions_document(Needs.model_validate({"permissions": {}, **needs}))


# --- permissions ---------------------------------------------------------------------------------------------------

WRITE = "Microsoft.Network/networkInterfaces/write"


@pytest.mark.parametrize(
    ("granted", "expected"),
    [
        ([], False),
        ([{"actions": ["*"], "notActions": []}], True),
        ([{"actions": ["*/write"]}], True),
        ([{"actions": ["Microsoft.Network/*"]}], True),
        ([{"actions": ["microsoft.network/NETWORKINTERFACES/*"]}], True),
        ([{"actions": ["*/read"]}], False),
        ([{"actions": ["Microsoft.Network"]}], False),
        ([{"actions": [f"{WRITE}x", f"x{WRITE}"]}], False),
        ([{"actions": ["Microsoft.Network/networkInterfaces.write"]}], False),
        ([{"actions": ["*"], "notActions": ["Microsoft.Network/*"]}], False),
        ([{"actions": ["*"], "notActions": ["Microsoft.Network/*"]}, {"actions": [WRITE]}], True),
        ([{"dataActions": ["*"]}], False),
        ([{"actions": None, "notActions": None}], False),
    ],
)
def test_what_role_assignments_allow(granted: list[dict[str, Any]], expected: bool) -> None:
    assert allowed(granted, WRITE) is expected


PARTS = st.lists(st.sampled_from(["Microsoft.Network", "nics", "write", "a+b", "(x)", "."]), min_size=1, max_size=4)


@given(PARTS, st.data())
def test_a_wildcard_stands_for_any_part(parts: list[str], data: st.DataObject) -> None:
    action = "/".join(parts)
    start = data.draw(st.integers(0, len(action)))
    end = data.draw(st.integers(start, len(action)))
    pattern = action[:start] + "*" + action[end:]
    assert allowed([{"actions": [pattern]}], action)
    assert allowed([{"actions": [pattern.upper()]}], action.lower())
    assert not allowed([{"actions": ["*"], "notActions": [pattern]}], action)


@given(PARTS, PARTS)
def test_without_a_wildcard_only_the_action_itself_is_allowed(one: list[str], other: list[str]) -> None:
    same = "/".join(one).lower() == "/".join(other).lower()
    assert allowed([{"actions": ["/".join(one)]}], "/".join(other)) is same


@given(st.lists(st.fixed_dictionaries({"actions": st.lists(st.sampled_from(["*", "a/*", "a/b"]))})))
def test_an_assignment_more_never_takes_anything_away(granted: list[dict[str, Any]]) -> None:
    if allowed(granted, "a/b"):
        assert allowed([*granted, {"actions": ["*"], "notActions": ["*"]}], "a/b")
