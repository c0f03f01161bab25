"""Each piece of the test bed does what the tests that stand on it take for granted."""

import http.client
import math
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from botocore.exceptions import ClientError, HTTPClientError
from kubernetes.client import CoreV1Api
from kubernetes.config import new_client_from_config
from kubernetes.watch import Watch
from sqlalchemy import create_engine, text

from tests.testbed.aws import Moto, aws_client, aws_environment
from tests.testbed.call import Fate
from tests.testbed.controlplane import SERVICE, ControlPlane
from tests.testbed.gobinary import GoBinary
from tests.testbed.kubeapi import JSON_PATCH, ApiError, KubeApi
from tests.testbed.missing import Missing, need, started
from tests.testbed.operation import operation
from tests.testbed.poll import until
from tests.testbed.postgres import Postgres
from tests.testbed.proxy import FaultProxy

Proxies = Callable[..., FaultProxy]


@pytest.fixture
def aws(moto: Moto, proxy: Proxies) -> FaultProxy:
    moto.reset()
    return proxy(moto.url)


def buckets(moto: Moto) -> list[str]:
    return [bucket["Name"] for bucket in moto.client("s3").list_buckets()["Buckets"]]


# Kubernetes


def test_a_deployment_gets_its_pods_and_they_run(control_plane: ControlPlane) -> None:
    control_plane.make_namespace("deployed")
    labels = {"app": "shop"}
    spec = {
        "replicas": 2,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "main", "image": "example.test/shop:1"}]},
        },
    }
    deployments = "/apis/apps/v1/namespaces/deployed/deployments"
    control_plane.create(deployments, {"metadata": {"name": "shop"}, "spec": spec})

    until(lambda: len(control_plane.play_kubelet("deployed")) == 2, seconds=30)
    until(lambda: control_plane.get(f"{deployments}/shop")["status"].get("readyReplicas") == 2, seconds=30)
    pods = control_plane.play_kubelet("deployed")
    assert {pod["status"]["phase"] for pod in pods} == {"Running"}
    assert len({pod["status"]["podIP"] for pod in pods}) == 2
    assert {pod["metadata"]["ownerReferences"][0]["kind"] for pod in pods} == {"ReplicaSet"}


def test_a_patch_for_another_uid_is_refused(control_plane: ControlPlane) -> None:
    control_plane.make_namespace("identity")
    pod = control_plane.make_pod("identity", "web")
    path = "/api/v1/namespaces/identity/pods/web"
    labels = {"quarantine": "true"}

    with pytest.raises(ApiError) as refused:
        control_plane.patch(path, {"metadata": {"uid": "0-0-0-0", "labels": labels}})
    assert refused.value.status == 422
    with pytest.raises(ApiError) as refused:
        control_plane.request("DELETE", path, {"preconditions": {"uid": "0-0-0-0"}})
    assert refused.value.status == 409
    patched = control_plane.patch(path, {"metadata": {"uid": pod["metadata"]["uid"], "labels": labels}})
    assert patched["metadata"]["labels"] == labels


def test_the_audit_log_has_every_call_of_the_service(control_plane: ControlPlane) -> None:
    control_plane.make_namespace("audited")
    pod = control_plane.make_pod("audited", "web")
    service = control_plane.as_user(SERVICE)
    path = "/api/v1/namespaces/audited/pods/web"

    with pytest.raises(ApiError) as denied:
        service.get(path)
    assert denied.value.status == 403
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "patch"]}
    roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/audited"
    control_plane.create(f"{roles}/roles", {"metadata": {"name": "pods"}, "rules": [rule]})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "pods"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": SERVICE}
    binding = {"metadata": {"name": "pods"}, "roleRef": role, "subjects": [subject]}
    control_plane.create(f"{roles}/rolebindings", binding)
    until(lambda: permitted(lambda: service.get(path)))
    service.patch(path, [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}], JSON_PATCH)

    def patches() -> list[dict[str, object]]:
        events = [event for event in control_plane.audit(SERVICE) if event["verb"] == "patch"]
        return [event for event in events if event["objectRef"].get("namespace") == "audited"]

    (patch,) = until(patches)
    reference, answer = patch["objectRef"], patch["responseStatus"]
    assert isinstance(reference, dict)
    assert isinstance(answer, dict)
    assert (reference["namespace"], reference["name"], answer["code"]) == ("audited", "web", 200)
    assert patch["requestObject"] == [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]
    assert pod["metadata"]["uid"] in str(patch["responseObject"])


