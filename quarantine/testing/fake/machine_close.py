"""Closes every open port of a machine."""

from typing import Annotated, ClassVar

from quarantine.action import Absence, Action, State, Token
from quarantine.model import Resource
from quarantine.testing.fake.cloud import FakeCloud


class MachinePorts(State):
    ports: dict[str, str]
    version: Annotated[int | None, Token] = None


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
        machine = cloud.machine(resource)
        return MachinePorts(ports=machine.ports, version=machine.version)

    def contained(self, before: MachinePorts) -> MachinePorts:
        kept = {port: source for port, source in before.ports.items() if port in self.keep}
        return before.model_copy(update={"ports": kept})

    def apply(self, cloud: FakeCloud, resource: Resource, now: MachinePorts, target: MachinePorts | Absence) -> None:
        if isinstance(target, Absence):
            raise TypeError("closing ports never removes a machine")
        if now.ports != target.ports:
            # Conditional: all ports are written at once, and one that somebody opened just now would be lost.
            what = {"id": resource.id, "uid": resource.uid, "ports": target.ports, "version": now.version}
            cloud.change("machine.set_ports", "machine.set_ports", **what)
