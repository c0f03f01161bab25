"""Whether a virtual machine runs, and what stopping it would lose. Reading apart from judging."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from quarantine.action import Caveat, Fact, Refusal, State
from quarantine.errors import Transient
from quarantine_azure.isolation import cluster_node
from quarantine_azure.locks import refused_by

ON_THE_WAY: Final = frozenset({"stopping", "deallocating"})
OFF: Final = frozenset({"stopped", "deallocated"})


class MachinePower(State):
    power: str
    """running, starting, stopping, stopped, deallocating, deallocated (Azure, "States and billing of VMs")."""
    uid: Annotated[str, Fact]
    cluster_node: Annotated[bool, Fact] = False
    ephemeral: Annotated[bool, Fact] = False
    """Its system disk is on its host, and lost with it."""
    scale_set: Annotated[str, Fact] = ""
    read_only: Annotated[tuple[str, ...], Fact] = ()


def seen(vm: Mapping[str, Any], view: Mapping[str, Any]) -> MachinePower:
    """The state, of what was read. Raises Transient while the power state is missing, which happens now and then."""
    codes = [str(status.get("code", "")) for status in view.get("statuses") or []]
    power = next((code.partition("/")[2] for code in codes if code.startswith("PowerState/")), "")
    if power in ("", "unknown"):
        raise Transient(f"Azure does not say whether {vm['name']} runs: look again")
    properties = vm["properties"]
    disk = (properties.get("storageProfile") or {}).get("osDisk") or {}
    return MachinePower(
        power=power,
        uid=properties["vmId"],
        cluster_node=cluster_node(vm),
        ephemeral=(disk.get("diffDiskSettings") or {}).get("option") == "Local",
        scale_set=(properties.get("virtualMachineScaleSet") or {}).get("id", ""),
    )


def refusal(before: MachinePower, deallocate: bool) -> Refusal | None:
    if before.cluster_node:
        reason = "the machine is a node of an AKS cluster, whose machines must not be changed (AKS support policies)"
        return Refusal(reason=reason, alternatives=("cordon and drain the node, and delete it with its pool's API",))
    if before.ephemeral and deallocate:
        reason = "its system disk is ephemeral: a machine with one cannot be deallocated"
        return Refusal(reason=reason, alternatives=("power it off: with: {how: power-off}",))
    return refused_by(before.read_only)


def caveats(before: MachinePower, deallocate: bool) -> tuple[Caveat, ...]:
    texts = {
        "memory": "What is in its memory is lost: processes, keys, connections. That is why it cannot be undone.",
        "started-again": "Who may start machines can start it again; a schedule or a scale set may, too.",
        "identity-tokens": "Tokens of its managed identity that were copied stay valid, up to 24 hours.",
    }
    if deallocate:
        texts["host"] = (
            "It loses its temporary disk, its virtual TPM's state and a dynamic public address, and may find no"
            " capacity when it is started again."
        )
    else:
        texts["paid"] = "It stays on its host and is paid on, until it is deallocated."
    if before.scale_set:
        texts["scale-set"] = f"{before.scale_set} may put another machine beside it."
    return tuple(Caveat(id=name, text=text) for name, text in texts.items())