def permitted(call: Callable[[], object]) -> bool:
    """Rights take a moment to reach the authorizer."""
    try:
        call()
    except ApiError as error:
        if error.status == 403:
            return False
        raise
    return True


def test_a_lost_answer_of_the_api_server_has_its_effect(control_plane: ControlPlane, proxy: Proxies) -> None:
    front = proxy(control_plane.url, control_plane.ca_file)
    control_plane.make_namespace("lost")
    maps = "/api/v1/namespaces/lost/configmaps"
    client = KubeApi(front.url, control_plane.ca_file, control_plane.token("admin"))
    client.create(maps, {"metadata": {"name": "one"}})
    front.lose_answer("delete configmaps")
    with pytest.raises(http.client.RemoteDisconnected):
        client.delete(f"{maps}/one")

    assert not control_plane.exists(f"{maps}/one")
    assert [(call.operation, call.fate, call.status) for call in front.recorded()] == [
        ("create configmaps", Fate.ANSWERED, 201),
        ("delete configmaps", Fate.ANSWER_LOST, 200),
    ]


def test_a_kubeconfig_leads_through_a_proxy_and_watches_stream(control_plane: ControlPlane, proxy: Proxies) -> None:
    front = proxy(control_plane.url, control_plane.ca_file)
    control_plane.make_namespace("watched")
    kubeconfig = control_plane.kubeconfig("admin", server=front.url)
    with new_client_from_config(str(kubeconfig)) as client:  # type: ignore[no-untyped-call]
        maps = CoreV1Api(client).list_namespaced_config_map
        events = Watch().stream(maps, "watched")  # type: ignore[no-untyped-call]
        assert next(events)["object"].metadata.name == "kube-root-ca.crt"
        control_plane.create("/api/v1/namespaces/watched/configmaps", {"metadata": {"name": "later"}})
        assert next(events)["object"].metadata.name == "later"
        events.close()
    assert front.recorded()[-1].operation == "watch configmaps"


# PostgreSQL


def test_databases_are_real_and_apart(postgres: Postgres) -> None:
    one, two = create_engine(postgres.fresh_database()), create_engine(postgres.fresh_database())
    with one.begin() as connection:
        assert "PostgreSQL" in str(connection.execute(text("SELECT version()")).scalar())
        connection.execute(text("CREATE TABLE here (id int)"))
    with two.begin() as connection:
        tables = text("SELECT count(*) FROM pg_tables WHERE tablename = 'here'")
        assert connection.execute(tables).scalar() == 0
    one.dispose()
    two.dispose()


def test_after_a_crash_what_was_committed_is_there() -> None:
    with started(Postgres(durable=True)) as server:
        address = server.fresh_database().replace("+psycopg", "")
        with psycopg.connect(address) as connection:
            connection.execute("CREATE TABLE kept (id int)")
        server.crash()
        server.start()
        with psycopg.connect(address) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


# AWS and the proxy


