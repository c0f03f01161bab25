"""The connection to one subscription: every request to Azure Resource Manager (ARM) passes here.

A call is a verb and a type: `get Microsoft.Network/networkInterfaces`. Requests and answers are raw JSON: typed models
drop what they do not know (`kind`, `allowPort25Out`), and a NIC can only be changed by putting all of it back.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode, urlsplit
from uuid import NAMESPACE_OID, UUID, uuid5

from quarantine.action import Call, Cloud, Identity, Mark, Receipt, sdk
from quarantine.errors import Conflict, Denied, Gone, ProviderError, Transient, Unsupported
from quarantine_azure.arm_id import ArmId
from quarantine_azure.codes import coded, content, translate
from quarantine_azure.session import Session

OPERATION_READ: Final = "Microsoft.Network/locations/operations/read"
RESULT_READ: Final = "Microsoft.Network/locations/operationResults/read"
COMPUTE_OPERATION_READ: Final = "Microsoft.Compute/locations/operations/read"
DISK_OPERATION_READ: Final = "Microsoft.Compute/locations/diskOperations/read"
"""What it takes to ask about a long-running operation. The network's provider has another one under its Location."""

_OPERATIONS: Final = {
    name.lower(): name for name in (OPERATION_READ, RESULT_READ, COMPUTE_OPERATION_READ, DISK_OPERATION_READ)
}
_OPERATION: Final = re.compile(r".*/providers/([\w.]+)/locations/[^/]+/(\w+)/[^/]+")

UNCONDITIONAL_LATE: Final = timedelta(minutes=16)
"""How long a request that carries no condition may still arrive after its sender fell silent: what was handed to TCP is
sent again for up to 924.6 s (Linux, ip-sysctl, tcp_retries2). The storage, compute and authorization providers know no
If-Match."""

_VERSIONS: Final = {
    "Microsoft.Network": "2025-05-01",
    "Microsoft.Storage": "2024-01-01",
    "Microsoft.Authorization/locks": "2020-05-01",
    "Microsoft.Authorization": "2022-04-01",
    "Microsoft.Compute": "2024-07-01",
    "Microsoft.Compute/disks": "2024-03-02",
    "Microsoft.Compute/snapshots": "2024-03-02",
    "Microsoft.ContainerInstance": "2023-05-01",
    "Microsoft.Resources/subscriptions": "2022-12-01",
    "Microsoft.Security": "2022-01-01",
}
"""API versions, of a type or of its provider. That of a single machine is the SDK's."""

_ENDED: Final = {"succeeded": None, "failed": "OperationFailed", "canceled": "Canceled"}
"""Exactly these three are ends (Azure/azure-resource-manager-rpc, Addendum, "Asynchronous Operations")."""


@dataclass(frozen=True)
class Answer:
    """What came back for a change."""

    body: Any
    headers: Mapping[str, str]


