"""The API server itself says whether a token is still good."""

import base64
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest

from quarantine.action import State, reached, three_way
from quarantine.model import Resource
from quarantine.testing.contract import ReversibleContract, Setting, Stranger
from quarantine_kubernetes.account_tokens import FOREVER, INVALID, AccountTokens, read_tokens
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.serviceaccount_token_disable import ServiceaccountTokenDisable
from quarantine_kubernetes.session import from_kubeconfig
from tests.kubernetes.conftest import CLUSTER, Namespace
from tests.kubernetes.rbac import grant
from tests.testbed.controlplane import ADMIN, SERVICE, ControlPlane
from tests.testbed.kubeapi import ApiError, KubeApi
from tests.testbed.poll import until

TYPE = "kubernetes.io/service-account-token"


def secrets(namespace: Namespace) -> str:
    return f"/api/v1/namespaces/{namespace.name}/secrets"


def accounts(namespace: Namespace) -> str:
    return f"/api/v1/namespaces/{namespace.name}/serviceaccounts"


def account(namespace: Namespace, *tokens: str, name: str = "builder") -> Resource:
    """With a Secret for each of these names; the controller puts a token into each."""
    made = namespace.api.create(accounts(namespace), {"metadata": {"name": name}})
    for token in tokens:
        metadata = {"name": token, "annotations": {"kubernetes.io/service-account.name": name}, "labels": {"team": "a"}}
        namespace.api.create(secrets(namespace), {"type": TYPE, "metadata": metadata})
        until(lambda: "token" in namespace.api.get(f"{secrets(namespace)}/{token}").get("data", {}))  # noqa: B023
    scope = f"{CLUSTER}/{namespace.name}"
    return Resource(kind="kubernetes:serviceaccount", id=name, scope=scope, uid=made["metadata"]["uid"])


class TestServiceaccountTokenDisable(ReversibleContract):
    """As a user who has exactly the declared permissions."""

    @pytest.fixture
    def setting(self, namespace: Namespace, cloud_of: Callable[[str], KubernetesCloud]) -> Setting:
        permissions = ServiceaccountTokenDisable().permissions()
        grant(namespace, SERVICE, [item for item in permissions if not item.startswith("create ")])
        return Setting(ServiceaccountTokenDisable(), cloud_of(SERVICE), account(namespace, "one", "two"))

    @pytest.fixture
    def stranger(self, setting: Setting, namespace: Namespace) -> Stranger:
        return lambda: label(namespace, "one", "2026-01-01")


def test_an_account_without_token_secrets_gives_none_to_new_pods_either(
    namespace: Namespace, cloud: KubernetesCloud
) -> None:
    setting = Setting(ServiceaccountTokenDisable(), cloud, account(namespace))
    before = contain(setting)
    assert (before.secrets, before.automount, seen(setting).automount) == ({}, None, False)
    release(setting, before)
    assert seen(setting).automount is None


def label(namespace: Namespace, secret: str, since: str | None) -> None:
    namespace.api.patch(f"{secrets(namespace)}/{secret}", {"metadata": {"labels": {INVALID: since}}})


def seen(setting: Setting) -> AccountTokens:
    state = setting.observe()
    assert isinstance(state, AccountTokens)
    return state


def contain(setting: Setting) -> AccountTokens:
    before = seen(setting)
    setting.apply(setting.target(before))
    return before


def release(setting: Setting, before: AccountTokens) -> None:
    target = setting.target(before)
    assert isinstance(target, State)
    merged, _ = three_way(before, target, seen(setting))
    setting.apply(merged)


def accepted(namespace: Namespace, secret: str) -> bool:
    """Does the API server take this token?"""
    data = namespace.api.get(f"{secrets(namespace)}/{secret}")["data"]
    user = KubeApi(namespace.api.url, namespace.api.ca_file, base64.b64decode(data["token"]).decode())
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        user.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    except ApiError as error:
        if error.status != 401:
            raise
        return False
    return True


