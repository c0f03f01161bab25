from collections.abc import Callable, Iterator
from typing import Any

import pytest

from quarantine.action import State, three_way
from quarantine.errors import Conflict
from quarantine.model import Resource
from quarantine.testing.contract import CountingGate, ReversibleContract, Setting, Stranger
from quarantine_kubernetes.binding import Binding, key_of, keys_of, read_binding
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.clusterrolebinding_revoke import ClusterrolebindingRevoke
from quarantine_kubernetes.relations import RELATIONS
from quarantine_kubernetes.rolebinding_revoke import RolebindingRevoke
from tests.kubernetes.conftest import CLUSTER, Namespace
from tests.kubernetes.rbac import RBAC, grant, granted_everywhere
from tests.testbed.controlplane import SERVICE, ControlPlane

GROUP = "rbac.authorization.k8s.io"
ALICE = {"kind": "User", "name": "alice", "apiGroup": GROUP}
DEVELOPERS = {"kind": "Group", "name": "dev", "apiGroup": GROUP}


def builder(namespace: Namespace) -> dict[str, str]:
    return {"kind": "ServiceAccount", "name": "builder", "namespace": namespace.name}


def bind(namespace: Namespace, role: str = "Role", name: str = "builders") -> str:
    """Three subjects, who may read pods; its path."""
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    base = f"{RBAC}/namespaces/{namespace.name}"
    if role == "Role":
        namespace.api.create(f"{base}/roles", {"metadata": {"name": name}, "rules": rules})
    body = {"metadata": {"name": name}, "subjects": [ALICE, builder(namespace), DEVELOPERS]}
    body["roleRef"] = {"apiGroup": GROUP, "kind": role, "name": name if role == "Role" else "view"}
    namespace.api.create(f"{base}/rolebindings", body)
    return f"{base}/rolebindings/{name}"


@pytest.fixture
def everywhere(namespace: Namespace) -> Iterator[str]:
    """A ClusterRoleBinding with the same subjects; its name."""
    name = f"builders-of-{namespace.name}"
    body = {"metadata": {"name": name}, "subjects": [ALICE, builder(namespace), DEVELOPERS]}
    ref = {"apiGroup": GROUP, "kind": "ClusterRole", "name": "view"}
    namespace.api.create(f"{RBAC}/clusterrolebindings", {**body, "roleRef": ref})
    yield name
    namespace.api.delete(f"{RBAC}/clusterrolebindings/{name}", grace=None)


def resource(namespace: Namespace, name: str = "builders") -> Resource:
    return Resource(kind="kubernetes:rolebinding", id=name, scope=f"{CLUSTER}/{namespace.name}")


def names(namespace: Namespace, path: str) -> list[str]:
    return [key_of(subject) for subject in namespace.api.get(path).get("subjects", [])]


class TestRolebindingRevoke(ReversibleContract):
    """As a user who has exactly the declared permissions, `bind` among them."""

    @pytest.fixture
    def setting(self, namespace: Namespace, cloud_of: Callable[[str], KubernetesCloud]) -> Setting:
        bind(namespace)
        bind(namespace, "ClusterRole", "viewers")
        permissions = RolebindingRevoke().permissions()
        grant(namespace, SERVICE, [item for item in permissions if not item.startswith("create ")])
        self.namespace = namespace
        return Setting(RolebindingRevoke(), cloud_of(SERVICE), resource(namespace))

    @pytest.fixture
    def stranger(self, setting: Setting, namespace: Namespace) -> Stranger:
        path = f"{RBAC}/namespaces/{namespace.name}/rolebindings/builders"
        return lambda: change(namespace, path, [ALICE | {"name": "bob"}])

    def whole_life(self, setting: Setting) -> None:
        super().whole_life(setting)
        setting.resource = resource(self.namespace, "viewers")
        super().whole_life(setting)


class TestClusterrolebindingRevoke(ReversibleContract):
    @pytest.fixture
    def setting(
        self, control_plane: ControlPlane, everywhere: str, cloud_of: Callable[[str], KubernetesCloud]
    ) -> Iterator[Setting]:
        permissions = ClusterrolebindingRevoke().permissions()
        with granted_everywhere(
            control_plane, SERVICE, [item for item in permissions if not item.startswith("create ")]
        ):
            place = Resource(kind="kubernetes:clusterrolebinding", id=everywhere, scope=CLUSTER)
            yield Setting(ClusterrolebindingRevoke(), cloud_of(SERVICE), place)

    @pytest.fixture
    def stranger(self, setting: Setting, namespace: Namespace) -> Stranger:
        return lambda: change(namespace, f"{RBAC}/clusterrolebindings/{setting.resource.id}", [DEVELOPERS])


