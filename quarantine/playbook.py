"""Playbooks: YAML data that says which findings are answered, and with which actions in which order.

Loading checks everything that can be checked without a provider, and names file, line and column.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, ValidationError, field_validator

from quarantine.action import Action, Capture, OneWay
from quarantine.document import Document, read
from quarantine.errors import Misconfigured, NotFound
from quarantine.expression import Condition
from quarantine.model import KIND, Severity, Value, digest
from quarantine.registry import Registry
from quarantine.text import closest

NAME = r"^[a-z0-9]+(-[a-z0-9]+)*$"
MOST_STEPS = 50


class Approval(StrEnum):
    """Does a person have to say yes, whatever the mode?"""

    NONE = "none"
    REQUIRED = "required"


class Match(Value):
    """Which findings a playbook answers: all that is given must hold."""

    resource: str = Field(pattern=KIND, description="The kind of resource: aws:s3-bucket, kubernetes:pod.")
    severity: Severity = Field(default=Severity.INFORMATIONAL, description="This or above.")
    source: tuple[str, ...] = Field(default=(), description="Names of sources; any if left out.")
    type: tuple[str, ...] = Field(
        default=(),
        description="Finding types or rule names, exactly. Any if left out, but of how something is set up.",
    )
    when: str | None = Field(default=None, description="A CEL condition on `finding` and `resource`. True or nothing.")

    @field_validator("source", "type", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class Step(Value):
    """One action on the case's resource, or with `relation` on what the provider derives from it."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    action: str = Field(description="An action or a capture: aws:s3-block-public-access.")
    settings: dict[str, Any] = Field(default_factory=dict, alias="with", description="The action's own fields.")
    relation: str | None = Field(default=None, description="Act on what is related to the resource instead.")


class Playbook(Value):
    """One way to answer a finding."""

    name: str = Field(pattern=NAME, max_length=64, description="The same as the file's name.")
    description: str = Field(min_length=1, max_length=500, description="What it does, in one sentence.")
    match: Match
    approval: Approval = Field(default=Approval.NONE, description="`required`: a person says yes each time.")
    anchor_before_act: bool = Field(
        default=False, description="A witness on another host must have seen the plan before anything is done."
    )
    steps: tuple[Step, ...] = Field(min_length=1, max_length=MOST_STEPS)

    @property
    def digest(self) -> str:
        """Of everything that the playbook says, not of its comments and layout."""
        return digest(self.model_dump(mode="json"))

    def permissions(self, registry: Registry) -> list[str]:
        """What its steps need, each once."""
        needed: set[str] = set()
        for step in self.steps:
            doing = registry.build(step.action, step.settings)
            needed.update(registry.permissions(doing, self.match.resource, step.relation))
        return sorted(needed)


@dataclass(frozen=True)
class Shelf:
    """All loaded playbooks by name, and where each came from."""

    playbooks: dict[str, Playbook]
    origins: dict[str, Path]

    def find(self, name: str) -> Playbook:
        if name not in self.playbooks:
            raise NotFound(f"no playbook '{name}'.{closest(name, list(self.playbooks))} See: quarantine playbook list")
        return self.playbooks[name]


def shipped() -> Path:
    """The folder of the playbooks that come with the program: inside the wheel, else beside the package."""
    package = Path(str(files("quarantine")))
    packed = package / "_playbooks"
    return packed if packed.is_dir() else package.parent / "playbooks"


def load_all(own: Iterable[Path], registry: Registry) -> Shelf:
    """The shipped playbooks and those in the users' `own` folders. A user's one replaces a shipped one of its name.

    Raises Misconfigured for the first file that is wrong, and for two files of one name in users' folders.
    """
    shelf = Shelf({}, {})
    for path in sorted(shipped().rglob("*.yaml")):
        playbook = load(path, registry)
        shelf.playbooks[playbook.name] = playbook
        shelf.origins[playbook.name] = path
    mine: dict[str, Path] = {}
    for folder in own:
        if not folder.exists():
            raise Misconfigured(f"playbook folder {folder} does not exist: create it or take it out of 'playbooks:'")
        for path in sorted(folder.rglob("*.yaml")) if folder.is_dir() else [folder]:
            playbook = load(path, registry)
            if playbook.name in mine:
                raise Misconfigured(f"{path}: playbook '{playbook.name}' is also in {mine[playbook.name]}")
            mine[playbook.name] = path
            shelf.playbooks[playbook.name] = playbook
            shelf.origins[playbook.name] = path
    return shelf


def load(path: Path, registry: Registry) -> Playbook:
    """One playbook file, fully checked. Raises Misconfigured with file:line:column."""
    return check(read(path), registry, path.stem)


def check(document: Document, registry: Registry, stem: str) -> Playbook:
    """A parsed document as a playbook whose every word is known."""
    playbook = document.parse(Playbook)
    if playbook.name != stem:
        raise document.error(("name",), f"'{playbook.name}' stands in a file called '{stem}.yaml': make them the same")
    if playbook.match.when is not None:
        try:
            Condition(playbook.match.when)
        except Misconfigured as error:
            raise document.error(("match", "when"), str(error)) from None
    one_way = [_check_step(document, registry, playbook, number) for number in range(len(playbook.steps))]
    if any(one_way) and playbook.approval is not Approval.REQUIRED:
        number = one_way.index(True)
        raise document.error(
            ("steps", number, "action"),
            f"{playbook.steps[number].action} cannot be undone: the playbook must say 'approval: required'",
        )
    return playbook


def _check_step(document: Document, registry: Registry, playbook: Playbook, number: int) -> bool:
    """Is this step one-way?"""
    step = playbook.steps[number]
    where = ("steps", number)
    if step.action not in registry.actions:
        raise document.error(
            (*where, "action"),
            f"unknown action '{step.action}'.{closest(step.action, list(registry.actions))}",
        )
    doing = registry.actions[step.action]
    kind = _kind(document, registry, playbook, number)
    if doing.resource != kind:
        raise document.error((*where, "action"), f"{step.action} works on {doing.resource}, this step has {kind}")
    try:
        doing.model_validate(step.settings)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in problem["loc"])
        known = list(doing.model_fields)
        hint = closest(key, known) or (f" It takes: {', '.join(known)}." if known else f" {step.action} takes none.")
        message = f"unknown key '{key}'.{hint}" if problem["type"] == "extra_forbidden" else f"{key}: {problem['msg']}"
        raise document.error((*where, "with", *problem["loc"]), message) from None
    if not issubclass(doing, (Action, Capture)):
        raise document.error((*where, "action"), f"{step.action} is neither an action nor a capture")
    return issubclass(doing, OneWay)


def _kind(document: Document, registry: Registry, playbook: Playbook, number: int) -> str:
    """The kind of resource that a step acts on."""
    relation = playbook.steps[number].relation
    kind = playbook.match.resource
    if relation is None:
        return kind
    if (kind, relation) not in registry.relations:
        known = [name for resource, name in registry.relations if resource == kind]
        raise document.error(
            ("steps", number, "relation"), f"{kind} has no relation '{relation}'.{closest(relation, known)}"
        )
    return registry.relations[kind, relation].related


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a playbook, for editors."""
    return Playbook.model_json_schema(by_alias=True)
