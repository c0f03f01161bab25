import json
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from quarantine.errors import Gone
from quarantine.testing.contract import CaptureContract, Setting
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.pod_logs_capture import PodLogsCapture
from tests.kubernetes.conftest import Namespace
from tests.kubernetes.rbac import grant
from tests.testbed.certificates import write_server_certificate
from tests.testbed.controlplane import SERVICE, ControlPlane

LINE = b"2026-11-24T10:20:30.1Z GET /?q=\x00\x1b[2J 200\n"


class Kubelet(BaseHTTPRequestHandler):
    """The part of a kubelet that the API server asks for logs: /containerLogs/NAMESPACE/POD/CONTAINER."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        container = url.path.rpartition("/")[2]
        if container == "starting":
            self.send_error(400, 'container "starting" is waiting to start')
            return
        text = b"" if container == "silent" else (b"before " if query.get("previous") == "true" else b"") + LINE * 3
        text = b"".join(text.splitlines(keepends=True)[-int(query["tailLines"]) :])[: int(query["limitBytes"])]
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def node(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A node on which a kubelet answers."""
    folder: Path = tmp_path_factory.mktemp("kubelet")
    write_server_certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Kubelet)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    name = f"node-{uuid.uuid4().hex[:8]}"
    control_plane.create("/api/v1/nodes", {"metadata": {"name": name}})
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": server.server_port}},
    }
    control_plane.patch_status(f"/api/v1/nodes/{name}", status)
    yield name
    control_plane.delete(f"/api/v1/nodes/{name}")
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def pod(namespace: Namespace, node: str) -> Callable[..., Setting]:
    """A capture of a pod with these containers, as a user with exactly the declared permissions."""

    def make(cloud: KubernetesCloud, *containers: str, restarted: str = "", **fields: int) -> Setting:
        spec = [{"name": name, "image": "example.test/main:1"} for name in containers]
        resource = namespace.pod("web-1", containers=spec, nodeName=node)
        states = [
            {"name": name, "restartCount": int(name == restarted), "ready": True, "image": "", "imageID": ""}
            for name in containers
        ]
        namespace.api.patch_status(namespace.pod_path("web-1"), {"containerStatuses": states})
        return Setting(PodLogsCapture(**fields), cloud, resource)

    return make


class TestPodLogsCapture(CaptureContract):
    @pytest.fixture
    def setting(
        self, namespace: Namespace, pod: Callable[..., Setting], cloud_of: Callable[[str], KubernetesCloud]
    ) -> Setting:
        grant(namespace, SERVICE, PodLogsCapture().permissions())
        return pod(cloud_of(SERVICE), "main", "starting", restarted="main")

    @pytest.fixture
    def workload(self, namespace: Namespace) -> Callable[[], object]:
        return lambda: namespace.api.get(namespace.pod_path("web-1"))


def collect(setting: Setting) -> dict[str, bytes]:
    artifacts = setting.action.collect(setting.cloud, setting.resource)
    return {artifact.name: artifact.content for artifact in artifacts}


def test_it_takes_every_log_and_says_how_much(pod: Callable[..., Setting], cloud: KubernetesCloud) -> None:
    found = collect(pod(cloud, "main", "sidecar", "silent", restarted="main"))
    assert list(found) == ["logs/main.log", "logs/main.previous.log", "logs/sidecar.log", "logs.json"]
    assert found["logs/main.log"] == LINE * 3
    assert found["logs/main.previous.log"] == b"before " + LINE * 3
    said = json.loads(found["logs.json"])
    assert said["logs/main.log"] == f"{len(LINE) * 3} bytes"
    assert said["logs/silent.log"] == "0 bytes"


def test_init_and_ephemeral_containers_have_logs_too(namespace: Namespace, node: str, cloud: KubernetesCloud) -> None:
    first = [{"name": "first", "image": "example.test/first:1"}]
    resource = namespace.pod("web-1", initContainers=first, nodeName=node)
    debugger = {"spec": {"ephemeralContainers": [{"name": "debugger", "image": "example.test/debug:1"}]}}
    namespace.api.patch(f"{namespace.pod_path('web-1')}/ephemeralcontainers", debugger)
    found = collect(Setting(PodLogsCapture(), cloud, resource))
    assert list(found) == ["logs/first.log", "logs/main.log", "logs/debugger.log", "logs.json"]


def test_a_log_is_cut_at_the_lines_and_bytes_that_the_step_sets_and_that_is_said(
    pod: Callable[..., Setting], cloud: KubernetesCloud
) -> None:
    found = collect(pod(cloud, "main", log_lines=2, log_bytes=len(LINE) + 4))
    assert found["logs/main.log"] == LINE + LINE[:4]
    assert f"cut off at {len(LINE) + 4} bytes" in json.loads(found["logs.json"])["logs/main.log"]


def test_earlier_lines_may_be_missing_and_that_is_said(pod: Callable[..., Setting], cloud: KubernetesCloud) -> None:
    said = json.loads(collect(pod(cloud, "main", log_lines=2))["logs.json"])
    assert said["logs/main.log"].endswith("the last 2 lines: there may be earlier ones")


def test_no_log_is_begun_when_the_time_is_over(pod: Callable[..., Setting], cloud: KubernetesCloud) -> None:
    found = collect(pod(cloud, "main", "sidecar", seconds=0))
    assert list(found) == ["logs.json"]
    assert set(json.loads(found["logs.json"]).values()) == {"not taken: 0 s were over"}


def test_a_log_that_is_not_to_be_had_is_said_and_holds_nothing_up(
    pod: Callable[..., Setting], cloud: KubernetesCloud
) -> None:
    found = collect(pod(cloud, "starting", "main"))
    assert "logs/starting.log" not in found
    assert "logs/starting.log" in json.loads(found["logs.json"])
    assert found["logs/main.log"]


def test_a_node_that_does_not_answer_holds_nothing_up(namespace: Namespace, cloud: KubernetesCloud) -> None:
    found = collect(Setting(PodLogsCapture(), cloud, namespace.pod("web-1", nodeName="lost")))
    assert list(found) == ["logs.json"]


def test_another_pod_under_the_same_name_is_not_taken_for_it(
    namespace: Namespace, pod: Callable[..., Setting], cloud: KubernetesCloud
) -> None:
    setting = pod(cloud, "main")
    namespace.api.delete(namespace.pod_path("web-1"))
    namespace.pod("web-1")
    with pytest.raises(Gone):
        collect(setting)
