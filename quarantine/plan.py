"""The plan: what exactly would be done to which resources, from what to what. Its digest is what a person approves."""

from enum import StrEnum
from typing import Any

from pydantic import Field, JsonValue

from quarantine.action import GONE, Absence, Caveat, Refusal, State
from quarantine.model import Resource, Value, digest
from quarantine.state import Difference, Role

Image = dict[str, JsonValue] | None
"""A State as it is stored; None is a resource that is not there."""


class Nature(StrEnum):
    """What a step does to the world."""

    CAPTURE = "capture"
    REVERSIBLE = "reversible"
    ONE_WAY = "one-way"


class PlannedStep(Value):
    """One action on one resource, with its before-image, its target and their difference."""

    index: int
    action: str
    settings: dict[str, Any] = Field(default_factory=dict)
    resource: Resource
    nature: Nature
    before: Image = None
    target: Image = None
    fingerprint: str = ""
    """The digest of what is managed and proven in the before-image. Facts and tokens, a resourceVersion for one, change
    without changing what would be done."""
    differences: tuple[Difference, ...] = ()
    caveats: tuple[Caveat, ...] = ()
    permissions: tuple[str, ...] = ()
    refusal: Refusal | None = None
    needed: bool
    """Is there anything to do? False where the resource shows the target already."""


class Plan(Value):
    """The ordered steps for one case."""

    playbook: str
    playbook_digest: str
    resource: Resource
    steps: tuple[PlannedStep, ...]

    @property
    def digest(self) -> str:
        """Of all that was shown. A changed before-image, caveat or playbook gives another digest."""
        return digest(self.model_dump(mode="json", exclude={"steps": {"__all__": {"before", "target"}}}))

    @property
    def reversible(self) -> bool:
        return all(step.nature is not Nature.ONE_WAY for step in self.steps)

    @property
    def needed(self) -> bool:
        """Would any step change something?"""
        return any(step.needed for step in self.steps if step.nature is not Nature.CAPTURE)

    @property
    def refusals(self) -> tuple[tuple[PlannedStep, Refusal], ...]:
        return tuple((step, step.refusal) for step in self.steps if step.refusal is not None)


def fingerprint(state: State | Absence) -> str:
    """The digest of what an action manages and what must hold besides."""
    return "gone" if isinstance(state, Absence) else digest([state.part(), state.part(Role.PROOF)])


def stored(state: State | Absence) -> Image:
    """A state as an event keeps it."""
    return None if isinstance(state, Absence) else state.stored()


def restored(image: Image, model: type[State]) -> State | Absence:
    """The state that an event kept."""
    return GONE if image is None else model.model_validate(image)