def change(namespace: Namespace, path: str, subjects: list[dict[str, str]]) -> None:
    namespace.api.patch(path, {"subjects": subjects})


def seen(setting: Setting) -> Binding:
    state = setting.observe()
    assert isinstance(state, Binding)
    return state


def release(setting: Setting, before: Binding) -> list[str]:
    """Returns the keys of what somebody else changed and stays."""
    target = setting.target(before)
    assert isinstance(target, State)
    merged, kept = three_way(before, target, seen(setting))
    setting.apply(merged)
    return [item.path[1] for item in kept]


# --- who is taken out ----------------------------------------------------------------------------------------------


def test_one_subject_is_taken_out_and_put_back(namespace: Namespace, cloud: KubernetesCloud) -> None:
    path = bind(namespace)
    key = f"ServiceAccount/{namespace.name}/builder"
    setting = Setting(RolebindingRevoke(), cloud, resource(namespace, f"builders/{key}"))
    before = seen(setting)
    setting.apply(setting.target(before))
    assert names(namespace, path) == ["User/alice", "Group/dev"]
    release(setting, before)
    assert names(namespace, path) == ["User/alice", "Group/dev", key]


def test_all_of_them_come_back_byte_for_byte(namespace: Namespace, cloud: KubernetesCloud) -> None:
    path = bind(namespace)
    namespace.api.patch(path, {"metadata": {"annotations": {"team": "shop"}}})
    setting = Setting(RolebindingRevoke(), cloud, resource(namespace))
    before, image = seen(setting), namespace.api.get(path)
    setting.apply(setting.target(before))
    assert "subjects" not in namespace.api.get(path)
    release(setting, before)
    after = namespace.api.get(path)
    for item in (image, after):
        for counted in ("resourceVersion", "managedFields"):
            item["metadata"].pop(counted)
    assert after == image


def test_those_of_a_playbook_are_taken_out(namespace: Namespace, cloud: KubernetesCloud) -> None:
    path = bind(namespace)
    setting = Setting(RolebindingRevoke(subjects=("User/alice", "Group/dev")), cloud, resource(namespace))
    setting.apply(setting.target(seen(setting)))
    assert names(namespace, path) == [f"ServiceAccount/{namespace.name}/builder"]


def test_two_cases_hold_two_subjects_of_one_binding(namespace: Namespace, cloud: KubernetesCloud) -> None:
    path = bind(namespace)
    one, two = (
        Setting(RolebindingRevoke(), cloud, resource(namespace, f"builders/{key}"))
        for key in ("User/alice", "Group/dev")
    )
    before_one, before_two = seen(one), seen(two)
    one.apply(one.target(before_one))
    two.apply(two.target(before_two))
    assert seen(one).part() == {"subjects": {}}
    release(one, before_one)
    assert seen(two).part() == {"subjects": {}}
    release(two, before_two)
    assert set(names(namespace, path)) == {"User/alice", f"ServiceAccount/{namespace.name}/builder", "Group/dev"}


def test_who_was_added_to_an_emptied_list_stays_and_is_reported(namespace: Namespace, cloud: KubernetesCloud) -> None:
    path = bind(namespace)
    setting = Setting(RolebindingRevoke(), cloud, resource(namespace))
    before = seen(setting)
    setting.apply(setting.target(before))
    change(namespace, path, [ALICE | {"name": "bob"}])
    assert release(setting, before) == ["*"]
    assert names(namespace, path) == ["User/bob"]


def test_who_was_added_beside_a_single_one_stays(namespace: Namespace, cloud: KubernetesCloud) -> None:
    path = bind(namespace)
    setting = Setting(RolebindingRevoke(), cloud, resource(namespace, "builders/User/alice"))
    before = seen(setting)
    setting.apply(setting.target(before))
    change(namespace, path, [ALICE | {"name": "bob"}])
    assert release(setting, before) == []
    assert names(namespace, path) == ["User/bob", "User/alice"]


def test_nobodys_change_is_overwritten(namespace: Namespace, cloud: KubernetesCloud) -> None:
    path = bind(namespace)
    setting = Setting(RolebindingRevoke(), cloud, resource(namespace))
    now = seen(setting)
    change(namespace, path, [ALICE | {"name": "bob"}])
    with pytest.raises(Conflict):
        setting.action.apply(
            setting.cloud.through(CountingGate(), setting.mark), setting.resource, now, setting.target(now)
        )
    assert names(namespace, path) == ["User/bob"]


# --- who is not ----------------------------------------------------------------------------------------------------


def test_without_bind_it_is_refused_because_it_could_not_be_given_back(
    namespace: Namespace, cloud_of: Callable[[str], KubernetesCloud]
) -> None:
    bind(namespace)
    permissions = [item for item in RolebindingRevoke().permissions() if item.startswith(("get ", "patch "))]
    grant(namespace, SERVICE, permissions)
    setting = Setting(RolebindingRevoke(), cloud_of(SERVICE), resource(namespace))
    refusal = setting.action.refusal(seen(setting))
    assert refusal is not None
    assert "could take Role/builders away but not give it back" in refusal.reason


