"""Disconnects every network adapter of a virtual machine, keeps the guest from connecting them, leaves it running."""

from datetime import timedelta
from typing import ClassVar

from quarantine.action import Absence, Action, Caveat, Refusal, State
from quarantine.errors import Pending
from quarantine.model import Resource
from quarantine_vmware import limits, machine
from quarantine_vmware.cloud import CONNECT, EDIT, READ, VmwareCloud
from quarantine_vmware.nics import Network, edits, loosens


class VmDisconnectNics(Action[VmwareCloud, Network]):
    """One task edits all adapters, and all of its changes are applied as one (API reference, ReconfigVM_Task).

    What a task has changed shows as soon as it has ended. How long one may take is documented nowhere: it is a matter
    of seconds, and a busy vCenter queues tasks, so the time is a guess of ours.
    """

    name: ClassVar[str] = "vmware:vm-disconnect-nics"
    resource: ClassVar[str] = "vmware:vm"
    state: ClassVar[type[State]] = Network
    settles_within: ClassVar[timedelta] = timedelta(minutes=2)
    appears_within: ClassVar[timedelta | None] = timedelta(seconds=15)
    late_within: ClassVar[timedelta] = timedelta(seconds=30)
    """A request carries no time and lives as long as its connection: our own time-out ends that, twice over."""

    def permissions(self) -> tuple[str, ...]:
        return (READ, EDIT, CONNECT)

    def observe(self, cloud: VmwareCloud, resource: Resource) -> Network:
        return machine.network(cloud, resource)

    def contained(self, before: Network) -> Network:
        return before.model_copy(update={"ways": {}})

    def apply(self, cloud: VmwareCloud, resource: Resource, now: Network, target: Network | Absence) -> None:
        if isinstance(target, Absence):
            raise TypeError("disconnecting a machine never removes it")
        adapters = edits(now, target)
        if not adapters:
            return
        if now.reconfiguring:
            raise Pending(f"{resource} is being reconfigured: task {now.reconfiguring} has to end first")
        cloud.change(
            EDIT,
            "VirtualMachine.ReconfigVM_Task",
            machine=now.machine,
            hardware=machine.hardware(cloud, now.machine),  # now: a port group that was just changed stays changed
            adapters=adapters,
            # A release overwrites nobody's change. A containment does not wait for whoever is writing.
            version=now.version or None if loosens(now, target) else None,
        )

    def refusal(self, before: Network) -> Refusal | None:
        return limits.refusal(before)

    def caveats(self, before: Network) -> tuple[Caveat, ...]:
        return limits.caveats(before)
