import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from requests import exceptions
from urllib3.exceptions import ProtocolError

from quarantine.action import Mark
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
from quarantine_docker import cloud as translation
from quarantine_docker.cloud import INFO, INSPECT, LIST, NETWORK, READ_TRIES, READS, VERSION, DockerCloud
from quarantine_docker.container_isolate import CONNECT, DISCONNECT
from quarantine_docker.session import Host, Tls, open_client
from tests.docker.conftest import Stage, connection, leaking
from tests.testbed.call import Call
from tests.testbed.certificates import write_server_certificate
from tests.testbed.dockerd import Dockerd, TcpDoor
from tests.testbed.process import free_port
from tests.testbed.proxy import FaultProxy

MARK = Mark(installation="home", case="case-7", step=0, key="key-7")
JSON = {"Content-Type": "application/json"}


def changing(cloud: DockerCloud, gate: CountingGate | None = None) -> DockerCloud:
    return cloud.through(gate or CountingGate(), MARK)


def disconnect(cloud: DockerCloud, network: str = "front", container: str = "web") -> str:
    return changing(cloud).change(DISCONNECT, DISCONNECT, id=network, body={"Container": container}).id


def asked(call: Call) -> bool:
    """Everything but the question which API it is."""
    return call.path != "/_ping"


# --- what the daemon says ------------------------------------------------------------------------------------------


def test_a_container_that_is_not_there_is_gone(cloud: DockerCloud) -> None:
    with pytest.raises(Gone, match="No such container"):
        cloud.read(INSPECT, INSPECT, id="no-such-container")


def test_a_network_that_is_not_there_is_a_conflict_and_not_the_container_gone(stage: Stage, cloud: DockerCloud) -> None:
    web = stage.container("web", "none")
    with pytest.raises(Conflict, match="no-such-network"):
        cloud.read(NETWORK, NETWORK, id="no-such-network")
    for call in (CONNECT, DISCONNECT):
        with pytest.raises(Conflict, match="no-such-network"):
            changing(cloud).change(call, call, id="no-such-network", body={"Container": web})


def test_to_connect_twice_is_denied_and_to_disconnect_twice_unknown(stage: Stage, cloud: DockerCloud) -> None:
    """As Docker 20.10, 26 and 29 answer it: 403, and 500."""
    front = stage.network("front")
    web = stage.container("web", front)
    with pytest.raises(Denied, match="already exists"):
        changing(cloud).change(CONNECT, CONNECT, id=front, body={"Container": web})
    disconnect(cloud, front, web)
    with pytest.raises(Unknown, match="is not connected"):
        disconnect(cloud, front, web)


def test_a_wish_that_a_network_does_not_take_is_unsupported(stage: Stage, cloud: DockerCloud) -> None:
    web = stage.container("web", "none")
    wish = {"Container": web, "EndpointConfig": {"Aliases": ["www"]}}
    with pytest.raises(Unsupported, match="alias"):
        changing(cloud).change(CONNECT, CONNECT, id="bridge", body=wish)


def test_a_receipt_says_what_and_when_as_docker_events_do(stage: Stage, cloud: DockerCloud) -> None:
    front = stage.network("front")
    web = stage.container("web", front)
    uid, network = stage.inspect(web)["Id"], stage.daemon.networks(web)[front]["NetworkID"]
    receipt = changing(cloud).change(DISCONNECT, DISCONNECT, id=network, body={"Container": uid}).id
    assert receipt.startswith(f"network disconnect: {network[:12]}, container {uid[:12]}, ")
    assert receipt.endswith("GMT")


@pytest.mark.parametrize(
    ("status", "on_read", "on_change"),
    [
        (302, Unsupported, Unsupported),
        (400, Unsupported, Unsupported),
        (401, Denied, Denied),
        (403, Denied, Denied),
        (409, Conflict, Conflict),
        (429, Throttled, Throttled),
        (500, Transient, Unknown),
        (503, Transient, Unknown),
    ],
)
def test_a_status_means_this_on_a_read_and_that_on_a_change(
    status: int,
    on_read: type[ProviderError],
    on_change: type[ProviderError],
    broken: FaultProxy,
    through: DockerCloud,
) -> None:
    broken.answer(asked, status, {**JSON, "Location": "/elsewhere"}, '{"message": "so it is"}', times=2)
    with pytest.raises(ProviderError, match="so it is") as on_reading:
        through.read(LIST, LIST)
    with pytest.raises(ProviderError, match="so it is") as on_changing:
        disconnect(through)
    assert type(on_reading.value) is on_read
    assert type(on_changing.value) is on_change
    assert len(broken.recorded(asked)) == 2


