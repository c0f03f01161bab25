"""The pool of a node: the last one that takes pods is not cordoned without a person."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quarantine.case import Case, Status
from quarantine.model import Resource
from quarantine.playbook import shipped
from quarantine.testing.installation import Installation
from quarantine_kubernetes import Kubernetes
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.node_pool import CONTROL_PLANE, PERMISSIONS, node_pool, pool_of
from quarantine_kubernetes.provider import Cluster, KubernetesSettings
from tests.kubernetes.conftest import CLUSTER, Namespace
from tests.kubernetes.rbac import granted_everywhere
from tests.testbed.controlplane import ADMIN, SERVICE, ControlPlane
from tests.testbed.poll import until

POOL = "eks.amazonaws.com/nodegroup"


class Pool:
    """Nodes with a pool of their own, or whatever labels they are given."""

    def __init__(self, api: ControlPlane) -> None:
        self.name = f"pool-{uuid.uuid4().hex[:8]}"
        self.nodes: list[str] = []
        self._api = api

    def add(self, labels: dict[str, str] | None = None, ready: str = "True", **spec: object) -> Resource:
        name = f"{self.name}-{len(self.nodes)}"
        metadata = {"name": name, "labels": {POOL: self.name} if labels is None else labels}
        self._api.create("/api/v1/nodes", {"metadata": metadata, "spec": spec})
        self.nodes.append(name)
        self._api.patch_status(f"/api/v1/nodes/{name}", {"conditions": [{"type": "Ready", "status": ready}]})
        return Resource(kind="kubernetes:node", id=name, scope=CLUSTER)

    def unschedulable(self, name: str) -> bool:
        return bool(self._api.get(f"/api/v1/nodes/{name}")["spec"].get("unschedulable"))

    def end(self) -> None:
        for name in self.nodes:
            self._api.delete(f"/api/v1/nodes/{name}", grace=None)


@pytest.fixture
def pool(control_plane: ControlPlane) -> Iterator[Pool]:
    made = Pool(control_plane)
    yield made
    made.end()


def test_those_that_take_pods_are_counted_and_no_others(cloud: KubernetesCloud, pool: Pool) -> None:
    first = pool.add()
    pool.add()
    pool.add(unschedulable=True)
    pool.add(ready="Unknown")
    pool.add({POOL: "another"})

    def counted() -> bool:
        found = node_pool(cloud, first)
        return (found.key, found.size, found.healthy) == (f"{CLUSTER}/node pool {pool.name}", 4, 2)

    until(counted)  # the API server's cache may be a moment behind


def test_a_node_that_does_not_answer_is_not_counted_as_one_that_can_stand_in_for_itself(
    cloud: KubernetesCloud, pool: Pool
) -> None:
    sick = pool.add(ready="False")
    pool.add(ready="False")
    until(lambda: (node_pool(cloud, sick).size, node_pool(cloud, sick).healthy) == (2, 1))
    pool.add()
    until(lambda: node_pool(cloud, sick).healthy == 2)


def test_nodes_without_a_pool_are_one_and_the_control_plane_is_another() -> None:
    def node(**labels: str) -> dict[str, object]:
        return {"metadata": {"labels": {key.replace("_", "/"): value for key, value in labels.items()}}}

    assert pool_of({"metadata": {}}) == pool_of(node(team="shop"))
    assert pool_of({"metadata": {"labels": {CONTROL_PLANE: ""}}}) != pool_of({"metadata": {}})
    assert pool_of({"metadata": {"labels": {CONTROL_PLANE: "", POOL: "a"}}}) == (POOL, "a")


def test_it_asks_for_what_it_says(
    cloud_of: Callable[[str], KubernetesCloud], control_plane: ControlPlane, pool: Pool
) -> None:
    node = pool.add()
    with granted_everywhere(control_plane, SERVICE, PERMISSIONS):
        assert node_pool(cloud_of(SERVICE), node).healthy == 1


# --- through the engine --------------------------------------------------------------------------------------------


@pytest.fixture
def there(tmp_path: Path, control_plane: ControlPlane) -> Installation:
    cluster = Cluster(kubeconfig=control_plane.kubeconfig(ADMIN), enforced_by="k3s")
    books = [shipped() / "kubernetes" / f"{name}.yaml" for name in ("contain-escape", "cordon-node")]
    return Installation(tmp_path, Kubernetes(KubernetesSettings(clusters={CLUSTER: cluster})), books)


def escaped(there: Installation, namespace: Namespace, node: Resource) -> Case:
    pod = namespace.pod(f"web-{node.id}", {"app": "web"}, nodeName=node.id)
    return there.settle(there.open(pod, "contain-escape"))


def test_an_escape_cordons_one_node_of_a_pool_and_the_next_waits(
    there: Installation, namespace: Namespace, pool: Pool
) -> None:
    first, second = pool.add(), pool.add()
    pool.add()
    assert escaped(there, namespace, first).status is Status.CONTAINED
    assert pool.unschedulable(first.id)
    held = escaped(there, namespace, second)
    assert (held.status, pool.unschedulable(second.id)) == (Status.PROPOSED, False)
    assert f"1 of 3 of {CLUSTER}/node pool {pool.name}" in held.sentence


def test_the_last_node_that_takes_pods_waits_for_a_person(
    there: Installation, namespace: Namespace, pool: Pool
) -> None:
    node = pool.add()
    pool.add(unschedulable=True)
    pool.add(ready="Unknown")
    case = escaped(there, namespace, node)
    assert (case.status, pool.unschedulable(node.id)) == (Status.AWAITING_APPROVAL, False), case.sentence
    assert f"{node.id} in {CLUSTER} is the last healthy member" in case.sentence
    assert namespace.labels(f"web-{node.id}") == {"app": "web"}, "the pod waits too: the plan is one"
