"""Everything that can go wrong, as one tree. A message names the thing and the next step.

QuarantineError
├── Misconfigured        a setting, playbook or plan file is wrong: file, line, column, what would be right
│   └── Superseded       another key signs the record by now
├── Malformed            a record from outside does not have the shape that its source promises
├── Missing              a package that a provider needs is not installed; the command that installs it
├── NotFound             no case, playbook, provider of that name
├── Misused              a person asked for something that the case's status does not allow
├── Forbidden            this person may not say that, or has not shown who they are
├── Moved                the case changed meanwhile; look again
│   └── Fenced           our lease is over: another worker owns the case now
├── Unavailable          the database does not answer; whether the last commit happened is not known
├── GuardFailed          a guard could not decide; that is a no
├── Pending              an operation of ours has to end before the next change; nothing went wrong
├── Halt                 the gate refused a change before it was sent
│   ├── Killed           a kill switch is on, or cannot be read
│   └── Late             too little of the lease is left to send a change
└── ProviderError        what a provider answered, translated by code in its cloud.py
    ├── Transient        it certainly did not happen; may work in a moment
    │   └── Throttled    the same, and the provider asked us to slow down
    ├── Denied           our identity lacks a permission
    ├── Gone             the resource is not there
    ├── Conflict         a precondition failed: somebody else changed it
    ├── Unsupported      the provider cannot do this here
    ├── Unreachable      no connection or no credentials; nothing was sent
    └── Unknown          no telling whether it happened: look, never repeat
"""


class QuarantineError(Exception):
    """Something this program knows how to explain."""


class Misconfigured(QuarantineError):
    """The configuration, a playbook or a plan file is wrong."""


class Superseded(Misconfigured):
    """Another key signs the record by now."""


class Malformed(QuarantineError):
    """A record does not have the shape that its source promises."""


class Missing(QuarantineError):
    """A package that a provider needs is not installed."""


class NotFound(QuarantineError):
    """There is nothing of that name."""


class Misused(QuarantineError):
    """The case's status does not allow this."""


class Forbidden(QuarantineError):
    """This person may not say that, or has not shown who they are."""


class Moved(QuarantineError):
    """The case changed meanwhile."""


class Fenced(Moved):
    """Another worker owns the case now."""


class Unavailable(QuarantineError):
    """The database does not answer, and there is no telling whether the last commit happened."""


class GuardFailed(QuarantineError):
    """A guard could not decide, which is a no."""


class Pending(QuarantineError):
    """An operation at the provider has to end before the next change. Raised by `apply`, between two changes."""


class Halt(QuarantineError):
    """The gate refused a change before it was sent."""


class Killed(Halt):
    """A kill switch is on."""


class Late(Halt):
    """Too little of the lease is left to send a change."""


class ProviderError(QuarantineError):
    """A provider's answer that is not a success."""


class Transient(ProviderError):
    """It certainly did not happen and may work in a moment."""


class Throttled(Transient):
    """The provider asked us to slow down; nothing happened."""


class Denied(ProviderError):
    """Our identity lacks a permission."""


class Gone(ProviderError):
    """The resource is not there."""


class Conflict(ProviderError):
    """A precondition failed: somebody else changed it."""


class Unsupported(ProviderError):
    """The provider cannot do this here."""


class Unreachable(ProviderError):
    """No connection or no credentials; nothing was sent."""


class Unknown(ProviderError):
    """No telling whether it happened."""
