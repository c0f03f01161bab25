"""The gate before every change: kill switch, fence, deadline; then one try, and its receipt is durable before the next.

admit ── kill switch off? ── declared? ── lease ours and long enough? ──> one call ──> record (Changed)
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from quarantine.action import Call, Receipt, State
from quarantine.case import Case, Changed, EffectArrivedLate, Event, Halted, Opened, Reason, Status
from quarantine.errors import Fenced, Killed, Late, Misused, Moved, QuarantineError, Unavailable
from quarantine.plan import PlannedStep
from quarantine.store.sql import Also, Lease, Store, Switch
from quarantine.text import moment

ENOUGH = timedelta(seconds=20)
"""A call is sent only with this much of the lease left: longer than any provider's time-out of ours."""


@dataclass
class Turn:
    """One claim of one case: the case as it stands, the lease, and how events are added."""

    store: Store
    clock: Callable[[], datetime]
    lease: Lease
    case: Case
    others_wait: Callable[[], bool]
    """Is there a case or a delivery that was not looked at yet, and whose first change would be made now?"""
    by: str = "engine"
    judged: datetime | None = None
    """When the guards have said yes in this very turn."""
    seen: Mapping[int, State] = field(default_factory=dict)
    """What the plan that was made in this turn has seen, by step. The guards have judged that."""
    applied: bool = False
    """A change was made in this very turn."""
    pending: tuple[Event, ...] = ()
    """What is said together with the next event: a plan with what the guards say to it, and not in a commit before."""

    def add(self, *events: Event, also: Also | None = None) -> None:
        """Append under our lease. Raises Fenced when it is no longer ours.

        Without `also` the case stays due: should we die, whoever finds it goes on at once.
        """
        at = self.clock()
        also = also or Also(due=at)
        said = (*self.pending, *events)
        try:
            self.case = self.store.append(self.case, said, by=self.by, at=at, lease=self.lease, also=also)
        except Misused as error:
            if self.store.load(self.case.id).seq == self.case.seq:
                raise  # nobody else spoke: a defect of ours
            raise Moved(str(error)) from error
        self.pending = ()

    def wait(self, until: datetime) -> None:
        """Nothing to say now; look again at a time."""
        self.add(also=Also(due=until))


class CaseGate:
    """The engine's gate, for one step of one turn."""

    def __init__(
        self, turn: Turn, step: PlannedStep, permissions: tuple[str, ...], failpoint: Callable[[str], None]
    ) -> None:
        self._turn = turn
        self._step = step
        self._permissions = permissions
        self._failpoint = failpoint

    def admit(self, call: Call) -> None:
        self._failpoint(f"before {call.call}")
        if call.permission not in self._permissions:
            raise QuarantineError(f"{self._step.action} does not declare the permission {call.permission}")
        reason = kill_reason(self._turn.store, self._turn.case, releasing=self._turn.case.status == "releasing")
        if reason is not None:
            raise Killed(f"the kill switch is on: {reason}")
        left = self._turn.store.check(self._turn.lease)
        if left < ENOUGH:
            raise Late(f"only {left.total_seconds():.0f} s of the lease are left")

    def record(self, call: Call, receipt: Receipt) -> None:
        self._failpoint(f"after {call.call}")
        changed = Changed(
            step=self._step.index,
            permission=call.permission,
            call=call.call,
            receipt=receipt.id,
            operation=receipt.operation,
        )
        try:
            self._turn.add(changed)
        except Fenced:
            late = EffectArrivedLate(step=self._step.index, call=call.call, receipt=receipt.id)
            turn = self._turn
            case = turn.store.append(turn.case.id, [late], by=turn.by, at=turn.clock(), also=Also(due=turn.clock()))
            if case.status is Status.CLOSED:
                _go_on_from(turn, case, late)
            raise


def _go_on_from(turn: Turn, case: Case, late: EffectArrivedLate) -> None:
    """A change has hit a resource whose case is over. A closed case stays closed; a new one is there for a person."""
    opened = Opened(finding=case.finding, playbook=case.playbook, playbook_digest=case.playbook_digest, after=case.id)
    sentence = f"{late.call} of case {case.id} arrived after that case was closed: look at {case.resource}"
    with suppress(Moved):  # a live case has the resource by now, and sees what happened to it
        fresh = turn.store.open(opened, turn.by, turn.clock())
        turn.store.append(
            fresh, [Halted(reason=Reason.UNKNOWN, sentence=sentence)], by=turn.by, at=turn.clock(), also=Also()
        )


def kill_reason(store: Store, case: Case, releasing: bool = False) -> str | None:
    """The kill switch that stops this case now, in words. One that cannot be read is on."""
    try:
        switches = store.switches()
    except Unavailable:
        raise  # stops the change as well; the case goes on when the database answers again
    except Exception as error:
        raise Killed("the kill switch cannot be read, so it counts as on") from error
    return stopping(switches, case, releasing=releasing)


def stopping(switches: list[Switch], case: Case, releasing: bool = False) -> str | None:
    """Which of these switches stops this case. A release is stopped only by `everything`."""
    scopes = {"everything"}
    if not releasing:
        source = case.opened_by.removeprefix("source:").removeprefix("schedule:")
        scopes |= {"all", f"provider:{case.resource.provider}", f"source:{source}"}
        scopes |= {f"playbook:{playbook}" for playbook in case.playbooks}
    for switch in switches:
        if switch.scope in scopes:
            reason = f" ({switch.reason})" if switch.reason else ""
            return f"{switch.scope}, by {switch.by} at {moment(switch.at)}{reason}"
    return None
