"""A real Docker daemon, in a network, mount and process namespace of its own: the machine's bridges, firewall and own
Docker are left alone, and all of it dies with the test. There are no registries: the one image has `box` in it alone.
"""

import io
import os
import select
import shutil
import signal
import socket
import ssl
import tarfile
import tempfile
import threading
import uuid
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

from tests.testbed.gobinary import GoBinary
from tests.testbed.missing import Missing
from tests.testbed.poll import until
from tests.testbed.process import Process

IMAGE = "box:1"
BOX = GoBinary(
    source=Path(__file__).with_name("box"), title="containers for a real dockerd", flags=("-ldflags", "-s -w")
)
PROGRAMS = ("dockerd", "containerd", "iptables", "unshare")

# The loop starts the daemon again when a test has stopped it; its namespaces stay.
_INSIDE = 'while :; do dockerd "$@"; done'


class Dockerd:
    """Runs inside `with`. What the tests do here goes around our code. Missing if the machine cannot run it."""

    def __init__(self, *flags: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="quarantine-dockerd-", ignore_cleanup_errors=True)
        self._home = Path(self._folder.name)
        self._flags = flags
        self._process: Process | None = None
        self._client: Any = None
        self.socket = self._home / "docker.sock"
        self.url = f"unix://{self.socket}"

    def __enter__(self) -> Self:
        if reason := self.missing():
            raise Missing(reason)
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def missing(self) -> str | None:
        lacks = [name for name in PROGRAMS if not shutil.which(name)]
        if lacks:
            return f"a real dockerd: {', '.join(lacks)} not installed: make testbed"
        return BOX.missing() if os.geteuid() == 0 else "a real dockerd needs root"

    @property
    def client(self) -> Any:
        """The SDK's low-level client, as an administrator of the host uses it."""
        if self._client is None:
            from docker import APIClient

            self._client = APIClient(base_url=self.url, version="auto", timeout=30)
        return self._client

    def close(self) -> None:
        if self._process is not None:
            with suppress(Exception):  # their control groups are the machine's: leave none behind
                for container in self.client.containers(all=True):
                    self.client.remove_container(container["Id"], force=True)
            self._process.stop(signal.SIGKILL)
        if self._client is not None:
            self._client.close()
        self._folder.cleanup()

    def restart(self) -> None:
        """Stops the daemon as an init system does, and waits for the next one."""
        before = self._daemon()
        os.kill(before, signal.SIGTERM)
        until(lambda: not Path(f"/proc/{before}").exists(), seconds=60)
        until(self._answers, seconds=60)

    def _start(self) -> None:
        home = self._home
        self._process = Process(
            [
                *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
                *("sh", "-c", _INSIDE, "inside"),
                *(f"--data-root={home}/data", f"--exec-root={home}/exec", f"--pidfile={home}/pid"),
                *(f"--host={self.url}", *self._flags),
            ],
            home / "dockerd.log",
        )
        self._process.wait_ready(self._answers, seconds=60)
        repository, tag = IMAGE.split(":")
        self.client.import_image_from_data(_image(BOX.build()), repository=repository, tag=tag)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as door:
            try:
                door.connect(str(self.socket))
                door.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b" 200 OK" in door.recv(64)
            except OSError:
                return False

    def _daemon(self) -> int:
        assert self._process is not None
        below = [self._process.pid]
        while below:
            pid = below.pop()
            if Path(f"/proc/{pid}/comm").read_text().strip() == "dockerd":
                return pid
            below += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        raise AssertionError("no dockerd is running")

    # -- what a host has on it -----------------------------------------------------------------------------------

    def network(self, name: str, *subnets: str, **settings: Any) -> str:
        """Its id. With subnets the network takes wishes for addresses."""
        body = {
            "Name": name,
            "Driver": "bridge",
            "EnableIPv6": any(":" in subnet for subnet in subnets),
            "IPAM": {"Config": [{"Subnet": subnet} for subnet in subnets]},
            **settings,
        }
        return str(self.post("/networks/create", body)["Id"])

    def run(self, name: str, mode: str = "bridge", **settings: Any) -> str:
        """Starts a container, with settings as the API has them; `endpoint` is that of its first network."""
        made = self.create(name, mode, **settings)
        self.post(f"/containers/{made}/start")
        return made

    def create(self, name: str, mode: str = "bridge", **settings: Any) -> str:
        """As `run`, without the start."""
        endpoint, host = settings.pop("endpoint", {}), settings.pop("host", {})
        body = {
            "Image": IMAGE,
            "Cmd": ["/box", "serve", "7"],
            "StopSignal": "SIGKILL",
            "HostConfig": {"NetworkMode": mode, **host},
            "NetworkingConfig": {"EndpointsConfig": {mode: endpoint} if endpoint else {}},
            **settings,
        }
        return str(self.post("/containers/create", body, name=name)["Id"])

    def connect(self, network: str, container: str, **endpoint: Any) -> None:
        self.post(f"/networks/{network}/connect", {"Container": container, "EndpointConfig": endpoint})

    def disconnect(self, network: str, container: str) -> None:
        self.post(f"/networks/{network}/disconnect", {"Container": container})

    def networks(self, container: str) -> dict[str, dict[str, Any]]:
        """What the daemon says of its connections."""
        found: dict[str, dict[str, Any]] = self.client.inspect_container(container)["NetworkSettings"]["Networks"]
        return found

    def box(self, container: str, *words: str, detach: bool = False) -> tuple[int, str]:
        """Exit code and output of another `box` in the container."""
        started = self.client.exec_create(container, ["/box", *words])["Id"]
        output = self.client.exec_start(started, detach=detach)
        return (0, "") if detach else (self.client.exec_inspect(started)["ExitCode"], output.decode())

    def reaches(self, container: str, address: str) -> bool:
        """Does a TCP connection from there carry a question and its answer?"""
        code, said = self.box(container, "ask", address, "hello")
        return (code, said) == (0, "hello\n")

    def post(self, path: str, body: Mapping[str, Any] | None = None, **query: str) -> Any:
        response = self.client.post(
            f"{self.client.base_url}/v{self.client.api_version}{path}", json=body, params=query, timeout=60
        )
        assert response.status_code < 300, f"{path}: {response.status_code} {response.text}"
        return response.json() if response.content else None


def _image(box: Path) -> bytes:
    """A root with nothing else in it."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(box, "box")
    return content.getvalue()


class TcpDoor:
    """Lets clients of a TCP port in at a unix socket. With a folder of certificates, over TLS, and only those that show
    one of its authority, as `dockerd --tlsverify` does.
    """

    def __init__(self, path: Path, certificates: Path | None = None) -> None:
        self._path = path
        self._tls: ssl.SSLContext | None = None
        if certificates is not None:
            self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates / "ca.crt"))
            self._tls.load_cert_chain(certificates / "server.crt", certificates / "server.key")
            self._tls.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                outside, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._let_in, args=(outside,), daemon=True).start()

    def _let_in(self, outside: socket.socket) -> None:
        with suppress(OSError), ExitStack() as stack:
            stack.enter_context(outside)
            if self._tls is not None:
                outside = stack.enter_context(self._tls.wrap_socket(outside, server_side=True))
            inside = stack.enter_context(socket.socket(socket.AF_UNIX))
            inside.connect(str(self._path))
            while True:
                for one in select.select([outside, inside], [], [])[0]:
                    data = one.recv(65536)
                    while isinstance(one, ssl.SSLSocket) and one.pending():
                        data += one.recv(65536)
                    if not data:
                        return
                    (inside if one is outside else outside).sendall(data)


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"
