"""Stops a machine. What it had in memory is lost."""

from typing import ClassVar

from quarantine.action import Absence, Caveat, OneWay, State
from quarantine.model import Resource
from quarantine.testing.fake.cloud import FakeCloud


class MachinePower(State):
    power: str


class MachineStop(OneWay[FakeCloud, MachinePower]):
    """Cannot be undone, and leaves the machine there."""

    name: ClassVar[str] = "fake:machine-stop"
    resource: ClassVar[str] = "fake:machine"
    state: ClassVar[type[State]] = MachinePower

    def permissions(self) -> tuple[str, ...]:
        return ("machine.get", "machine.stop")

    def observe(self, cloud: FakeCloud, resource: Resource) -> MachinePower:
        return MachinePower(power=cloud.machine(resource).power)

    def contained(self, before: MachinePower) -> MachinePower:
        return MachinePower(power="stopped")

    def apply(self, cloud: FakeCloud, resource: Resource, now: MachinePower, target: MachinePower | Absence) -> None:
        if now != target:
            cloud.change("machine.stop", "machine.stop", id=resource.id, uid=resource.uid)

    def caveats(self, before: MachinePower) -> tuple[Caveat, ...]:
        return (Caveat(id="memory-lost", text="What the machine had in memory is lost."),)
