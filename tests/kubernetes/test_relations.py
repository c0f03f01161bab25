"""With the real controllers: what they make is what is followed back."""

from collections.abc import Callable
from typing import Any

import pytest

from quarantine.errors import Gone, Unsupported
from quarantine.model import Resource
from quarantine_kubernetes import objects
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.label_query import label_query
from quarantine_kubernetes.relations import RELATIONS, controller_of
from tests.kubernetes.conftest import CLUSTER, Namespace
from tests.kubernetes.rbac import RBAC, grant, granted_everywhere
from tests.kubernetes.workloads import CONTAINERS, SELECTOR, TEMPLATE, make, make_deployment, running
from tests.testbed.controlplane import SERVICE, ControlPlane
from tests.testbed.poll import until


def follow(cloud: KubernetesCloud, relation: str, resource: Resource) -> list[Resource]:
    return list(RELATIONS[relation].find(cloud, resource))


def test_from_a_pod_to_its_deployment_and_back(
    namespace: Namespace, cloud_of: Callable[[str], KubernetesCloud]
) -> None:
    deployment = make_deployment(namespace)
    pods = running(namespace, 2)
    grant(namespace, SERVICE, {*RELATIONS["owner"].permissions, *RELATIONS["pods"].permissions})
    (found,) = follow(cloud_of(SERVICE), "owner", pods[0])
    assert (found.id, found.uid, found.scope) == ("deployment/web", deployment["metadata"]["uid"], pods[0].scope)
    assert follow(cloud_of(SERVICE), "pods", found) == pods


@pytest.mark.parametrize("plural", ["statefulsets", "daemonsets", "replicasets"])
def test_from_a_pod_to_what_made_it(plural: str, namespace: Namespace, cloud: KubernetesCloud) -> None:
    word = plural.removesuffix("s")
    spec: dict[str, Any] = {"selector": SELECTOR, "template": TEMPLATE}
    made = make(namespace, plural, "web", {**spec, **({"serviceName": "web"} if word == "statefulset" else {})})
    pods = f"/api/v1/namespaces/{namespace.name}/pods"
    if plural != "daemonsets":  # their controllers delete one that is too many, or let go of one of another name
        (pod,) = until(lambda: namespace.api.items(pods))
    else:
        owner = {"apiVersion": "apps/v1", "kind": made.get("kind"), "name": "web", "controller": True}
        metadata: dict[str, Any] = {"name": "by-hand", "labels": {"app": "web"}}
        metadata |= {"ownerReferences": [{**owner, "uid": made["metadata"]["uid"]}]}
        pod = namespace.api.create(pods, {"metadata": metadata, "spec": {"containers": CONTAINERS}})
    (found,) = follow(cloud, "owner", namespace.resource(pod))
    assert found.id == f"{word}/web"


def test_a_lone_pod_has_no_owner(namespace: Namespace, cloud: KubernetesCloud) -> None:
    assert follow(cloud, "owner", namespace.pod("web-1")) == []


def test_an_owner_of_an_unknown_kind_is_not_taken_for_another(namespace: Namespace, cloud: KubernetesCloud) -> None:
    """Argo's Rollout makes ReplicaSets as a Deployment does: the ReplicaSet is the uppermost that we know."""
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web", "uid": "u", "controller": True}
    spec = {"replicas": 1, "selector": SELECTOR, "template": TEMPLATE}
    make(namespace, "replicasets", "web-1", spec, ownerReferences=[owner])
    (pod,) = running(namespace, 1)
    assert [found.id for found in follow(cloud, "owner", pod)] == ["replicaset/web-1"]
    other = {"metadata": {"ownerReferences": [{**owner, "kind": "Deployment"}]}}
    assert controller_of(other, pod) is None


