"""Stops a virtual machine. It can be started again, but not as it was: what it held in memory is gone."""

from datetime import timedelta
from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from quarantine.action import Caveat, OneWay, Refusal, State
from quarantine.model import Resource
from quarantine_azure import machine_power
from quarantine_azure.cloud import COMPUTE_OPERATION_READ, UNCONDITIONAL_LATE, AzureCloud
from quarantine_azure.locks import LOCK, locks_over
from quarantine_azure.machine_power import OFF, ON_THE_WAY, MachinePower
from quarantine_azure.virtual_machine import MACHINE, get_machine, id_of

_CALLS: Final = {"deallocate": "deallocate", "power-off": "powerOff"}


class VmStop(OneWay[AzureCloud, MachinePower]):
    """One way, although Azure could start it again: memory is evidence, and no start brings it back.

    A guest may take minutes to shut down; the durations are ours.
    """

    name: ClassVar[str] = "azure:vm-stop"
    resource: ClassVar[str] = "azure:vm"
    state: ClassVar[type[State]] = MachinePower
    settles_within: ClassVar[timedelta] = timedelta(minutes=10)
    appears_within: ClassVar[timedelta | None] = timedelta(seconds=30)
    consistent_within: ClassVar[timedelta] = timedelta(seconds=5)
    late_within: ClassVar[timedelta] = UNCONDITIONAL_LATE

    how: Literal["deallocate", "power-off"] = Field(
        default="deallocate", description="deallocate: give its host back. power-off: keep the host, and pay for it."
    )

    def permissions(self) -> tuple[str, ...]:
        change = f"{MACHINE}/{_CALLS[self.how]}/action"
        return (f"{MACHINE}/read", f"{MACHINE}/instanceView/read", f"{LOCK}/read", change, COMPUTE_OPERATION_READ)

    def observe(self, cloud: AzureCloud, resource: Resource) -> MachinePower:
        vm, call = get_machine(cloud, resource), f"get {MACHINE}/instanceView"
        state = machine_power.seen(
            vm, cloud.read(f"{MACHINE}/instanceView/read", call, id=vm["id"], below="/instanceView")
        )
        if state.power in OFF | ON_THE_WAY:
            return state  # locks are for the plan; from here on they would only cost a call each time
        return state.model_copy(update={"read_only": locks_over(cloud, vm["id"])["ReadOnly"]})

    def contained(self, before: MachinePower) -> MachinePower:
        """A machine that is off with its host given back is off for both."""
        if self.how == "deallocate" or before.power in ("deallocated", "deallocating"):
            return before.model_copy(update={"power": "deallocated"})
        return before.model_copy(update={"power": "stopped"})

    def apply(self, cloud: AzureCloud, resource: Resource, now: MachinePower, target: Any) -> None:
        if now.power == target.power or now.power in ON_THE_WAY:  # the second: it was asked for, and goes on
            return
        action = _CALLS["deallocate" if target.power == "deallocated" else "power-off"]
        id_, kind = id_of(resource, MACHINE, resource.id), f"{MACHINE}/{action}"
        cloud.change(f"{kind}/action", f"post {kind}", id=id_, below=f"/{action}")

    def ours(self, before: MachinePower, now: MachinePower) -> bool:
        return now.power in ON_THE_WAY or super().ours(before, now)

    def refusal(self, before: MachinePower) -> Refusal | None:
        return machine_power.refusal(before, self.how == "deallocate")

    def caveats(self, before: MachinePower) -> tuple[Caveat, ...]:
        return machine_power.caveats(before, self.how == "deallocate")
