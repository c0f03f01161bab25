"""Takes what a machine is configured with, and its memory."""

from collections.abc import Iterator
from typing import ClassVar

from quarantine.action import Artifact, Capture
from quarantine.model import Resource, canonical
from quarantine.testing.fake.cloud import FakeCloud


class MachineCapture(Capture[FakeCloud]):
    name: ClassVar[str] = "fake:machine-capture"
    resource: ClassVar[str] = "fake:machine"

    def permissions(self) -> tuple[str, ...]:
        return ("machine.get", "machine.read_memory")

    def collect(self, cloud: FakeCloud, resource: Resource) -> Iterator[Artifact]:
        machine = cloud.read("machine.get", "machine.get", id=resource.id)
        yield Artifact("machine.json", "application/json", canonical(machine.model_dump(mode="json")))
        memory = cloud.read("machine.read_memory", "machine.read_memory", id=resource.id)
        yield Artifact("memory", "application/octet-stream", memory)