def test_from_a_pod_to_its_job_and_its_cron_job(
    namespace: Namespace, cloud_of: Callable[[str], KubernetesCloud]
) -> None:
    template = {"spec": {"containers": CONTAINERS, "restartPolicy": "Never"}}
    cron = make(
        namespace, "cronjobs", "nightly", {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": template}}}
    )
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "controller": True}
    owner["uid"] = cron["metadata"]["uid"]
    made = make(namespace, "jobs", "nightly-1", {"template": template}, ownerReferences=[owner])
    (pod,) = running(namespace, 1)
    names = ("job", "cronjob", "job-pods", "owner")
    grant(namespace, SERVICE, {item for name in names for item in RELATIONS[name].permissions})
    cloud = cloud_of(SERVICE)
    (job,) = follow(cloud, "job", pod)
    assert (job.kind, job.id, job.uid) == ("kubernetes:job", "nightly-1", made["metadata"]["uid"])
    assert follow(cloud, "job-pods", job) == [pod]
    (found,) = follow(cloud, "cronjob", pod)
    assert (found.kind, found.id, found.uid) == ("kubernetes:cronjob", "nightly", cron["metadata"]["uid"])
    assert follow(cloud, "owner", pod) == []


def test_from_a_pod_to_its_node(
    namespace: Namespace, control_plane: ControlPlane, cloud_of: Callable[[str], KubernetesCloud]
) -> None:
    made = control_plane.create("/api/v1/nodes", {"metadata": {"name": f"node-of-{namespace.name}"}})["metadata"]
    try:
        pod = namespace.pod("web-1", nodeName=made["name"])
        with granted_everywhere(control_plane, SERVICE, RELATIONS["node"].permissions):
            (found,) = follow(cloud_of(SERVICE), "node", pod)
        assert found == Resource(kind="kubernetes:node", id=made["name"], scope=CLUSTER, uid=made["uid"])
    finally:
        control_plane.delete(f"/api/v1/nodes/{made['name']}")


def bind(namespace: Namespace, *subjects: dict[str, str]) -> tuple[str, str]:
    """A RoleBinding in another namespace, and a ClusterRoleBinding. Returns their names."""
    name = f"bound-{namespace.name}"
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    body = {"metadata": {"name": name}, "roleRef": role, "subjects": list(subjects)}
    namespace.api.create(f"{RBAC}/namespaces/default/rolebindings", body)
    namespace.api.create(f"{RBAC}/clusterrolebindings", body)
    return f"{RBAC}/namespaces/default/rolebindings/{name}", f"{RBAC}/clusterrolebindings/{name}"


@pytest.mark.parametrize("start", ["pod", "account"])
def test_from_a_pod_or_an_account_to_all_that_gives_it_rights_by_name(
    start: str, namespace: Namespace, control_plane: ControlPlane, cloud_of: Callable[[str], KubernetesCloud]
) -> None:
    accounts = f"/api/v1/namespaces/{namespace.name}/serviceaccounts"
    uid = control_plane.create(accounts, {"metadata": {"name": "builder"}})["metadata"]["uid"]
    user = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User"}
    by_user = f"system:serviceaccount:{namespace.name}:builder"
    subjects = [
        {"kind": "ServiceAccount", "name": "builder", "namespace": namespace.name},
        {**user, "name": by_user},
        {**user, "name": "alice"},
        {"kind": "ServiceAccount", "name": "builder", "namespace": "default"},
        {**user, "kind": "Group", "name": f"system:serviceaccounts:{namespace.name}"},
    ]
    paths = bind(namespace, *subjects)
    try:
        pod = namespace.pod("web-1", serviceAccountName="builder")
        with granted_everywhere(control_plane, SERVICE, RELATIONS["service-account"].permissions):
            (account,) = follow(cloud_of(SERVICE), "service-account", pod)
        assert (account.kind, account.id, account.uid) == ("kubernetes:serviceaccount", "builder", uid)
        resource, prefix = (pod, "") if start == "pod" else (account, "account-")
        keys = {f"ServiceAccount/{namespace.name}/builder", f"User/{by_user}"}
        for relation, path, scope in (
            ("role-bindings", paths[0], f"{CLUSTER}/default"),
            ("cluster-role-bindings", paths[1], CLUSTER),
        ):
            with granted_everywhere(control_plane, SERVICE, RELATIONS[prefix + relation].permissions):
                found = follow(cloud_of(SERVICE), prefix + relation, resource)
            metadata = control_plane.get(path)["metadata"]
            assert {(it.id, it.uid, it.scope) for it in found} == {
                (f"{metadata['name']}/{key}", f"{metadata['uid']}/{key}", scope) for key in keys
            }
    finally:
        for path in paths:
            control_plane.delete(path)