class AzureCloud(Cloud):
    """Arguments of a call: `id`, and for a change `body`, `etag` (If-Match) or `only_new` (If-None-Match).

    `below` is what follows the id (`/deallocate`) and `query` what follows that: ours, never from a finding.
    """

    def __init__(self, subscription: str, session: Session, mark: Mark | None = None) -> None:
        super().__init__(mark)
        self.subscription = subscription
        self._session = session

    def reads(self, call: str) -> bool:
        return call.startswith(("get ", "list "))

    def read(self, permission: str, call: str, **arguments: Any) -> Any:
        with _naming(permission):
            return super().read(permission, call, **arguments)

    def read_or_absent(self, permission: str, call: str, **arguments: Any) -> Any | None:
        """The answer, or None if there is nothing under this id."""
        try:
            return self.read(permission, call, **arguments)
        except Gone:
            return None

    def change(self, permission: str, call: str, joins: Iterable[str] = (), **arguments: Any) -> Receipt:
        """`joins` are the permissions that ARM asks for besides, for what the body links to."""
        for join in joins:
            self._seen(Call(permission=join, call=call))
        with _naming(permission):
            return super().change(permission, call, **arguments)

    def running(self, operation: str) -> bool:
        """Under an Azure-AsyncOperation a status says it; under a Location, 202 does."""
        try:
            answer = self.read(_operation_read(operation), "get operation", url=operation)
        except Gone:
            return False
        if answer.status == 202:
            return True
        body = answer.body if isinstance(answer.body, dict) else {}
        status = str(body.get("status", "Succeeded")).lower()
        if status not in _ENDED:
            return True
        if (code := _ENDED[status]) is not None:
            raise _failure(body.get("error"), code, urlsplit(operation).path)
        return False

    @property
    def object_id(self) -> str:
        """The directory's id for ourselves, in lower case; empty if our token does not say it. Raises ProviderError."""
        with _translating("get token", changes=False):
            return str(self._session.claims().get("oid") or "").lower()

    def identity(self) -> Identity:
        """The subscription that answers, and who its token says we are. Raises ProviderError."""
        answer = self.read(
            "Microsoft.Resources/subscriptions/read",
            "get Microsoft.Resources/subscriptions",
            id=f"/subscriptions/{self.subscription}",
        )
        with _translating("get token", changes=False):
            claims = self._session.claims()
        name = claims.get("upn") or claims.get("appid") or claims.get("azp")
        principal = " ".join(str(part) for part in (name, claims.get("oid")) if part) or "unknown"
        return Identity(account=str(answer["subscriptionId"]).lower(), principal=principal)

    def invoke(self, call: str, arguments: Mapping[str, Any]) -> Any:
        method, _, kind = call.partition(" ")
        changes = not self.reads(call)
        headers = {"User-Agent": self._user_agent(), "Accept": "application/json"}
        if changes:
            headers["x-ms-client-request-id"] = _client_request_id(self.mark.key)
        if "etag" in arguments:
            headers["If-Match"] = arguments["etag"]
        if arguments.get("only_new"):
            headers["If-None-Match"] = "*"
        with _translating(f"{call} {arguments.get('id', '')}".strip(), changes):
            if kind == "operation":
                return self._poll(arguments["url"], headers)
            if method == "list":
                return list(self._pages(self._url(method, kind, arguments), headers))
            if call == "get Microsoft.Compute/virtualMachines":
                id_ = _parsed(arguments["id"])
                response = self._session.get_virtual_machine(id_.group, id_.name, headers)
            else:
                url = self._url(method, kind, arguments)
                response = self._session.send(method.upper(), url, arguments.get("body"), headers)
            body = content(response)
        return Answer(body, response.headers) if changes else _object(body, call)

    def receipt(self, answer: Any) -> Receipt:
        """The id under which ARM's activity log has the request, and the URL of the operation that it began."""
        headers = answer.headers
        names = ("x-ms-correlation-request-id", "x-ms-request-id")
        id_ = next((headers[name] for name in names if headers.get(name)), "")
        begun = headers.get("Azure-AsyncOperation") or headers.get("Location")
        operation = begun if begun and self._ours(begun) else None
        return Receipt(id=id_ or _client_request_id(self.mark.key), operation=operation, answer=answer.body)

    def _poll(self, url: str, headers: dict[str, str]) -> Any:
        if not self._ours(url):
            raise Unsupported(f"the operation's URL does not belong to {self._session.endpoint}: it is not fetched")
        response = self._session.send("GET", url, None, headers)
        return _Polled(response.status_code, content(response))

    def _pages(self, url: str, headers: dict[str, str]) -> Iterator[Any]:
        while url:
            page = _object(content(self._session.send("GET", url, None, headers)), url)
            yield from page.get("value") or []
            url = page.get("nextLink") or ""
            if url and not self._ours(url):
                raise Unsupported(f"the next page does not belong to {self._session.endpoint}: it is not fetched")

    def _url(self, method: str, kind: str, arguments: Mapping[str, Any]) -> str:
        """A list is of a type in a scope, unless `below` says where it is."""
        version = next(_VERSIONS[name] for name in (kind, kind.partition("/")[0]) if name in _VERSIONS)
        below = arguments.get("below") or (f"/providers/{kind}" if method == "list" else "")
        query = urlencode({"api-version": version, **arguments.get("query", {})})
        _parsed(arguments["id"])
        return f"{self._session.endpoint}{arguments['id']}{below}?{query}"

    def _ours(self, url: str) -> bool:
        """A URL that an answer names is fetched with our token: only where the configuration sends us anyway."""
        theirs, ours = urlsplit(url), urlsplit(self._session.endpoint)
        return (theirs.scheme, theirs.netloc.lower()) == (ours.scheme, ours.netloc.lower())

    def _user_agent(self) -> str:
        return f"cloud-quarantine case/{self._mark.case}" if self._mark else "cloud-quarantine"


@dataclass(frozen=True)
class _Polled:
    status: int
    body: Any


def _operation_read(url: str) -> str:
    """The permission to ask about an operation: its provider and its kind stand in the URL."""
    found = _OPERATION.fullmatch(urlsplit(url).path)
    name = f"{found[1]}/locations/{found[2]}/read" if found else OPERATION_READ
    return _OPERATIONS.get(name.lower(), name)


def _failure(error: Any, code: str, operation: str) -> ProviderError:
    """What an operation has failed with. What would be Transient for a request was in its way: Conflict."""
    said = {"code": code, **error} if isinstance(error, dict) else {"code": code}
    failure = coded({"error": said}, 0, f"operation {operation}", changes=True)
    return Conflict(str(failure)) if isinstance(failure, Transient) else failure


def _client_request_id(key: str) -> str:
    """The activity log keeps it (httpRequest.clientRequestId), as a GUID; so is an intent's key, but for the dashes."""
    try:
        return str(UUID(key))
    except ValueError:
        return str(uuid5(NAMESPACE_OID, key))


def _parsed(id_: str) -> ArmId:
    found = ArmId.parse(id_)
    if found is None:
        raise Gone(f"nothing in Azure can have the id {id_[:200]!r}")
    return found


def _object(body: Any, call: str) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise Transient(f"{call}: what answered is no resource manager: it did not send a JSON object")
    return body


@contextmanager
def _naming(permission: str) -> Iterator[None]:
    try:
        yield
    except Denied as error:
        raise Denied(
            f"{error}; our identity needs {permission}: grant a role that has it, and look for a deny assignment"
        ) from error


@contextmanager
def _translating(call: str, changes: bool) -> Iterator[None]:
    core = sdk("azure.core.exceptions")
    try:
        yield
    except core.AzureError as error:
        raise translate(error, call, changes) from error
    except ValueError as error:  # a body that says it is JSON and is not; only the SDK's own operation reads so early
        raise Transient(f"{call}: what answered is no resource manager: {error}") from error
