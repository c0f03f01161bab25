"""Cuts a machine off with a policy of its own, and takes away the labels by which others find it."""

from typing import Annotated, Any, ClassVar, Final, Literal

from quarantine.action import Action, Caveat, Fact, Refusal, State, Token
from quarantine.errors import Conflict, Gone
from quarantine.model import Resource
from quarantine.testing.fake.cloud import FakeCloud

ISOLATED: Final = "quarantine"


class MachineIsolation(State):
    labels: dict[str, str]
    policy: Literal["quarantine"] | None = None
    uid: Annotated[str, Fact]
    power: Annotated[str, Fact]
    version: Annotated[int, Token]


class MachineIsolate(Action[FakeCloud, MachineIsolation]):
    """Reversible, in two changes: one can be done and the other not."""

    name: ClassVar[str] = "fake:machine-isolate"
    resource: ClassVar[str] = "fake:machine"
    state: ClassVar[type[State]] = MachineIsolation

    keep_labels: tuple[str, ...] = ()
    """Keys of labels that stay."""

    def permissions(self) -> tuple[str, ...]:
        return ("machine.get", "policy.get", "policy.create", "policy.delete", "machine.patch_labels")

    def observe(self, cloud: FakeCloud, resource: Resource) -> MachineIsolation:
        machine = cloud.machine(resource)
        held = cloud.read("policy.get", "policy.get", uid=machine.uid)
        return MachineIsolation(
            labels=machine.labels,
            policy="quarantine" if held else None,
            uid=machine.uid,
            power=machine.power,
            version=machine.version,
        )

    def contained(self, before: MachineIsolation) -> MachineIsolation:
        kept = {key: value for key, value in before.labels.items() if key in self.keep_labels}
        return before.model_copy(update={"labels": {**kept, ISOLATED: before.uid}, "policy": "quarantine"})

    def apply(self, cloud: FakeCloud, resource: Resource, now: MachineIsolation, target: Any) -> None:
        """The policy comes before the labels go, and goes after they are back: there is no moment without both."""
        if target.policy and not now.policy:
            try:
                cloud.change("policy.create", "policy.create", uid=now.uid)
            except Conflict:
                # The answer to an earlier try was lost. What is there carries the same name, so it is what we want.
                if self.observe(cloud, resource).policy is None:
                    raise
        if now.labels != target.labels:
            gone = {key: None for key in now.labels if key not in target.labels}
            # A release overwrites nobody's change; a containment does not wait for whoever is writing.
            patch = {"labels": {**gone, **target.labels}, "version": None if target.policy else now.version}
            cloud.change("machine.patch_labels", "machine.patch_labels", id=resource.id, uid=now.uid, **patch)
        if now.policy and not target.policy:
            try:
                cloud.change("policy.delete", "policy.delete", uid=now.uid)
            except Gone:
                return  # already gone is what was wanted

    def refusal(self, before: MachineIsolation) -> Refusal | None:
        if before.power == "running":
            return None
        return Refusal(reason="the machine is stopped, so it has no network", alternatives=("fake:machine-capture",))

    def caveats(self, before: MachineIsolation) -> tuple[Caveat, ...]:
        return (Caveat(id="established-connections", text="Connections that are open already may go on."),)
