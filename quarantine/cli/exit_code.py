"""What the command line's exit codes mean: the only place that maps errors and cases to them.

`audit verify` has codes of its own, 20 and above: quarantine.ledger.Finding.
"""

from enum import IntEnum
from typing import TYPE_CHECKING

from quarantine.errors import (
    Denied,
    Fenced,
    Forbidden,
    Gone,
    GuardFailed,
    Halt,
    Malformed,
    Misconfigured,
    Missing,
    Misused,
    Moved,
    NotFound,
    Pending,
    ProviderError,
    QuarantineError,
    Unreachable,
)

if TYPE_CHECKING:
    from quarantine.case import Case


class ExitCode(IntEnum):
    DONE = 0
    """Done, or nothing to do."""
    INTERNAL = 1
    """An error in this program."""
    USAGE = 2
    """Asked for something that does not exist, cannot be read or is not allowed now."""
    PENDING = 3
    """There is work left: with --detailed-exitcode, or when --wait was over."""
    AUTHENTICATION = 4
    """The provider does not know us, does not let us, or cannot be reached; or we do not know or let this person."""
    APPROVAL = 5
    """A person has to approve."""
    PARTLY = 6
    """Some of it failed: a person has to look."""
    STOPPED = 7
    """A guard said no."""
    INTERRUPTED = 130


# The first that fits counts, so that a narrow error stands before the wider one.
_ERRORS: tuple[tuple[type[QuarantineError], ExitCode], ...] = (
    (Misconfigured, ExitCode.USAGE),
    (Malformed, ExitCode.USAGE),
    (Missing, ExitCode.USAGE),
    (NotFound, ExitCode.USAGE),
    (Misused, ExitCode.USAGE),
    (Forbidden, ExitCode.AUTHENTICATION),
    (Gone, ExitCode.USAGE),
    (Fenced, ExitCode.PARTLY),
    (Moved, ExitCode.PARTLY),
    (Pending, ExitCode.PENDING),
    (GuardFailed, ExitCode.STOPPED),
    (Halt, ExitCode.STOPPED),
    (Denied, ExitCode.AUTHENTICATION),
    (Unreachable, ExitCode.AUTHENTICATION),
    (ProviderError, ExitCode.PARTLY),
)


def of_error(error: QuarantineError) -> ExitCode:
    return next((code for kind, code in _ERRORS if isinstance(error, kind)), ExitCode.INTERNAL)


def of_case(case: "Case") -> ExitCode:
    """How a command ends that carried this case as far as it goes."""
    from quarantine.case import Outcome, Reason, Status

    if case.status is Status.CLOSED:
        stopped = case.outcome in (Outcome.REFUSED, Outcome.DECLINED, Outcome.EXPIRED)
        return ExitCode.STOPPED if stopped else ExitCode.DONE
    if case.status is Status.NEEDS_HUMAN:
        reasons = {
            Reason.STOPPED: ExitCode.STOPPED,
            Reason.GUARD_ERROR: ExitCode.STOPPED,
            Reason.PERMISSION_MISSING: ExitCode.AUTHENTICATION,
            Reason.UNREACHABLE: ExitCode.AUTHENTICATION,
        }
        return ExitCode.PARTLY if case.reason is None else reasons.get(case.reason, ExitCode.PARTLY)
    if case.asks_until is not None:
        return ExitCode.APPROVAL
    statuses = {
        Status.CONTAINED: ExitCode.DONE,
        Status.AWAITING_APPROVAL: ExitCode.APPROVAL,
        Status.PROPOSED: ExitCode.STOPPED,
    }
    return statuses.get(case.status, ExitCode.PENDING)