def test_calls_reach_the_cloud_and_are_recorded(aws: FaultProxy) -> None:
    s3, ec2 = aws_client("s3", aws.url), aws_client("ec2", aws.url)
    s3.create_bucket(Bucket="evidence")
    s3.put_object(Bucket="evidence", Key="a/b", Body=b"x" * 100_000)
    assert s3.get_object(Bucket="evidence", Key="a/b")["Body"].read() == b"x" * 100_000
    s3.head_object(Bucket="evidence", Key="a/b")
    ec2.describe_instances()
    with pytest.raises(ClientError):
        s3.head_bucket(Bucket="missing")

    calls = aws.recorded()
    assert [(call.index, call.service, call.operation, call.status) for call in calls] == [
        (0, "s3", "CreateBucket", 200),
        (1, "s3", "PutObject", 200),
        (2, "s3", "GetObject", 200),
        (3, "s3", "HeadObject", 200),
        (4, "ec2", "DescribeInstances", 200),
        (5, "s3", "HeadBucket", 404),
    ]
    assert all(call.fate is Fate.ANSWERED for call in calls)
    assert calls[4].form["Action"] == "DescribeInstances"


def test_a_lost_answer_has_its_effect(aws: FaultProxy, moto: Moto) -> None:
    aws.lose_answer("CreateBucket")
    s3 = aws_client("s3", aws.url)
    with pytest.raises(HTTPClientError):
        s3.create_bucket(Bucket="evidence")
    assert buckets(moto) == ["evidence"]
    assert [(call.fate, call.status) for call in aws.recorded()] == [(Fate.ANSWER_LOST, 200)]


def test_a_dropped_call_has_none(aws: FaultProxy, moto: Moto) -> None:
    aws.drop("CreateBucket")
    s3 = aws_client("s3", aws.url)
    with pytest.raises(HTTPClientError):
        s3.create_bucket(Bucket="evidence")
    assert buckets(moto) == []
    s3.create_bucket(Bucket="evidence")
    assert [call.forwarded for call in aws.recorded()] == [False, True]


def test_a_canned_answer_looks_like_the_cloud_s(aws: FaultProxy, moto: Moto) -> None:
    slow_down = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
    aws.answer(lambda call: call.service == "s3", 503, {"Content-Type": "application/xml"}, slow_down, math.inf)
    with pytest.raises(ClientError, match="SlowDown"):
        aws_client("s3", aws.url).create_bucket(Bucket="evidence")
    assert buckets(moto) == []
    assert [call.fate for call in aws.recorded()] == [Fate.CANNED]


def test_a_stale_read_shows_what_was_there_before(aws: FaultProxy) -> None:
    s3 = aws_client("s3", aws.url)
    assert s3.list_buckets()["Buckets"] == []
    aws.stale("ListBuckets", times=2)
    s3.create_bucket(Bucket="evidence")
    assert [len(s3.list_buckets()["Buckets"]) for _ in range(3)] == [0, 0, 1]


CREATE_A_BUCKET = "from tests.testbed.aws import aws_client as c; c('s3', {!r}).create_bucket(Bucket='late')"


def test_a_call_held_before_the_cloud_dies_with_its_client(aws: FaultProxy, moto: Moto) -> None:
    held = aws.hold("CreateBucket")
    client = kill_at(held.wait_reached, aws)
    assert client < 0
    assert buckets(moto) == []
    held.abandon()
    aws.close()
    assert [(call.fate, call.forwarded) for call in aws.recorded()] == [(Fate.ARRIVED, False)]
    assert buckets(moto) == []


def test_or_arrives_late_when_let_go(aws: FaultProxy, moto: Moto) -> None:
    held = aws.hold("CreateBucket")
    kill_at(held.wait_reached, aws)
    assert buckets(moto) == []
    held.let_go()
    until(lambda: buckets(moto) == ["late"])


def test_a_call_whose_answer_is_held_has_its_effect(aws: FaultProxy, moto: Moto) -> None:
    held = aws.hold_answer("CreateBucket")
    answers: list[object] = []
    s3 = aws_client("s3", aws.url)
    client = threading.Thread(target=lambda: answers.append(s3.create_bucket(Bucket="evidence")))
    client.start()
    held.wait_reached()
    assert buckets(moto) == ["evidence"]
    assert answers == []
    held.let_go()
    client.join()
    assert len(answers) == 1


