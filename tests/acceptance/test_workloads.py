"""What runs pods, and what cuts them, with the real controllers: from the command line to the cluster and back."""

from collections.abc import Callable
from typing import Any

from quarantine.case import Outcome, Status
from tests.acceptance.conftest import Cluster
from tests.acceptance.product import Product, falco
from tests.testbed.poll import until

Start = Callable[..., Product]

ALONE = {"second_person": False}
TEMPLATE = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {
        "containers": [{"name": "main", "image": "example.test/web:1"}],
        "terminationGracePeriodSeconds": 0,  # no kubelet is needed to end them
    },
}


def make_deployment(cluster: Cluster) -> str:
    """Two pods run when this returns; its path."""
    api = f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments"
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE}
    cluster.api.create(api, {"metadata": {"name": "web"}, "spec": spec})
    until(lambda: len(cluster.api.play_kubelet(cluster.namespace)) == 2)
    return f"{api}/web"


def pods(cluster: Cluster) -> list[dict[str, Any]]:
    return cluster.api.items(f"/api/v1/namespaces/{cluster.namespace}/pods")


def test_from_a_suspect_pod_its_deployment_is_stopped_and_given_back(cluster: Cluster, on_kubernetes: Start) -> None:
    path = make_deployment(cluster)
    suspect = pods(cluster)[0]["metadata"]["name"]
    product = on_kubernetes(approvals=ALONE, watch={"every": "1s", "playbooks": {"stop-owner": "reapply"}})
    scope = f"testbed/{cluster.namespace}"
    product.say("run", "stop-owner", f"kubernetes:pod/{suspect}", "--scope", scope, "--apply")
    case = product.only_case()
    assert case.plan is not None
    assert [step.action for step in case.plan.steps] == [
        "kubernetes:pod-capture",
        "kubernetes:pod-logs-capture",
        "kubernetes:workload-scale-to-zero",
    ]
    assert case.status is Status.CONTAINED
    assert pods(cluster) == []
    cluster.api.patch(f"{path}/scale", {"spec": {"replicas": 1}})
    drifted = until(lambda: [item for item in product.events(case.id) if item.event.type == "drifted"], seconds=30)
    assert drifted, "the watch goes on although the pod of the case is gone"
    until(lambda: product.store.load(case.id).status is Status.CONTAINED, seconds=30)
    assert cluster.api.get(path)["spec"]["replicas"] == 0
    product.say("case", "release", case.id)
    assert product.wait(case.id, Status.CLOSED, seconds=30).outcome is Outcome.RELEASED
    assert cluster.api.get(path)["spec"]["replicas"] == 2


def test_an_isolated_pod_is_deleted_as_the_next_step(cluster: Cluster, on_kubernetes: Start) -> None:
    cluster.api.make_pod(cluster.namespace, "web-1", {"app": "web"})
    product = on_kubernetes(approvals=ALONE, watch={"every": "2s"})
    scope = f"testbed/{cluster.namespace}"
    product.say("run", "isolate-pod", "kubernetes:pod/web-1", "--scope", scope, "--apply")
    case = product.only_case()
    shown = product.run("case", "escalate", case.id, "delete-pod", "--yes")
    assert shown.returncode == 2, "what cannot be undone is never a reflex"
    product.say("case", "escalate", case.id, "delete-pod", "--no-wait", "--plan", shown.stderr.split()[-1])
    until(lambda: pods(cluster) and "deletionTimestamp" in pods(cluster)[0]["metadata"], seconds=30)
    assert product.store.load(case.id).status is not Status.CLOSED, "it is not gone before its kubelet says so"
    cluster.api.play_kubelet(cluster.namespace)
    closed = product.wait(case.id, Status.CLOSED, seconds=60)
    assert closed.outcome is Outcome.ONE_WAY_DONE


def test_who_loses_a_pod_is_told_to_whoever_decides(cluster: Cluster, on_kubernetes: Start) -> None:
    uid = cluster.api.make_pod(cluster.namespace, "web-1", {"app": "web"})["metadata"]["uid"]
    cluster.api.make_pod(cluster.namespace, "api-1", {"app": "api"})
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    services = f"/api/v1/namespaces/{cluster.namespace}/services"
    cluster.api.create(services, {"metadata": {"name": "shop-front"}, "spec": spec})
    product = on_kubernetes(approvals=ALONE)
    scope = f"testbed/{cluster.namespace}"
    dry = product.say("run", "isolate-pod", "kubernetes:pod/web-1", "--scope", scope)
    assert product.send_with_token(falco("web-1", cluster.namespace, uid), "falco").status == 202
    case = product.wait(product.only_case().id, Status.AWAITING_APPROVAL)
    shown = product.say("case", "show", case.id)
    approved = product.run("case", "approve", case.id, "--yes", "--no-wait")
    assert approved.returncode == 0, approved.stderr
    for text in (dry, shown, approved.stderr):
        words = " ".join(text.split())
        assert "can reach it and will not: 1: api-1." in words
        assert "Services that lead to it and will not: shop-front." in words
    ended = product.wait(case.id, Status.CONTAINED)
    assert "now  Pods" not in product.say("case", "show", ended.id), "what was is not what is"