@pytest.mark.parametrize("body", ["<html>403</html>", "[]", '{"error": 1}'])
def test_a_refusal_that_a_proxy_worded_is_told_by_its_status(
    body: str, broken: FaultProxy, through: DockerCloud
) -> None:
    broken.answer(asked, 403, {}, body)
    with pytest.raises(Denied, match="403"):
        through.read(LIST, LIST)


def test_what_is_no_docker_daemon_is_not_taken_for_one(broken: FaultProxy, through: DockerCloud) -> None:
    broken.answer(lambda call: True, 200, {}, "OK")
    with pytest.raises(Transient, match="no Docker daemon"):
        through.read(LIST, LIST)
    broken.clear()
    broken.answer(asked, 200, {}, "<html>")
    with pytest.raises(Transient, match="no Docker daemon"):
        through.read(LIST, LIST)


# --- no answer -----------------------------------------------------------------------------------------------------


def test_a_change_whose_answer_is_lost_is_unknown_and_sent_once(
    stage: Stage, broken: FaultProxy, through: DockerCloud
) -> None:
    front = stage.network("front")
    web = stage.container("web", front)
    broken.lose_answer(lambda call: call.path.endswith("/disconnect"))
    with pytest.raises(Unknown):
        disconnect(through, front, web)
    assert len(broken.recorded(lambda call: call.path.endswith("/disconnect"))) == 1
    assert stage.daemon.networks(web) == {}


def test_a_change_that_is_not_answered_in_time_is_unknown(
    broken: FaultProxy, through: DockerCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    through.read(INFO, INFO)
    monkeypatch.setattr(translation, "ANSWER_SECONDS", 0.2)
    held = broken.hold(asked)
    with pytest.raises(Unknown, match=r"[Tt]imed out"):
        disconnect(through)
    held.abandon()
    held = broken.hold(asked)
    with pytest.raises(Transient, match=r"[Tt]imed out"):
        through.read(LIST, LIST)
    held.abandon()


def test_a_read_survives_connections_that_break(broken: FaultProxy, through: DockerCloud) -> None:
    broken.drop(asked, times=READ_TRIES - 1)
    assert through.read(INFO, INFO)["ID"]
    broken.drop(asked, times=READ_TRIES)
    with pytest.raises(Transient):
        through.read(INFO, INFO)


def test_a_connection_outlives_the_daemon(stage: Stage, cloud: DockerCloud) -> None:
    before = cloud.read(INFO, INFO)["ID"]
    stage.daemon.restart()
    assert cloud.read(INFO, INFO)["ID"] == before


@pytest.mark.parametrize(
    "url", ["unix:///tmp/no-such.sock", "tcp://127.0.0.1:{port}", "tcp://no-such-host.invalid:2375"]
)
def test_a_daemon_that_is_not_there_is_unreachable(url: str) -> None:
    cloud = connection(url.format(port=free_port()))
    with leaking():
        with pytest.raises(Unreachable, match="Docker host 'web-1'") as on_reading:
            cloud.read(INFO, INFO)
        with pytest.raises(Unreachable, match="Docker host 'web-1'") as on_changing:
            disconnect(cloud)
        del on_reading, on_changing


@pytest.fixture
def secure(dockerd: Dockerd, tmp_path: Path) -> Iterator[str]:
    """The URL of the daemon behind TLS; `tmp_path` has certificates that it takes."""
    write_server_certificate(tmp_path)
    with TcpDoor(dockerd.socket, tmp_path) as door:
        yield door.url.replace("http:", "tcp:")


def with_certificates(url: str, folder: Path) -> DockerCloud:
    tls = Tls(ca=folder / "ca.crt", cert=folder / "server.crt", key=folder / "server.key")
    return DockerCloud("web-1", open_client("web-1", Host(url=url, tls=tls)))


def test_over_tls_both_sides_show_certificates(
    dockerd: Dockerd, secure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (other := tmp_path / "machine").mkdir()
    write_server_certificate(other)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other / "ca.crt"))  # what the machine trusts for other things
    assert with_certificates(secure, tmp_path).read(INFO, INFO)["ID"] == dockerd.client.info()["ID"]


