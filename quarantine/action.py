"""What an adapter author must read: the action, the cloud that it works through, and the provider that offers both.

An action is a lens on one kind of resource. `observe` reads it, `contained` says what it should be, `apply` converges.

    contain = apply(now, contained(before))       verify, drift  = compare observe() with the target
    release = apply(now, three_way merge)         dry run        = difference of before and contained(before)

There is no other code path, so the dry run, the idempotence check, the verification and the undo cannot disagree.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from importlib import import_module
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic import Field as PydanticField

from quarantine.errors import Missing, Unsupported
from quarantine.model import Finding, Resource, Standing, Value
from quarantine.state import GONE, Absence, Difference, Fact, Proof, State, Token, between, reached, three_way

__all__ = [
    "GONE",
    "Absence",
    "Action",
    "Artifact",
    "Call",
    "Capture",
    "Caveat",
    "Check",
    "Cloud",
    "Difference",
    "Fact",
    "Gate",
    "Group",
    "Grouping",
    "Identity",
    "Leftover",
    "Mark",
    "Needs",
    "OneWay",
    "Parser",
    "Poll",
    "Proof",
    "Provider",
    "Receipt",
    "Refusal",
    "Relation",
    "Reread",
    "Standing",
    "State",
    "Token",
    "Verdict",
    "between",
    "reached",
    "sdk",
    "three_way",
]


class Refusal(Value):
    """Why an action cannot or must not work on a resource, and what would."""

    reason: str
    alternatives: tuple[str, ...] = ()


class Caveat(Value):
    """What stays possible although the containment works. `id` is stable, `text` is for people."""

    id: str
    text: str


class Mark(Value):
    """What everything that we create at a provider carries, so that it is found again and never made twice."""

    installation: str
    case: str
    step: int
    key: str
    """The idempotency key of this step: the same in every attempt."""


class Call(Value):
    """One request to a provider, as the gate and the ledger see it."""

    permission: str
    call: str


class Receipt(Value):
    """What a provider gave back for a change. `id` is its request id; `operation` names work that goes on there."""

    id: str = ""
    operation: str | None = None
    answer: Any = None
    """The raw answer, for the action alone; it is not recorded."""


class Gate(Protocol):
    """Stands before every change. The engine's refuses when a kill switch is on or the lease is over."""

    def admit(self, call: Call) -> None:
        """Raises Halt (nothing was sent), Fenced, or returns: then exactly one try is made."""

    def record(self, call: Call, receipt: Receipt) -> None:
        """Durable before it returns; the next change comes after."""


class ReadOnly:
    """The gate of a cloud that nobody gave a right to change anything."""

    def admit(self, call: Call) -> None:
        raise PermissionError(f"{call.call} outside of the engine: a change needs a committed intent")

    def record(self, call: Call, receipt: Receipt) -> None:
        raise PermissionError(f"{call.call} was not admitted")


