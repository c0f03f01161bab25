"""Closes every open port of a machine."""

from typing import ClassVar

from quarantine.action import Absence, Action, State
from quarantine.model import Resource
from quarantine.testing.fake.cloud import FakeCloud


class MachinePorts(State):
    ports: dict[str, str]


class MachineClose(Action[FakeCloud, MachinePorts]):
    """Reversible, in a single change."""

    name: ClassVar[str] = "fake:machine-close"
    resource: ClassVar[str] = "fake:machine"
    state: ClassVar[type[State]] = MachinePorts

    keep: tuple[str, ...] = ()
    """Ports that stay open."""

    def permissions(self) -> tuple[str, ...]:
        return ("machine.get", "machine.set_ports")

    def observe(self, cloud: FakeCloud, resource: Resource) -> MachinePorts:
        return MachinePorts(ports=cloud.read("machine.get", "machine.get", id=resource.id).ports)

    def contained(self, before: MachinePorts) -> MachinePorts:
        return MachinePorts(ports={port: source for port, source in before.ports.items() if port in self.keep})

    def apply(self, cloud: FakeCloud, resource: Resource, now: MachinePorts, target: MachinePorts | Absence) -> None:
        if isinstance(target, Absence):
            raise TypeError("closing ports never removes a machine")
        if now != target:
            cloud.change("machine.set_ports", "machine.set_ports", id=resource.id, ports=target.ports)
