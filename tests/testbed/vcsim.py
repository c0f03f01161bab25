"""A vCenter on a loopback port: govmomi's simulator, made strict by a main of ours. See vcsim/main.go.

`python -m tests.testbed.vcsim build` builds the binary, so that no test has to wait for it.
"""

import hashlib
import json
import ssl
import sys
import tempfile
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from tests.testbed.certificates import write_server_certificate
from tests.testbed.gobinary import GoBinary
from tests.testbed.missing import Missing
from tests.testbed.poll import until
from tests.testbed.process import Process, free_port

BINARY = GoBinary(source=Path(__file__).with_name("vcsim"), title="vcsim", flags=("-ldflags", "-s -w"))

USER = "quarantine@vsphere.local"
PASSWORD = "correct horse"
VERSION = "vim.version.version11"

Flags = tuple[bool, bool, bool]
"""connected, startConnected, allowGuestControl"""
EVERY: Flags = (True, True, True)
NONE: Flags = (False, False, False)


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

    def __exit__(self, *_: object) -> None:
        for service in self._open.values():
            service._stub.DropConnections()
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
            service = _vim().ServiceInstance("ServiceInstance", stub)
            service.RetrieveContent().sessionManager.Login(userName=user, password=PASSWORD)
            self._open[user] = service
        return self._open[user]

    def sessions(self, user: str = USER) -> list[str]:
        """The keys of the sessions that a user has open."""
        manager = self.client().content.sessionManager
        return [session.key for session in manager.sessionList if session.userName == user]

    def end_sessions(self, user: str = USER) -> None:
        """As when they have been idle for too long."""
        if keys := self.sessions(user):
            self.client().content.sessionManager.TerminateSession(sessionId=keys)

    def post_event(self, machine: "Machine", event: str) -> None:
        """`failure` turns the alarm "vcsim VM Alarm" of the machine yellow, `fatal` red; `success` clears it."""
        vim = _vim()
        kinds = {"eventTypeId": f"vcsim.vm.{event}", "objectType": vim.VirtualMachine, "objectId": machine.moid}
        posted = vim.event.EventEx(createdTime=datetime.now(UTC), key=1, chainId=1, userName="sensor", **kinds)
        self.client().content.eventManager.PostEvent(eventToPost=posted)

    def find(self, name: str) -> Any:
        """The virtual machine of that name, as a pyVmomi object."""
        content = self.client().content
        view = content.viewManager.CreateContainerView(content.rootFolder, [_vim().VirtualMachine], True)
        try:
            (found,) = [machine for machine in view.view if machine.name == name]
            return found
        finally:
            view.Destroy()

    def standard_network(self, datacenter: str) -> Any:
        """The backing of an adapter on its network "VM Network"."""
        (network,) = [
            each for each in self.find(f"{datacenter}_H0_VM0").runtime.host.network if each.name == "VM Network"
        ]
        return _vim().vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName=network.name, network=network)

    def machine(self, *extra: Flags, name: str | None = None, datacenter: str = "DC0", on: bool = True) -> "Machine":
        """A new one, with one adapter that is connected in every way, and more of these."""
        model, vim = self.find(f"{datacenter}_H0_VM0"), _vim()
        spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(), powerOn=False, template=False)
        task = model.CloneVM_Task(folder=model.parent, name=name or f"web-{uuid.uuid4().hex[:8]}", spec=spec)
        vm = done(task)
        # The simulator's are made of the name: a machine that is made anew under it would be the same one.
        done(vm.ReconfigVM_Task(spec=vim.vm.ConfigSpec(instanceUuid=str(uuid.uuid4()))))
        machine = Machine(vm)
        if on:
            machine.power(on=True)
        machine.extra = [machine.add(flags) for flags in extra]
        return machine


class Machine:
    """A virtual machine in the hands of somebody who has a vSphere client."""

    def __init__(self, vm: Any) -> None:
        self.vm = vm
        self.moid: str = vm._moId
        self.name: str = vm.name
        self.uuid: str = vm.config.instanceUuid
        self.extra: list[int] = []
        """The device keys of its further adapters, in the order in which they were asked for."""

    def flags(self) -> dict[int, Flags]:
        """By device key: connected, startConnected, allowGuestControl."""
        states = {card.key: card.connectable for card in self.cards()}
        return {key: (one.connected, one.startConnected, one.allowGuestControl) for key, one in states.items()}

    def image(self) -> str:
        """Everything that its adapters are, in the words of the SDK; the simulator forgets their order and summary."""
        cards = sorted(self.cards(), key=lambda card: int(card.key))
        for card in cards:
            card.deviceInfo.summary = ""
        return "\n".join(map(str, cards))

    def cards(self) -> list[Any]:
        kind = _vim().vm.device.VirtualEthernetCard
        return [device for device in self.vm.config.hardware.device if isinstance(device, kind)]

    def connect(self, key: int, flags: Flags) -> None:
        (card,) = [card for card in self.cards() if card.key == key]
        card.connectable.connected, card.connectable.startConnected, card.connectable.allowGuestControl = flags
        self._change("edit", card)

    def edit(self, card: Any) -> None:
        self._change("edit", card)

    def add(self, flags: Flags, kind: str = "VirtualVmxnet3") -> int:
        """Returns the device key."""
        vim, before = _vim(), set(self.flags())
        (model, *_) = self.cards()
        state = vim.vm.device.VirtualDevice.ConnectInfo(
            connected=flags[0], startConnected=flags[1], allowGuestControl=flags[2]
        )
        self._change("add", getattr(vim.vm.device, kind)(key=-1, backing=model.backing, connectable=state))
        (key,) = set(self.flags()) - before
        return key

    def remove(self, key: int) -> None:
        (card,) = [card for card in self.cards() if card.key == key]
        self._change("remove", card)

    def annotate(self, text: str) -> None:
        """A change of the configuration that has nothing to do with adapters."""
        done(self.vm.ReconfigVM_Task(spec=_vim().vm.ConfigSpec(annotation=text)))

    def power(self, *, on: bool) -> None:
        done(self.vm.PowerOnVM_Task() if on else self.vm.PowerOffVM_Task())

    def suspend(self) -> None:
        done(self.vm.SuspendVM_Task())

    def destroy(self) -> None:
        """It must be off."""
        done(self.vm.Destroy_Task())

    def settle(self) -> None:
        """Returns when no task of the machine runs any more."""
        until(lambda: all(task.info.state in ("success", "error") for task in self.vm.recentTask))

    def _change(self, operation: str, device: Any) -> None:
        spec = _vim().vm.device.VirtualDeviceSpec
        change = spec(operation=getattr(spec.Operation, operation), device=device)
        done(self.vm.ReconfigVM_Task(spec=_vim().vm.ConfigSpec(deviceChange=[change])))


def done(task: Any) -> Any:
    """The result of a task, when it has ended; raises its fault."""
    until(lambda: task.info.state in ("success", "error"))
    if task.info.state == "error":
        raise task.info.error
    return task.info.result


def _vim() -> Any:
    return import_module("pyVmomi").vim


if __name__ == "__main__":
    if sys.argv[1:] != ["build"]:
        sys.exit("usage: python -m tests.testbed.vcsim build")
    try:
        sys.stdout.write(f"{BINARY.build()}\n")
    except Missing as missing:
        sys.exit(str(missing))
