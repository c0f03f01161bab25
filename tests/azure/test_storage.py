"""Switches of a storage account and of a container, on the resource manager of ours."""

from collections.abc import Callable
from typing import Any

import pytest

from quarantine.action import GONE, State, reached, three_way
from quarantine.errors import Conflict, Denied, Gone, Throttled, Unknown, Unsupported
from quarantine.model import Resource
from quarantine.testing.contract import ReversibleContract, Setting, Stranger
from quarantine_azure.cloud import AzureCloud
from quarantine_azure.container_block_public import ContainerBlockPublic
from quarantine_azure.storage_account import Switch
from quarantine_azure.storage_block_public import StorageBlockPublic
from quarantine_azure.storage_credentials import StorageCredentials
from tests.azure.conftest import SCOPE
from tests.testbed.arm import SUBSCRIPTION, Arm, changes_of

ACCOUNT = Resource(kind="azure:storage-account", id="shopdata", scope=SCOPE)
CONTAINER = Resource(kind="azure:blob-container", id="shopdata/images", scope=SCOPE)
ACTIONS = [(StorageBlockPublic, "allowBlobPublicAccess"), (StorageCredentials, "allowSharedKeyAccess")]


@pytest.fixture
def account(arm: Arm) -> str:
    return arm.make_account("shopdata")


def setting_of(action: Any, arm: Arm, cloud: AzureCloud, resource: Resource) -> Setting:
    """As a principal that may do exactly what is declared."""
    arm.granted = [{"actions": list(action.permissions()), "notActions": []}]
    return Setting(action, cloud, resource)


def sets(arm: Arm, id_: str, **properties: Any) -> Stranger:
    return lambda: arm.alter(id_, lambda body: body["properties"].update(properties))


class _SwitchContract(ReversibleContract):
    action: Any
    switch: str

    @pytest.fixture(params=[True, None], ids=["said", "never said"])
    def account(self, request: pytest.FixtureRequest, arm: Arm) -> str:
        return arm.make_account("shopdata", **{self.switch: request.param})

    @pytest.fixture
    def setting(self, arm: Arm, account: str, cloud: AzureCloud) -> Setting:
        return setting_of(self.action(), arm, cloud, ACCOUNT)

    @pytest.fixture
    def stranger(self, arm: Arm, account: str) -> Stranger:
        return sets(arm, account, **{self.switch: True})


class TestStorageBlockPublic(_SwitchContract):
    action, switch = StorageBlockPublic, "allowBlobPublicAccess"


class TestStorageCredentials(_SwitchContract):
    action, switch = StorageCredentials, "allowSharedKeyAccess"


class TestContainerBlockPublic(ReversibleContract):
    @pytest.fixture(params=["Blob", "Container"])
    def container(self, request: pytest.FixtureRequest, arm: Arm, account: str) -> str:
        return arm.make_container(account, "images", request.param)

    @pytest.fixture
    def setting(self, arm: Arm, container: str, cloud: AzureCloud) -> Setting:
        return setting_of(ContainerBlockPublic(), arm, cloud, CONTAINER)

    @pytest.fixture
    def stranger(self, arm: Arm, container: str) -> Stranger:
        level = arm.read(container)["properties"]["publicAccess"]
        return sets(arm, container, publicAccess={"Blob": "Container", "Container": "Blob"}[level])


del _SwitchContract


def observe(setting: Setting) -> Any:
    state = setting.observe()
    assert isinstance(state, State)
    return state


def contain(setting: Setting) -> Any:
    before = observe(setting)
    setting.apply(setting.target(before))
    assert reached(observe(setting), setting.target(before))
    return before


def release(setting: Setting, before: Any) -> Any:
    merged, _ = three_way(before, setting.target(before), observe(setting))
    setting.apply(merged)
    return observe(setting)


