from collections.abc import Callable
from typing import Any

import pytest

from quarantine.action import Absence, State, reached, three_way
from quarantine.errors import Conflict
from quarantine.model import Resource
from quarantine.testing.contract import CountingGate, ReversibleContract, Setting, Stranger
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.gitops import keeper_of
from quarantine_kubernetes.workload_scale import WorkloadScale, read_scale
from quarantine_kubernetes.workload_scale_to_zero import WorkloadScaleToZero
from tests.kubernetes.conftest import CLUSTER, Namespace
from tests.kubernetes.rbac import grant
from tests.kubernetes.workloads import CONTAINERS, SELECTOR, TEMPLATE, make, make_deployment, rest, running
from tests.testbed.controlplane import SERVICE
from tests.testbed.poll import until


class TestWorkloadScaleToZero(ReversibleContract):
    """As a user who has exactly the declared permissions."""

    @pytest.fixture
    def setting(self, namespace: Namespace, cloud_of: Callable[[str], KubernetesCloud]) -> Setting:
        grant(namespace, SERVICE, WorkloadScaleToZero().permissions())
        make_deployment(namespace)
        rest(namespace, "deployments", "web")
        self.namespace = namespace
        return scaling(namespace, cloud_of(SERVICE))

    @pytest.fixture
    def stranger(self, setting: Setting, namespace: Namespace) -> Stranger:
        return lambda: scale(namespace, 5)

    def whole_life(self, setting: Setting) -> None:
        """Of every kind of workload."""
        super().whole_life(setting)
        setting.settle = lambda: None
        spec = {"selector": SELECTOR, "template": TEMPLATE}
        plain = {"selector": {"app": "web"}, "template": TEMPLATE}
        make(self.namespace, "replicasets", "web", spec)
        make(self.namespace, "statefulsets", "web", {**spec, "serviceName": "web"})
        make(self.namespace, "replicationcontrollers", "web", plain)
        make(self.namespace, "daemonsets", "web", spec)
        for word in ("replicaset", "statefulset", "replicationcontroller"):
            setting.resource = workload(self.namespace, f"{word}/web")
            before = setting.observe()
            until(lambda: converged(setting, setting.target(before)))  # noqa: B023
        setting.resource = workload(self.namespace, "daemonset/web")
        setting.observe()


def converged(setting: Setting, target: State | Absence) -> bool:
    """Whose controllers write just now refuses us, and the engine would look and try again."""
    try:
        setting.apply(target)
    except Conflict:
        return False
    return True


def workload(namespace: Namespace, name: str = "deployment/web") -> Resource:
    return Resource(kind="kubernetes:workload", id=name, scope=f"{CLUSTER}/{namespace.name}")


def scaling(namespace: Namespace, cloud: KubernetesCloud, name: str = "deployment/web") -> Setting:
    """With controllers and a kubelet that come to rest after each change."""
    return Setting(
        WorkloadScaleToZero(), cloud, workload(namespace, name), settle=lambda: rest(namespace, "deployments", "web")
    )


def path(namespace: Namespace) -> str:
    return f"/apis/apps/v1/namespaces/{namespace.name}/deployments/web"


def scale(namespace: Namespace, replicas: int) -> None:
    namespace.api.patch(f"{path(namespace)}/scale", {"spec": {"replicas": replicas}})


def seen(setting: Setting) -> WorkloadScale:
    state = setting.observe()
    assert isinstance(state, WorkloadScale)
    return state


def contain(setting: Setting) -> WorkloadScale:
    before = seen(setting)
    until(lambda: converged(setting, setting.target(before)))
    return before


def caveats(setting: Setting) -> dict[str, str]:
    return {caveat.id: caveat.text for caveat in setting.action.caveats(seen(setting))}


def refused(setting: Setting) -> tuple[str, tuple[str, ...]]:
    found = setting.action.refusal(seen(setting))
    assert found is not None and found.alternatives
    return found.reason, found.alternatives


# --- at zero means that its pods have ended ------------------------------------------------------------------------


def test_it_is_not_contained_while_one_of_its_pods_still_runs(namespace: Namespace, cloud: KubernetesCloud) -> None:
    spec = {"containers": CONTAINERS, "terminationGracePeriodSeconds": 30, "nodeName": "node-1"}
    deployment = {"replicas": 1, "selector": SELECTOR, "template": {**TEMPLATE, "spec": spec}}
    make(namespace, "deployments", "web", deployment)
    (pod,) = running(namespace, 1)
    setting = scaling(namespace, cloud)
    setting.settle = lambda: None  # nobody ends the containers
    before = contain(setting)
    until(lambda: "deletionTimestamp" in namespace.api.get(namespace.pod_path(pod.id))["metadata"])
    assert seen(setting).replicas == 0
    assert seen(setting).pods == 1
    assert not reached(seen(setting), setting.target(before))
    namespace.api.play_kubelet(namespace.name)
    assert reached(seen(setting), setting.target(before))


