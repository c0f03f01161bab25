"""The platform itself: machines and policies, every change that was sent, and the faults that are still to come."""

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Protocol

from quarantine.action import Mark
from quarantine.errors import (
    Conflict,
    Denied,
    Gone,
    ProviderError,
    Throttled,
    Transient,
    Unknown,
    Unreachable,
    Unsupported,
)
from quarantine.model import Resource, Standing, Value, now

KIND: Final = "fake:machine"
EVERYONE: Final = "0.0.0.0/0"
"""The source of a port that is open to the world."""


class Died(BaseException):
    """The process ended here. No `except Exception` of the program may see it."""


class Fault(StrEnum):
    """What goes wrong with one call."""

    PASS = "pass"  # noqa: S105
    """Nothing: this one goes through, and the next fault is for the call after it."""
    LOSE_ANSWER = "lose_answer"
    """It happens; the answer never comes."""
    LOSE_REQUEST = "lose_request"
    """It does not happen; to the caller it looks the same."""
    ARRIVE_LATE = "arrive_late"
    """The answer never comes, and it happens only at `FakeWorld.arrive`."""
    DIE_BEFORE = "die_before"
    """The process ends, and it does not happen."""
    DIE_AFTER = "die_after"
    """It happens, and the process ends before it can read the answer."""
    THROTTLE = "throttle"
    TRANSIENT = "transient"
    DENY = "deny"
    CONFLICT = "conflict"
    UNSUPPORTED = "unsupported"
    UNREACHABLE = "unreachable"


_REFUSES: Final[Mapping[Fault, type[ProviderError]]] = {
    Fault.THROTTLE: Throttled,
    Fault.TRANSIENT: Transient,
    Fault.DENY: Denied,
    Fault.CONFLICT: Conflict,
    Fault.UNSUPPORTED: Unsupported,
    Fault.UNREACHABLE: Unreachable,
}
"""Faults in which nothing happens, and the caller knows it."""


class Machine(Value):
    """One machine as it is at one moment. A change makes a new one, with the next version."""

    id: str
    scope: str
    uid: str
    labels: dict[str, str]
    ports: dict[str, str]
    """Open port -> from where."""
    power: str
    tags: dict[str, str]
    peers: tuple[str, ...]
    """The ids of machines in the same scope that work for the same thing."""
    version: int
    busy: bool = False
    """An operation on it is still running, and no other change is taken meanwhile."""


@dataclass(frozen=True)
class Sent:
    """One change that reached the platform, whatever became of it."""

    call: str
    arguments: Mapping[str, Any]
    mark: Mark | None


class Witness(Protocol):
    """Who is told of changes at the moment they reach the platform. See quarantine.testing.invariants."""

    def sends(self, call: str, mark: Mark | None) -> None:
        """It reached the platform, and nothing has happened yet."""

    def happens(self, call: str, mark: Mark | None) -> None:
        """It takes effect now."""


@dataclass(frozen=True)
class Shown:
    """A machine, or that it is gone, and from when on a read shows it."""

    machine: Machine | None
    since: datetime


@dataclass
class Operation:
    """A change that was accepted and takes its time; it happens, or fails, at `ends`."""

    ends: datetime
    address: "Address"
    effect: Callable[[], Any]
    failure: ProviderError | None
    over: bool = False


@dataclass(frozen=True)
class Begun:
    """The answer to a change that goes on as an operation."""

    request: str
    operation: str


Address = tuple[str, str]
"""Scope and id."""


@dataclass(frozen=True)
class Detected:
    """What the platform's own detector says of one finding."""

    machine: str
    standing: Standing


