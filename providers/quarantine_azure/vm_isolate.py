"""Cuts a virtual machine off with a network security group of its own on every interface, and leaves it running."""

from datetime import timedelta
from typing import Any, ClassVar

from pydantic import Field

from quarantine.action import Absence, Action, Caveat, Refusal, State
from quarantine.model import Resource
from quarantine_azure import limits
from quarantine_azure.cloud import OPERATION_READ, RESULT_READ, AzureCloud
from quarantine_azure.isolation import OURS, Group, VmIsolation, group_name, rules, seen, steps
from quarantine_azure.locks import LOCK
from quarantine_azure.network_interface import JOINS
from quarantine_azure.quarantine_group import delete_group, must_rest, put_group, put_nic
from quarantine_azure.virtual_machine import GROUP, MACHINE, NIC, get_group, get_locks, get_machine, get_nics


class VmIsolate(Action[AzureCloud, VmIsolation]):
    """One interface after the other: they share the group, and what is in use by another operation is answered 429.

    A change of an interface takes 10 to 30 seconds (a field report); the two durations are ours.
    """

    name: ClassVar[str] = "azure:vm-isolate"
    resource: ClassVar[str] = "azure:vm"
    state: ClassVar[type[State]] = VmIsolation
    settles_within: ClassVar[timedelta] = timedelta(minutes=2)
    appears_within: ClassVar[timedelta | None] = timedelta(seconds=15)
    consistent_within: ClassVar[timedelta] = timedelta(seconds=5)

    deny_imds: bool = Field(default=False, description="Forbid the metadata service; it hurts agent and extensions.")
    deny_dns: bool = Field(default=False, description="Forbid name resolution by the platform.")

    def permissions(self) -> tuple[str, ...]:
        network = (f"{NIC}/read", f"{NIC}/write", f"{GROUP}/read", f"{GROUP}/write", f"{GROUP}/delete")
        return (f"{MACHINE}/read", f"{LOCK}/read", *network, *JOINS, OPERATION_READ, RESULT_READ)

    def observe(self, cloud: AzureCloud, resource: Resource) -> VmIsolation:
        vm = get_machine(cloud, resource)
        name = group_name(vm["properties"]["vmId"])
        group = get_group(cloud, resource, name)
        nics = get_nics(cloud, vm, group)
        state = seen(vm, group, nics, cloud.installation, self._rules())
        if OURS in state.nics.values():
            return state  # locks are for the plan; from here on they would only cost a call each time
        return state.model_copy(update=get_locks(cloud, resource, state.nics, name))

    def contained(self, before: VmIsolation) -> VmIsolation:
        nics = dict.fromkeys(before.nics, OURS)
        return before.model_copy(update={"nics": nics, "group": Group.QUARANTINE, "flush": True, "failed": ()})

    def apply(self, cloud: AzureCloud, resource: Resource, now: VmIsolation, target: Any) -> None:
        """The group stands before the first interface gets it, flushes after the last, and goes after all."""
        if isinstance(target, Absence):
            raise TypeError("isolating a machine never removes it")
        must_rest(now)
        due = steps(now, target)
        if due.prepare:
            put_group(cloud, resource, now, self._rules(), flush=False)
        for nic, group in due.nics.items():
            put_nic(cloud, resource, now, nic, group)
        if due.flush:
            put_group(cloud, resource, now, self._rules(), flush=True)
        if due.delete:
            delete_group(cloud, resource, now)

    def refusal(self, before: VmIsolation) -> Refusal | None:
        return limits.refusal(before)

    def caveats(self, before: VmIsolation) -> tuple[Caveat, ...]:
        return limits.caveats(before, self.deny_imds, self.deny_dns)

    def _rules(self) -> list[dict[str, Any]]:
        return rules(self.deny_imds, self.deny_dns)