class Cloud(ABC):
    """The open, authenticated connection to one scope. `read` and `change` are the only ways to an SDK."""

    def __init__(self, mark: Mark | None = None) -> None:
        self._mark = mark
        self._gate: Gate = ReadOnly()
        self._installation = ""
        self._seen: Callable[[Call], None] = lambda _: None
        self._answers: dict[tuple[str, str], Any] | None = None
        self.before: Mapping[str, Mapping[str, JsonValue]] = {}
        """What the actions of a case have found on the resource before they changed it, by action. For captures."""

    @property
    def mark(self) -> Mark:
        if self._mark is None:
            raise PermissionError("this connection reads only: it has no mark to create anything under")
        return self._mark

    def through(self, gate: Gate, mark: Mark, seen: Callable[[Call], None] | None = None) -> Self:
        """The same connection for one step: its changes pass `gate` and carry `mark`."""
        return self._with(_gate=gate, _mark=mark, _seen=seen or self._seen)

    @property
    def installation(self) -> str:
        """Whose marks are ours: what `observe` tells our own objects at a provider by."""
        return self._mark.installation if self._mark is not None else self._installation

    def belonging_to(self, installation: str) -> Self:
        """The same connection, which knows our marks and still only reads."""
        return self._with(_installation=installation)

    def knowing(self, before: Mapping[str, Mapping[str, JsonValue]]) -> Self:
        """The same connection for a capture that comes after a change: evidence is also how it was."""
        return self._with(before=before)

    def glance(self) -> Self:
        """The same connection for one look, which takes a moment: it asks nothing twice, and changes nothing."""
        return self._with(_answers={})

    def _with(self, **parts: Any) -> Self:
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__ | parts)
        return other

    @property
    def glancing(self) -> bool:
        """Is this one look, for a plan? What it misses is refused or seen when the plan is carried out."""
        return self._answers is not None

    def running(self, operation: str) -> bool:
        """Does an operation that a receipt named still go on? False when it has succeeded, or is not known any more.

        Raises what it failed with: Conflict where something else was in its way and another try may work, else Denied,
        Unsupported, Unknown. Transient and Unreachable mean that the provider could not be asked.
        """
        return False

    def read(self, permission: str, call: str, **arguments: Any) -> Any:
        """Ask the provider; changes nothing. Raises ProviderError."""
        if not self.reads(call):
            raise PermissionError(f"{call} changes something: use cloud.change")
        self._seen(Call(permission=permission, call=call))
        answers, asked = self._answers, (call, "" if self._answers is None else repr(sorted(arguments.items())))
        if answers is not None and asked in answers:
            return answers[asked]
        answer = self.invoke(call, arguments)
        if answers is not None and not isinstance(answer, Iterator):  # it is gone once it was read
            answers[asked] = answer
        return answer

    def change(self, permission: str, call: str, **arguments: Any) -> Receipt:
        """One try at changing something, through the gate. Its receipt is durable when this returns."""
        change = Call(permission=permission, call=call)
        self._seen(change)
        self._gate.admit(change)
        receipt = self.receipt(self.invoke(call, arguments))
        self._gate.record(change, receipt)
        return receipt

    @abstractmethod
    def reads(self, call: str) -> bool:
        """Is it certain that `call` changes nothing?"""

    @abstractmethod
    def invoke(self, call: str, arguments: Mapping[str, Any]) -> Any:
        """The one place that touches the SDK and translates its errors, by code. One try for what changes something."""

    @abstractmethod
    def receipt(self, answer: Any) -> Receipt:
        """What of the answer to a change is worth recording."""


C = TypeVar("C", bound=Cloud)
S = TypeVar("S", bound=State)