def binding(name: str, *subjects: dict[str, str], labels: dict[str, str] | None = None) -> dict[str, Any]:
    metadata = {"name": name, "uid": "u", "resourceVersion": "1", "labels": labels or {}}
    return {
        "metadata": metadata,
        "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": list(subjects),
    }


def user(name: str, kind: str = "User") -> dict[str, str]:
    return {"kind": kind, "name": name, "apiGroup": GROUP}


ACCOUNT = {"kind": "ServiceAccount", "name": "quarantine", "namespace": "security"}
US = {"username": "system:serviceaccount:security:quarantine", "groups": ["system:authenticated", "security"]}


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (binding("cluster-admin", ALICE, labels={"kubernetes.io/bootstrapping": "rbac-defaults"}), "API server's own"),
        (binding("system:node", ALICE), "API server's own"),
        (binding("b", ALICE, user("system:masters", "Group")), "works by Group/system:masters"),
        (binding("b", user("system:kube-scheduler")), "works by User/system:kube-scheduler"),
        (binding("b", user("system:serviceaccount:kube-system:x")), "works by User"),
        (binding("b", {"kind": "ServiceAccount", "name": "x", "namespace": "kube-system"}), "works by ServiceAccount"),
        (binding("b", ALICE, ACCOUNT), "our rights by ServiceAccount/security/quarantine"),
        (binding("b", user(US["username"])), "our rights by User/system:serviceaccount:security:quarantine"),  # type: ignore[arg-type]
        (binding("b", user("security", "Group")), "our rights by Group/security"),
        (binding("b", ALICE), None),
        (binding("b", user("system:anonymous")), None),
        (binding("b", user("system:serviceaccounts", "Group")), None),
        (binding("b", user("system:authenticated", "Group")), None),
        (binding("b", user("system:serviceaccount:shop:builder")), None),
    ],
)
def test_what_the_cluster_or_we_work_by_is_not_taken_away(found: dict[str, Any], why: str | None) -> None:
    state = read_binding(found, (), keys_of(US), bindable=True)
    refusal = ClusterrolebindingRevoke().refusal(state)
    assert (refusal is None) is (why is None)
    if refusal is not None and why is not None:
        assert why in refusal.reason
        assert refusal.alternatives
    others = read_binding(found, ("User/nobody",), keys_of(US), bindable=True)
    assert others.default or ClusterrolebindingRevoke().refusal(others) is None, "those that stay are no reason"


def test_it_says_that_we_are_in_a_group_of_everybody() -> None:
    state = read_binding(binding("b", user("system:authenticated", "Group")), (), keys_of(US), bindable=True)
    assert "ourselves-in-it" in {caveat.id for caveat in ClusterrolebindingRevoke().caveats(state)}


def test_a_subject_that_stands_twice_is_taken_out_altogether() -> None:
    state = read_binding(binding("b", ALICE, DEVELOPERS, ALICE), ("User/alice",), (), bindable=True)
    assert set(state.subjects) == {"User/alice"}
    assert state.others == (DEVELOPERS,)


# --- from a pod ----------------------------------------------------------------------------------------------------


def test_from_a_pod_to_what_its_service_account_is_bound_by(
    namespace: Namespace, control_plane: ControlPlane, everywhere: str, cloud_of: Callable[[str], KubernetesCloud]
) -> None:
    bind(namespace)
    bind(namespace, "ClusterRole", "viewers")
    pod = namespace.pod("web-1", serviceAccountName="default")
    namespace.api.create(f"/api/v1/namespaces/{namespace.name}/serviceaccounts", {"metadata": {"name": "builder"}})
    suspect = namespace.pod("build-1", serviceAccountName="builder")
    relations = [RELATIONS[name] for name in ("role-bindings", "cluster-role-bindings")]
    with granted_everywhere(control_plane, SERVICE, {item for found in relations for item in found.permissions}):
        places = [place for found in relations for place in found.find(cloud_of(SERVICE), suspect)]
        assert [place for found in relations for place in found.find(cloud_of(SERVICE), pod)] == []
    key = f"ServiceAccount/{namespace.name}/builder"
    assert {(place.id, place.scope) for place in places} == {
        (f"builders/{key}", f"{CLUSTER}/{namespace.name}"),
        (f"viewers/{key}", f"{CLUSTER}/{namespace.name}"),
        (f"{everywhere}/{key}", CLUSTER),
    }
    assert all(place.uid and place.uid.endswith(f"/{key}") for place in places)
