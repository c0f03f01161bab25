"""Others who write the same fields: named in the plan, named in a conflict, overwritten by none of our changes."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from quarantine.action import Action
from quarantine.errors import Conflict
from quarantine.model import Resource
from quarantine.testing.contract import CountingGate, Setting
from quarantine_kubernetes.cloud import MANAGER, KubernetesCloud
from quarantine_kubernetes.cronjob_suspend import CronjobSuspend
from quarantine_kubernetes.field_manager import appliers, last_writers
from quarantine_kubernetes.node_cordon import NodeCordon
from quarantine_kubernetes.objects import Kind
from quarantine_kubernetes.pod_isolate import PodIsolate
from quarantine_kubernetes.workload_scale_to_zero import WorkloadScaleToZero
from tests.kubernetes.conftest import CLUSTER, Namespace
from tests.kubernetes.workloads import CONTAINERS, SELECTOR, TEMPLATE, kind_of
from tests.testbed.controlplane import ControlPlane
from tests.testbed.kubeapi import APPLY, MERGE, ApiError

OTHER = "fleet-controller"


def as_other(api: ControlPlane, path: str, change: dict[str, Any], content_type: str = MERGE) -> dict[str, Any]:
    """Another field manager's write."""
    return api.patch(f"{path}?fieldManager={OTHER}", change, content_type)


def written_by(api: ControlPlane, path: str, manager: str = MANAGER) -> list[dict[str, Any]]:
    return [entry for entry in api.get(path)["metadata"]["managedFields"] if entry["manager"] == manager]


@pytest.fixture
def node(control_plane: ControlPlane) -> Iterator[str]:
    name = f"node-{uuid.uuid4().hex[:8]}"
    control_plane.create("/api/v1/nodes", {"metadata": {"name": name, "labels": {"team": "shop"}}})
    yield f"/api/v1/nodes/{name}"
    control_plane.delete(f"/api/v1/nodes/{name}", grace=None)


def on(action: Action[Any, Any], cloud: KubernetesCloud, path: str, prefix: str = "", scope: str = CLUSTER) -> Setting:
    name = path.rpartition("/")[2]
    return Setting(action, cloud, Resource(kind=action.resource, id=f"{prefix}{name}", scope=scope))


def test_what_we_write_carries_our_name(control_plane: ControlPlane, cloud: KubernetesCloud, node: str) -> None:
    setting = on(NodeCordon(), cloud, node)
    before = setting.observe()
    setting.apply(setting.target(before))
    (entry,) = written_by(control_plane, node)
    assert entry["fieldsV1"]["f:spec"] == {"f:unschedulable": {}}
    setting.apply(before)
    assert written_by(control_plane, node) == [], "nothing of it is ours any more"


# --- in the plan ---------------------------------------------------------------------------------------------------


def apply_workload(namespace: Namespace, plural: str, kind: str, spec: dict[str, Any]) -> str:
    """As a tool that keeps it by server-side apply."""
    path = kind_of(plural).path.format(namespace=namespace.name, name="web")
    body = {"apiVersion": "/".join(path.split("/")[2:4]), "kind": kind, "metadata": {"name": "web"}, "spec": spec}
    as_other(namespace.api, path, body, APPLY)
    return path


def kept_elsewhere(setting: Setting) -> str:
    (text,) = (item.text for item in setting.action.caveats(setting.observe()) if item.id == "kept-elsewhere")
    return str(text)


def test_who_applies_the_number_of_replicas_is_named_and_does_not_hold_us_up(
    namespace: Namespace, cloud: KubernetesCloud
) -> None:
    spec = {"replicas": 2, "selector": SELECTOR, "template": TEMPLATE}
    path = apply_workload(namespace, "deployments", "Deployment", spec)
    setting = on(WorkloadScaleToZero(), cloud, path, "deployment/", f"{CLUSTER}/{namespace.name}")
    assert f"field manager '{OTHER}' may put" in kept_elsewhere(setting)
    setting.apply(setting.target(setting.observe()))
    assert namespace.api.get(path)["spec"]["replicas"] == 0


def test_who_applies_that_a_cron_job_runs_is_named(namespace: Namespace, cloud: KubernetesCloud) -> None:
    job = {"spec": {"template": {"spec": {"containers": CONTAINERS, "restartPolicy": "Never"}}}}
    spec = {"schedule": "0 3 * * *", "suspend": False, "jobTemplate": job}
    path = apply_workload(namespace, "cronjobs", "CronJob", spec)
    setting = on(CronjobSuspend(), cloud, path, scope=f"{CLUSTER}/{namespace.name}")
    assert f"field manager '{OTHER}' may put" in kept_elsewhere(setting)


def test_who_applies_that_a_node_is_cordoned_is_named(
    control_plane: ControlPlane, cloud: KubernetesCloud, node: str
) -> None:
    setting = on(NodeCordon(), cloud, node)
    assert "kept-elsewhere" not in {item.id for item in setting.action.caveats(setting.observe())}
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": setting.resource.id}}
    as_other(control_plane, node, {**body, "spec": {"unschedulable": False}}, APPLY)
    assert f"field manager '{OTHER}' may put" in kept_elsewhere(setting)


# --- in a conflict -------------------------------------------------------------------------------------------------


def late(setting: Setting, meanwhile: Callable[[], object]) -> str:
    """What it says when somebody has written between our look and our change."""
    now = setting.observe()
    meanwhile()
    with pytest.raises(Conflict) as conflict:
        setting.action.apply(
            setting.cloud.through(CountingGate(), setting.mark, setting.used.append),
            setting.resource,
            now,
            setting.target(now),
        )
    assert {call.permission for call in setting.used} <= set(setting.action.permissions())
    return str(conflict.value)