def test_the_api_server_refuses_the_token_until_the_release(namespace: Namespace, cloud: KubernetesCloud) -> None:
    setting = Setting(ServiceaccountTokenDisable(), cloud, account(namespace, "one"))
    account(namespace, "bystander", name="other")
    assert until(lambda: accepted(namespace, "one"))
    before = contain(setting)
    assert until(lambda: not accepted(namespace, "one"))
    assert accepted(namespace, "bystander"), "of another account"
    release(setting, before)
    assert until(lambda: accepted(namespace, "one"))


def test_a_release_gives_account_and_secrets_back_byte_for_byte(namespace: Namespace, cloud: KubernetesCloud) -> None:
    setting = Setting(ServiceaccountTokenDisable(), cloud, account(namespace, "one"))
    paths = [f"{accounts(namespace)}/builder", f"{secrets(namespace)}/one"]
    image = [namespace.api.get(path) for path in paths]
    before = contain(setting)
    assert namespace.api.get(paths[0])["automountServiceAccountToken"] is False
    release(setting, before)
    after = [namespace.api.get(path) for path in paths]
    for item in (*image, *after):
        for counted in ("resourceVersion", "managedFields"):
            item["metadata"].pop(counted, None)
    assert after == image


def test_one_that_was_invalid_before_stays_so(namespace: Namespace, cloud: KubernetesCloud) -> None:
    setting = Setting(ServiceaccountTokenDisable(), cloud, account(namespace, "one", "two"))
    label(namespace, "two", "2026-01-01")
    before = contain(setting)
    assert seen(setting).secrets == {"one": FOREVER, "two": "2026-01-01"}
    release(setting, before)
    assert seen(setting).secrets == {"one": "", "two": "2026-01-01"}


def test_a_token_that_comes_later_is_noticed(namespace: Namespace, cloud: KubernetesCloud) -> None:
    setting = Setting(ServiceaccountTokenDisable(), cloud, account(namespace, "one"))
    before = contain(setting)
    metadata = {"name": "late", "annotations": {"kubernetes.io/service-account.name": "builder"}}
    namespace.api.create(secrets(namespace), {"type": TYPE, "metadata": metadata})
    assert not reached(seen(setting), setting.target(before))
    namespace.api.delete(f"{secrets(namespace)}/one", grace=None)
    release(setting, before)
    assert seen(setting).secrets == {"late": ""}


class Noting(KubernetesCloud):
    """Keeps what comes back."""

    answers: ClassVar[list[Any]] = []

    def invoke(self, call: str, arguments: Mapping[str, Any]) -> Any:
        answer = super().invoke(call, arguments)
        self.answers.append(getattr(answer, "body", answer))
        return answer


def test_no_value_of_a_secret_ever_comes_to_us(namespace: Namespace, control_plane: ControlPlane) -> None:
    resource = account(namespace, "one")
    token = namespace.api.get(f"{secrets(namespace)}/one")["data"]["token"]
    cloud = Noting(CLUSTER, from_kubeconfig(control_plane.kubeconfig(ADMIN)))
    setting = Setting(ServiceaccountTokenDisable(), cloud, resource)
    release(setting, contain(setting))
    said = repr(Noting.answers)
    assert "PartialObjectMetadataList" in said and "'name': 'one'" in said
    assert token not in said


def test_our_own_account_is_refused() -> None:
    found = {"metadata": {"namespace": "security", "name": "quarantine", "uid": "u", "resourceVersion": "1"}}
    mine = read_tokens(found, [], "system:serviceaccount:security:quarantine")
    refusal = ServiceaccountTokenDisable().refusal(mine)
    assert refusal is not None and refusal.alternatives
    assert (
        ServiceaccountTokenDisable().refusal(read_tokens(found, [], "system:serviceaccount:other:quarantine")) is None
    )
