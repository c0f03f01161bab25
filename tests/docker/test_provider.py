import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from quarantine.action import Check, Verdict
from quarantine.errors import Conflict, Gone, Unreachable, Unsupported
from quarantine.model import Resource
from quarantine_docker import Docker
from quarantine_docker.cloud import INSPECT
from quarantine_docker.provider import DockerSettings
from quarantine_docker.session import Host, Tls
from tests.docker.conftest import HOST, Stage, leaking
from tests.testbed.dockerd import Dockerd
from tests.testbed.proxy import FaultProxy

Made = Callable[..., Docker]


@pytest.fixture
def made(dockerd: Dockerd) -> Made:
    def make(url: str = dockerd.url, pin: str | None = None) -> Docker:
        return Docker(DockerSettings(hosts={HOST: Host(url=url, id=pin)}))

    return make


@pytest.fixture
def pin(dockerd: Dockerd) -> str:
    return str(dockerd.client.info()["ID"])


def test_importing_it_imports_no_sdk() -> None:
    code = "import quarantine_docker, sys; print(sorted({'docker', 'urllib3', 'requests'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_its_scopes_are_its_hosts_and_each_is_connected_to_once(made: Made) -> None:
    provider = made()
    assert provider.scopes() == (HOST,)
    assert provider.connect(HOST) is provider.connect(HOST)


def test_a_host_that_is_not_configured_is_unreachable(made: Made) -> None:
    with pytest.raises(Unreachable, match="'web-9' is not configured"):
        made().connect("web-9")


def test_certificates_that_are_not_there_are_named(tmp_path: Path) -> None:
    tls = Tls(ca=tmp_path / "ca.pem", cert=tmp_path / "cert.pem", key=tmp_path / "key.pem")
    provider = Docker(DockerSettings(hosts={HOST: Host(url="tcp://127.0.0.1:2376", tls=tls)}))
    with pytest.raises(Unreachable, match="Docker host 'web-1'"):
        provider.connect(HOST)


# --- who it is -----------------------------------------------------------------------------------------------------


def test_the_daemon_with_the_pinned_id_is_the_account(made: Made, pin: str) -> None:
    for provider in (made(), made(pin=pin)):
        assert provider.identity(provider.connect(HOST)).account == HOST


def test_another_daemon_is_another_account(made: Made, pin: str) -> None:
    provider = made(pin="AAAA:BBBB")
    assert provider.identity(provider.connect(HOST)).account == f"unknown Docker host {pin}"


def test_the_principal_is_whoever_reaches_the_socket(made: Made, dockerd: Dockerd) -> None:
    provider = made()
    assert provider.identity(provider.connect(HOST)).principal == f"whoever reaches {dockerd.url}"


# --- what a finding named ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["name", "short id", "id"])
def test_a_container_is_resolved_to_its_name_its_whole_id_and_its_labels(given: str, made: Made, stage: Stage) -> None:
    web = stage.container("web", "none", Labels={"team": "shop"})
    uid = stage.inspect(web)["Id"]
    provider = made()
    named = {"name": web, "short id": uid[:12], "id": uid}[given]
    found, labels = provider.resolve(provider.connect(HOST), Resource(kind="docker:container", id=named, scope=HOST))
    assert (found.id, found.uid, labels) == (web, uid, {"team": "shop"})


def test_a_container_that_is_called_like_anothers_id_is_not_taken_for_it(made: Made, stage: Stage) -> None:
    victim = stage.inspect(stage.container("victim", "none"))["Id"][:12]
    stage.containers.append(victim)
    stage.daemon.run(victim, "none")
    provider = made()
    with pytest.raises(Conflict, match="like an id"):
        provider.resolve(provider.connect(HOST), Resource(kind="docker:container", id=victim, scope=HOST))


def test_a_container_that_is_not_there_is_gone(made: Made) -> None:
    provider = made()
    with pytest.raises(Gone):
        provider.resolve(provider.connect(HOST), Resource(kind="docker:container", id="no-such", scope=HOST))


def test_nothing_is_known_about_images(made: Made) -> None:
    provider = made()
    with pytest.raises(Unsupported, match="docker:image"):
        provider.resolve(provider.connect(HOST), Resource(kind="docker:image", id="box", scope=HOST))


# --- doctor --------------------------------------------------------------------------------------------------------


def by_subject(provider: Docker) -> dict[str, Check]:
    return {check.subject.removeprefix(f"docker {HOST}").removeprefix(": "): check for check in provider.doctor()}


def test_the_doctor_finds_everything_in_order(made: Made, pin: str, dockerd: Dockerd) -> None:
    checks = by_subject(made(pin=pin))
    assert {check.verdict for check in checks.values()} == {Verdict.OK}
    version = dockerd.client.version()
    assert checks[""].message.startswith(f"Docker {version['Version']}, API {version['ApiVersion']}, ")


