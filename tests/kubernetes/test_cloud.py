"""What the API server's answers, and the lack of them, become; against the real one and through a proxy that breaks."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quarantine.action import Mark, Receipt
from quarantine.errors import (
    Conflict,
    Denied,
    Gone,
    ProviderError,
    Throttled,
    Transient,
    Unknown,
    Unreachable,
    Unsupported,
)
from quarantine.testing.contract import CountingGate
from quarantine_kubernetes.cloud import MERGE, READ_TRIES, REVIEWS, Expired, KubernetesCloud
from quarantine_kubernetes.pod import POD
from quarantine_kubernetes.session import from_kubeconfig
from tests.kubernetes.conftest import CLUSTER, Namespace
from tests.testbed.controlplane import ADMIN, SERVICE, ControlPlane
from tests.testbed.poll import until
from tests.testbed.proxy import FaultProxy

GET, PATCH = f"get {POD}", f"patch {POD}"
POLICIES = "post /apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"
MARK = Mark(installation="home", case="c-17", step=0, key="k")


@pytest.fixture
def broken(control_plane: ControlPlane, proxy: Callable[..., FaultProxy]) -> FaultProxy:
    return proxy(control_plane.url, control_plane.ca_file)


@pytest.fixture
def through(control_plane: ControlPlane, broken: FaultProxy) -> KubernetesCloud:
    """The administrator, through the proxy, with an open gate and little patience."""
    session = from_kubeconfig(control_plane.kubeconfig(ADMIN, broken.url), read_seconds=0.5)
    return KubernetesCloud(CLUSTER, session).through(CountingGate(), MARK)


def read(cloud: KubernetesCloud, namespace: str = "default", name: str = "web-1", **arguments: Any) -> Any:
    return cloud.read("get pods", GET, namespace=namespace, name=name, **arguments)


def create_policy(cloud: KubernetesCloud, namespace: str, body: dict[str, Any]) -> Receipt:
    return cloud.through(CountingGate(), MARK).change(
        "create networkpolicies", POLICIES, namespace=namespace, body=body
    )


def label(cloud: KubernetesCloud, namespace: str = "default", **metadata: object) -> Receipt:
    body = {"metadata": {"labels": {"team": "blue"}, **metadata}}
    return cloud.change("patch pods", PATCH, namespace=namespace, name="web-1", content_type=MERGE, body=body)


# --- answers -------------------------------------------------------------------------------------------------------


def test_a_read_gives_the_object_as_it_is(namespace: Namespace, cloud: KubernetesCloud) -> None:
    namespace.pod("web-1")
    assert read(cloud, namespace.name) == namespace.api.get(namespace.pod_path("web-1"))


def test_a_change_leaves_the_id_under_which_the_audit_log_has_it(
    namespace: Namespace, cloud: KubernetesCloud, control_plane: ControlPlane
) -> None:
    namespace.pod("web-1")
    gate = CountingGate()
    receipt = label(cloud.through(gate, MARK), namespace.name)
    assert gate.receipts == [receipt]
    (event,) = until(lambda: [event for event in control_plane.audit() if event["auditID"] == receipt.id])
    assert event["verb"] == "patch"
    assert event["userAgent"] == "cloud-quarantine case/c-17"
    assert "fieldManager=cloud-quarantine" in event["requestURI"]


def test_without_such_an_id_the_receipt_is_the_version_that_it_made(
    broken: FaultProxy, through: KubernetesCloud
) -> None:
    answer = {"metadata": {"uid": "u", "resourceVersion": "7"}}
    broken.answer("patch pods", 200, {"Content-Type": "application/json"}, json.dumps(answer))
    assert label(through).id == "u@7"


def test_what_is_not_there_is_gone(cloud: KubernetesCloud) -> None:
    with pytest.raises(Gone, match="web-1"):
        read(cloud)


@pytest.mark.parametrize("name", ["", ".", "..", "../../secrets/x", "a%2f..", "a/log"])
def test_a_name_never_leads_to_another_path(name: str, cloud: KubernetesCloud) -> None:
    with pytest.raises(Gone, match="nothing can have the name"):
        read(cloud, name=name)


def test_a_name_never_becomes_a_query(broken: FaultProxy, through: KubernetesCloud) -> None:
    with pytest.raises(Gone):
        read(through, name="web-1?watch=1#")
    (call,) = broken.recorded()
    assert call.target == "/api/v1/namespaces/default/pods/web-1%3Fwatch%3D1%23"


def test_another_object_under_the_name_is_gone_and_unchanged(namespace: Namespace, cloud: KubernetesCloud) -> None:
    namespace.pod("web-1")
    with pytest.raises(Gone, match="another object has this name now"):
        label(cloud.through(CountingGate(), MARK), namespace.name, uid="0b0a3c59-5bd0-4a53-9e8f-4a2a0d1e6f11")
    assert namespace.labels("web-1") == {"app": "web"}


def test_another_version_is_a_conflict(namespace: Namespace, cloud: KubernetesCloud) -> None:
    namespace.pod("web-1")
    with pytest.raises(Conflict):
        label(cloud.through(CountingGate(), MARK), namespace.name, resourceVersion="1")


def test_what_exists_already_is_a_conflict(namespace: Namespace, cloud: KubernetesCloud) -> None:
    namespace.policy("deny", podSelector={})
    body = {"metadata": {"name": "deny"}, "spec": {"podSelector": {}}}
    with pytest.raises(Conflict, match="AlreadyExists"):
        cloud.through(CountingGate(), MARK).change(
            "create networkpolicies", POLICIES, namespace=namespace.name, body=body
        )


def test_a_body_that_the_server_does_not_take_is_unsupported(namespace: Namespace, cloud: KubernetesCloud) -> None:
    body = {"metadata": {"name": "deny"}, "spec": {"podSelector": {}, "policyTypes": ["Sideways"]}}
    with pytest.raises(Unsupported, match="Sideways"):
        cloud.through(CountingGate(), MARK).change(
            "create networkpolicies", POLICIES, namespace=namespace.name, body=body
        )


@pytest.mark.parametrize(
    ("call", "arguments", "question"),
    [
        (GET, {"name": "web-1"}, "get pods/web-1 --namespace default"),
        (f"get {POD}/log", {"name": "web-1"}, "get pods/web-1 --subresource log --namespace default"),
        ("get /api/v1/namespaces/{namespace}/pods", {}, "list pods --namespace default"),
        ("get /apis/networking.k8s.io/v1/networkpolicies", {}, "list networkpolicies.networking.k8s.io"),
        ("get /api/v1/namespaces/{namespace}", {}, "get namespaces/default"),
        ("get /metrics", {}, "get /metrics"),
    ],
)
def test_a_denial_says_who_lacks_what_and_how_to_check(
    call: str, arguments: dict[str, str], question: str, cloud_of: Callable[[str], KubernetesCloud]
) -> None:
    with pytest.raises(Denied) as denied:
        cloud_of(SERVICE).read("any", call, namespace="default", **arguments)
    assert '"quarantine" cannot' in str(denied.value)
    assert str(denied.value).endswith(f"`kubectl auth can-i {question}`")


def test_credentials_that_are_not_valid_are_denied(broken: FaultProxy, through: KubernetesCloud) -> None:
    broken.answer("get pods", 401, {"Content-Type": "application/json"}, '{"reason": "Unauthorized"}')
    with pytest.raises(Denied, match="kubectl auth whoami"):
        read(through)


@pytest.mark.parametrize(
    ("status", "on_read", "on_change"),
    [
        (410, Expired, Unknown),
        (429, Throttled, Throttled),
        (500, Transient, Unknown),
        (503, Transient, Unknown),
        (504, Transient, Unknown),
        (400, Unsupported, Unsupported),
        (405, Unsupported, Unsupported),
        (302, Unsupported, Unsupported),
    ],
)
def test_a_status_means_this_on_a_read_and_that_on_a_change(
    status: int,
    on_read: type[ProviderError],
    on_change: type[ProviderError],
    broken: FaultProxy,
    through: KubernetesCloud,
) -> None:
    headers = {"Content-Type": "application/json", "Retry-After": "7", "Location": "/elsewhere"}
    broken.answer(lambda call: True, status, headers, '{"kind": "Status", "reason": "Said"}', times=2)
    with pytest.raises(ProviderError) as on_reading:
        read(through)
    with pytest.raises(ProviderError) as on_changing:
        label(through)
    assert type(on_reading.value) is on_read
    assert type(on_changing.value) is on_change
    assert len(broken.recorded()) == 2
    if status == 429:
        assert "wait 7 s" in str(on_changing.value)


@pytest.mark.parametrize("body", ["<html>log in</html>", '{"metadata": {"name"', "[]"])
def test_an_answer_that_no_api_server_gives_is_not_taken_for_one(
    body: str, broken: FaultProxy, through: KubernetesCloud
) -> None:
    broken.answer(lambda call: True, 200, {"Content-Type": "application/json"}, body, times=2)
    with pytest.raises(Transient):
        read(through)
    with pytest.raises(Unknown):
        label(through)


# --- no answer -----------------------------------------------------------------------------------------------------


def test_a_change_whose_answer_is_lost_is_unknown_and_sent_once(
    namespace: Namespace, broken: FaultProxy, through: KubernetesCloud
) -> None:
    namespace.pod("web-1")
    broken.lose_answer("patch pods")
    with pytest.raises(Unknown):
        label(through, namespace.name)
    assert len(broken.recorded("patch pods")) == 1
    assert namespace.labels("web-1")["team"] == "blue"


def test_a_change_that_is_not_answered_in_time_is_unknown(broken: FaultProxy, through: KubernetesCloud) -> None:
    broken.hold("patch pods")
    with pytest.raises(Unknown, match=r"[Tt]imed out"):
        label(through)
    assert len(broken.recorded("patch pods")) == 1


def test_a_read_survives_connections_that_break(
    namespace: Namespace, broken: FaultProxy, through: KubernetesCloud
) -> None:
    namespace.pod("web-1")
    broken.drop("get pods", times=READ_TRIES - 1)
    assert read(through, namespace.name)
    broken.drop("get pods", times=READ_TRIES)
    with pytest.raises(Transient):
        read(through, namespace.name)


def test_a_read_that_is_not_answered_in_time_is_transient_and_not_repeated(
    broken: FaultProxy, through: KubernetesCloud
) -> None:
    broken.hold("get pods")
    with pytest.raises(Transient, match=r"[Tt]imed out"):
        read(through)
    assert len(broken.recorded("get pods")) == 1


def test_a_server_that_is_not_there_is_unreachable(control_plane: ControlPlane) -> None:
    session = from_kubeconfig(control_plane.kubeconfig(ADMIN, "http://127.0.0.1:9"))
    cloud = KubernetesCloud(CLUSTER, session).through(CountingGate(), MARK)
    with pytest.raises(Unreachable, match="cluster 'testbed'"):
        read(cloud)
    with pytest.raises(Unreachable, match="cluster 'testbed'"):
        label(cloud)


def test_a_server_with_another_certificate_is_unreachable(control_plane: ControlPlane, tmp_path: Path) -> None:
    config = json.loads(control_plane.kubeconfig(ADMIN).read_text())
    del config["clusters"][0]["cluster"]["certificate-authority"]
    (tmp_path / "config").write_text(json.dumps(config))
    cloud = KubernetesCloud(CLUSTER, from_kubeconfig(tmp_path / "config")).through(CountingGate(), MARK)
    with pytest.raises(Unreachable, match="no trusted connection"):
        read(cloud)
    with pytest.raises(Unreachable, match="no trusted connection"):
        label(cloud)


@pytest.mark.parametrize("text", [None, "", "[]", "current-context: none", ": :", "{contexts: 3}"])
def test_a_kubeconfig_that_says_nothing_is_unreachable(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "config").write_text(text)
    with pytest.raises(Unreachable, match="kubectl config view"):
        from_kubeconfig(tmp_path / "config")


# --- what changes something ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [GET, *sorted(REVIEWS)])
def test_gets_and_reviews_are_reads(call: str, cloud: KubernetesCloud) -> None:
    assert cloud.reads(call)


@pytest.mark.parametrize(
    "call",
    [
        PATCH,
        POLICIES,
        f"delete {POD}",
        "post /apis/authentication.k8s.io/v1/tokenreviews",
        f"post {POD}/eviction",
        "get",
    ],
)
def test_everything_else_is_not(call: str, cloud: KubernetesCloud) -> None:
    assert not cloud.reads(call)
    with pytest.raises(PermissionError):
        cloud.read("any", call)


def test_without_a_gate_nothing_is_changed(namespace: Namespace, cloud: KubernetesCloud) -> None:
    namespace.pod("web-1")
    with pytest.raises(PermissionError, match="outside of the engine"):
        label(cloud, namespace.name)
    assert namespace.labels("web-1") == {"app": "web"}
