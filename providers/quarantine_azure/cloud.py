"""The connection to one subscription: every request to Azure Resource Manager (ARM) passes here.

A call is a verb and a type: `get Microsoft.Network/networkInterfaces`. Requests and answers are raw JSON: typed models
drop what they do not know (`kind`, `allowPort25Out`), and a NIC can only be changed by putting all of it back.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import NAMESPACE_OID, UUID, uuid5

from quarantine.action import Call, Cloud, Identity, Mark, Receipt, sdk
from quarantine.errors import Conflict, Denied, Gone, ProviderError, Transient, Unsupported
from quarantine_azure.arm_id import ArmId
from quarantine_azure.codes import coded, content, translate
from quarantine_azure.session import Session

OPERATION_READ: Final = "Microsoft.Network/locations/operations/read"
RESULT_READ: Final = "Microsoft.Network/locations/operationResults/read"
"""What it takes to ask about a long-running operation, under its Azure-AsyncOperation and under its Location."""

_VERSIONS: Final = {
    "Microsoft.Network": "2025-05-01",
    "Microsoft.Authorization/locks": "2020-05-01",
    "Microsoft.Authorization/permissions": "2022-04-01",
    "Microsoft.Resources/subscriptions": "2022-12-01",
}
"""API versions. Microsoft.Compute's is that of the SDK."""

_ENDED: Final = {"succeeded": None, "failed": "OperationFailed", "canceled": "Canceled"}
"""Exactly these three are ends (Azure/azure-resource-manager-rpc, Addendum, "Asynchronous Operations")."""


@dataclass(frozen=True)
class Answer:
    """What came back for a change."""

    body: Any
    headers: Mapping[str, str]


class AzureCloud(Cloud):
    """Arguments of a call: `id`, and for a change `body`, `etag` (If-Match) or `only_new` (If-None-Match)."""

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
        permission = RESULT_READ if "/operationresults/" in operation.lower() else OPERATION_READ
        try:
            answer = self.read(permission, "get operation", url=operation)
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
                return list(self._pages(self._url(kind, arguments["id"]), headers))
            if kind == "Microsoft.Compute/virtualMachines":
                id_ = _parsed(arguments["id"])
                response = self._session.get_virtual_machine(id_.group, id_.name, headers)
            else:
                url = self._url(kind, arguments["id"])
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

    def _url(self, kind: str, id_: str) -> str:
        version = _VERSIONS.get(kind) or _VERSIONS[kind.partition("/")[0]]
        below = f"/providers/{kind}" if kind.startswith("Microsoft.Authorization/") else ""
        _parsed(id_)
        return f"{self._session.endpoint}{id_}{below}?api-version={version}"

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
