import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from quarantine.action import State, reached, three_way
from quarantine.errors import Conflict, Gone
from quarantine.model import Resource
from quarantine.testing.contract import CountingGate, ReversibleContract, Setting, Stranger
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.node_cordon import NodeCordon
from quarantine_kubernetes.schedulability import KEPT_BY, Schedulability
from tests.kubernetes.conftest import CLUSTER
from tests.kubernetes.rbac import granted_everywhere
from tests.testbed.controlplane import SERVICE, ControlPlane

Change = Callable[[dict[str, Any]], None]
NOTED = {"team": "shop", "karpenter.sh/do-not-disrupt": "false"}


@pytest.fixture
def node(control_plane: ControlPlane) -> Iterator[Resource]:
    """Schedulable, with one of the annotations at another value and the other absent."""
    name = f"node-{uuid.uuid4().hex[:8]}"
    spec = {"podCIDR": "10.9.0.0/24", "taints": [{"key": "gpu", "effect": "NoSchedule"}]}
    made = control_plane.create("/api/v1/nodes", {"metadata": {"name": name, "annotations": NOTED}, "spec": spec})
    yield Resource(kind="kubernetes:node", id=name, scope=CLUSTER, uid=made["metadata"]["uid"])
    control_plane.delete(f"/api/v1/nodes/{name}", grace=None)


@pytest.fixture
def change(node: Resource, control_plane: ControlPlane) -> Change:
    return lambda body: void(control_plane.patch(f"/api/v1/nodes/{node.id}", body))


def void(_: object) -> None: ...


class TestNodeCordon(ReversibleContract):
    """As a user who has exactly the declared permissions."""

    @pytest.fixture
    def setting(
        self, node: Resource, control_plane: ControlPlane, cloud_of: Callable[[str], KubernetesCloud]
    ) -> Iterator[Setting]:
        with granted_everywhere(control_plane, SERVICE, NodeCordon().permissions()):
            yield Setting(NodeCordon(), cloud_of(SERVICE), node)

    @pytest.fixture
    def stranger(self, setting: Setting, change: Change) -> Stranger:
        return lambda: change({"metadata": {"annotations": {"karpenter.sh/do-not-disrupt": "maybe"}}})


@pytest.fixture
def setting(node: Resource, cloud: KubernetesCloud) -> Setting:
    return Setting(NodeCordon(), cloud, node)


def seen(setting: Setting) -> Schedulability:
    state = setting.observe()
    assert isinstance(state, Schedulability)
    return state


def contain(setting: Setting) -> Schedulability:
    before = seen(setting)
    setting.apply(setting.target(before))
    return before


def release(setting: Setting, before: Schedulability) -> None:
    target = setting.target(before)
    assert isinstance(target, State)
    merged, _ = three_way(before, target, seen(setting))
    setting.apply(merged)


def test_it_is_cordoned_and_kept_in_one_change(setting: Setting, control_plane: ControlPlane) -> None:
    assert len(setting.apply(setting.target(seen(setting))).calls) == 1
    node = control_plane.get(f"/api/v1/nodes/{setting.resource.id}")
    assert node["spec"]["unschedulable"] is True
    assert node["metadata"]["annotations"] == NOTED | KEPT_BY
    effects = {taint["effect"] for taint in node["spec"]["taints"]}
    assert effects == {"NoSchedule"}, "none that would end its pods"


def test_a_release_gives_it_back_byte_for_byte(setting: Setting, control_plane: ControlPlane) -> None:
    image = control_plane.get(f"/api/v1/nodes/{setting.resource.id}")
    release(setting, contain(setting))
    after = control_plane.get(f"/api/v1/nodes/{setting.resource.id}")
    for item in (image, after):
        for counted in ("resourceVersion", "managedFields"):
            item["metadata"].pop(counted)
    assert after == image
    assert "unschedulable" not in after["spec"]


def test_one_that_was_cordoned_before_stays_so(setting: Setting, change: Change) -> None:
    change({"spec": {"unschedulable": True}})
    before = contain(setting)
    release(setting, before)
    assert seen(setting).unschedulable is True
    assert seen(setting).part() == before.part()


def test_who_uncordons_it_is_noticed(setting: Setting, change: Change) -> None:
    before = contain(setting)
    change({"spec": {"unschedulable": None}})
    assert not reached(seen(setting), setting.target(before))


def test_nobodys_change_is_overwritten(setting: Setting, change: Change) -> None:
    now = seen(setting)
    change({"metadata": {"annotations": {"karpenter.sh/do-not-disrupt": "mine"}}})
    with pytest.raises(Conflict):
        setting.action.apply(
            setting.cloud.through(CountingGate(), setting.mark), setting.resource, now, setting.target(now)
        )


def test_another_node_of_that_name_is_gone(setting: Setting) -> None:
    other = setting.resource.model_copy(update={"uid": "another"})
    with pytest.raises(Gone, match="another node has this name now"):
        setting.action.observe(setting.cloud, other)
