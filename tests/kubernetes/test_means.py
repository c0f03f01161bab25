"""Each means on a real API server with its CRDs: that its objects are valid, how it is chosen, and that all is undone.

Nothing enforces them here. What is tested is what stands in the API, and what we make of what stands there.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from quarantine.action import Call, Refusal, reached
from quarantine.case import Reason, Status
from quarantine.model import Resource
from quarantine.playbook import shipped
from quarantine.testing.contract import CountingGate, ReversibleContract, Setting, Stranger
from quarantine.testing.installation import Installation
from quarantine_kubernetes import Kubernetes
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.exemption import Exemption, Peer
from quarantine_kubernetes.isolation import PodIsolation, Policy, stand_of
from quarantine_kubernetes.means import KINDS, Means
from quarantine_kubernetes.pod_isolate import PodIsolate
from quarantine_kubernetes.policy_kind import ISOLATED
from quarantine_kubernetes.provider import Cluster, KubernetesSettings
from tests.kubernetes.conftest import CLUSTER, Namespace
from tests.kubernetes.rbac import granted_everywhere
from tests.kubernetes.test_pod_isolate import ask_above
from tests.testbed import crds
from tests.testbed.controlplane import ADMIN, SERVICE, ControlPlane
from tests.testbed.kubeapi import Object
from tests.testbed.poll import until

LABELS = {"app": "web", "tier": "front"}
PEER = Peer(namespaces={"kubernetes.io/metadata.name": "forensics"}, pods={"app": "prober"})
OUTSIDE = Peer(cidr="192.0.2.7/32")
TIERS = "/apis/projectcalico.org/v3/tiers"
CLUSTER_POLICIES = "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies"


@dataclass(frozen=True)
class Plug:
    """A network plug-in: the label of its agents, and their image."""

    name: str
    image: str = "example.test/agent:v1.0.0"


PLUGS = {
    Means.CILIUM: Plug("cilium"),
    Means.CALICO: Plug("calico-node", "docker.io/calico/node:v3.29.1"),
    Means.CLUSTER: Plug("kube-network-policies", "example.test/kube-network-policies:v1.0.0-npa-v1alpha2"),
    Means.PLAIN: Plug("kube-router"),
}


@pytest.fixture(scope="module")
def served(control_plane: ControlPlane) -> Iterator[None]:
    with serving(control_plane):
        yield


@contextmanager
def serving(control_plane: ControlPlane) -> Iterator[None]:
    """All of the CRDs, Calico's tiers, and for each plug-in a node with its agent."""
    with crds.served(control_plane, crds.plug_ins()):
        for name, order in (("cloud-quarantine", -1), ("kube-admin", 1000), ("default", 1000000)):
            control_plane.create(TIERS, tier(name, order))
        agents = [agent(control_plane, plug, f"node-of-{means}") for means, plug in PLUGS.items()]
        yield
        for each in agents:
            control_plane.delete(each)


def tier(name: str, order: int) -> Object:
    return {
        "apiVersion": "projectcalico.org/v3",
        "kind": "Tier",
        "metadata": {"name": name},
        "spec": {"order": order},
    }


def agent(api: ControlPlane, plug: Plug, node: str, namespace: str = "kube-system") -> str:
    """The path of one that is ready."""
    name, container = f"{plug.name}-on-{node}", {"name": "agent", "image": plug.image}
    api.make_pod(namespace, name, {"k8s-app": plug.name}, nodeName=node, hostNetwork=True, containers=[container])
    return f"/api/v1/namespaces/{namespace}/pods/{name}"


def on_node_of(means: Means, namespace: Namespace, name: str = "web-1") -> Resource:
    return namespace.pod(name, LABELS, nodeName=f"node-of-{means}")


