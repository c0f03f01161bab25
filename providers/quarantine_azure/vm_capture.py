"""Keeps what Azure knows about a virtual machine: before it is changed or stopped."""

import json
from collections.abc import Iterator
from typing import Any, ClassVar

from quarantine.action import Artifact, Capture
from quarantine.model import Resource
from quarantine_azure.cloud import AzureCloud
from quarantine_azure.virtual_machine import MACHINE, NIC, get_machine, get_nics


class VmCapture(Capture[AzureCloud]):
    """The machine, what it is doing now, and its interfaces with their addresses. Not its memory and not its disks."""

    name: ClassVar[str] = "azure:vm-capture"
    resource: ClassVar[str] = "azure:vm"

    def permissions(self) -> tuple[str, ...]:
        return (f"{MACHINE}/read", f"{MACHINE}/instanceView/read", f"{NIC}/read")

    def collect(self, cloud: AzureCloud, resource: Resource) -> Iterator[Artifact]:
        vm, call = get_machine(cloud, resource), f"get {MACHINE}/instanceView"
        yield _artifact("machine.json", vm)
        view = cloud.read(f"{MACHINE}/instanceView/read", call, id=vm["id"], below="/instanceView")
        yield _artifact("instance-view.json", view)
        yield _artifact("interfaces.json", get_nics(cloud, vm, None))


def _artifact(name: str, answer: Any) -> Artifact:
    """The same answer always gives the same bytes."""
    text = json.dumps(answer, sort_keys=True, indent=2, ensure_ascii=False)
    return Artifact(name=name, media_type="application/json", content=f"{text}\n".encode())