def test_a_pod_that_has_finished_is_not_waited_for() -> None:
    owner = {"kind": "ReplicaSet", "name": "web-7d4b9", "uid": "r", "controller": True}
    pods = [pod_of(owner, phase) for phase in ("Succeeded", "Failed", "Running", "Pending")]
    assert read_scale("deployment", FOUND, pods, []).pods == 2


@pytest.mark.parametrize(
    ("word", "owner", "counts"),
    [
        ("deployment", {"kind": "ReplicaSet", "name": "web-7d4b9", "uid": "r"}, 1),
        ("deployment", {"kind": "ReplicaSet", "name": "other-7d4b9", "uid": "r"}, 0),
        ("deployment", {"kind": "StatefulSet", "name": "web-db", "uid": "s"}, 0),
        ("statefulset", {"kind": "StatefulSet", "name": "web", "uid": "u"}, 1),
        ("statefulset", {"kind": "ReplicaSet", "name": "web-7d4b9", "uid": "r"}, 0),
    ],
)
def test_pods_of_others_with_the_same_labels_are_not_waited_for(word: str, owner: dict[str, Any], counts: int) -> None:
    assert read_scale(word, FOUND, [pod_of({**owner, "controller": True}, "Running")], []).pods == counts


FOUND = {"metadata": {"name": "web", "uid": "u", "resourceVersion": "1"}, "spec": {"replicas": 5}}


def pod_of(owner: dict[str, Any], phase: str) -> dict[str, Any]:
    return {"metadata": {"ownerReferences": [owner]}, "status": {"phase": phase}}


def test_an_autoscaler_that_puts_it_back_is_drift(namespace: Namespace, cloud: KubernetesCloud) -> None:
    make_deployment(namespace)
    running(namespace, 2)
    setting = scaling(namespace, cloud)
    before = contain(setting)
    until(lambda: namespace.api.play_kubelet(namespace.name) == [])
    assert reached(seen(setting), setting.target(before))
    scale(namespace, 3)
    target = setting.target(before)
    assert isinstance(target, State)
    assert not reached(seen(setting), target)
    assert not setting.action.ours(before, seen(setting))
    merged, kept = three_way(before, target, seen(setting))
    assert merged.part() == {"replicas": 3}
    assert [(item.before, item.after) for item in kept] == [(2, 3)]


def test_nobodys_change_is_overwritten(namespace: Namespace, cloud: KubernetesCloud) -> None:
    make_deployment(namespace)
    setting = scaling(namespace, cloud)
    now = seen(setting)
    scale(namespace, 4)
    with pytest.raises(Conflict):
        setting.action.apply(
            setting.cloud.through(CountingGate(), setting.mark), setting.resource, now, setting.target(now)
        )
    assert namespace.api.get(path(namespace))["spec"]["replicas"] == 4


def test_another_deployment_under_the_same_name_is_left_alone(namespace: Namespace, cloud: KubernetesCloud) -> None:
    make_deployment(namespace)
    setting = scaling(namespace, cloud)
    now = seen(setting).model_copy(update={"version": ""})  # so that the uid alone must stop it
    namespace.api.delete(path(namespace), grace=None)
    make_deployment(namespace)
    with pytest.raises(Conflict, match="UID"):
        setting.action.apply(
            setting.cloud.through(CountingGate(), setting.mark), setting.resource, now, setting.target(now)
        )
    assert namespace.api.get(path(namespace))["spec"]["replicas"] == 2


# --- who fights it -------------------------------------------------------------------------------------------------


def autoscaler(namespace: Namespace, name: str, target: str) -> None:
    spec = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}, "maxReplicas": 9}
    api = f"/apis/autoscaling/v2/namespaces/{namespace.name}/horizontalpodautoscalers"
    namespace.api.create(api, {"metadata": {"name": name}, "spec": spec})


def test_its_autoscaler_is_named_and_rests(namespace: Namespace, cloud: KubernetesCloud) -> None:
    make_deployment(namespace)
    autoscaler(namespace, "web-load", "web")
    autoscaler(namespace, "other", "other")
    said = caveats(scaling(namespace, cloud))
    assert said["autoscaler-rests"].startswith("HorizontalPodAutoscaler/web-load rests")
    assert "autoscaler-fights" not in said


