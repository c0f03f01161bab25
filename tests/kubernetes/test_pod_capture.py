import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from quarantine.errors import Gone
from quarantine.model import Resource
from quarantine.testing.contract import CaptureContract, Setting
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.pod_capture import PodCapture
from quarantine_kubernetes.pod_isolate import PodIsolate
from tests.kubernetes.conftest import Namespace
from tests.kubernetes.rbac import RBAC, grant, granted_everywhere
from tests.kubernetes.workloads import CONTAINERS, SELECTOR, make, node_of, running
from tests.testbed.controlplane import SERVICE
from tests.testbed.poll import until

PASSWORD = "correct horse battery staple"
EVERYTHING = {
    "pod.json",
    "events.json",
    "networkpolicies.json",
    "services.json",
    "node.json",
    "serviceaccount.json",
    "rolebindings.json",
    "clusterrolebindings.json",
    "missing.json",
}


@pytest.fixture
def suspect(namespace: Namespace) -> Resource:
    """A pod of a Deployment on a node, with Services, policies, events, and rights, and with others beside it."""
    api, name = namespace.api, namespace.name
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": CONTAINERS, "nodeName": node_of(namespace)},
    }
    above = _made_by_every_other_kind(namespace)
    spec = {"replicas": 1, "selector": SELECTOR, "template": template}
    make(namespace, "deployments", "web", spec, ownerReferences=[above])
    (resource,) = running(namespace, 1)
    for service, selector in (("web", {"app": "web"}), ("till", {"app": "till"}), ("by-hand", None)):
        spec = {"ports": [{"port": 80}], **({"selector": selector} if selector else {})}
        make(namespace, "services", service, spec)
    namespace.policy("allow-web", podSelector={}, ingress=[{}])
    involved = {"kind": "Pod", "namespace": name, "name": resource.id, "uid": resource.uid}
    for reason, of in (("Ours", involved), ("Theirs", involved | {"uid": "another"})):
        event = {"metadata": {"name": reason.lower()}, "involvedObject": of, "reason": reason}
        api.create(f"/api/v1/namespaces/{name}/events", event)
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    api.create(f"{RBAC}/namespaces/{name}/roles", {"metadata": {"name": "reads-secrets"}, "rules": [rule]})
    account = {"kind": "ServiceAccount", "namespace": name, "name": "default"}
    group = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": f"system:serviceaccounts:{name}"}
    for binding, role, subject in (
        ("by-name", ("Role", "reads-secrets"), account),
        ("by-group", ("ClusterRole", "view"), group),
        ("dangling", ("Role", "lost"), account),
        ("of-another", ("ClusterRole", "edit"), account | {"name": "till"}),
    ):
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": role[0], "name": role[1]}
        made = {"metadata": {"name": binding}, "roleRef": reference, "subjects": [subject]}
        api.create(f"{RBAC}/namespaces/{name}/rolebindings", made)
    secret = {"metadata": {"name": "key"}, "stringData": {"password": PASSWORD}}
    api.create(f"/api/v1/namespaces/{name}/secrets", secret)
    return resource