def play_cilium(namespace: Namespace, pod: str) -> None:
    """What its agent does: the pod's labels become its identity, and stand in its CiliumEndpoint."""
    path = f"/apis/cilium.io/v2/namespaces/{namespace.name}/ciliumendpoints"
    if not namespace.api.exists(f"{path}/{pod}"):
        endpoint = {"apiVersion": "cilium.io/v2", "kind": "CiliumEndpoint", "metadata": {"name": pod}}
        namespace.api.create(path, endpoint)
    labels = sorted(f"k8s:{key}={value}" for key, value in namespace.labels(pod).items())
    namespace.api.patch(f"{path}/{pod}", {"status": {"id": 7, "identity": {"id": 4711, "labels": labels}}})


def look(action: PodIsolate, cloud: KubernetesCloud, resource: Resource) -> PodIsolation:
    """As it is now: with nothing remembered."""
    cloud.recent.forget()
    return action.observe(cloud, resource)


class _Contract(ReversibleContract):
    means: ClassVar[Means]
    exempt: ClassVar[dict[str, Any]] = {}

    @pytest.fixture
    def setting(
        self, served: None, namespace: Namespace, cloud_of: Callable[[str], KubernetesCloud]
    ) -> Iterator[Setting]:
        action = PodIsolate(means=(self.means,), **self.exempt)
        resource = on_node_of(self.means, namespace)
        self.namespace = namespace
        with granted_everywhere(namespace.api, SERVICE, action.permissions()):
            yield Setting(action, cloud_of(SERVICE), resource, settle=lambda: self.settle(namespace))

    def settle(self, namespace: Namespace) -> None:
        """What the plug-in does by itself."""

    @pytest.fixture
    def stranger(self, setting: Setting, namespace: Namespace) -> Stranger:
        path = namespace.pod_path(setting.resource.id)

        def adds_a_label() -> None:
            namespace.api.patch(path, {"metadata": {"labels": {"team": "forensics"}}})

        return adds_a_label

    def whole_life(self, setting: Setting) -> None:
        """With a policy to put right in it."""
        ask_above(setting)
        before = setting.observe()
        assert isinstance(before, PodIsolation)
        target = setting.target(before)
        setting.apply(target)
        for kind in KINDS[self.means]:
            path = kind.object.format(namespace=self.namespace.name, name=kind.object_name(before.uid))
            side = "egressDeny" if self.means is Means.CILIUM else "egress"
            self.namespace.api.patch(path, {"spec": {side: [{}] if kind.name == "network-policy" else None}})
        altered = setting.observe()
        assert isinstance(altered, PodIsolation)
        assert set(altered.policies.values()) == {Policy.ALTERED}
        setting.apply(target)
        assert reached(setting.observe(), target)
        self.release(setting, before)


class TestCilium(_Contract):
    means = Means.CILIUM

    def settle(self, namespace: Namespace) -> None:
        play_cilium(namespace, "web-1")


class TestCalico(_Contract):
    means = Means.CALICO


class TestClusterNetworkPolicy(_Contract):
    means = Means.CLUSTER


QUARANTINE = {"level": "quarantine", "peer": PEER, "allow_dns": True}


class TestCiliumAtLevelQuarantine(TestCilium):
    exempt: ClassVar[dict[str, Any]] = QUARANTINE


class TestCalicoAtLevelQuarantine(TestCalico):
    exempt: ClassVar[dict[str, Any]] = QUARANTINE


class TestClusterNetworkPolicyAtLevelQuarantine(TestClusterNetworkPolicy):
    exempt: ClassVar[dict[str, Any]] = QUARANTINE


class TestNetworkPolicyAtLevelQuarantine(_Contract):
    means = Means.PLAIN
    exempt: ClassVar[dict[str, Any]] = {**QUARANTINE, "allow_dns": False, "peer": OUTSIDE}


