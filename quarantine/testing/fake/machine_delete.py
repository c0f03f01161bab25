"""Deletes a machine."""

from typing import ClassVar

from quarantine.action import GONE, Absence, OneWay, State
from quarantine.errors import Gone
from quarantine.model import Resource
from quarantine.testing.fake.cloud import FakeCloud


class MachinePresence(State):
    uid: str


class MachineDelete(OneWay[FakeCloud, MachinePresence]):
    """Cannot be undone; its target is that the machine is gone."""

    name: ClassVar[str] = "fake:machine-delete"
    resource: ClassVar[str] = "fake:machine"
    state: ClassVar[type[State]] = MachinePresence

    def permissions(self) -> tuple[str, ...]:
        return ("machine.get", "machine.delete")

    def observe(self, cloud: FakeCloud, resource: Resource) -> MachinePresence:
        return MachinePresence(uid=cloud.machine(resource).uid)

    def contained(self, before: MachinePresence) -> Absence:
        return GONE

    def apply(
        self, cloud: FakeCloud, resource: Resource, now: MachinePresence, target: MachinePresence | Absence
    ) -> None:
        try:
            cloud.change("machine.delete", "machine.delete", id=resource.id, uid=resource.uid)
        except Gone:
            return  # already gone is what was wanted
