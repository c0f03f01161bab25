"""How Azure Resource Manager says no: its error codes, and which of our errors each one is.

Sources: "Troubleshoot common Azure deployment errors" (the general codes); recorded sessions of the Azure SDKs and of
kubernetes-sigs/cloud-provider-azure (412 in both shapes, 404); "Understand how Azure Resource Manager throttles
requests" and hashicorp/terraform issue 7986 (429 that is no throttling: its detail says so).
"""

import json
import ssl
from typing import Any, Final

from quarantine.action import sdk
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

_CODES: Final[dict[type[ProviderError], tuple[str, ...]]] = {
    # Another operation holds the resource, or something that it refers to. Nothing was begun.
    Transient: (
        "AnotherOperationInProgress",
        "ReferencedResourceNotProvisioned",
        "RetryableError",
        "RetryableErrorDueToAnotherOperation",
    ),
    Denied: (
        "AuthorizationFailed",
        "DenyAssignmentAuthorizationFailed",
        "Forbidden",
        "LinkedAuthorizationFailed",
    ),
    Gone: ("NotFound", "ResourceGroupNotFound", "ResourceNotFound"),
    Conflict: (
        "Canceled",
        "CanceledAndSupersededDueToAnotherOperation",
        "Conflict",
        "InUseNetworkSecurityGroupCannotBeDeleted",
        "InvalidResourceReference",
        "OperationPreempted",
        "PreconditionFailed",
        "PreconditionFailedEtagMismatch",
        "ResourceGroupBeingDeleted",
    ),
    # To try again helps neither with a lock nor with a policy: a person lifts it.
    Unsupported: ("MissingSubscriptionRegistration", "RequestDisallowedByPolicy", "ScopeLocked"),
    # Credentials, tenant or subscription are not what the configuration says. The request was not carried out.
    Unreachable: (
        "AuthenticationFailed",
        "ExpiredAuthenticationToken",
        "InvalidAuthenticationToken",
        "InvalidAuthenticationTokenAudience",
        "InvalidAuthenticationTokenTenant",
        "InvalidSubscriptionId",
        "ReadOnlyDisabledSubscription",
        "SubscriptionNotFound",
    ),
    # For a read, the same is Transient.
    Unknown: ("GatewayTimeout", "InternalError", "InternalServerError", "RequestTimeout", "ServerTimeout"),
}

CODES: Final = {code: ours for ours, codes in _CODES.items() for code in codes}

_LOOK_AT_ACCESS: Final = "Look at providers.azure in the configuration and at the credentials; then: quarantine doctor"

NEXT_STEPS: Final = {
    "LinkedAuthorizationFailed": "what the request links to needs a permission too: the `join` actions among"
    " `quarantine permissions`",
    "MissingSubscriptionRegistration": "register the resource provider: az provider register --namespace NAME",
    "RequestDisallowedByPolicy": "a policy of this subscription forbids it: exempt what this program makes, or choose"
    " another containment",
    "ScopeLocked": "a lock is in the way: az lock list --resource-group GROUP; lift it, then retry the case",
}


def translate(error: Any, call: str, changes: bool) -> ProviderError:
    """One SDK error as one of ours, by its code or class. For a change, what is not certain is Unknown."""
    core = sdk("azure.core.exceptions")
    text = f"{call}: {str(error)[:500]}"
    if isinstance(error, core.ClientAuthenticationError):
        return Unreachable(f"{text}. {_LOOK_AT_ACCESS}")
    if isinstance(error, core.ServiceRequestError):
        if changes and not _never_sent(error):
            return Unknown(text)
        return Unreachable(f"{text}. Look at the network path and at providers.azure.endpoint_url")
    response = getattr(error, "response", None)
    if response is None or isinstance(error, core.IncompleteReadError | core.DecodeError):
        return Unknown(text) if changes else Transient(text)
    said = coded(content(response), response.status_code, call, changes)
    wait = response.headers.get("Retry-After")
    return type(said)(f"{said}; it asks to wait {wait} s") if wait and isinstance(said, Transient) else said


def coded(body: Any, status: int, call: str, changes: bool) -> ProviderError:
    """By error.code; where that is a general one, by the code of a detail. Then by status."""
    error = body.get("error") if isinstance(body, dict) else None
    error = error if isinstance(error, dict) else {}
    details = [item for item in error.get("details") or [] if isinstance(item, dict)]
    codes = [str(error.get("code", "")), *(str(item.get("code", "")) for item in details)]
    ours = next((CODES[code] for code in codes if code in CODES), None)
    if ours is None:
        ours = _by_status(status, bool(error))
    if ours is Unknown and not changes:
        ours = Transient
    said = "/".join(filter(None, codes)) or str(status)
    step = next((f"; {NEXT_STEPS[code]}" for code in codes if code in NEXT_STEPS), "")
    if ours is Unreachable:
        step = f". {_LOOK_AT_ACCESS}"
    return ours(f"{call}: {said}: {str(error.get('message', ''))[:500]}{step}")


def content(response: Any) -> Any:
    """An object, or None: for no content, and for what no resource manager says, such as the page of a proxy."""
    try:
        return json.loads(response.text() or "null")
    except ValueError:
        return None


def _by_status(status: int, spoken: bool) -> type[ProviderError]:
    """`spoken`: it is ARM's own error object, and not the page of something on the way. 0 is a failed operation."""
    if status == 401:
        return Unreachable
    if status == 403:
        return Denied
    if status in (409, 412):
        return Conflict
    if status == 429:
        return Throttled
    if status >= 500 or status in (0, 408) or status < 300:
        return Unknown
    return Unsupported if spoken or status != 404 else Unreachable


def _never_sent(error: Any) -> bool:
    """Certainly before anything was sent: no connection, or a certificate that did not verify."""
    if not isinstance(error.inner_exception, sdk("requests.exceptions").SSLError):
        return True  # azure-core calls what broke after that a ServiceResponseError
    cause: BaseException | None = error.inner_exception
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