# --- which one is chosen -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("means", Means)
def test_each_node_gets_the_best_that_its_plug_in_enforces(
    means: Means, served: None, namespace: Namespace, cloud: KubernetesCloud
) -> None:
    action = PodIsolate()
    found = look(action, cloud, on_node_of(means, namespace))
    assert found.means is means
    assert found.plug_in == PLUGS[means].name
    assert action.refusal(found) is None
    assert set(action.contained(found).policies) == {kind.name for kind in KINDS[means]}
    assert len(found.obstacles) == list(Means).index(means), "one reason for each better one"


@pytest.mark.parametrize("means", [Means.CILIUM, Means.CALICO, Means.CLUSTER])
def test_a_policy_that_allows_to_the_whole_namespace_does_not_matter_to_a_real_deny(
    means: Means, served: None, namespace: Namespace, cloud: KubernetesCloud
) -> None:
    to_pods: list[Object] = [{"to": [{"namespaceSelector": {}}]}]
    from_pods: list[Object] = [{"from": [{"podSelector": {}}]}]
    namespace.policy("allow-all", podSelector={}, policyTypes=["Ingress", "Egress"], ingress=from_pods, egress=to_pods)
    setting = Setting(PodIsolate(), cloud, on_node_of(means, namespace))
    found = look(setting.action, cloud, setting.resource)
    assert setting.action.refusal(found) is None
    target = setting.target(found)
    setting.apply(target)
    if means is Means.CILIUM:
        play_cilium(namespace, "web-1")
    assert reached(look(setting.action, cloud, setting.resource), target)


