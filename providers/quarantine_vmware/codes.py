"""The faults of the vSphere API that we understand, and which of our errors each one is. Data for `cloud.translate`.

A fault that is not here is looked up by its parents: InvalidPowerState is an InvalidState. Source: the fault pages of
the vSphere Web Services API reference.
"""

from typing import Final

from quarantine.errors import Conflict, Denied, Gone, ProviderError, Transient, Unknown, Unreachable, Unsupported

_FAULTS: Final[dict[type[ProviderError], tuple[str, ...]]] = {
    # Refused before anything was done.
    Transient: (
        "NotAuthenticated",  # a session that has ended; the next call logs in again
        "TaskInProgress",  # another operation has the machine
        "ResourceInUse",
        "ConcurrentAccessInProgress",
        "FileLocked",
        "HostNotConnected",
        "HostNotReachable",
    ),
    Denied: ("NoPermission", "RestrictedVersion", "RestrictedByAdministrator"),
    Unreachable: ("InvalidLogin", "NoClientCertificate", "PasswordExpired"),
    Gone: ("ManagedObjectNotFound",),
    Conflict: ("ConcurrentAccess",),  # the changeVersion that we sent is not the latest
    Unsupported: (
        "InvalidState",
        "InvalidType",
        "InvalidRequest",
        "InvalidArgument",
        "NotSupported",
        "NotImplemented",
        "NotEnoughLicenses",
        "VmConfigFault",
        "MethodDisabled",
    ),
    # A person cancelled the task, who is not to be overruled; the host did not answer the vCenter; something broke
    # inside: it may have happened.
    Unknown: (
        "RequestCanceled",
        "HostCommunication",
        "Timedout",
        "SystemError",
        "RuntimeFault",
        "VimFault",
        "MethodFault",
    ),
}
FAULTS: Final[dict[str, type[ProviderError]]] = {fault: ours for ours, faults in _FAULTS.items() for fault in faults}
