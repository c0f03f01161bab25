from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from quarantine.action import GONE
from quarantine.errors import Conflict
from quarantine.model import Resource
from quarantine.testing.contract import CountingGate, OneWayContract, Setting
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.pod_delete import PodDelete
from quarantine_kubernetes.pod_presence import PodPresence, read_presence
from tests.kubernetes.conftest import Namespace
from tests.kubernetes.rbac import grant
from tests.testbed.controlplane import SERVICE
from tests.testbed.poll import until


class TestPodDelete(OneWayContract):
    """As a user who has exactly the declared permissions."""

    @pytest.fixture
    def setting(self, namespace: Namespace, cloud_of: Callable[[str], KubernetesCloud]) -> Setting:
        grant(namespace, SERVICE, PodDelete().permissions())
        return deleting(namespace, cloud_of(SERVICE), namespace.pod("web-1"))


def deleting(namespace: Namespace, cloud: KubernetesCloud, pod: Resource, **fields: Any) -> Setting:
    """With the kubelet that ends the containers when time has come."""
    return Setting(PodDelete(**fields), cloud, pod, settle=lambda: void(namespace.api.play_kubelet(namespace.name)))


def void(_: object) -> None: ...


def presence(setting: Setting) -> PodPresence:
    state = setting.observe()
    assert isinstance(state, PodPresence)
    return state


def delete(setting: Setting, now: PodPresence) -> CountingGate:
    gate = CountingGate()
    setting.action.apply(setting.cloud.through(gate, setting.mark), setting.resource, now, GONE)
    return gate


def test_a_pod_that_is_going_already_is_not_told_again(namespace: Namespace, cloud: KubernetesCloud) -> None:
    setting = deleting(namespace, cloud, namespace.pod("web-1"))
    delete(setting, presence(setting))
    now = presence(setting)
    assert now.going == 1
    assert delete(setting, now).calls == []


def test_one_that_was_given_long_to_go_is_hurried(namespace: Namespace, cloud: KubernetesCloud) -> None:
    resource = namespace.pod("web-1")
    namespace.api.delete(namespace.pod_path("web-1"), grace=3600)
    setting = deleting(namespace, cloud, resource, grace_seconds=5)
    assert presence(setting).going == 3600
    delete(setting, presence(setting))
    assert presence(setting).going == 5


def test_another_pod_under_the_same_name_is_left_alone(namespace: Namespace, cloud: KubernetesCloud) -> None:
    setting = deleting(namespace, cloud, namespace.pod("web-1"))
    before = presence(setting)
    namespace.api.delete(namespace.pod_path("web-1"))
    other = namespace.pod("web-1")
    assert setting.observe() is GONE
    with pytest.raises(Conflict):  # even if it looked just before
        delete(setting, before)
    assert namespace.api.get(namespace.pod_path("web-1"))["metadata"]["uid"] == other.uid


def test_a_disruption_budget_does_not_keep_it(namespace: Namespace, cloud: KubernetesCloud) -> None:
    budgets = f"/apis/policy/v1/namespaces/{namespace.name}/poddisruptionbudgets"
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    namespace.api.create(budgets, {"metadata": {"name": "web"}, "spec": spec})
    setting = deleting(namespace, cloud, namespace.pod("web-1"))
    assert "budget-not-asked" in {caveat.id for caveat in setting.action.caveats(presence(setting))}
    setting.apply(GONE)
    assert setting.observe() is GONE


def test_a_pod_with_finalizers_is_not_gone_until_they_are(namespace: Namespace, cloud: KubernetesCloud) -> None:
    setting = deleting(namespace, cloud, namespace.pod("web-1"))
    path = namespace.pod_path("web-1")
    namespace.api.patch(path, {"metadata": {"finalizers": ["example.test/hold"]}})
    said = {caveat.id: caveat.text for caveat in setting.action.caveats(presence(setting))}
    assert "example.test/hold" in said["finalizers"]
    setting.apply(GONE)
    assert setting.observe() is not GONE
    namespace.api.patch(path, {"metadata": {"finalizers": None}})
    assert until(lambda: setting.observe() is GONE)


def test_no_grace_at_all_cannot_be_asked_for() -> None:
    with pytest.raises(ValidationError):
        PodDelete(grace_seconds=0)


@pytest.mark.parametrize(
    ("pod", "why"),
    [
        ({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}, "spec": {"nodeName": "n1"}}, "on node n1"),
        ({"status": {"phase": "Succeeded"}}, "take evidence"),
        ({"status": {"phase": "Failed"}}, "take evidence"),
    ],
)
def test_what_it_must_not_delete_is_refused(pod: dict[str, Any], why: str) -> None:
    pod = {"spec": {}, **pod, "metadata": {"uid": "u", **pod.get("metadata", {})}}
    refusal = PodDelete().refusal(read_presence(pod))
    assert refusal is not None
    assert why in refusal.alternatives[0]


def test_it_says_who_starts_another_and_what_comes_back_with_it() -> None:
    owners = [{"kind": "StatefulSet", "name": "db", "controller": True}]
    volumes = [{"name": "tmp", "emptyDir": {}}, {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}]
    pod = {"metadata": {"uid": "u", "ownerReferences": owners}, "spec": {"volumes": volumes}}
    said = {caveat.id: caveat.text for caveat in PodDelete(grace_seconds=7).caveats(read_presence(pod))}
    assert said["replacement"].startswith("StatefulSet/db starts another")
    assert "data-db-0" in said["volumes-stay"]
    assert "7 s" in said["told-before"]
    assert set(said) == {
        "replacement",
        "volumes-stay",
        "memory-is-lost",
        "told-before",
        "budget-not-asked",
        "copied-tokens",
    }
