"""The connection to one scope of a FakeWorld."""

from collections.abc import Mapping
from typing import Any

from quarantine.action import Cloud, Mark, Receipt
from quarantine.errors import Gone
from quarantine.model import Resource
from quarantine.testing.fake.world import READS, Begun, FakeWorld, Machine


class FakeCloud(Cloud):
    """Needs no translation of errors: the world raises ours."""

    def __init__(self, world: FakeWorld, scope: str = "local", mark: Mark | None = None) -> None:
        super().__init__(mark)
        self.world = world
        self.scope = scope

    def reads(self, call: str) -> bool:
        return call in READS

    def invoke(self, call: str, arguments: Mapping[str, Any]) -> Any:
        return self.world.call(call, self.scope, arguments, self._mark)

    def machine(self, resource: Resource) -> Machine:
        """Exactly the one that is meant. Raises Gone, also where another one has its name now."""
        machine: Machine = self.read("machine.get", "machine.get", id=resource.id)
        if resource.uid not in (None, machine.uid):
            raise Gone(f"{resource} is gone, another machine has its name")
        return machine

    def running(self, operation: str) -> bool:
        return bool(self.read("operation.get", "operation.get", id=operation))

    def receipt(self, answer: Any) -> Receipt:
        if isinstance(answer, Begun):
            return Receipt(id=answer.request, operation=answer.operation)
        return Receipt(id=str(answer))


class Truth(FakeCloud):
    """For checks: shows how things really are, and changes nothing."""

    def invoke(self, call: str, arguments: Mapping[str, Any]) -> Any:
        return self.world.peek(call, self.scope, arguments)