class _Step(BaseModel, ABC):
    """What a playbook can name in a step. The pydantic fields are what the step may set under `with:`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    """`aws:s3-block-public-access`, which is the file `s3_block_public_access.py` of `quarantine_aws`."""
    resource: ClassVar[str]
    """The kind of resource that it works on."""

    @abstractmethod
    def permissions(self) -> tuple[str, ...]:
        """Exactly the permissions that this step, with these fields, needs."""


class Action(_Step, Generic[C, S]):
    """Contains one kind of resource, and gives it back exactly."""

    state: ClassVar[type[State]]
    settles_within: ClassVar[timedelta] = timedelta(0)
    """How long the provider may take until the target shows: a long-running operation, a task, propagation."""
    consistent_within: ClassVar[timedelta] = timedelta(0)
    """How long a read may be stale after a write; zero for Kubernetes, vSphere, Docker."""
    appears_within: ClassVar[timedelta | None] = None
    """How long a change whose answer was lost may take until it shows, as done or as an operation that runs: the wait
    before it is applied again. `settles_within` if None."""
    late_within: ClassVar[timedelta] = timedelta(0)
    """How long after a worker fell silent the provider may still take a request of it: the life of a signature. Zero
    where every change is conditional, so that a late one is refused."""
    conditional: ClassVar[bool] = False
    """Does what it changes name the version that was seen, so that the provider refuses it when the resource is another
    one by now? Then what the plan saw a moment ago need not be read again before the change."""
    shares: ClassVar[str] = ""
    """The kind of an object of ours that several cases use at once: a quarantine group. It is never part of a
    before-image and stays after a release, until `quarantine sweep` finds that nobody uses it."""

    @abstractmethod
    def observe(self, cloud: C, resource: Resource) -> S:
        """Reads only. Raises errors.Gone if the resource is not there."""

    @abstractmethod
    def contained(self, before: S) -> S | Absence:
        """Pure: the target state. No I/O, no clock."""

    @abstractmethod
    def apply(self, cloud: C, resource: Resource, now: S, target: S | Absence) -> None:
        """Converge from wherever `now` is to `target`. May be called twice, and again after a stop anywhere.

        Raises errors.Pending, between two changes, where the next one has to wait for an operation of the last: it is
        called again, with a fresh `now`, when that has ended. It never waits by itself.
        """

    def ours(self, before: S, now: S) -> bool:
        """Pure: is every managed value at before, at target, or at a value that only this action writes?"""
        target = self.contained(before)
        return between(before, before if isinstance(target, Absence) else target, now)

    def refusal(self, before: S) -> Refusal | None:
        """Pure: why this cannot or must not work here, and what would."""
        return None

    def caveats(self, before: S) -> tuple[Caveat, ...]:
        """Pure: what stays possible when it has worked."""
        return ()

    def lingers(self, before: S) -> str:
        """Pure: what it leaves that nobody but us ever removes, and what a person can do about it; nothing if empty.

        A person is told when it has been held for longer than `watch.overstay`.
        """
        return ""

    def bystanders(self, cloud: C, resource: Resource, before: S) -> tuple[str, ...]:
        """Who else would feel it, in sentences, for a person who is about to decide. Reads only; bounded.

        No part of the plan: it changes all the time, and what is done by itself does not wait for it.
        """
        return ()


class OneWay(Action[C, S]):
    """An action that cannot be undone. Its playbook must say `approval: required`."""


@dataclass(frozen=True)
class Artifact:
    """One piece of evidence. It is stored by the SHA-256 of its content."""

    name: str
    media_type: str
    content: bytes = field(repr=False)


class Capture(_Step, Generic[C]):
    """Takes evidence and changes nothing."""

    @abstractmethod
    def collect(self, cloud: C, resource: Resource) -> Iterator[Artifact]:
        """Reads only. Raises errors.Gone if the resource is not there."""


class Identity(Value):
    """Who we are at a provider: the account that our calls land in, and the principal that they are charged to."""

    account: str
    principal: str


class Verdict(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(Value):
    """One line of `quarantine doctor`."""

    subject: str
    verdict: Verdict
    message: str
    fix: str = ""


Parser = Callable[[Mapping[str, JsonValue], str, datetime], list[Finding]]
"""(record, source name, time of receipt) -> findings. Pure; raises errors.Malformed."""


@dataclass(frozen=True)
class Poll:
    """Asks a provider for findings: a detector's, or our own posture check. `cursor` is what the last run returned."""

    name: str
    permissions: tuple[str, ...]
    run: Callable[[Any, str, datetime, str | None], tuple[list[Finding], str | None]]
    """(cloud, scope, now, cursor) -> (findings, next cursor)"""
    unfinished: Callable[[str | None], bool] = lambda _: False
    """Pure: is this next cursor one within something long, so that the rest is asked for at once? What came until then
    is durable by then, and a restart goes on from there."""


@dataclass(frozen=True)
class Reread:
    """How the source of a finding is asked for it again, shortly before anything is done about it."""

    permissions: tuple[str, ...]
    scope: Callable[[Finding], str]
    """Where its source keeps it, which need not be where its resource is. Raises errors.Malformed."""
    ask: Callable[[Any, Finding, datetime], Standing]
    """(cloud, finding, now) -> what its source says of it; UNKNOWN also where that names another resource by now.
    Only reads. Raises ProviderError, and errors.Malformed for an answer that is no finding."""
    probe: Callable[[Any], object]
    """(cloud): could it be asked? Names no finding, for `quarantine doctor`. Raises ProviderError."""


