from collections.abc import Callable, Iterator
from typing import Any

import pytest

from quarantine.action import GONE, Call, Refusal, State, reached, three_way
from quarantine.errors import Conflict, Denied
from quarantine.model import Resource
from quarantine.testing.contract import CountingGate, ReversibleContract, Setting, Stopped, Stranger
from quarantine_kubernetes import keeper
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.isolation import PodIsolation, Policy
from quarantine_kubernetes.keeper import OWNERS, keeper_above
from quarantine_kubernetes.means import Means
from quarantine_kubernetes.network_policy import Direction, Isolation, isolation
from quarantine_kubernetes.objects import WORKLOADS
from quarantine_kubernetes.pod import owner_of
from quarantine_kubernetes.pod_isolate import PodIsolate
from quarantine_kubernetes.policy_kind import ISOLATED
from quarantine_kubernetes.session import from_kubeconfig
from tests.kubernetes.conftest import Namespace
from tests.kubernetes.rbac import granted_everywhere
from tests.kubernetes.workloads import SELECTOR, TEMPLATE, make, running
from tests.testbed.controlplane import ADMIN, SERVICE, ControlPlane
from tests.testbed.poll import until
from tests.testbed.proxy import FaultProxy

LABELS = {"app": "web", "pod-template-hash": "7d4b9", "tier": "front"}
DNS_PORT = [{"protocol": "UDP", "port": 53}]
HELD = {"network-policy": Policy.QUARANTINE}
PLAIN = PodIsolate(means=(Means.PLAIN,))
"""Here the cluster has nothing better; and then no permission for anything better is needed."""


class TestPodIsolate(ReversibleContract):
    """As a user who has exactly the declared permissions, in a namespace where other policies are."""

    @pytest.fixture
    def setting(self, namespace: Namespace, cloud_of: Callable[[str], KubernetesCloud]) -> Iterator[Setting]:
        namespace.policy("deny-ingress", podSelector={}, policyTypes=["Ingress"])
        namespace.policy("allow-web", podSelector={"matchLabels": {"app": "web"}}, ingress=[{}], egress=[{}])
        self.meddler = Meddler(namespace)
        with granted_everywhere(namespace.api, SERVICE, PLAIN.permissions()):
            yield Setting(PLAIN, cloud_of(SERVICE), namespace.pod("web-1", LABELS))

    @pytest.fixture
    def stranger(self, setting: Setting, namespace: Namespace) -> Stranger:
        path = namespace.pod_path(setting.resource.id)

        def adds_a_label() -> None:
            namespace.api.patch(path, {"metadata": {"labels": {"team": "forensics"}}})

        return adds_a_label

    def whole_life(self, setting: Setting) -> None:
        whole_life(setting, self.meddler)


class Meddler:
    """Somebody else who changes our policy."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace

    def path(self, pod: PodIsolation) -> str:
        return f"{self._namespace.policies}/cloud-quarantine-{pod.uid}"

    def open_up(self, pod: PodIsolation) -> None:
        self._namespace.api.patch(self.path(pod), {"spec": {"egress": [{}]}})


@pytest.fixture
def isolate(cloud: KubernetesCloud) -> Callable[[Resource], Setting]:
    return lambda resource: Setting(PodIsolate(), cloud, resource)


def observe(setting: Setting) -> PodIsolation:
    state = setting.observe()
    assert isinstance(state, PodIsolation)
    return state


def contain(setting: Setting) -> PodIsolation:
    """Contains and returns what was before."""
    before = observe(setting)
    contain_again(setting, before)
    return before


def release(setting: Setting, before: PodIsolation) -> PodIsolation:
    now, target = observe(setting), setting.target(before)
    assert isinstance(target, State)
    merged, _ = three_way(before, target, now)
    setting.apply(merged)
    return observe(setting)


def whole_life(setting: Setting, meddler: "Meddler") -> None:
    """With a policy to put right in it."""
    ask_above(setting)
    before = contain(setting)
    meddler.open_up(before)
    contain_again(setting, before)
    release(setting, before)


def ask_above(setting: Setting) -> None:
    """For each kind of owner that a pod may have, who keeps it."""
    cloud = setting.cloud.through(CountingGate(None), setting.mark, setting.used.append)
    assert isinstance(cloud, KubernetesCloud)
    for kind, word in zip(OWNERS, (*WORKLOADS, "job", "cronjob"), strict=True):
        version = f"{kind.group}/v1" if kind.group else "v1"
        owner = {"apiVersion": version, "kind": word, "name": "no-such", "uid": word, "controller": True}
        assert keeper_above(cloud, setting.resource, {"metadata": {"ownerReferences": [owner]}}) == ""


def contain_again(setting: Setting, before: PodIsolation) -> None:
    setting.apply(setting.target(before))
    assert reached(setting.observe(), setting.target(before))


def refusal(setting: Setting) -> str:
    """Why it refuses, once the API server's cache has the policies that the test has made."""
    found: Refusal = until(lambda: setting.action.refusal(observe(setting)))
    assert found.alternatives
    return found.reason


