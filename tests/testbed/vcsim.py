"""A vCenter on a loopback port: govmomi's simulator, made strict by a main of ours. See vcsim/main.go.

`python -m tests.testbed.vcsim build` builds the binary, so that no test has to wait for it.
"""

import hashlib
import json
import ssl
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.testbed.certificates import write_server_certificate
from tests.testbed.gobinary import GoBinary
from tests.testbed.missing import Missing
from tests.testbed.process import Process, free_port

BINARY = GoBinary(source=Path(__file__).with_name("vcsim"), title="vcsim", flags=("-ldflags", "-s -w"))

USER = "quarantine@vsphere.local"
PASSWORD = "correct horse"
VERSION = "vim.version.version11"


class Vcsim:
    """Runs inside `with`. Missing if the machine cannot build it. Two datacenters, DC0 and DC1, with machines on."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="quarantine-vcsim-", ignore_cleanup_errors=True)
        self._home = Path(self._folder.name)
        self._port, self._control = free_port(), f"127.0.0.1:{free_port()}"
        self._process: Process | None = None
        self._open: dict[str, Any] = {}
        self.url = f"https://127.0.0.1:{self._port}"
        self.ca_file = str(self._home / "ca.crt")

    def __enter__(self) -> Self:
        binary = BINARY.build()
        write_server_certificate(self._home)
        command: list[str | Path] = [
            binary, "-listen", f"127.0.0.1:{self._port}", "-control", self._control, "-password", PASSWORD,
            "-cert", self._home / "server.crt", "-key", self._home / "server.key",
        ]  # fmt: skip
        self._process = Process(command, self._home / "vcsim.log")
        self._process.wait_ready(self._answers, seconds=60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.stop()
        self._folder.cleanup()

    @property
    def thumbprint(self) -> str:
        """SHA-256 of its certificate, as OpenSSL prints it."""
        body = ssl.PEM_cert_to_DER_cert((self._home / "server.crt").read_text())
        digest = hashlib.sha256(body).hexdigest().upper()
        return ":".join(digest[place : place + 2] for place in range(0, 64, 2))

    # -- what the tests set and ask ------------------------------------------------------------------------------

    def set(self, **desk: Any) -> None:
        """`privileges` (user -> all that it has), `late` (say so by a failed task), `hold` (tasks run on and on).

        What is not named is as it was at the start, and the count of calls begins anew.
        """
        self._ask(json.dumps(desk).encode())

    def changes(self, method: str = "ReconfigVM_Task") -> int:
        """How often something was asked to change since the last `set`."""
        return sum(call["method"] == method for call in self._ask())

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Every reconfiguration that starts meanwhile is a task that keeps running."""
        self.set(hold=True)
        try:
            yield
        finally:
            self.let_go()

    def let_go(self) -> None:
        """What was held comes to its end. The count of calls begins anew."""
        self.set()

    def _ask(self, body: bytes | None = None) -> list[dict[str, str]]:
        with urllib.request.urlopen(urllib.request.Request(f"http://{self._control}", body), timeout=30) as response:
            answer: list[dict[str, str]] = json.load(response)
            return answer

    def _answers(self) -> bool:
        try:
            self._ask()
            trust = ssl.create_default_context(cafile=self.ca_file)
            with urllib.request.urlopen(f"{self.url}/sdk/vimServiceVersions.xml", timeout=5, context=trust) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    # -- somebody else with a vSphere client ---------------------------------------------------------------------

    def client(self, user: str = "administrator@vsphere.local") -> Any:
        """A service instance, logged in; the same one for the same user."""
        if user not in self._open:
            trust = ssl.create_default_context(cafile=self.ca_file)
            adapter: Any = import_module("pyVmomi").SoapStubAdapter
            stub = adapter(host="127.0.0.1", port=self._port, version=VERSION, sslContext=trust)
            service = import_module("pyVmomi").vim.ServiceInstance("ServiceInstance", stub)
            service.RetrieveContent().sessionManager.Login(userName=user, password=PASSWORD)
            self._open[user] = service
        return self._open[user]

    def machine(self, name: str) -> Any:
        """The virtual machine of that name, as a pyVmomi object."""
        vim: Any = import_module("pyVmomi").vim
        content = self.client().content
        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
        try:
            (found,) = [machine for machine in view.view if machine.name == name]
            return found
        finally:
            view.Destroy()


if __name__ == "__main__":
    if sys.argv[1:] != ["build"]:
        sys.exit("usage: python -m tests.testbed.vcsim build")
    try:
        sys.stdout.write(f"{BINARY.build()}\n")
    except Missing as missing:
        sys.exit(str(missing))