@dataclass(frozen=True)
class Relation:
    """From one kind of resource to others that a step may act on instead: `instance -> instance-role`."""

    resource: str
    related: str
    permissions: tuple[str, ...]
    find: Callable[[Any, Resource], Iterable[Resource]]
    """(cloud, resource) -> what is related to it. Only reads."""


def sdk(module: str, extra: str = "") -> Any:
    """An SDK's module, imported when it is first needed. Raises Missing with the command that installs it.

    `extra` is the part of our distribution that brings it; without, it comes with the distribution itself.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name.partition(".")[0]):
            raise
        command = f'pip install "cloud-quarantine[{extra}]"' if extra else "pip install cloud-quarantine"
        raise Missing(f"the package of '{error.name}' is not installed: {command}") from error


class Group(Value):
    """Others that do the same work as a resource. `healthy` counts those that work now, the resource among them."""

    key: str
    size: int
    healthy: int


@dataclass(frozen=True)
class Grouping:
    """How the group of one kind of resource is found."""

    permissions: tuple[str, ...]
    find: Callable[[Any, Resource], Group | None]
    """(cloud, resource) -> its group, or None for one that stands alone. Only reads."""


@dataclass(frozen=True)
class Leftover:
    """Shared objects of ours that nobody uses any more: how they are found, and what removes one."""

    poll: Poll
    playbook: str


class Needs(Value):
    """What is to be granted at a provider, where, and to whom."""

    permissions: dict[str, tuple[str, ...]]
    """Each permission, with what needs it: the names of playbooks and schedules."""
    kinds: dict[str, tuple[str, ...]] = PydanticField(default_factory=dict)
    """Each kind of resource that is looked up, with what needs it."""
    namespaces: tuple[str, ...] = ()
    """Only in these. Everywhere if there are none."""
    principal: str = ""
    """Who gets it, as the provider names one. Empty for what we are usually called there."""


class Provider(ABC):
    """The adapter for one platform. Made from its part of the configuration; connects lazily."""

    name: ClassVar[str]
    settings: ClassVar[type[BaseModel]]
    actions: ClassVar[tuple[type[Action[Any, Any]], ...]]
    captures: ClassVar[tuple[type[Capture[Any]], ...]] = ()
    parsers: ClassVar[Mapping[str, Parser]] = {}
    polls: ClassVar[tuple[Poll, ...]] = ()
    rereads: ClassVar[Mapping[str, Reread]] = {}
    """By the name of the parser or poll that a finding came through. A source that only pushes has none."""
    relations: ClassVar[Mapping[str, Relation]] = {}
    leftovers: ClassVar[tuple[Leftover, ...]] = ()
    groups: ClassVar[Mapping[str, Grouping]] = {}
    """By kind of resource."""

    @abstractmethod
    def __init__(self, settings: Any) -> None: ...

    @abstractmethod
    def scopes(self) -> tuple[str, ...]:
        """Every scope that the configuration names; the account pin compares their first parts."""

    @abstractmethod
    def connect(self, scope: str) -> Cloud:
        """A connection that only reads, until the engine passes it `through` a gate. Raises Unreachable."""

    @abstractmethod
    def identity(self, cloud: Any) -> Identity:
        """Asked at the provider, not from the configuration. Raises ProviderError."""

    @abstractmethod
    def resolve(self, cloud: Any, resource: Resource) -> tuple[Resource, Mapping[str, str]]:
        """The resource as the provider knows it now, with its uid, and its tags or labels. Raises Gone."""

    def permissions_document(self, needs: Needs) -> str:
        """What the platform's own tool takes to grant this and nothing else. Raises Unsupported, Misused."""
        raise Unsupported(
            f"provider '{self.name}' cannot write this for its platform's tools yet: take the list of permissions"
            " that `quarantine playbook show NAME` prints"
        )

    @abstractmethod
    def doctor(self) -> Iterable[Check]:
        """Identity, reachability, account pin and permissions, as far as they can be asked. Never raises."""
