"""Fences a machine: its policy must stand before its ports close, and each of the two takes its time."""

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from quarantine.action import Action, Fact, State, Token
from quarantine.errors import Pending
from quarantine.model import Resource
from quarantine.testing.fake.cloud import FakeCloud


class MachineFenced(State):
    policy: Literal["fence"] | None = None
    ports: dict[str, str]
    uid: Annotated[str, Fact]
    busy: Annotated[bool, Fact] = False
    version: Annotated[int, Token]


class MachineFence(Action[FakeCloud, MachineFenced]):
    """Reversible, in two operations, of which the second cannot begin before the first has ended."""

    name: ClassVar[str] = "fake:machine-fence"
    resource: ClassVar[str] = "fake:machine"
    state: ClassVar[type[State]] = MachineFenced
    settles_within: ClassVar[timedelta] = timedelta(seconds=20)

    def permissions(self) -> tuple[str, ...]:
        return ("machine.get", "policy.get", "policy.create", "policy.delete", "machine.set_ports")

    def observe(self, cloud: FakeCloud, resource: Resource) -> MachineFenced:
        machine = cloud.machine(resource)
        held = cloud.read("policy.get", "policy.get", uid=machine.uid)
        return MachineFenced(
            policy="fence" if held else None,
            ports=machine.ports,
            uid=machine.uid,
            busy=machine.busy,
            version=machine.version,
        )

    def contained(self, before: MachineFenced) -> MachineFenced:
        return before.model_copy(update={"policy": "fence", "ports": {}})

    def apply(self, cloud: FakeCloud, resource: Resource, now: MachineFenced, target: Any) -> None:
        if now.busy:
            raise Pending(f"{resource.id} is busy")
        if target.policy and not now.policy:
            cloud.change("policy.create", "policy.create", uid=now.uid)
            raise Pending("the policy is being made")
        if now.ports != target.ports:
            what = {"id": resource.id, "uid": resource.uid, "ports": target.ports, "version": now.version}
            cloud.change("machine.set_ports", "machine.set_ports", **what)
            if now.policy and not target.policy:
                raise Pending("the ports are being opened")
        if now.policy and not target.policy:
            cloud.change("policy.delete", "policy.delete", uid=now.uid)