@pytest.mark.parametrize(
    ("scaler", "fights"),
    [
        ({"maxReplicas": 9}, False),
        ({"maxReplicas": 9, "minReplicas": 2}, False),
        ({"maxReplicas": 9, "minReplicas": 0}, True),
        ({"triggers": []}, True),
    ],
)
def test_who_scales_from_zero_fights(scaler: dict[str, Any], fights: bool) -> None:
    state = scaled_by({"spec": {"scaleTargetRef": {"name": "web"}, **scaler}, "metadata": {"name": "s"}})
    assert (bool(state.fighting), bool(state.resting)) == (fights, not fights)
    said = {caveat.id: caveat.text for caveat in WorkloadScaleToZero().caveats(state)}
    assert ("autoscaler-fights" in said) is fights


@pytest.mark.parametrize(
    ("noted", "fights"),
    [
        ({"autoscaling.keda.sh/paused-replicas": "0"}, False),
        ({"autoscaling.keda.sh/paused-replicas": "3"}, True),
        ({"autoscaling.keda.sh/paused": "true"}, False),
        ({"autoscaling.keda.sh/paused": "yes"}, False),
        ({"autoscaling.keda.sh/paused": "f"}, True),
        ({"autoscaling.keda.sh/paused": "true", "autoscaling.keda.sh/paused-replicas": "3"}, True),
    ],
)
def test_a_paused_scaled_object_does_not_fight(noted: dict[str, str], fights: bool) -> None:
    found = scaled_by({"spec": {"scaleTargetRef": {"name": "web"}}, "metadata": {"name": "s", "annotations": noted}})
    assert found.fighting == (("ScaledObject/s",) if fights else ())


def test_a_scaler_of_something_else_is_not_named() -> None:
    other = {"scaleTargetRef": {"name": "web", "kind": "StatefulSet"}, "maxReplicas": 2}
    found = scaled_by({"spec": other, "metadata": {"name": "s"}})
    assert (found.fighting, found.resting) == ((), ())


def scaled_by(scaler: dict[str, Any]) -> WorkloadScale:
    return read_scale("deployment", FOUND, [], [scaler])


@pytest.mark.parametrize(
    ("metadata", "keeper"),
    [
        ({}, ""),
        ({"labels": {"app.kubernetes.io/instance": "shop"}}, ""),
        (
            {"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/web"}},
            "Argo CD application shop",
        ),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}, "Flux Kustomization apps"),
        ({"annotations": {"meta.helm.sh/release-name": "web"}}, "Helm release web"),
        (
            {
                "annotations": {"meta.helm.sh/release-name": "web"},
                "labels": {"helm.toolkit.fluxcd.io/name": "web-release"},
            },
            "Flux HelmRelease web-release",
        ),
    ],
)
def test_who_keeps_it_as_it_is_written_in_git_is_named(metadata: dict[str, Any], keeper: str) -> None:
    assert keeper_of({"metadata": metadata}) == keeper


# --- what cannot work ----------------------------------------------------------------------------------------------


def test_a_replica_set_of_a_deployment_is_refused(namespace: Namespace, cloud: KubernetesCloud) -> None:
    make_deployment(namespace)
    running(namespace, 2)
    (found,) = namespace.api.items(f"/apis/apps/v1/namespaces/{namespace.name}/replicasets")
    reason, alternatives = refused(scaling(namespace, cloud, f"replicaset/{found['metadata']['name']}"))
    assert reason == "Deployment/web sets its replicas"
    assert alternatives == ("scale Deployment/web to zero",)


def test_a_daemon_set_is_refused(namespace: Namespace, cloud: KubernetesCloud) -> None:
    make(namespace, "daemonsets", "agent", {"selector": SELECTOR, "template": TEMPLATE})
    assert "has no number of replicas" in refused(scaling(namespace, cloud, "daemonset/agent"))[0]


def test_a_stateful_set_whose_data_would_go_is_refused(namespace: Namespace, cloud: KubernetesCloud) -> None:
    claims = [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]
    claims[0]["spec"] |= {"resources": {"requests": {"storage": "1Gi"}}}  # type: ignore[operator]
    spec = {"serviceName": "db", "selector": SELECTOR, "template": TEMPLATE, "volumeClaimTemplates": claims}
    make(namespace, "statefulsets", "db", {**spec, "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}})
    assert "data and evidence" in refused(scaling(namespace, cloud, "statefulset/db"))[0]
    make(namespace, "statefulsets", "kept", spec)
    setting = scaling(namespace, cloud, "statefulset/kept")
    assert setting.action.refusal(seen(setting)) is None
    assert {"claims-stay", "in-order"} <= set(caveats(setting))


def test_every_sentence_has_its_words() -> None:
    state = WorkloadScale(
        replicas=2, pods=2, word="statefulset", owner="Database/db", keeper="Helm release db", resting=("a",),
        fighting=("b",), claims=True, in_order=True, uid="u",
    )  # fmt: skip
    said = WorkloadScaleToZero().caveats(state)
    assert len(said) == 8
    assert not any("{" in caveat.text for caveat in said)