# --- what cannot work is refused -----------------------------------------------------------------------------------


def test_a_policy_for_the_whole_namespace_makes_it_refuse(
    namespace: Namespace, isolate: Callable[[Resource], Setting]
) -> None:
    to_dns = [{"to": [{"namespaceSelector": {}}], "ports": DNS_PORT}]
    namespace.policy("allow-dns", podSelector={}, policyTypes=["Egress"], egress=to_dns)
    setting = isolate(namespace.pod("web-1", LABELS))
    assert "policy 'allow-dns' allows egress to every pod in every namespace on UDP/53" in refusal(setting)
    assert not reached(setting.target(observe(setting)), observe(setting))


def test_it_is_not_contained_while_another_policy_opens_it(
    namespace: Namespace, isolate: Callable[[Resource], Setting]
) -> None:
    setting = isolate(namespace.pod("web-1", LABELS))
    before = contain(setting)
    namespace.policy("late", podSelector={}, ingress=[{}])
    assert observe(setting).part() == setting.target(before).part()  # type: ignore[union-attr]
    assert not reached(observe(setting), setting.target(before))


def test_a_selector_that_begins_to_match_when_the_labels_go_makes_it_refuse(
    namespace: Namespace, isolate: Callable[[Resource], Setting]
) -> None:
    not_web = {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}
    namespace.policy("allow-others", podSelector=not_web, egress=[{}], policyTypes=["Egress"])
    setting = isolate(namespace.pod("web-1", LABELS))
    assert "policy 'allow-others' allows egress to anywhere on any port" in refusal(setting)


def test_a_policy_that_selects_by_a_label_which_goes_is_no_obstacle(
    namespace: Namespace, isolate: Callable[[Resource], Setting]
) -> None:
    namespace.policy("allow-web", podSelector={"matchLabels": {"app": "web"}}, ingress=[{}])
    setting = isolate(namespace.pod("web-1", LABELS))
    assert setting.action.refusal(observe(setting)) is None
    contain(setting)


def test_a_label_that_is_kept_keeps_the_policies_that_select_by_it(
    namespace: Namespace, cloud: KubernetesCloud
) -> None:
    namespace.policy("allow-web", podSelector={"matchLabels": {"app": "web"}}, ingress=[{}])
    setting = Setting(PodIsolate(keep_labels=("app", "not-there")), cloud, namespace.pod("web-1", LABELS))
    assert "policy 'allow-web'" in refusal(setting)
    assert "kept-labels" in {caveat.id for caveat in setting.action.caveats(observe(setting))}


def test_a_kept_label_stays(namespace: Namespace, cloud: KubernetesCloud) -> None:
    resource = namespace.pod("web-1", LABELS)
    contain(Setting(PodIsolate(keep_labels=("tier",)), cloud, resource))
    assert namespace.labels("web-1") == {"tier": "front", ISOLATED: resource.uid}


def test_a_pod_on_the_network_of_its_node_is_refused(
    namespace: Namespace, isolate: Callable[[Resource], Setting]
) -> None:
    assert "hostNetwork" in refusal(isolate(namespace.pod("agent", hostNetwork=True)))


def test_a_finished_pod_is_refused(namespace: Namespace, isolate: Callable[[Resource], Setting]) -> None:
    setting = isolate(namespace.pod("job-1"))
    namespace.api.patch_status(namespace.pod_path("job-1"), {"phase": "Succeeded"})
    assert "has finished" in refusal(setting)


def test_a_mirror_of_a_manifest_on_the_node_is_refused(
    namespace: Namespace, isolate: Callable[[Resource], Setting]
) -> None:
    before = observe(isolate(namespace.pod("proxy")))
    found = PodIsolate().refusal(before.model_copy(update={"static": True}))
    assert found is not None
    assert "manifest" in found.reason