def _made_by_every_other_kind(namespace: Namespace) -> dict[str, Any]:
    """One object of each kind of owner, each the next one's controller, as operators may build it. None makes a pod."""
    labels = {"app": "other"}
    selector = {"matchLabels": labels}
    template = {"metadata": {"labels": labels}, "spec": {"containers": CONTAINERS, "nodeSelector": {"no": "node"}}}
    run = {"suspend": True, "template": {"spec": {"containers": CONTAINERS, "restartPolicy": "Never"}}}
    chain: list[dict[str, Any]] = []
    for plural, spec in (
        ("cronjobs", {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": run}}),
        ("jobs", run),
        ("replicationcontrollers", {"replicas": 0, "selector": labels, "template": template}),
        ("daemonsets", {"selector": selector, "template": template}),
        ("statefulsets", {"replicas": 0, "selector": selector, "template": template, "serviceName": "none"}),
    ):
        made = make(namespace, plural, "other", spec, ownerReferences=chain[-1:])
        uid = made["metadata"]["uid"]
        names = {"apiVersion": made["apiVersion"], "kind": made["kind"], "name": "other"}
        chain.append({**names, "uid": uid, "controller": True})
    return chain[-1]


class TestPodCapture(CaptureContract):
    @pytest.fixture
    def setting(
        self, namespace: Namespace, suspect: Resource, cloud_of: Callable[[str], KubernetesCloud]
    ) -> Iterator[Setting]:
        with granted_everywhere(namespace.api, SERVICE, PodCapture().permissions()):
            yield Setting(PodCapture(), cloud_of(SERVICE), suspect)

    @pytest.fixture
    def workload(self, namespace: Namespace, suspect: Resource) -> Callable[[], object]:
        return lambda: namespace.api.get(namespace.pod_path(suspect.id))

    def test_with_its_permissions_only_what_is_not_there_is_missing(self, setting: Setting) -> None:
        assert set(json.loads(collect(setting)["missing.json"])) == {self.lost(setting)}

    def lost(self, setting: Setting) -> str:
        return f"roles/{setting.resource.area}/lost.json"


def collect(setting: Setting) -> dict[str, bytes]:
    artifacts = setting.action.collect(setting.cloud, setting.resource)
    return {artifact.name: artifact.content for artifact in artifacts}


def names(content: bytes) -> set[str]:
    return {item["metadata"]["name"] for item in json.loads(content)["items"]}


def test_it_takes_the_pod_and_what_is_around_it(
    namespace: Namespace, suspect: Resource, cloud: KubernetesCloud
) -> None:
    found = collect(Setting(PodCapture(), cloud, suspect))
    owners = {name: json.loads(content) for name, content in found.items() if name.startswith("owners/")}
    assert json.loads(found["pod.json"]) == namespace.api.get(namespace.pod_path(suspect.id))
    assert [owner["kind"] for owner in owners.values()][:3] == ["ReplicaSet", "Deployment", "StatefulSet"]
    assert len(owners) == 7
    assert list(owners)[1] == "owners/deployment/web.json"
    assert [event["reason"] for event in json.loads(found["events.json"])["items"]] == ["Ours"]
    assert names(found["services.json"]) == {"web"}
    assert names(found["networkpolicies.json"]) == {"allow-web"}
    assert json.loads(found["node.json"])["metadata"]["name"] == node_of(namespace)
    assert json.loads(found["serviceaccount.json"])["metadata"]["name"] == "default"
    assert names(found["rolebindings.json"]) == {"by-name", "by-group", "dangling"}
    assert "system:discovery" in names(found["clusterrolebindings.json"]), "that is for all who are authenticated"
    role = json.loads(found[f"roles/{namespace.name}/reads-secrets.json"])
    assert role["rules"][0]["resources"] == ["secrets"]
    assert "clusterroles/view.json" in found
    assert "clusterroles/edit.json" not in found
    assert PASSWORD.encode() not in b"".join(found.values())


def test_after_its_isolation_the_same_is_found_by_how_it_was(
    namespace: Namespace, suspect: Resource, cloud: KubernetesCloud
) -> None:
    """Which Services, and which owners; nothing leads to them from the pod any more."""
    setting = Setting(PodCapture(), cloud, suspect)
    around = {name: content for name, content in collect(setting).items() if name.startswith(("owners/", "services"))}
    before = PodIsolate().observe(cloud, suspect).stored()
    namespace.api.patch(namespace.pod_path(suspect.id), {"metadata": {"labels": {"app": None}}})
    until(lambda: not namespace.api.get(namespace.pod_path(suspect.id))["metadata"].get("ownerReferences"))
    assert not [name for name in collect(setting) if name.startswith("owners/")], "so it must have been remembered"
    found = collect(Setting(PodCapture(), cloud.knowing({PodIsolate.name: before}), suspect))
    assert names(found["services.json"]) == names(around["services.json"]) == {"web"}
    assert {name for name in found if name.startswith("owners/")} == {*around} - {"services.json"}
    was = json.loads(found["metadata-before-isolation.json"])
    assert was["labels"]["app"] == "web"
    assert [owner["kind"] for owner in was["ownerReferences"]] == ["ReplicaSet"]


def test_a_pod_of_a_cronjob_has_both_its_owners(namespace: Namespace, cloud: KubernetesCloud) -> None:
    template = {"spec": {"containers": CONTAINERS, "restartPolicy": "Never"}}
    spec = {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": {"template": template}}}
    above = make(namespace, "cronjobs", "nightly", spec)["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": above["uid"], "controller": True}
    make(namespace, "jobs", "nightly-1", {"template": template}, ownerReferences=[owner])
    (resource,) = running(namespace, 1)
    found = collect(Setting(PodCapture(), cloud, resource))
    assert [name for name in found if name.startswith("owners/")] == [
        "owners/job/nightly-1.json",
        "owners/cronjob/nightly.json",
    ]


def test_an_owner_that_nobody_knows_is_said(namespace: Namespace, cloud: KubernetesCloud) -> None:
    owner = {"apiVersion": "example.test/v1", "kind": "Robot", "name": "r2", "uid": "1", "controller": True}
    pod = {"metadata": {"name": "web-1", "ownerReferences": [owner]}, "spec": {"containers": CONTAINERS}}
    made = namespace.api.create(f"/api/v1/namespaces/{namespace.name}/pods", pod)
    found = collect(Setting(PodCapture(), cloud, namespace.resource(made)))
    assert "owners/robot/r2.json" in json.loads(found["missing.json"])


def test_what_may_not_be_read_is_said_and_holds_nothing_up(
    namespace: Namespace, suspect: Resource, cloud_of: Callable[[str], KubernetesCloud]
) -> None:
    grant(namespace, SERVICE, ("get pods", "list rolebindings.rbac.authorization.k8s.io"))
    found = collect(Setting(PodCapture(), cloud_of(SERVICE), suspect))
    assert names(found["rolebindings-of-its-namespace.json"]) >= {"by-name", "by-group", "dangling"}
    missing = json.loads(found["missing.json"])
    assert missing.keys() >= EVERYTHING - found.keys() - {"missing.json"}
    assert "403" in missing["node.json"]


def test_another_pod_under_the_same_name_is_not_taken_for_it(namespace: Namespace, cloud: KubernetesCloud) -> None:
    first = namespace.pod("web-1")
    namespace.api.delete(namespace.pod_path("web-1"))
    namespace.pod("web-1")
    with pytest.raises(Gone):
        collect(Setting(PodCapture(), cloud, first))