def kill_at(reached: Callable[[], object], aws: FaultProxy) -> int:
    """Kills a client at that point; returns its exit code."""
    command = [sys.executable, "-c", CREATE_A_BUCKET.format(aws.url)]
    with subprocess.Popen(command, env=aws_environment(aws.url), stderr=subprocess.DEVNULL) as client:
        reached()
        client.kill()
    return client.returncode


def test_half_a_request_is_not_forwarded(aws: FaultProxy) -> None:
    connection = http.client.HTTPConnection(urlsplit(aws.url).netloc)
    connection.putrequest("PUT", "/half")
    connection.putheader("Content-Length", "10")
    connection.endheaders(b"12345")
    connection.close()
    aws_client("s3", aws.url).list_buckets()
    assert [call.operation for call in aws.recorded()] == ["ListBuckets"]


SIGNED = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261124/us-east-1/{}/aws4_request, SignedHeaders=host"


@pytest.mark.parametrize(
    ("method", "target", "service", "headers", "name"),
    [
        ("PUT", "/b?publicAccessBlock", "s3", {}, "PutPublicAccessBlock"),
        ("PUT", "/b/k/l", "s3", {}, "PutObject"),
        ("PUT", "/b/k/l", "s3", {"x-amz-copy-source": "b/k"}, "CopyObject"),
        ("PUT", "/b/k?partNumber=1&uploadId=x", "s3", {}, "UploadPart"),
        ("GET", "/b?list-type=2&prefix=a", "s3", {}, "ListObjectsV2"),
        ("GET", "/v20180820/configuration/publicAccessBlock", "s3", {"x-amz-account-id": "1"}, "GetPublicAccessBlock"),
        ("GET", "/detector/12ab/malware-scan-settings", "guardduty", {}, "GetMalwareScanSettings"),
        ("PUT", "/2017-10-31/functions/f/concurrency", "lambda", {}, "PutFunctionConcurrency"),
        ("POST", "/", "ecs", {"x-amz-target": "AmazonEC2ContainerServiceV20141113.StopTask"}, "StopTask"),
        ("POST", "/service/Granite/operation/PutMetricData", "monitoring", {}, "PutMetricData"),
        ("GET", "/?Action=GetCallerIdentity", "sts", {}, "GetCallerIdentity"),
        ("GET", "/", "nosuchservice", {}, None),
        ("GET", "/api/v1/namespaces/shop", None, {}, "get namespaces"),
        ("GET", "/api/v1/namespaces/shop/pods?watch=true", None, {}, "watch pods"),
        ("PATCH", "/api/v1/namespaces/shop/pods/web/status?fieldManager=x", None, {}, "patch pods/status"),
        (
            "DELETE",
            "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies",
            None,
            {},
            "deletecollection networkpolicies",
        ),
        ("GET", "/healthz", None, {}, None),
    ],
)
def test_an_operation_has_the_provider_s_name(
    method: str, target: str, service: str | None, headers: dict[str, str], name: str | None
) -> None:
    signed = {"authorization": SIGNED.format(service)} if service else {}
    assert operation(method, target, signed | headers, b"") == name


# What the machine lacks


def test_without_go_the_reason_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("QUARANTINE_TEST_CACHE", str(tmp_path))
    binary = GoBinary(Path(__file__).with_name("controlplane"), "kube-apiserver")
    with pytest.raises(Missing, match="kube-apiserver: Go is not installed"):
        binary.build()


def test_what_is_lacking_skips_and_under_strict_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRICT", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Go"):
        need("no Go")
    monkeypatch.setenv("STRICT", "1")
    with pytest.raises(pytest.fail.Exception, match="no Go"):
        need("no Go")


def test_a_server_that_cannot_start_skips_too(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def server() -> Iterator[None]:
        raise Missing("no Go")
        yield

    monkeypatch.delenv("STRICT", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Go"), started(server()):
        raise AssertionError("it runs")