def test_a_policy_of_somebody_else_under_our_name_is_refused_and_left_alone(
    namespace: Namespace, isolate: Callable[[Resource], Setting]
) -> None:
    setting = isolate(namespace.pod("web-1", LABELS))
    name = f"cloud-quarantine-{setting.resource.uid}"
    namespace.policy(name, podSelector={}, ingress=[{}])
    before = observe(setting)
    assert before.policies == {"network-policy": Policy.FOREIGN}
    assert name in refusal(setting)
    with pytest.raises(Conflict, match="somebody else"):
        setting.apply(setting.target(before))
    assert namespace.labels("web-1") == LABELS


# --- it acts on this pod, and on no other --------------------------------------------------------------------------


def test_another_pod_under_the_same_name_is_left_alone(
    namespace: Namespace, isolate: Callable[[Resource], Setting]
) -> None:
    setting = isolate(namespace.pod("web-1", LABELS))
    before = observe(setting)
    namespace.api.delete(namespace.pod_path("web-1"))
    namespace.pod("web-1", LABELS)
    assert setting.observe() is GONE
    with pytest.raises(Conflict):  # even if it looked just before; the engine's next look finds that it is gone
        setting.action.apply(
            setting.cloud.through(CountingGate(), setting.mark), setting.resource, before, setting.target(before)
        )
    assert namespace.labels("web-1") == LABELS


def test_a_patch_of_a_frozen_worker_that_arrives_when_all_is_over_is_refused(
    namespace: Namespace, isolate: Callable[[Resource], Setting]
) -> None:
    setting = isolate(namespace.pod("web-1", LABELS))
    frozen = observe(setting)
    before = contain(setting)
    release(setting, before)
    late = frozen.model_copy(update={"policies": HELD})  # its first change had gone through
    cloud = setting.cloud.through(CountingGate(), setting.mark)
    with pytest.raises(Conflict):
        setting.action.apply(cloud, setting.resource, late, setting.target(before))
    assert namespace.labels("web-1") == LABELS


def test_two_pods_in_quarantine_do_not_get_in_each_others_way(
    namespace: Namespace, isolate: Callable[[Resource], Setting]
) -> None:
    one, two = (isolate(namespace.pod(name, LABELS)) for name in ("web-1", "web-2"))
    before = contain(one)
    contain(two)
    assert release(one, before).part() == before.part()
    assert observe(two).policies == HELD
    assert namespace.policy_names() == [f"cloud-quarantine-{two.resource.uid}"]


def test_the_policy_stands_before_the_label_and_goes_after_it(
    namespace: Namespace,
    control_plane: ControlPlane,
    cloud_of: Callable[[str], KubernetesCloud],
) -> None:
    with granted_everywhere(control_plane, SERVICE, PLAIN.permissions()):
        setting = Setting(PLAIN, cloud_of(SERVICE), namespace.pod("web-1", LABELS))
        release(setting, contain(setting))
    assert until(lambda: writes(control_plane, namespace.name, 4)) == [
        "create networkpolicies",
        "patch pods",
        "patch pods",
        "delete networkpolicies",
    ]


def writes(control_plane: ControlPlane, namespace: str, count: int) -> list[str] | None:
    """What the API server's audit log says that our user changed, once it is that much."""
    changes = [event for event in control_plane.audit(SERVICE) if event["verb"] not in ("get", "list")]
    changes = [event for event in changes if event["objectRef"].get("namespace") == namespace]
    assert all(event["userAgent"] == "cloud-quarantine case/case-contract" for event in changes)
    words = [f"{event['verb']} {event['objectRef']['resource']}" for event in changes]
    return words if len(words) >= count else None


def test_in_quarantine_it_is_selected_in_both_directions_and_nothing_is_allowed(
    namespace: Namespace, isolate: Callable[[Resource], Setting]
) -> None:
    namespace.policy("allow-web", podSelector={"matchLabels": {"app": "web"}}, ingress=[{}], egress=[{}])
    contain(isolate(namespace.pod("web-1", LABELS)))
    found = isolation(namespace.api.items(namespace.policies), namespace.labels("web-1"))
    assert found == {direction: Isolation(selected=True) for direction in Direction}