def test_a_conflict_names_who_wrote_the_object(control_plane: ControlPlane, cloud: KubernetesCloud, node: str) -> None:
    setting = on(NodeCordon(), cloud, node)
    said = late(setting, lambda: as_other(control_plane, node, {"spec": {"unschedulable": True}}))
    assert f"last written by the field manager {OTHER}" in said
    assert written_by(control_plane, node, OTHER)[0]["fieldsV1"]["f:spec"] == {"f:unschedulable": {}}, "it stays theirs"


def test_a_conflict_about_a_pod_names_its_kubelet(namespace: Namespace, cloud: KubernetesCloud) -> None:
    resource = namespace.pod("web-1")
    path = f"{namespace.pod_path('web-1')}/status?fieldManager=kubelet"
    phase = {"status": {"phase": "Running", "message": "restarted"}}
    said = late(Setting(PodIsolate(), cloud, resource), lambda: namespace.api.patch(path, phase))
    assert "last written by the field manager kubelet (status)" in said


def test_a_conflict_about_our_own_policy_names_who_changed_it(namespace: Namespace, cloud: KubernetesCloud) -> None:
    resource = namespace.pod("web-1")
    setting = Setting(PodIsolate(), cloud, resource)
    target = setting.target(setting.observe())
    setting.apply(target)
    policy = f"{namespace.policies}/cloud-quarantine-{resource.uid}"
    as_other(namespace.api, policy, {"spec": {"egress": [{}]}})
    now = setting.observe()
    as_other(namespace.api, policy, {"spec": {"egress": [{}], "ingress": [{}]}})
    with pytest.raises(Conflict, match=f"last written by the field manager {OTHER}"):
        setting.action.apply(setting.cloud.through(CountingGate(), setting.mark), resource, now, target)
    setting.apply(target)


def test_what_the_object_does_not_tell_is_not_made_up() -> None:
    assert last_writers({"metadata": {}}, MANAGER) == ()
    assert appliers({"metadata": {"managedFields": [{"manager": "a", "operation": "Apply"}]}}, [("spec", "x")]) == ()
    fields: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
    entries = [{"manager": "a", "operation": "Update", "fieldsV1": fields, "time": "2026-11-25T08:00:00Z"}]
    assert appliers({"metadata": {"managedFields": entries}}, [("spec", "replicas")]) == ()
    newer = {"manager": "kubelet", "subresource": "status", "time": "2026-11-25T08:00:01Z"}
    assert last_writers({"metadata": {"managedFields": [*entries, newer]}}, MANAGER) == ("kubelet (status)",)


# --- why nothing is applied by us: see docs/decisions/0022 ---------------------------------------------------------


def applied(api: ControlPlane, path: str, body: dict[str, Any], force: bool = False) -> dict[str, Any]:
    return api.patch(f"{path}?fieldManager=trial&force={str(force).lower()}", body, APPLY)


def test_what_is_applied_without_force_fails_on_whatever_anybody_has_set(
    namespace: Namespace, control_plane: ControlPlane
) -> None:
    path = Kind("deployments", "apps").path.format(namespace=namespace.name, name="web")
    body = {"metadata": {"name": "web"}, "spec": {"replicas": 2, "selector": SELECTOR, "template": TEMPLATE}}
    control_plane.create(f"{path.rpartition('/')[0]}?fieldManager=kubectl-create", body)
    mine = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 0}}
    with pytest.raises(ApiError, match="kubectl-create"):
        applied(control_plane, path, mine)


def test_what_is_applied_and_dropped_again_is_lost_and_not_given_back(control_plane: ControlPlane, node: str) -> None:
    as_other(control_plane, node, {"metadata": {"annotations": {"karpenter.sh/do-not-disrupt": "false"}}})
    mine: dict[str, Any] = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.rpartition("/")[2]}}
    kept = {"annotations": {"karpenter.sh/do-not-disrupt": "true"}}
    applied(control_plane, node, {**mine, "metadata": {**mine["metadata"], **kept}}, force=True)
    applied(control_plane, node, mine, force=True)
    assert "annotations" not in control_plane.get(node)["metadata"], "not 'false', which it was"


def test_what_is_applied_over_a_set_leaves_in_it_what_others_added(namespace: Namespace) -> None:
    """A finalizer here; validationActions of a binding, or an egress rule, where it decides."""
    path = f"/api/v1/namespaces/{namespace.name}/configmaps/list"
    mine = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "list", "finalizers": ["example.test/ours"]}}
    applied(namespace.api, path, mine)
    as_other(namespace.api, path, {"metadata": {"finalizers": ["example.test/theirs"]}})
    applied(namespace.api, path, mine, force=True)
    assert sorted(namespace.api.get(path)["metadata"]["finalizers"]) == ["example.test/ours", "example.test/theirs"]
    namespace.api.patch(path, {"metadata": {"finalizers": None}})


def test_what_is_applied_late_is_made_again(namespace: Namespace) -> None:
    path = f"{namespace.policies}/ours"
    spec = {"podSelector": {}, "policyTypes": ["Ingress"]}
    mine = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "ours"}, "spec": spec}
    applied(namespace.api, path, mine)
    namespace.api.delete(path)
    applied(namespace.api, path, mine, force=True)
    assert namespace.policy_names() == ["ours"]