class FakeWorld:
    """Safe to share between threads. Tests read and change it directly; programs come through a FakeCloud."""

    def __init__(self, clock: Callable[[], datetime] = now) -> None:
        self.sent: list[Sent] = []
        """Every change that reached the platform, in order."""
        self.asked: list[str] = []
        """Every read, in order."""
        self.denied: set[str] = set()
        """Calls that our identity may not make."""
        self.lands_in: str | None = None
        """The account that the credentials really lead to, where it is not the one that was meant."""
        self.witness: Witness | None = None
        self.signature_life: timedelta | None = None
        """A request that arrives longer after it was made is refused, as AWS does; None: however late it is."""
        self._clock = clock
        self._lock = threading.RLock()
        self._traces: dict[Address, dict[str, Mark | None]] = {}
        self._history: dict[Address, list[Shown]] = {}
        self._policies: dict[Address, Mark | None] = {}
        self._faults: dict[str, deque[Fault | Callable[[], None]]] = defaultdict(deque)
        self._slow: dict[str, timedelta] = {}
        self._operations: dict[str, Operation] = {}
        self._failures: dict[str, deque[ProviderError]] = defaultdict(deque)
        self._late: list[tuple[datetime, Callable[[], None]]] = []
        self._detected: dict[Address, list[Detected]] = {}
        self._stale_findings = 0
        self._stale_reads = 0
        self._stale_within: timedelta | None = None
        self._delay = timedelta(0)
        self._numbers = 0

    # -- what tests arrange ------------------------------------------------------------------------------------------

    def add(
        self,
        name: str,
        *,
        scope: str = "local",
        labels: Mapping[str, str] | None = None,
        ports: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        peers: tuple[str, ...] = (),
    ) -> Resource:
        """A new, running machine; under a name that was used before, it is another one with another uid."""
        with self._lock:
            machine = Machine(
                id=name,
                scope=scope,
                uid=f"uid-{self._number()}",
                labels=dict(labels or {}),
                ports=dict(ports or {}),
                power="running",
                tags=dict(tags or {}),
                peers=peers,
                version=1,
            )
            self.remove(name, scope)
            self._history[scope, name] = [Shown(machine, self._clock())]
            return Resource(kind=KIND, id=name, scope=scope, uid=machine.uid)

    def machine(self, name: str, scope: str = "local") -> Machine:
        """As it really is, whatever reads show. Raises Gone."""
        with self._lock:
            self._go_on()
            return _there(self._history.get((scope, name), [Shown(None, self._clock())])[-1].machine, scope, name)

    def names(self, scope: str = "local") -> list[str]:
        """Of the machines that there are."""
        with self._lock:
            return [machine.id for machine in self._list(scope, None)]

    def detect(self, finding: str, machine: str, standing: Standing = Standing.ACTIVE, scope: str = "local") -> None:
        """The platform's detector has this finding about a machine; called again, it has come to another view."""
        with self._lock:
            self._detected.setdefault((scope, finding), []).append(Detected(machine, standing))

    def forget(self, finding: str, scope: str = "local") -> None:
        """The detector has no such finding any more."""
        with self._lock:
            self._detected.pop((scope, finding), None)

    def detected(self, finding: str, scope: str = "local") -> Standing:
        """What the detector really says now."""
        with self._lock:
            history = self._detected.get((scope, finding))
            return history[-1].standing if history else Standing.UNKNOWN

    def policies(self) -> dict[Address, Mark | None]:
        """(scope, uid of the machine) -> the mark that its policy carries."""
        with self._lock:
            self._go_on()
            return dict(self._policies)

    def meddle(self, name: str, scope: str = "local", **attributes: Any) -> None:
        """Somebody else changes a machine; nothing of it is in `sent`."""
        with self._lock:
            self._put(self.machine(name, scope), None, **attributes)

    def remove(self, name: str, scope: str = "local") -> None:
        """Somebody else deletes a machine, and its policy goes with it."""
        with self._lock:
            self._forget(scope, name)
            self._history[scope, name] = [Shown(None, self._clock())]

    def in_place(self) -> list[Mark]:
        """Under which marks something was written, a label, a port, a policy, that nobody has overwritten since."""
        with self._lock:
            self._go_on()
            traces = [mark for written in self._traces.values() for mark in written.values()]
            return [mark for mark in [*traces, *self._policies.values()] if mark is not None]

    def peek(self, call: str, scope: str, arguments: Mapping[str, Any]) -> Any:
        """What a read would show that is never stale, refused or lost; nobody is told. Raises Gone."""
        with self._lock:
            self._go_on()
            if call == "machine.get":
                machine = self.machine(arguments["id"], scope)
                return machine.model_copy(update={"busy": self._busy((scope, machine.id))})
            return getattr(self, CALLS[call])(scope=scope, mark=None, **arguments)

    def fail(self, call: str, *faults: Fault | Callable[[], None]) -> None:
        """The next calls of this name meet these faults, one each. A function is run, and the call goes through."""
        with self._lock:
            self._faults[call].extend(faults)

    def stale(self, reads: int, within: timedelta | None = None) -> None:
        """The next reads of machines show the state before the last change; `within` bounds how long after it."""
        with self._lock:
            self._stale_reads, self._stale_within = reads, within

    def stale_findings(self, reads: int) -> None:
        """The next reads of findings show what the detector said before it came to its last view."""
        with self._lock:
            self._stale_findings = reads

    def settle_after(self, delay: timedelta) -> None:
        """From now on, what a change makes shows only after this time."""
        with self._lock:
            self._delay = delay

    def slow(self, call: str, takes: timedelta, *failures: ProviderError) -> None:
        """From now on, this change is an operation that takes so long; the next ones end in these failures."""
        with self._lock:
            self._slow[call] = takes
            self._failures[call].extend(failures)

    def finish(self) -> None:
        """Every operation that runs comes to its end now."""
        with self._lock:
            for operation in self._operations.values():
                operation.ends = min(operation.ends, self._clock())
            self._go_on()

    @property
    def operations(self) -> list[str]:
        """Every operation that was ever begun."""
        with self._lock:
            return list(self._operations)

    def arrive(self) -> None:
        """Every change that was late happens now, if the platform still takes it."""
        with self._lock:
            late, self._late = self._late, []
            for made, effect in late:
                if self._still_signed(made):
                    effect()

    def calm(self) -> None:
        """Nothing goes wrong or takes its time any more; what was late is lost."""
        with self._lock:
            self.finish()
            self._slow.clear()
            self._faults.clear()
            self._failures.clear()
            self._late.clear()
            self.denied.clear()
            self._stale_reads = self._stale_findings = 0

    @property
    def unmet(self) -> dict[str, int]:
        """Faults that no call has met yet: a test that leaves some has not tested what it says."""
        with self._lock:
            return {call: len(faults) for call, faults in self._faults.items() if faults}

    # -- what a cloud asks -------------------------------------------------------------------------------------------

    def call(self, name: str, scope: str, arguments: Mapping[str, Any], mark: Mark | None) -> Any:
        """One request. Raises ProviderError, and Died."""
        with self._lock:
            self._go_on()
            if name in READS:
                self.asked.append(name)
            else:
                self.sent.append(Sent(name, dict(arguments), mark))
                if self.witness is not None:
                    self.witness.sends(name, mark)
            made = self._clock()
            fault = self._meet(name)
            if not self._still_signed(made):
                raise Transient(f"{name}: the request has expired")
            if name in self.denied or fault is Fault.DENY:
                raise Denied(f"{name}: our identity has no right to it")
            if fault in _REFUSES:
                raise _REFUSES[fault](f"{name}: {fault}")
            if fault is Fault.DIE_BEFORE:
                raise Died(f"before {name}")
            if fault is Fault.LOSE_REQUEST:
                raise Unknown(f"{name}: no answer")
            if fault is Fault.ARRIVE_LATE:
                self._late.append((made, lambda: self._arrive(name, scope, arguments, mark)))
                raise Unknown(f"{name}: no answer")
            answer = self._carry_out(name, scope, arguments, mark)
            if fault is Fault.DIE_AFTER:
                raise Died(f"after {name}")
            if fault is Fault.LOSE_ANSWER:
                raise Unknown(f"{name}: no answer")
            return answer

    def _carry_out(self, name: str, scope: str, arguments: Mapping[str, Any], mark: Mark | None) -> Any:
        if name in READS:
            return getattr(self, CALLS[name])(scope=scope, mark=mark, **arguments)
        address = scope, arguments.get("id") or self._name_of(scope, arguments["uid"])
        if self._busy(address):
            raise Conflict(f"{address[1]} is busy with another operation")
        if name not in self._slow:
            return self._effect(name, scope, arguments, mark)
        failure = self._failures[name].popleft() if self._failures[name] else None
        begun = Begun(self._request(), f"operation-{self._number()}")
        self._operations[begun.operation] = Operation(
            ends=self._clock() + self._slow[name],
            address=address,
            effect=lambda: self._effect(name, scope, arguments, mark),
            failure=failure,
        )
        return begun

    def _effect(self, name: str, scope: str, arguments: Mapping[str, Any], mark: Mark | None) -> Any:
        answer = getattr(self, CALLS[name])(scope=scope, mark=mark, **arguments)
        if self.witness is not None:
            self.witness.happens(name, mark)
        return answer

    def _still_signed(self, made: datetime) -> bool:
        return self.signature_life is None or self._clock() - made <= self.signature_life

    def _go_on(self) -> None:
        """What operations have come to their end by now happens."""
        for operation in self._operations.values():
            if operation.over or operation.ends > self._clock():
                continue
            operation.over = True
            if operation.failure is None:
                try:
                    operation.effect()
                except ProviderError as error:
                    operation.failure = error

    def _busy(self, address: Address) -> bool:
        return any(item.address == address and not item.over for item in self._operations.values())

    def _name_of(self, scope: str, uid: str) -> str:
        found = (history[-1].machine for (where, _), history in self._history.items() if where == scope)
        return next((machine.id for machine in found if machine is not None and machine.uid == uid), uid)

    def _operation(self, scope: str, mark: Mark | None, id: str) -> bool:  # noqa: A002
        """Does it still run? Raises what it failed with."""
        operation = self._operations.get(id)
        if operation is not None and operation.failure is not None and operation.over:
            raise operation.failure
        return operation is not None and not operation.over

    def _meet(self, name: str) -> Fault:
        fault = self._faults[name].popleft() if self._faults[name] else Fault.PASS
        if isinstance(fault, Fault):
            return fault
        fault()
        return Fault.PASS

    def _arrive(self, name: str, scope: str, arguments: Mapping[str, Any], mark: Mark | None) -> None:
        try:
            self._carry_out(name, scope, arguments, mark)
        except ProviderError:
            return  # too late: it fails at the platform, and nobody is there to hear it

    def _identity(self, scope: str, mark: Mark | None) -> str:
        return self.lands_in or scope.partition("/")[0]

    def _finding(self, scope: str, mark: Mark | None, id: str) -> Detected:  # noqa: A002
        history = self._detected.get((scope, id))
        if not history:
            raise Gone(f"the detector has no finding {id}")
        if self._stale_findings > 0 and len(history) > 1:
            self._stale_findings -= 1
            return history[-2]
        return history[-1]

    def _get(self, scope: str, mark: Mark | None, id: str) -> Machine:  # noqa: A002
        history = self._history.get((scope, id), [])
        shown = [state for state in history if state.since <= self._clock()] or history[:1]
        if self._stale_reads > 0 and len(history) > 1:
            self._stale_reads -= 1
            if self._stale_within is None or self._clock() - history[-1].since < self._stale_within:
                shown = history[-2:-1]
        machine = _there(shown[-1].machine if shown else None, scope, id)
        return machine.model_copy(update={"busy": self._busy((scope, id))})

    def _list(self, scope: str, mark: Mark | None) -> list[Machine]:
        found = [self._history[address][-1].machine for address in sorted(self._history) if address[0] == scope]
        return [machine for machine in found if machine is not None]

    def _get_policy(self, scope: str, mark: Mark | None, uid: str) -> bool:
        return (scope, uid) in self._policies

    def _memory(self, scope: str, mark: Mark | None, id: str) -> bytes:  # noqa: A002
        return f"memory of {self.machine(id, scope).uid}".encode()

    def _create_policy(self, scope: str, mark: Mark | None, uid: str) -> str:
        if (scope, uid) in self._policies:
            raise Conflict(f"the policy of {uid} is there already")
        self._policies[scope, uid] = mark
        return self._request()

    def _delete_policy(self, scope: str, mark: Mark | None, uid: str) -> str:
        if (scope, uid) not in self._policies:
            raise Gone(f"{uid} has no policy")
        del self._policies[scope, uid]
        return self._request()

    def _patch_labels(
        self,
        scope: str,
        mark: Mark | None,
        id: str,  # noqa: A002
        labels: Mapping[str, str | None],
        version: int | None = None,
        uid: str | None = None,
    ) -> str:
        """A label that is None goes. With `version`, only if the machine still has it."""
        machine = self._the(id, scope, uid, version)
        merged = {**machine.labels, **labels}
        return self._put(machine, mark, labels={key: value for key, value in merged.items() if value is not None})

    def _set_ports(
        self,
        scope: str,
        mark: Mark | None,
        id: str,  # noqa: A002
        ports: Mapping[str, str],
        version: int | None = None,
        uid: str | None = None,
    ) -> str:
        """All of them at once. With `version`, only if the machine still has it."""
        return self._put(self._the(id, scope, uid, version), mark, ports=dict(ports))

    def _stop(self, scope: str, mark: Mark | None, id: str, uid: str | None = None) -> str:  # noqa: A002
        return self._put(self._the(id, scope, uid), mark, power="stopped")

    def _delete(self, scope: str, mark: Mark | None, id: str, uid: str | None = None) -> str:  # noqa: A002
        self._the(id, scope, uid)
        self._forget(scope, id)
        self._history[scope, id].append(Shown(None, self._clock() + self._delay))
        return self._request()

    def _the(self, name: str, scope: str, uid: str | None, version: int | None = None) -> Machine:
        """The machine of this name, if it is also the one with this uid and version."""
        machine = self.machine(name, scope)
        if uid not in (None, machine.uid):
            raise Gone(f"{name} has the uid {machine.uid}, not {uid}")
        if version not in (None, machine.version):
            raise Conflict(f"{name} has version {machine.version}, not {version}")
        return machine

    def _put(self, machine: Machine, mark: Mark | None, **attributes: Any) -> str:
        after = Machine.model_validate({**machine.model_dump(), **attributes, "version": machine.version + 1})
        self._history[machine.scope, machine.id].append(Shown(after, self._clock() + self._delay))
        written = self._traces.setdefault((machine.scope, machine.id), {})
        was, is_now = _values(machine), _values(after)
        written.update({what: mark for what in {*was, *is_now} if was.get(what) != is_now.get(what)})
        return self._request()

    def _forget(self, scope: str, name: str) -> None:
        """What was written to a machine goes with it."""
        self._traces.pop((scope, name), None)
        last = self._history.get((scope, name), [Shown(None, self._clock())])[-1].machine
        if last is not None:
            self._policies.pop((scope, last.uid), None)

    def _request(self) -> str:
        return f"request-{self._number()}"

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers


CALLS: Final[Mapping[str, str]] = {
    "finding.get": "_finding",
    "identity.get": "_identity",
    "machine.get": "_get",
    "machine.list": "_list",
    "machine.read_memory": "_memory",
    "operation.get": "_operation",
    "policy.get": "_get_policy",
    "policy.create": "_create_policy",
    "policy.delete": "_delete_policy",
    "machine.patch_labels": "_patch_labels",
    "machine.set_ports": "_set_ports",
    "machine.stop": "_stop",
    "machine.delete": "_delete",
}
"""What the platform can do."""

READS: Final = frozenset(
    {
        "finding.get",
        "identity.get",
        "machine.get",
        "machine.list",
        "machine.read_memory",
        "operation.get",
        "policy.get",
    }
)


def _values(machine: Machine) -> dict[str, str]:
    """Every value that can be written, each by itself."""
    labels = {f"label {key}": value for key, value in machine.labels.items()}
    return {**labels, **{f"port {port}": source for port, source in machine.ports.items()}, "power": machine.power}


def _there(machine: Machine | None, scope: str, name: str) -> Machine:
    if machine is None:
        raise Gone(f"there is no machine {name} in {scope}")
    return machine