def test_an_account_that_was_made_anew_under_the_name_has_no_bindings_of_the_old_one(
    namespace: Namespace, cloud: KubernetesCloud
) -> None:
    account = Resource(kind="kubernetes:serviceaccount", id="default", scope=f"{CLUSTER}/{namespace.name}", uid="old")
    for relation in ("account-role-bindings", "account-cluster-role-bindings"):
        with pytest.raises(Gone, match="another serviceaccount has this name now"):
            follow(cloud, relation, account)


def test_a_pod_whose_account_was_deleted_has_none(namespace: Namespace, cloud: KubernetesCloud) -> None:
    accounts = f"/api/v1/namespaces/{namespace.name}/serviceaccounts"
    namespace.api.create(accounts, {"metadata": {"name": "builder"}})
    pod = namespace.pod("web-1", serviceAccountName="builder")
    namespace.api.delete(f"{accounts}/builder")
    assert follow(cloud, "service-account", pod) == []


def test_a_pod_that_waits_for_a_node_has_none(namespace: Namespace, cloud: KubernetesCloud) -> None:
    path = f"/api/v1/namespaces/{namespace.name}/pods"
    pod = namespace.api.create(path, {"metadata": {"name": "waits"}, "spec": {"containers": CONTAINERS}})
    assert follow(cloud, "node", namespace.resource(pod)) == []
    assert follow(cloud, "node", namespace.pod("lost", nodeName="no-such-node")) == []


# --- selectors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"matchLabels": {"app": "web", "tier": "front"}}, {"both"}),
        ({"app": "web"}, {"web", "both"}),  # as a ReplicationController has it
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["db", "web"]}]}, {"web", "both", "db"}),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]}, {"web", "both", "none"}),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, {"both"}),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, {"none"}),
        (
            {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]},
            {"web"},
        ),
    ],
)
def test_the_api_server_finds_what_a_selector_selects(
    wanted: dict[str, Any], expected: set[str], namespace: Namespace, cloud: KubernetesCloud
) -> None:
    labels = {"web": {"app": "web"}, "both": {"app": "web", "tier": "front"}, "db": {"app": "db"}, "none": {}}
    for name, given in labels.items():
        namespace.pod(name, given)
    query = {"labelSelector": label_query({"metadata": {"name": "x"}, "spec": {"selector": wanted}})}
    kind = objects.KINDS[objects.POD]
    found = cloud.read("list pods", f"get {kind.collection}", namespace=namespace.name, query=query)
    assert {pod["metadata"]["name"] for pod in found["items"]} == expected


@pytest.mark.parametrize("wanted", [{}, None, {"matchLabels": {}}])
def test_a_selector_of_nothing_is_never_one_of_everything(wanted: Any) -> None:
    with pytest.raises(Gone, match="selects nothing"):
        label_query({"metadata": {"name": "x"}, "spec": {"selector": wanted}})


# --- what is named -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "scope", "why"),
    [
        ("kubernetes:workload", "web", "prod/shop", "name it deployment/NAME or"),
        ("kubernetes:workload", "rollout/web", "prod/shop", "no workload"),
        ("kubernetes:workload", "deployment/", "prod/shop", "no workload"),
        ("kubernetes:thing", "web", "prod/shop", "is not known here. Known: kubernetes:pod"),
        ("kubernetes:pod", "web-1", "prod", "the scope is prod/NAMESPACE"),
        ("kubernetes:node", "n1", "prod/shop", "the scope is prod$"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_asked(kind: str, name: str, scope: str, why: str) -> None:
    with pytest.raises(Unsupported, match=why):
        objects.located(Resource(kind=kind, id=name, scope=scope))


def test_another_object_under_the_name_is_gone(namespace: Namespace, cloud: KubernetesCloud) -> None:
    make_deployment(namespace, replicas=0)
    resource = Resource(kind="kubernetes:workload", id="deployment/web", scope=f"{CLUSTER}/{namespace.name}", uid="old")
    with pytest.raises(Gone, match="another workload has this name now"):
        objects.get(cloud, resource)