def test_after_the_preflight_it_takes_four_calls(
    namespace: Namespace, control_plane: ControlPlane, proxy: Callable[..., FaultProxy]
) -> None:
    """Two changes, and to verify them one look at the pod and one at all policies."""
    witness = proxy(control_plane.url, control_plane.ca_file)
    cloud = KubernetesCloud("testbed", from_kubeconfig(control_plane.kubeconfig(ADMIN, witness.url)))
    setting = Setting(PodIsolate(), cloud, namespace.pod("web-1", LABELS))
    before, calls = setting.observe(), list[Call]()
    through = cloud.through(CountingGate(), setting.mark, calls.append)
    witness.forget()
    setting.action.apply(through, setting.resource, before, setting.target(before))
    assert reached(setting.action.observe(through, setting.resource), setting.target(before))
    permissions = ["create networkpolicies.networking.k8s.io", "patch pods", "get pods"]
    assert [call.permission for call in calls] == [*permissions, "list networkpolicies.networking.k8s.io"]
    assert len(witness.recorded()) == len(calls), "and each of them is one request"


def test_plans_of_one_moment_share_a_list_of_policies(
    namespace: Namespace, control_plane: ControlPlane, proxy: Callable[..., FaultProxy]
) -> None:
    witness = proxy(control_plane.url, control_plane.ca_file)
    cloud = KubernetesCloud("testbed", from_kubeconfig(control_plane.kubeconfig(ADMIN, witness.url)))
    pods = [namespace.pod(name, LABELS) for name in ("web-1", "web-2")]
    planned = [PodIsolate().observe(cloud.glance(), pod) for pod in pods]
    assert len(witness.recorded("list networkpolicies")) == 1
    assert witness.recorded("get networkpolicies") == [], "the list tells of our own too"
    assert [PodIsolate().observe(cloud, pod) for pod in pods] == planned
    assert len(witness.recorded("list networkpolicies")) == 3, "to act, or to look what was done, is not to plan"


def test_only_a_pod_in_quarantine_waits_for_the_latest_list(
    namespace: Namespace, control_plane: ControlPlane, proxy: Callable[..., FaultProxy]
) -> None:
    witness = proxy(control_plane.url, control_plane.ca_file)
    cloud = KubernetesCloud("testbed", from_kubeconfig(control_plane.kubeconfig(ADMIN, witness.url)))
    setting = Setting(PodIsolate(), cloud, namespace.pod("web-1", LABELS))
    contain(setting)
    assert [call.query for call in witness.recorded("list networkpolicies")] == [{"resourceVersion": "0"}] * 2 + [{}]


def test_a_policy_that_is_being_deleted_does_not_count(
    namespace: Namespace, isolate: Callable[[Resource], Setting]
) -> None:
    setting = isolate(namespace.pod("web-1", LABELS))
    path = Meddler(namespace).path(contain(setting))
    namespace.api.patch(path, {"metadata": {"finalizers": ["example.test/hold"]}})
    namespace.api.delete(path)
    assert observe(setting).policies == {"network-policy": Policy.ALTERED}
    namespace.api.patch(path, {"metadata": {"finalizers": None}})
    assert observe(setting).policies == {}


@pytest.mark.parametrize("replaced", [False, True])
def test_a_policy_that_went_before_it_could_be_put_right_is_a_conflict(
    replaced: bool, namespace: Namespace, isolate: Callable[[Resource], Setting]
) -> None:
    setting = isolate(namespace.pod("web-1", LABELS))
    before, meddler = contain(setting), Meddler(namespace)
    meddler.open_up(before)
    now = observe(setting)
    namespace.api.delete(meddler.path(before))
    if replaced:
        namespace.policy(f"cloud-quarantine-{before.uid}", podSelector={}, ingress=[{}])
    with pytest.raises(Conflict):  # not Gone: the pod is still there
        setting.action.apply(
            setting.cloud.through(CountingGate(), setting.mark), setting.resource, now, setting.target(before)
        )
    assert all(policy["spec"].get("ingress") == [{}] for policy in namespace.api.items(namespace.policies))


# --- release -------------------------------------------------------------------------------------------------------


def test_a_release_leaves_nothing_of_ours_behind(namespace: Namespace, isolate: Callable[[Resource], Setting]) -> None:
    setting = isolate(namespace.pod("web-1", LABELS))
    release(setting, contain(setting))
    assert namespace.labels("web-1") == LABELS
    assert namespace.policy_names() == []