@pytest.mark.parametrize("rule", [{}, {"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}])
def test_what_a_cluster_network_policy_has_no_word_for_makes_it_refuse(
    rule: Object, served: None, namespace: Namespace, cloud: KubernetesCloud
) -> None:
    namespace.policy("allow-world", podSelector={}, ingress=[rule])
    resource = on_node_of(Means.CLUSTER, namespace)
    refusal = until(lambda: PodIsolate().refusal(look(PodIsolate(), cloud, resource)))
    assert isinstance(refusal, Refusal)
    assert "'allow-world' allows ingress" in refusal.reason


@contextmanager
def standing(api: ControlPlane, path: str, thing: Object) -> Iterator[None]:
    made = api.create(path, thing)
    yield
    api.delete(f"{path}/{made['metadata']['name']}")


def test_another_cluster_network_policy_that_may_come_first_is_named(
    served: None, namespace: Namespace, cloud: KubernetesCloud
) -> None:
    spec = {"tier": "Admin", "priority": 0, "subject": {"namespaces": {}}}
    policy = {"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy", "spec": spec}
    resource = on_node_of(Means.CLUSTER, namespace)
    with standing(namespace.api, CLUSTER_POLICIES, {**policy, "metadata": {"name": "first"}}):
        found = until(lambda: _chosen(cloud, resource, Means.PLAIN))
        assert found is not None
        assert any("'first'" in why for why in found.obstacles)
    until(lambda: _chosen(cloud, resource, Means.CLUSTER))


def _chosen(cloud: KubernetesCloud, resource: Resource, means: Means) -> PodIsolation | None:
    found = look(PodIsolate(), cloud, resource)
    return found if found.means is means else None


def test_a_tier_of_calico_that_comes_first_is_named_and_the_next_means_is_taken(
    served: None, namespace: Namespace, cloud: KubernetesCloud
) -> None:
    resource = on_node_of(Means.CALICO, namespace)
    with standing(namespace.api, TIERS, tier("mine", -5)):
        found = look(PodIsolate(), cloud, resource)
    assert found.means is Means.PLAIN
    assert any("tier 'mine' comes before" in why for why in found.obstacles)


def test_without_an_agent_on_its_node_it_is_refused_with_reasons(
    served: None, namespace: Namespace, cloud: KubernetesCloud
) -> None:
    found = look(PodIsolate(), cloud, namespace.pod("web-1", LABELS, nodeName="node-of-flannel"))
    refusal = PodIsolate().refusal(found)
    assert refusal is not None
    assert "no agent that is known to enforce it" in refusal.reason
    assert any("enforced_by" in each for each in refusal.alternatives)


def test_where_a_person_says_who_enforces_without_agents_that_is_believed(
    served: None, namespace: Namespace, cloud: KubernetesCloud
) -> None:
    cloud.enforced_by = "k3s"
    found = look(PodIsolate(), cloud, namespace.pod("web-1", LABELS, nodeName="node-of-k3s"))
    assert found.means is None or found.means is Means.PLAIN
    assert PodIsolate().refusal(found) is None


def test_a_pod_that_only_calls_itself_an_agent_is_not_believed(
    served: None, namespace: Namespace, cloud: KubernetesCloud
) -> None:
    agent(namespace.api, PLUGS[Means.CILIUM], "node-of-nobody", namespace.name)
    assert look(PodIsolate(), cloud, namespace.pod("web-1", LABELS, nodeName="node-of-nobody")).means is None


# --- what is in force ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "status"), [(11, Status.CONTAINED), (40, Status.NEEDS_HUMAN)])
def test_it_is_waited_for_what_cilium_says_of_the_identity(
    served: None, namespace: Namespace, control_plane: ControlPlane, tmp_path: Path, seconds: int, status: Status
) -> None:
    """Its agent writes that into the CiliumEndpoint every ten seconds."""
    passed = timedelta(0)

    def passing(span: timedelta) -> None:
        nonlocal passed
        passed += span
        if passed >= timedelta(seconds=seconds):
            play_cilium(namespace, "web-1")

    pod = on_node_of(Means.CILIUM, namespace)
    kubernetes = Kubernetes(KubernetesSettings(clusters={CLUSTER: Cluster(kubeconfig=control_plane.kubeconfig(ADMIN))}))
    book = shipped() / "kubernetes" / "isolate-pod.yaml"
    there = Installation(tmp_path, kubernetes, [book], passing=passing)
    case = there.settle(there.open(pod, "isolate-pod"))
    assert (case.status, case.reason) == (status, None if status is Status.CONTAINED else Reason.UNVERIFIED)
    if status is Status.NEEDS_HUMAN:
        assert "identity" in str(case.sentence)
        assert timedelta(seconds=20) <= passed < timedelta(seconds=seconds)


def test_with_cilium_it_is_not_contained_before_the_label_is_part_of_the_identity(
    served: None, namespace: Namespace, cloud: KubernetesCloud
) -> None:
    setting = Setting(PodIsolate(), cloud, on_node_of(Means.CILIUM, namespace))
    play_cilium(namespace, "web-1")
    target = setting.target(setting.observe())
    setting.apply(target)
    found = look(setting.action, cloud, setting.resource)
    assert reached(found, target, proven=False)
    assert not reached(found, target)
    assert "identity" in found.unenforced[0]
    play_cilium(namespace, "web-1")
    assert reached(look(setting.action, cloud, setting.resource), target)


def test_it_is_not_contained_while_the_agent_of_its_node_is_not_ready(
    served: None, namespace: Namespace, cloud: KubernetesCloud
) -> None:
    node, plug = "node-with-a-sick-agent", PLUGS[Means.PLAIN]
    path = agent(namespace.api, plug, node)
    try:
        setting = Setting(PodIsolate(), cloud, namespace.pod("web-1", LABELS, nodeName=node))
        target = setting.target(setting.observe())
        setting.apply(target)
        assert reached(look(setting.action, cloud, setting.resource), target)
        namespace.api.patch_status(path, {"conditions": [{"type": "Ready", "status": "False"}]})
        found = until(lambda: _unenforced(setting))
        assert found is not None
        assert not reached(found, target)
        assert "is not ready" in found.unenforced[0]
    finally:
        namespace.api.delete(path)
    gone = until(lambda: _unenforced(setting, "nobody enforces"))
    assert gone is not None
    assert gone.means is Means.PLAIN, "what it is held with does not change"


def _unenforced(setting: Setting, words: str = "") -> PodIsolation | None:
    assert isinstance(setting.cloud, KubernetesCloud)
    found = look(setting.action, setting.cloud, setting.resource)
    return found if any(words in why for why in found.unenforced) else None


def test_what_it_was_isolated_with_is_what_a_release_takes_away(
    served: None, namespace: Namespace, cloud: KubernetesCloud
) -> None:
    """A better means that comes while a pod is held changes nothing for that pod."""
    node = "node-that-learns"
    paths = [agent(namespace.api, PLUGS[Means.PLAIN], node)]
    try:
        setting = Setting(PodIsolate(), cloud, namespace.pod("web-1", LABELS, nodeName=node))
        before = setting.observe()
        assert isinstance(before, PodIsolation) and before.means is Means.PLAIN
        setting.apply(setting.target(before))
        paths.append(agent(namespace.api, PLUGS[Means.CILIUM], node))
        held = look(setting.action, cloud, setting.resource)
        assert held.means is Means.PLAIN
        assert reached(held, setting.target(before))
        setting.apply(before)
        assert look(setting.action, cloud, setting.resource).part() == before.part()
        assert namespace.policy_names() == []
        assert until(lambda: _chosen(cloud, setting.resource, Means.CILIUM))
    finally:
        for path in paths:
            namespace.api.delete(path)


# --- levels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("means", Means)
@pytest.mark.parametrize("peer", [PEER, OUTSIDE], ids=["pods", "addresses"])
@pytest.mark.parametrize("dns", [False, True], ids=["", "dns"])
def test_what_is_exempt_makes_valid_policies_which_are_read_back_as_they_were_written(
    means: Means, peer: Peer, dns: bool, served: None, namespace: Namespace, cloud: KubernetesCloud
) -> None:
    action = PodIsolate(level="quarantine", peer=peer, allow_dns=dns)
    setting = Setting(action, cloud, on_node_of(means, namespace))
    before = setting.observe()
    target = setting.target(before)
    setting.apply(target)
    if means is Means.CILIUM:
        play_cilium(namespace, "web-1")
    assert reached(look(action, cloud, setting.resource), target)
    assert isinstance(before, PodIsolation)
    ids = {caveat.id for caveat in action.caveats(before)}
    assert ("peer" in ids, "dns" in ids) == (True, dns)
    found = look(PodIsolate(), cloud, setting.resource)
    assert set(found.policies.values()) == {stand_of(Exemption(peer=peer, dns=dns))}, "whoever looks sees it"
    assert not reached(found, PodIsolate().contained(before)), "isolate allows less"


def test_a_whole_isolation_takes_at_most_four_changes(
    served: None, namespace: Namespace, cloud: KubernetesCloud
) -> None:
    for means in Means:
        setting = Setting(PodIsolate(), cloud, on_node_of(means, namespace, f"web-{means}"))
        gate, before = CountingGate(), setting.observe()
        calls: list[Call] = []
        through = cloud.through(gate, setting.mark, calls.append)
        setting.action.apply(through, setting.resource, before, setting.target(before))
        assert len(calls) == len(gate.calls) == len(KINDS[means]) + 1, calls
        assert namespace.labels(f"web-{means}").keys() == {ISOLATED}


@pytest.mark.parametrize(
    "fields",
    [
        {"level": "quarantine"},
        {"peer": OUTSIDE},
        {"level": "quarantine", "peer": {"cidr": "0.0.0.0/0"}},
        {"level": "quarantine", "peer": {"pods": {"app": "prober"}}},
        {"level": "quarantine", "peer": {"cidr": "10.0.0.0/8", "pods": {"app": "prober"}}},
        {"means": []},
    ],
)
def test_a_peer_that_would_be_everybody_or_nobody_is_a_mistake(fields: Any) -> None:
    with pytest.raises(ValueError, match=r"peer|world|means"):
        PodIsolate(**fields)