@pytest.fixture(params=ACTIONS, ids=lambda pair: pair[0].name)
def pair(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def switching(pair: Any, arm: Arm, account: str, cloud: AzureCloud) -> Setting:
    return setting_of(pair[0](), arm, cloud, ACCOUNT)


# --- what it does --------------------------------------------------------------------------------------------------


def test_one_request_sets_the_switch_and_nothing_else(arm: Arm, account: str, pair: Any, switching: Setting) -> None:
    before = arm.read(account)
    contain(switching)
    assert arm.changes() == ["PATCH storageAccounts shopdata"]
    assert arm.read(account)["properties"] == before["properties"] | {pair[1]: False}


def test_a_switch_that_was_never_said_is_taken_away_again(arm: Arm, pair: Any, cloud: AzureCloud) -> None:
    account = arm.make_account("shopdata", **{pair[1]: None})
    setting = setting_of(pair[0](), arm, cloud, ACCOUNT)
    before = arm.read(account)
    seen = contain(setting)
    assert arm.read(account)["properties"][pair[1]] is False
    release(setting, seen)
    assert arm.read(account) == before
    assert "never-said" in {caveat.id for caveat in setting.action.caveats(seen)}


def test_where_null_is_passed_over_the_release_does_not_verify(arm: Arm, pair: Any, cloud: AzureCloud) -> None:
    """It stays closed and a person is asked; nothing is opened that may have been closed by default."""
    arm.make_account("shopdata", **{pair[1]: None})
    arm.nulls_remove = False
    setting = setting_of(pair[0](), arm, cloud, ACCOUNT)
    before = contain(setting)
    assert not reached(release(setting, before), before)
    assert observe(setting).said is False


def test_an_account_that_is_closed_already_is_left_alone(arm: Arm, pair: Any, cloud: AzureCloud) -> None:
    arm.make_account("shopdata", **{pair[1]: False})
    setting = setting_of(pair[0](), arm, cloud, ACCOUNT)
    before = observe(setting)
    assert reached(before, setting.target(before))
    assert setting.apply(setting.target(before)).calls == []


def test_a_container_that_says_nothing_is_closed(arm: Arm, account: str, cloud: AzureCloud) -> None:
    arm.make_container(account, "images")
    setting = setting_of(ContainerBlockPublic(), arm, cloud, CONTAINER)
    assert reached(observe(setting), setting.target(observe(setting)))


def test_the_neighbours_of_a_container_stay_open(arm: Arm, account: str, cloud: AzureCloud) -> None:
    arm.make_container(account, "images", "Blob")
    other = arm.make_container(account, "other", "Blob")
    contain(setting_of(ContainerBlockPublic(), arm, cloud, CONTAINER))
    assert arm.read(other)["properties"]["publicAccess"] == "Blob"
    assert arm.read(account)["properties"]["allowBlobPublicAccess"] is True


def test_a_container_is_not_opened_against_the_word_of_its_account(arm: Arm, account: str, cloud: AzureCloud) -> None:
    arm.make_container(account, "images", "Blob")
    setting = setting_of(ContainerBlockPublic(), arm, cloud, CONTAINER)
    before = contain(setting)
    sets(arm, account, allowBlobPublicAccess=False)()
    with pytest.raises(Conflict, match="PublicAccessNotPermitted"):
        release(setting, before)


# --- which one it is -----------------------------------------------------------------------------------------------


def test_an_account_of_the_same_name_is_another_one(arm: Arm, account: str, switching: Setting) -> None:
    uid = observe(switching).uid
    switching.resource = ACCOUNT.model_copy(update={"uid": uid})
    observe(switching)
    sets(arm, account, creationTime="2026-11-01T00:00:00Z")()
    with pytest.raises(Gone, match="another account has this name now"):
        switching.action.observe(switching.cloud, switching.resource)


def test_what_is_not_there_is_gone(arm: Arm, account: str, switching: Setting, cloud: AzureCloud) -> None:
    switching.resource = ACCOUNT.model_copy(update={"id": "nobody"})
    assert switching.observe() is GONE
    container = setting_of(ContainerBlockPublic(), arm, cloud, CONTAINER)
    assert container.observe() is GONE


@pytest.mark.parametrize("id_", ["shopdata", "shopdata/", "/images", "shopdata/../images", "a/b/c", "shopdata/im ages"])
def test_a_name_that_is_no_containers_is_gone(arm: Arm, account: str, cloud: AzureCloud, id_: str) -> None:
    setting = setting_of(ContainerBlockPublic(), arm, cloud, CONTAINER.model_copy(update={"id": id_}))
    assert setting.observe() is GONE
    assert arm.requests == []


# --- how ARM says no -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after_the_effect", [False, True], ids=["before the effect", "after the effect"])
def test_a_lost_answer_is_unknown_and_looked_up(arm: Arm, switching: Setting, after_the_effect: bool) -> None:
    before = observe(switching)
    arm.lose(changes_of("storageAccounts"), after_the_effect)
    with pytest.raises(Unknown):
        switching.apply(switching.target(before))
    assert reached(observe(switching), switching.target(before)) is after_the_effect
    assert switching.action.ours(before, observe(switching))


def test_a_throttled_change_did_not_happen(arm: Arm, switching: Setting) -> None:
    before = observe(switching)
    arm.refuse(changes_of("storageAccounts"), 429, "TooManyRequests", Retry_After="17")
    with pytest.raises(Throttled, match="it asks to wait 17 s"):
        switching.apply(switching.target(before))
    assert observe(switching) == before


def test_a_policy_that_forbids_it_is_said_with_the_next_step(arm: Arm, switching: Setting) -> None:
    before = observe(switching)
    arm.refuse(changes_of("storageAccounts"), 403, "RequestDisallowedByPolicy")
    with pytest.raises(Unsupported, match="a policy of this subscription forbids it"):
        switching.apply(switching.target(before))


@pytest.mark.parametrize(
    ("action", "resource"),
    [(StorageBlockPublic(), ACCOUNT), (StorageCredentials(), ACCOUNT), (ContainerBlockPublic(), CONTAINER)],
    ids=lambda it: it.name if hasattr(it, "name") else "",
)
def test_without_one_of_its_permissions_it_is_denied(
    arm: Arm, account: str, cloud: AzureCloud, action: Any, resource: Resource
) -> None:
    arm.make_container(account, "images", "Blob")
    for missing in action.permissions():
        setting = setting_of(action, arm, cloud, resource)
        arm.granted = [{"actions": ["*"], "notActions": [missing]}]
        with pytest.raises(Denied, match=missing):
            contain(setting)


# --- refusals and caveats ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["", "/resourceGroups/Shop-RG", "the account"])
def test_a_read_only_lock_is_refused(arm: Arm, account: str, switching: Setting, scope: str) -> None:
    arm.lock("ReadOnly", account if scope == "the account" else f"/subscriptions/{SUBSCRIPTION}{scope}")
    found = switching.action.refusal(observe(switching))
    assert found is not None and "locks/keep" in found.reason and found.alternatives


def test_a_lock_against_deleting_or_on_another_account_is_none_of_our_business(
    arm: Arm, account: str, switching: Setting
) -> None:
    arm.lock("CanNotDelete", account)
    arm.lock("ReadOnly", arm.make_account("another"), "other")
    assert switching.action.refusal(observe(switching)) is None
    contain(switching)


def test_a_lock_on_the_account_refuses_its_container_too(arm: Arm, account: str, cloud: AzureCloud) -> None:
    arm.make_container(account, "images", "Blob")
    arm.lock("ReadOnly", account)
    setting = setting_of(ContainerBlockPublic(), arm, cloud, CONTAINER)
    assert setting.action.refusal(observe(setting)) is not None


def test_caveats_of_keys_name_what_stays(arm: Arm, cloud: AzureCloud) -> None:
    arm.make_account("shopdata", isLocalUserEnabled=True)
    setting = setting_of(StorageCredentials(), arm, cloud, ACCOUNT)
    found = {caveat.id for caveat in setting.action.caveats(observe(setting))}
    assert found == {"keys-come-back", "user-delegation", "owners-break", "anonymous", "local-users"}
    seen: Callable[..., Switch] = observe
    assert seen(setting).public_network is True


@pytest.mark.parametrize("said", [{"publicNetworkAccess": "Disabled"}, {"networkAcls": {"defaultAction": "Deny"}}])
def test_an_account_that_the_internet_does_not_reach_is_told_apart(
    arm: Arm, cloud: AzureCloud, said: dict[str, Any]
) -> None:
    arm.make_account("shopdata", **said)
    assert observe(setting_of(StorageBlockPublic(), arm, cloud, ACCOUNT)).public_network is False