def test_a_policy_goes_with_the_pod_that_it_is_for(
    namespace: Namespace, isolate: Callable[[Resource], Setting]
) -> None:
    """Deleted by a person or by a playbook: nobody is left to release it, and nothing of ours may stay."""
    gone, stays = isolate(namespace.pod("web-1")), isolate(namespace.pod("web-2"))
    for setting in (gone, stays):
        setting.apply(setting.target(setting.observe()))
    namespace.api.delete(namespace.pod_path("web-1"))
    until(lambda: len(namespace.policy_names()) == 1, seconds=60)
    assert reached(stays.observe(), stays.target(stays.observe())), "that of a pod which is there stays"


def test_a_release_overwrites_nobodys_change(namespace: Namespace, isolate: Callable[[Resource], Setting]) -> None:
    setting = isolate(namespace.pod("web-1", LABELS))
    before = contain(setting)
    now = observe(setting)
    namespace.api.patch(namespace.pod_path("web-1"), {"metadata": {"labels": {"app": "other"}}})
    with pytest.raises(Conflict):
        setting.action.apply(setting.cloud.through(CountingGate(), setting.mark), setting.resource, now, before)
    assert namespace.labels("web-1")["app"] == "other"


def test_a_policy_that_somebody_deleted_meanwhile_does_not_stop_a_release(
    namespace: Namespace, isolate: Callable[[Resource], Setting]
) -> None:
    setting = isolate(namespace.pod("web-1", LABELS))
    before = contain(setting)
    now = observe(setting)
    namespace.api.delete(Meddler(namespace).path(before))
    setting.action.apply(setting.cloud.through(CountingGate(), setting.mark), setting.resource, now, before)
    assert observe(setting).part() == before.part()


def test_a_policy_that_was_replaced_meanwhile_is_not_deleted(
    namespace: Namespace, isolate: Callable[[Resource], Setting]
) -> None:
    setting = isolate(namespace.pod("web-1", LABELS))
    before = contain(setting)
    now = observe(setting)
    namespace.api.delete(Meddler(namespace).path(before))
    namespace.policy(f"cloud-quarantine-{before.uid}", podSelector={})
    with pytest.raises(Conflict):
        setting.action.apply(setting.cloud.through(CountingGate(), setting.mark), setting.resource, now, before)
    assert namespace.policy_names() == [f"cloud-quarantine-{before.uid}"]


def test_the_policy_of_another_installation_is_not_touched(
    namespace: Namespace, isolate: Callable[[Resource], Setting]
) -> None:
    setting = isolate(namespace.pod("web-1", LABELS))
    before = contain(setting)
    Meddler(namespace).open_up(before)
    setting.mark = setting.mark.model_copy(update={"installation": "another"})
    with pytest.raises(Conflict, match="made by installation 'contract'"):
        setting.apply(setting.target(before))


def test_a_policy_that_was_made_twice_on_the_way_is_found(
    namespace: Namespace, isolate: Callable[[Resource], Setting]
) -> None:
    setting = isolate(namespace.pod("web-1", LABELS))
    before = observe(setting)
    with pytest.raises(Stopped):
        setting.apply(setting.target(before), stop_after=1)
    setting.action.apply(
        setting.cloud.through(CountingGate(), setting.mark), setting.resource, before, setting.target(before)
    )
    assert reached(observe(setting), setting.target(before))


@pytest.mark.parametrize(
    ("owners", "owner"),
    [
        ([], ""),
        ([{"kind": "Thing", "name": "a"}], "Thing/a"),
        ([{"kind": "Thing", "name": "a"}, {"kind": "StatefulSet", "name": "db", "controller": True}], "StatefulSet/db"),
    ],
)
def test_the_owner_is_the_one_that_controls_the_pod(owners: list[dict[str, Any]], owner: str) -> None:
    assert owner_of({"metadata": {"ownerReferences": owners}}) == owner


@pytest.mark.parametrize(
    ("owner", "expected"),
    [("", set()), ("StatefulSet/db", {"ordinal-blocked"}), ("DaemonSet/agent", {"replacement", "release-may-delete"})],
)
def test_it_says_what_the_owner_will_do(owner: str, expected: set[str]) -> None:
    always = {"established-connections", "enforcement-not-proven", "node-traffic", "service-account-token"}
    found = PodIsolate().caveats(PodIsolation(labels={}, uid="u", owner=owner))
    assert {caveat.id for caveat in found} == always | expected | ({"orphan"} if owner else set())
    assert not any("{" in caveat.text for caveat in found)