def test_the_doctor_gives_the_id_to_pin(made: Made, pin: str) -> None:
    check = by_subject(made())["pin"]
    assert (check.verdict, check.fix) == (Verdict.WARN, f"set its id: {pin}")


def test_the_doctor_says_when_it_is_another_daemon(made: Made) -> None:
    assert by_subject(made(pin="AAAA:BBBB"))["pin"].verdict is Verdict.FAIL


def info(dockerd: Dockerd, **changes: object) -> str:
    return json.dumps({**dockerd.client.info(), **changes})


def test_the_doctor_knows_rootless_daemons_and_authorization_plugins(
    made: Made, dockerd: Dockerd, broken: FaultProxy
) -> None:
    plugins = {"Authorization": ["opa-docker-authz"]}
    body = info(dockerd, SecurityOptions=["name=seccomp", "name=rootless"], Plugins=plugins)
    broken.answer(lambda call: call.path.endswith("/info"), 200, {}, body)
    checks = by_subject(made(url=broken.url.replace("http:", "tcp:")))
    assert "rootless" in checks[""].message
    assert checks["rights"].verdict is Verdict.WARN
    assert "opa-docker-authz" in checks["rights"].message
    assert INSPECT in checks["rights"].fix and "POST /networks/{id}/disconnect" in checks["rights"].fix


def test_the_doctor_warns_of_a_daemon_that_is_older_than_what_was_tried(made: Made, broken: FaultProxy) -> None:
    broken.answer(lambda call: call.path == "/_ping", 200, {"Api-Version": "1.40"}, "OK")
    checks = by_subject(made(url=broken.url.replace("http:", "tcp:")))
    assert checks["version"].verdict is Verdict.WARN


def test_the_doctor_says_what_a_proxy_before_the_socket_does_not_let_through(made: Made, broken: FaultProxy) -> None:
    broken.answer(lambda call: call.path.endswith("/containers/json"), 403, {}, "<html>")
    failed = [
        check for check in made(url=broken.url.replace("http:", "tcp:")).doctor() if check.verdict is Verdict.FAIL
    ]
    assert "/containers/json" in failed[0].message


@pytest.mark.parametrize("body", ["<html>", "{}", "[]", '"text"'])
def test_the_doctor_survives_what_is_no_docker_daemon(body: str, made: Made, broken: FaultProxy) -> None:
    broken.answer(lambda call: call.path != "/_ping", 200, {}, body, times=99)
    (check,) = made(url=broken.url.replace("http:", "tcp:")).doctor()
    assert check.verdict is Verdict.FAIL


def test_the_doctor_survives_a_host_that_is_not_there() -> None:
    hosts = {"down": Host(url="tcp://127.0.0.1:9"), "none": Host(url="unix:///tmp/no-such.sock")}
    with leaking():
        checks = list(Docker(DockerSettings(hosts=hosts)).doctor())
    assert [check.verdict for check in checks] == [Verdict.FAIL, Verdict.FAIL]
    assert all(check.fix for check in checks)


def test_the_doctor_says_that_nothing_is_configured() -> None:
    (check,) = Docker(DockerSettings()).doctor()
    assert check.verdict is Verdict.WARN


def test_tcp_without_tls_over_a_network_is_told() -> None:
    assert Host(url="tcp://10.0.0.5:2375").exposed
    assert not Host(url="tcp://127.0.0.1:2375").exposed
    assert not Host().exposed
    tls = Tls(ca=Path("ca"), cert=Path("cert"), key=Path("key"))
    assert not Host(url="tcp://10.0.0.5:2376", tls=tls).exposed


# --- settings ------------------------------------------------------------------------------------------------------


def test_without_a_url_it_is_this_machines_daemon() -> None:
    settings = DockerSettings.model_validate({"hosts": {"here": {}}})
    assert settings.hosts["here"].url == "unix:///var/run/docker.sock"


@pytest.mark.parametrize(
    ("host", "word"),
    [
        ({"url": "ssh://root@web-1"}, "forward the socket"),
        ({"url": "http://127.0.0.1:2375"}, "tcp://"),
        ({"url": "tcp://127.0.0.1"}, "tcp://"),
        ({"url": "tcp://127.0.0.1:port"}, "tcp://"),
        ({"url": "unix://relative.sock"}, "unix:///"),
        ({"url": ""}, "unix:///"),
        ({"tls": {"ca": "a", "cert": "b", "key": "c"}}, "`tls` is for"),
        ({"sock": "/run/docker.sock"}, "Extra inputs"),
    ],
)
def test_settings_that_mean_nothing_are_refused(host: dict[str, object], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        DockerSettings.model_validate({"hosts": {"web-1": host}})


@pytest.mark.parametrize("name", ["a/b", "", "a b", "a\n"])
def test_a_host_is_named_so_that_it_can_be_a_scope(name: str) -> None:
    with pytest.raises(ValidationError):
        DockerSettings.model_validate({"hosts": {name: {}}})
