"""Who loses a pod that is isolated: by name, in the plan that a person looks at, and never in what is agreed to."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quarantine.playbook import shipped
from quarantine.testing.installation import Installation
from quarantine_kubernetes import Kubernetes
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.exemption import Exemption, Peer
from quarantine_kubernetes.peers import MOST, leading, losing, named, others
from quarantine_kubernetes.pod_isolate import PodIsolate
from quarantine_kubernetes.provider import Cluster, KubernetesSettings
from tests.kubernetes.conftest import CLUSTER, Namespace
from tests.kubernetes.rbac import grant
from tests.testbed.controlplane import ADMIN, SERVICE, ControlPlane

SHOP = "kubernetes.io/metadata.name"


def pod(name: str, labels: dict[str, str] | None = None, *ports: int, **spec: Any) -> dict[str, Any]:
    containers = [{"ports": [{"containerPort": port} for port in ports]}]
    metadata = {"name": name, "namespace": "shop", "uid": f"uid-of-{name}", "labels": labels or {}}
    status = {"phase": "Running", "podIPs": [{"ip": "10.1.0.5"}]}
    return {"metadata": metadata, "spec": {"containers": containers, **spec}, "status": status}


def policy(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": {"podSelector": {}, **spec}}


WEB = pod("web", {"app": "web"}, 8080)
API, DB, JOB = pod("api", {"app": "api"}), pod("db", {"app": "db"}), pod("job", {"app": "job"})
ALL = [WEB, API, DB, JOB]
ISOLATED = {"cloud-quarantine.dev/isolated": "uid-of-web"}


def lost(
    policies: list[dict[str, Any]], pods: list[dict[str, Any]] = ALL, exempt: Exemption | None = None
) -> list[str]:
    return losing(WEB, pods, policies, ISOLATED, exempt or Exemption())


def from_app(app: str, **rule: Any) -> dict[str, Any]:
    return {"from": [{"podSelector": {"matchLabels": {"app": app}}}], **rule}


def test_without_a_policy_all_others_lose_it_and_it_is_not_one_of_them() -> None:
    assert lost([]) == ["api", "db", "job"]


def test_who_was_kept_out_before_loses_nothing() -> None:
    deny = policy("deny", policyTypes=["Ingress"])
    assert lost([deny]) == []
    assert lost([deny, policy("let", policyTypes=["Ingress"], ingress=[from_app("api")])]) == ["api"]


@pytest.mark.parametrize("port", [{"port": 8080}, {"port": 7000, "endPort": 7999}, {"protocol": "UDP"}, {"port": 5}])
def test_one_port_is_enough(port: dict[str, Any]) -> None:
    let = policy("let", policyTypes=["Ingress"], ingress=[from_app("db", ports=[port])])
    assert lost([let]) == ["db"]


def test_what_may_not_leave_its_own_pod_reaches_nobody() -> None:
    stuck = policy("stuck", podSelector={"matchLabels": {"app": "job"}}, policyTypes=["Egress"])
    assert lost([stuck]) == ["api", "db"]


def test_whoever_may_examine_it_does_not_lose_it() -> None:
    peer = Peer(namespaces={SHOP: "shop"}, pods={"app": "api"})
    assert lost([], exempt=Exemption(peer=peer)) == ["db", "job"]


def test_what_does_not_run_or_is_on_its_nodes_network_is_left_out() -> None:
    ended, going = pod("ended"), pod("going")
    ended["status"]["phase"] = "Succeeded"
    going["metadata"]["deletionTimestamp"] = "2026-11-25T08:00:00Z"
    assert lost([], [WEB, API, ended, going, pod("agent", hostNetwork=True)]) == ["api"]


def test_of_other_namespaces_it_is_told_what_lets_them_in() -> None:
    labels = WEB["metadata"]["labels"]
    assert others([], labels) is None
    assert others([policy("not-its", podSelector={"matchLabels": {"app": "db"}})], labels) is None
    assert others([policy("out", policyTypes=["Egress"])], labels) is None
    assert others([policy("deny"), policy("let", ingress=[from_app("api")])], labels) == []
    monitors = {"namespaceSelector": {"matchLabels": {"team": "watch"}}, "podSelector": {}}
    let = policy("let", ingress=[from_app("api"), {"from": [monitors], "ports": [{"port": 9100}]}])
    office = policy("office", ingress=[{"from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}])
    assert others([let, office, policy("all", ingress=[{}])], labels) == [
        "policy 'all' allows ingress from anywhere on any port",
        "policy 'let' allows ingress from every pod in namespaces with team=watch on TCP/9100",
        "policy 'office' allows ingress from 192.0.2.0/24 on any port",
    ]


def test_services_that_select_what_it_loses() -> None:
    def service(name: str, selector: dict[str, str] | None) -> dict[str, Any]:
        return {"metadata": {"name": name}, "spec": {"selector": selector} if selector else {}}

    found = [
        service("web", {"app": "web"}),
        service("all", {"team": "a"}),
        service("none", None),
        service("x", {"a": "b"}),
    ]
    assert leading(found, {"app": "web", "team": "a"}, {"team": "a"}) == ["web"]


def test_few_are_named_and_the_others_counted() -> None:
    assert named(["a", "b"]) == "a, b"
    assert named([*"abcdefgh"]) == "a, b, c, d, e and 3 more"


def test_a_thousand_pods_are_judged_in_a_moment_and_no_more_of_them() -> None:
    let = [
        policy(f"let-{number}", policyTypes=["Ingress"], ingress=[from_app(f"app-{number}")]) for number in range(10)
    ]
    many = [pod(f"pod-{number:04}", {"app": f"app-{number % 20}"}) for number in range(2 * MOST)]
    begin = time.perf_counter()
    assert len(lost(let, many)) == MOST / 2
    assert time.perf_counter() - begin < 2


# -- on the real API server ----------------------------------------------------------------------------------------


def test_a_person_who_looks_is_told_and_agrees_to_the_plan_alone(
    namespace: Namespace, control_plane: ControlPlane, tmp_path: Path
) -> None:
    web, _ = namespace.pod("web-1", {"app": "web"}), namespace.pod("api-1", {"app": "api"})
    services = f"/api/v1/namespaces/{namespace.name}/services"
    namespace.api.create(
        services, {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
    )
    kubernetes = Kubernetes(KubernetesSettings(clusters={CLUSTER: Cluster(kubeconfig=control_plane.kubeconfig(ADMIN))}))
    there = Installation(tmp_path, kubernetes, [shipped() / "kubernetes" / "isolate-pod.yaml"])
    playbook = there.shelf.find("isolate-pod")
    plan = there.planner.draft(playbook, web).plan
    (said,) = there.planner.bystanders(plan).values()
    assert said == (
        "Pods of its namespace that can reach it and will not: 1: api-1.",
        "Pods of other namespaces were not looked at: no policy keeps any of them out now, and none will reach it.",
        "Services that lead to it and will not: web.",
    )
    namespace.pod("api-2", {"app": "api"})
    again = there.planner.draft(playbook, web).plan
    (said,) = there.planner.bystanders(again).values()
    assert "api-1, api-2" in said[0]
    assert again.digest == plan.digest, "what comes and goes around it takes nobody's word back"


def test_what_lets_others_in_is_told_with_who_may_still_examine_it(
    namespace: Namespace, cloud: KubernetesCloud
) -> None:
    web = namespace.pod("web-1", {"app": "web"})
    monitors = {"namespaceSelector": {"matchLabels": {"team": "watch"}}}
    rule = {"from": [monitors]}
    namespace.policy("monitors", podSelector={"matchLabels": {"app": "web"}}, policyTypes=["Ingress"], ingress=[rule])
    peer = Peer(namespaces={SHOP: "forensics"}, pods={"app": "lab"})
    let = "policy 'monitors' allows ingress from every pod in namespaces with team=watch on any port"
    for action, but in (
        (PodIsolate(), ""),
        (PodIsolate(level="quarantine", peer=peer), f", but for {peer}"),
    ):
        said = action.bystanders(cloud, web, action.observe(cloud, web))
        assert said[1] == (
            "Pods of other namespaces were not looked at: those that can reach it now lose it" + but + f". By {let}."
        )
    namespace.policy("deny-all", policyTypes=["Ingress"])
    namespace.api.delete(f"{namespace.policies}/monitors")
    said = PodIsolate().bystanders(cloud, web, PodIsolate().observe(cloud, web))
    assert said[1] == "No policy lets anybody of another namespace in."


def test_who_may_not_list_services_is_told_so(namespace: Namespace, cloud_of: Callable[[str], KubernetesCloud]) -> None:
    web, action = namespace.pod("web-1"), PodIsolate()
    grant(namespace, SERVICE, ("get pods", "list pods", "list networkpolicies.networking.k8s.io"))
    cloud = cloud_of(SERVICE)
    pods, _, services = action.bystanders(cloud, web, action.observe(cloud_of(ADMIN), web))
    assert pods == "No other pod of its namespace loses access to it."
    assert services.startswith("Which Services lead to it cannot be said: ")