# --- with real controllers -----------------------------------------------------------------------------------------


def test_its_replica_set_lets_go_of_it_and_starts_another(
    namespace: Namespace, isolate: Callable[[Resource], Setting]
) -> None:
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": "example.test/web:1"}]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    base = f"/apis/apps/v1/namespaces/{namespace.name}/replicasets"
    namespace.api.create(base, {"metadata": {"name": "web"}, "spec": spec})
    (pod,) = until(lambda: namespace.api.play_kubelet(namespace.name))
    setting = isolate(namespace.resource(pod))
    before = contain(setting)
    assert before.owner == "ReplicaSet/web"
    assert {"replacement", "release-may-delete"} <= {caveat.id for caveat in setting.action.caveats(before)}
    pods = f"/api/v1/namespaces/{namespace.name}/pods"
    until(lambda: len(namespace.api.items(pods)) == 2)
    until(lambda: observe(setting).owner == "")
    assert reached(observe(setting), setting.target(before))


# --- least privilege -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "missing", [each for each in PLAIN.permissions() if not each.endswith("/apis") and each not in keeper.PERMISSIONS]
)
def test_without_one_of_its_permissions_it_is_denied(
    missing: str, namespace: Namespace, cloud_of: Callable[[str], KubernetesCloud]
) -> None:
    resource = namespace.pod("web-1", LABELS)
    setting = Setting(PLAIN, cloud_of(SERVICE), resource)
    verb, _, kind = missing.partition(" ")
    granted = granted_everywhere(namespace.api, SERVICE, [each for each in PLAIN.permissions() if each != missing])
    with granted, pytest.raises(Denied, match=rf"\"quarantine\" cannot {verb} .*kubectl auth can-i {verb} {kind}"):
        whole_life(setting, Meddler(namespace))


def of_a_deployment(namespace: Namespace, **metadata: Any) -> Resource:
    """A pod that the real controllers have made, with a mark on its Deployment."""
    make(namespace, "deployments", "web", {"replicas": 1, "selector": SELECTOR, "template": TEMPLATE}, **metadata)
    (pod,) = running(namespace, 1)
    return pod


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}}, "Flux Kustomization shop"),
        ({"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/x"}}, "Argo CD application shop"),
        ({"annotations": {"meta.helm.sh/release-name": "shop"}}, "Helm release shop"),
        ({}, ""),
    ],
)
def test_who_keeps_the_deployment_of_a_pod_is_named_in_the_plan(
    metadata: dict[str, Any], expected: str, namespace: Namespace, isolate: Callable[[Resource], Setting]
) -> None:
    setting = isolate(of_a_deployment(namespace, **metadata))
    before = contain(setting)
    assert before.kept_by == expected
    texts = {caveat.id: caveat.text for caveat in setting.action.caveats(before)}
    assert texts.get("gitops", "").startswith(f"{expected} keeps what owns the pod") is bool(expected)


def test_owners_that_may_not_be_read_hold_no_isolation_up(
    namespace: Namespace, control_plane: ControlPlane, cloud_of: Callable[[str], KubernetesCloud]
) -> None:
    pod = of_a_deployment(namespace, labels={"kustomize.toolkit.fluxcd.io/name": "shop"})
    rest = [each for each in PLAIN.permissions() if each not in keeper.PERMISSIONS]
    with granted_everywhere(control_plane, SERVICE, rest):
        setting = Setting(PLAIN, cloud_of(SERVICE), pod)
        before = contain(setting)
    assert before.kept_by == keeper.UNREAD
    assert "Perhaps somebody, whose marks we may not read, keeps" in str(setting.action.caveats(before))


def test_the_objects_it_makes_say_whose_they_are(namespace: Namespace, isolate: Callable[[Resource], Setting]) -> None:
    setting = isolate(namespace.pod("web-1", LABELS))
    before = contain(setting)
    metadata: dict[str, Any] = namespace.api.get(Meddler(namespace).path(before))["metadata"]
    assert metadata["labels"] == {"app.kubernetes.io/managed-by": "cloud-quarantine"}
    assert metadata["annotations"] == {
        "cloud-quarantine.dev/installation": "contract",
        "cloud-quarantine.dev/case": "case-contract",
        "cloud-quarantine.dev/step": "0",
        "cloud-quarantine.dev/key": "key-contract",
    }
