"""The connection to one vCenter, and the one place that translates what it answers.

A call is a managed object's type and method: `VirtualMachine.ReconfigVM_Task`. What is read is read by explicit
property paths through the PropertyCollector: the attributes of pyVmomi's objects fail on some servers (govmomi 4084).
"""

from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any, Final

from quarantine.action import Call, Cloud, Mark, Receipt, sdk
from quarantine.errors import Conflict, Denied, Gone, ProviderError, Transient, Unknown, Unreachable
from quarantine_vmware import calls
from quarantine_vmware.codes import FAULTS
from quarantine_vmware.session import NotSent, Refused, Session, Sessions, Unreadable

READ: Final = "System.Read"
EDIT: Final = "VirtualMachine.Config.EditDevice"
CONNECT: Final = "VirtualMachine.Interact.DeviceConnection"

_READS: Final[Mapping[str, Callable[..., Any]]] = {
    "ServiceInstance.RetrieveServiceContent": calls.vcenter,
    "PropertyCollector.RetrievePropertiesEx": calls.properties,
    "SearchIndex.FindByUuid": calls.by_uuid,
    "AuthorizationManager.HasPrivilegeOnEntities": calls.privileges,
}
_CHANGES: Final[Mapping[str, Callable[..., Any]]] = {
    "VirtualMachine.ReconfigVM_Task": calls.reconfigure,
}
_ALSO: Final[Mapping[str, tuple[str, ...]]] = {"VirtualMachine.ReconfigVM_Task": (CONNECT,)}
"""What a call needs besides the permission that it is made under: this one edits a device and connects it."""


class VmwareCloud(Cloud):
    """One vCenter, for all of its datacenters and all threads."""

    def __init__(self, vcenter: str, sessions: Sessions, mark: Mark | None = None) -> None:
        super().__init__(mark)
        self.vcenter = vcenter
        self._sessions = sessions

    def reads(self, call: str) -> bool:
        return call in _READS

    def change(self, permission: str, call: str, **arguments: Any) -> Receipt:
        for also in _ALSO[call]:
            self._seen(Call(permission=also, call=call))
        return super().change(permission, call, **arguments)

    def invoke(self, call: str, arguments: Mapping[str, Any]) -> Any:
        """A read whose session or connection has ended is asked again in a new one; a change is tried once."""
        if self.reads(call):
            return self._translated(call, lambda session: self._read_again(session, _READS[call], arguments))
        with_mark = {**arguments, "operation_id": f"{self.mark.case}-{self.mark.step}"}
        return self._translated(call, lambda session: self._once(session, _CHANGES[call], with_mark))

    def receipt(self, answer: Any) -> Receipt:
        """The task: vCenter's list of tasks and events has it by this id."""
        return Receipt(id=str(answer), operation=str(answer))

    def running(self, operation: str) -> bool:
        """Is the task queued or running? A vCenter forgets tasks some ten minutes after their end."""
        call = "PropertyCollector.RetrievePropertiesEx"
        try:
            ((_, _, found),) = self.read(READ, call, objects=[("Task", operation)], paths={"Task": ("info",)})
        except Gone:
            return False
        info = found["info"]
        if info.state != "error":
            return info.state in ("queued", "running")
        failure = translate(info.error, f"task {operation} ({info.descriptionId})", changes=True)
        # It was asked and has answered: what was in its way did not keep us from asking.
        raise Conflict(str(failure)) if isinstance(failure, Transient) else failure

    def _read_again(self, session: Session, read: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        try:
            return read(session, **arguments)
        except sdk("pyVmomi", "vmware").vim.fault.NotAuthenticated:
            self._sessions.forget(session)
        except TimeoutError:
            raise
        except (OSError, HTTPException):
            pass  # the other side had closed an idle connection; all of them are dropped now
        return read(session, **arguments)

    def _once(self, session: Session, change: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        try:
            return change(session, **arguments)
        except sdk("pyVmomi", "vmware").vim.fault.NotAuthenticated:
            self._sessions.forget(session)
            raise

    def _translated(self, call: str, ask: Callable[[Session], Any]) -> Any:
        try:
            with self._sessions.borrow() as session:
                return ask(session)
        except (NotSent, Refused) as error:
            raise _no_session(error, self.vcenter) from error
        except calls.Changed as error:
            raise Transient(f"{call}: {error}") from error
        except (OSError, HTTPException, Unreadable, sdk("pyVmomi", "vmware").vmodl.MethodFault) as error:
            raise translate(error, call, changes=not self.reads(call)) from error


def _no_session(error: Exception, vcenter: str) -> ProviderError:
    if isinstance(error, Refused):
        return Unreachable(
            f"vCenter {vcenter!r} refuses the log-in of {error} ({_name(error.__cause__)}): look at `user` and"
            " `password` in providers.vmware, and whether the account is locked"
        )
    return Unreachable(
        f"no trusted connection to vCenter {vcenter!r}: {error}. Look at `url`, `ca_file` and `thumbprint` in"
        " providers.vmware; then: quarantine doctor"
    )


def translate(error: BaseException, call: str, changes: bool) -> ProviderError:
    """One fault or broken connection as one of our errors, by type. For a change, what is not certain is Unknown."""
    said = getattr(error, "msg", str(error))  # a fault as text is a dump of all of its fields
    text = f"{call}: {_name(error)}{': ' if said else ''}{said or ''}"[:500]
    known = (FAULTS[name] for name in map(_short, type(error).__mro__) if name in FAULTS)
    ours = next(known, Unknown)
    if ours is Unknown and not changes:
        return Transient(text)
    if ours is Denied:
        privilege = getattr(error, "privilegeId", None)
        return Denied(f"{text}; grant {privilege} on the machine or above it" if privilege else text)
    return ours(text)


def _name(error: BaseException | None) -> str:
    return _short(type(error))


def _short(kind: type) -> str:
    """`vim.fault.NoPermission` is the name that pyVmomi gives to the class."""
    return kind.__name__.rpartition(".")[2]