def test_a_daemon_of_another_authority_is_told_nothing(secure: str, tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    write_server_certificate(tmp_path / "others")
    cloud = with_certificates(secure, tmp_path / "others")
    cloud._spoken["api"] = (1, 41)
    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        disconnect(cloud)
    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        cloud.read(INFO, INFO)


def test_without_our_certificate_the_daemon_does_not_answer(secure: str) -> None:
    with pytest.raises(ProviderError) as told:
        connection(secure).read(INFO, INFO)
    assert type(told.value) in (Transient, Unreachable)


class Client:
    """What the SDK does where this machine cannot: our tests are root."""

    base_url = "http+docker://localhost"
    verify = True

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.sent = 0

    def request(self, *words: object, **settings: object) -> None:
        self.sent += 1
        raise self.error


@pytest.mark.parametrize(
    ("cause", "on_read", "on_change"),
    [
        (PermissionError(13, "Permission denied"), Denied, Denied),
        (FileNotFoundError(2, "No such file or directory"), Unreachable, Unreachable),
        (ConnectionRefusedError(111, "Connection refused"), Unreachable, Unreachable),
        (ConnectionResetError(104, "Connection reset by peer"), Transient, Unknown),
        (BrokenPipeError(32, "Broken pipe"), Transient, Unknown),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), Unreachable, Unknown),
    ],
)
def test_an_error_of_the_socket_is_told_from_one_after_the_request_left(
    cause: OSError, on_read: type[ProviderError], on_change: type[ProviderError]
) -> None:
    broken_off = exceptions.SSLError if isinstance(cause, ssl.SSLError) else exceptions.ConnectionError
    client = Client(broken_off(ProtocolError("Connection aborted.", cause)))
    with pytest.raises(on_read) as told:
        DockerCloud("web-1", client).read(INFO, INFO)
    assert type(told.value) is on_read
    assert client.sent == (READ_TRIES if on_read is Transient else 1)
    cloud, client.sent = DockerCloud("web-1", client), 0
    cloud._spoken["api"] = (1, 41)
    with pytest.raises(on_change) as told:
        disconnect(cloud)
    assert type(told.value) is on_change and client.sent == 1


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["..", "a/../../images/json", "web?force=1", "web%2F", "", "-web", "web\n", "x" * 256])
def test_a_name_never_becomes_another_call(name: str, broken: FaultProxy, through: DockerCloud) -> None:
    with pytest.raises(Gone, match="nothing in Docker can have the name"):
        through.read(INSPECT, INSPECT, id=name)
    assert broken.recorded() == []


# --- what changes something ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [INSPECT, LIST, NETWORK, INFO, VERSION])
def test_these_only_read(call: str, cloud: DockerCloud) -> None:
    assert call in READS and cloud.reads(call)


@pytest.mark.parametrize("call", [CONNECT, DISCONNECT, "GET /containers/{id}/attach/ws", "DELETE /containers/{id}"])
def test_everything_else_is_a_change(call: str, cloud: DockerCloud) -> None:
    with pytest.raises(PermissionError):
        cloud.read(call, call, id="web")


def test_without_a_gate_nothing_is_changed(stage: Stage, cloud: DockerCloud) -> None:
    front = stage.network("front")
    web = stage.container("web", front)
    with pytest.raises(PermissionError, match="outside of the engine"):
        cloud.change(DISCONNECT, DISCONNECT, id=front, body={"Container": web})
    assert front in stage.daemon.networks(web)


def test_every_call_says_which_api_and_whose_case_it_is(stage: Stage, broken: FaultProxy, through: DockerCloud) -> None:
    front = stage.network("front")
    disconnect(through, front, stage.container("web", front))
    ping, change = broken.recorded()
    assert ping.path == "/_ping"
    assert change.path.startswith("/v{}.{}/networks/".format(*through.api))
    assert change.headers["user-agent"] == "cloud-quarantine case/case-7"
