"""An Azure Resource Manager on a loopback port, for one subscription: machines, interfaces, security groups, locks.

request ── log ── token ── API version ── fault? ── roles ── locks ── network provider ──> state, operation ── fault?

It does what recorded sessions of the real one show, refuses what that refuses (arm_network.py, arm_storage.py), and can
say no in every way that it says no. It keeps a log of requests. Put a `FaultProxy` in front of it to hold a call.
What is no network resource is in ROUTES, and every body of it, in and out, is held against the SDK's own model.
"""

import base64
import copy
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatch
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.testbed import arm_power, arm_rules, arm_storage
from tests.testbed.arm_bodies import account_body, container_body, machine_body, nic_body
from tests.testbed.arm_network import Body, Refused, accept_group, accept_nic, joins
from tests.testbed.arm_route import Route
from tests.testbed.fault import Answer
from tests.testbed.relay import Relay

SUBSCRIPTION = "0b1f6471-1bf0-4dda-aec3-cb9272f09590"
LOCATION = "westeurope"
GROUP = "Shop-RG"
OBJECT_ID = "b7f1f3a2-1111-4222-8333-444455556666"
VMS = "Microsoft.Compute/virtualMachines"
NICS = "Microsoft.Network/networkInterfaces"
GROUPS = "Microsoft.Network/networkSecurityGroups"
ROUTES: tuple[Route, ...] = (*arm_storage.ROUTES, *arm_rules.ROUTES, *arm_power.ROUTES)


def _segment(claims: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


TOKEN = ".".join(
    [
        _segment({"alg": "none", "typ": "JWT"}),
        _segment({"oid": OBJECT_ID, "appid": "cloud-quarantine-app", "tid": "11111111-aaaa-4bbb-8ccc-222233334444"}),
        "unsigned",
    ]
)


class Style(Enum):
    """How a change says where its operation can be asked about."""

    ASYNC = "Azure-AsyncOperation"
    LOCATION = "Location"
    BOTH = "both"
    AT_ONCE = "none"  # no operation: done when it is answered, as some interfaces are (recorded)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)  # names in lower case
    body: Any = field(repr=False)
    status: int | None = None  # None: the connection ended without an answer

    @property
    def changes(self) -> bool:
        return self.method != "GET"

    @property
    def words(self) -> str:
        """`PUT networkInterfaces web-1`: what a test wants to read."""
        *_, kind, name = self.path.split("/")
        return f"{self.method} {kind} {name}"


Matching = Callable[[Request], bool]


@dataclass
class Operation:
    resource: str
    deletes: bool
    polls: float  # answers InProgress so many times more
    error: tuple[str, str] | None  # ends Failed with this
    status: str = "InProgress"


@dataclass
class _Fault:
    matches: Matching
    act: Callable[[], None]  # raises
    after: bool  # the effect has happened
    times: float


class Lost(Exception):
    """The connection ends here."""


def changes_of(kind: str) -> Matching:
    """Requests that change something of this kind: `changes_of("networkInterfaces")`."""
    return lambda request: request.changes and f"/{kind}/".lower() in request.path.lower()


class Arm:
    """Runs inside `with`."""

    def __init__(self) -> None:
        self.resources: dict[str, Body] = {}  # by id in lower case
        self.locks: list[Body] = []
        self.alerts: list[Body] = []  # of Defender for Cloud, as its REST API shows them
        self.granted: list[Body] = [{"actions": ["*"], "notActions": []}]
        self.requests: list[Request] = []
        self.put_style = Style.ASYNC  # network PUTs are never 202 (azure-rest-api-specs issue 1220)
        self.delete_style = Style.BOTH
        self.post_style = Style.BOTH
        self.power: dict[str, tuple[str, str, str]] = {}  # by id: before, on the way, after the last change of it
        self.power_unsaid = 0.0  # so many instance views lack the power state
        self.polls: float = 0  # how many looks an operation that begins now will outlast; inf: until `finish`
        self.flushes = True  # whether the region knows flushConnection
        self.nulls_remove = True  # whether null in a PATCH takes a property away (RFC 7396), or is passed over
        self.flows: dict[str, list[str]] = {}  # connections that are open, by the interface's id in lower case
        self.token = TOKEN
        self._operations: dict[str, Operation] = {}
        self._previous: dict[str, Body | None] = {}
        self._stale: dict[str, float] = {}
        self._faults: list[_Fault] = []
        self._failure: tuple[str, str] | None = None
        self._etags = 0
        self._lock = threading.RLock()
        self._relay = Relay(self._exchange)
        self.url = self._relay.url

    def __enter__(self) -> Self:
        for route in ROUTES:
            route.load()
        self._relay.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._relay.stop()

    # -- what tests make, as somebody else would --------------------------------------------------------------------

    def make_vm(self, name: str, nics: Iterable[str], group: str = GROUP, **properties: Any) -> Body:
        """A machine with these interfaces. `tags` and `identity` go to the top, all else below `properties`."""
        body = machine_body(f"{_group(group)}/providers/{VMS}/{name}", LOCATION, nics, **properties)
        for nic in nics:
            self.resources[nic.lower()]["properties"]["virtualMachine"] = {"id": body["id"]}
        return self.store(body)

    def make_nic(self, name: str, security_group: str | None = None, group: str = GROUP, **properties: Any) -> str:
        """Its id. One connection through it is open."""
        id_ = f"{_group(group)}/providers/{NICS}/{name}"
        if security_group is not None:
            properties["networkSecurityGroup"] = {"id": security_group}
        self.store(nic_body(id_, LOCATION, **properties))
        self.flows[id_.lower()] = ["ssh from 203.0.113.7"]
        return id_

    def make_group(self, name: str, group: str = GROUP, rules: Iterable[Body] = (), **tags: str) -> str:
        """A network security group; its id."""
        id_ = f"{_group(group)}/providers/{GROUPS}/{name}"
        body = accept_group({"location": LOCATION, "tags": tags, "properties": {"securityRules": list(rules)}}, None)
        body["properties"]["provisioningState"] = "Succeeded"
        self.store({**body, "id": id_, "name": name, "type": GROUPS})
        return id_

    def make_account(self, name: str, **properties: Any) -> str:
        """A storage account; its id. What is None was never said."""
        body = account_body(f"{_group(GROUP)}/providers/{arm_storage.ACCOUNTS}/{name}", LOCATION, **properties)
        return str(self.store(body)["id"])

    def make_container(self, account: str, name: str, level: str | None = None) -> str:
        """A blob container of the account with this id; its id."""
        return str(self.store(container_body(f"{account}/blobServices/default/containers/{name}", level))["id"])

    def lock(self, level: str, scope: str, name: str = "keep") -> None:
        id_ = f"{scope}/providers/Microsoft.Authorization/locks/{name}"
        kind = "Microsoft.Authorization/locks"
        self.locks.append({"id": id_, "name": name, "type": kind, "properties": {"level": level, "notes": "audit"}})

    def read(self, id_: str) -> Body:
        with self._lock:
            return copy.deepcopy(self.resources[id_.lower()])

    def alter(self, id_: str, change: Callable[[Body], None]) -> None:
        """Somebody else changes it, at once, and it gets another ETag."""
        with self._lock:
            body = self.read(id_)
            change(body)
            self.store(body)

    def remove(self, id_: str) -> None:
        with self._lock:
            del self.resources[id_.lower()]

    def groups(self) -> list[str]:
        """Names of the network security groups that stand."""
        with self._lock:
            return sorted(body["name"] for body in self.resources.values() if body["type"] == GROUPS)

    # -- operations -------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Every operation that runs comes to its end."""
        with self._lock:
            for operation in list(self._operations.values()):
                self._end(operation)

    def fail_next(self, code: str = "InternalServerError", message: str = "An error occurred.") -> None:
        """The next operation that begins will end Failed."""
        self._failure = (code, message)

    def running(self) -> int:
        with self._lock:
            return sum(operation.status == "InProgress" for operation in self._operations.values())

    def forget_operations(self) -> None:
        """Their URLs are not known any more."""
        with self._lock:
            self.finish()
            self._operations.clear()

    # -- how it says no ---------------------------------------------------------------------------------------------

    def refuse(
        self, matches: Matching, status: int, code: str, *details: str, times: float = 1, **headers: str
    ) -> None:
        """`refuse(changes_of("networkInterfaces"), 429, "TooManyRequests", Retry_After="7")`"""

        def act() -> None:
            raise Refused(status, code, "", *details, **headers)

        self._faults.append(_Fault(matches, act, after=False, times=times))

    def lose(self, matches: Matching, after_the_effect: bool, times: float = 1) -> None:
        def act() -> None:
            raise Lost

        self._faults.append(_Fault(matches, act, after=after_the_effect, times=times))

    def stale(self, id_: str, times: float = 1) -> None:
        """Reads get what was there before the last change."""
        self._stale[id_.lower()] = times

    def changes(self) -> list[str]:
        """What was changed, in order: `PUT networkInterfaces web-1`. Refused requests are left out."""
        with self._lock:
            return [
                request.words
                for request in self.requests
                if request.changes and (request.status is None or request.status < 300)
            ]

    # -- one request ------------------------------------------------------------------------------------------------

    def _exchange(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> Answer | None:
        url = urlsplit(target)
        names = {name.lower(): value for name, value in headers}
        request = Request(method, url.path, dict(parse_qsl(url.query)), names, _json(body))
        with self._lock:
            try:
                status, content, more = self._answer(request)
                self._strike(request, after=True)
            except Refused as refused:
                status, content, more = refused.status, refused.body, refused.headers
            except Lost:
                self.requests.append(request)
                return None
            self.requests.append(Request(method, url.path, request.query, names, request.body, status))
        sent = {
            "Content-Type": "application/json; charset=utf-8",
            "x-ms-request-id": str(uuid.uuid4()),
            "x-ms-correlation-request-id": str(uuid.uuid4()),
            "x-ms-ratelimit-remaining-subscription-global-writes": "11999",
            **more,
        }
        return Answer(status, list(sent.items()), b"" if content is None else json.dumps(content).encode())

    def _answer(self, request: Request) -> tuple[int, Any, dict[str, str]]:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            raise Refused(401, "InvalidAuthenticationToken", WWW_Authenticate='Bearer error="invalid_token"')
        if not re.fullmatch(r"20\d\d-\d\d-\d\d(-preview)?", request.query.get("api-version", "")):
            raise Refused(400, "MissingApiVersionParameter", "The api-version query parameter is required.")
        path = request.path.lower()
        if not path.startswith(f"/subscriptions/{SUBSCRIPTION}"):
            raise Refused(404, "SubscriptionNotFound", "The subscription could not be found.")
        if found := re.fullmatch(r".*/(operations|operationresults)/([0-9a-f-]+)", path):
            return self._poll("operationresults" if "monitor" in request.query else found[1], found[2])
        if found := re.fullmatch(r"(.*)/providers/microsoft.authorization/(locks|permissions)", path):
            return self._about(request, found[1], found[2])
        if "/providers/microsoft.security/" in path:
            return self._alerts(request, path)
        if path == f"/subscriptions/{SUBSCRIPTION}":
            self._allow(request, "Microsoft.Resources/subscriptions/read")
            return 200, {"id": request.path, "subscriptionId": SUBSCRIPTION, "state": "Enabled"}, {}
        for route in ROUTES:
            if route.method == request.method and (found := re.fullmatch(route.path, path)):
                return self._routed(route, request, path, found)
        return self._resource(request, path)

    def _routed(
        self, route: Route, request: Request, path: str, found: re.Match[str]
    ) -> tuple[int, Any, dict[str, str]]:
        self._strike(request, after=False)
        self._allow(request, route.permission)
        if request.changes:
            self._unlocked(path, request.method)
        route.check_sent(request.body)
        for link in route.links(request.body):
            self._allow_link(link)
        status, content, headers = route.answer(self, request, found)
        route.check_answered(content)
        return status, content, headers

    def page(self, request: Request, found: list[Body]) -> Body:
        """One at a time, so that everybody who lists meets a second page."""
        number = int(request.query.get("page", 0))
        more = {"nextLink": self._link(request, number + 1)} if number + 1 < len(found) else {}
        return {"value": copy.deepcopy(found[number : number + 1]), **more}

    def _about(self, request: Request, scope: str, what: str) -> tuple[int, Any, dict[str, str]]:
        self._allow(request, f"Microsoft.Authorization/{what}/read")
        if what == "permissions":
            return 200, {"value": self.granted}, {}
        related = [
            lock
            for lock in self.locks
            if f"{scope}/".startswith(f"{_scope(lock)}/") or f"{_scope(lock)}/".startswith(f"{scope}/")
        ]
        return 200, self.page(request, related), {}

    def _alerts(self, request: Request, path: str) -> tuple[int, Any, dict[str, str]]:
        """Alerts - Get, by subscription or group and location; Alerts - List, of the subscription, in pages."""
        self._strike(request, after=False)
        self._allow(request, "Microsoft.Security/alerts/read")
        if path == f"/subscriptions/{SUBSCRIPTION}/providers/microsoft.security/alerts":
            page = int(request.query.get("page", 0))
            more = {"nextLink": self._link(request, page + 1)} if page + 1 < len(self.alerts) else {}
            return 200, {"value": self.alerts[page : page + 1], **more}, {}
        for alert in self.alerts:
            if alert["id"].lower() == path:
                return 200, alert, {}
        raise Refused(404, "ResourceNotFound", f"The Resource '{path}' was not found.")

    def _link(self, request: Request, page: int) -> str:
        query = urlencode({**request.query, "page": page})
        return f"http://{request.headers['host']}{request.path}?{query}"

    def _resource(self, request: Request, path: str) -> tuple[int, Any, dict[str, str]]:
        found = re.fullmatch(r"/subscriptions/[^/]+/resourcegroups/([^/]+)/providers/([^/]+/[^/]+)/([^/]+)", path)
        kinds = {kind.lower(): kind for kind in (VMS, NICS, GROUPS)}
        if not found or found[2] not in kinds:
            raise Refused(404, "InvalidResourceType", "The resource type could not be found.")
        kind = kinds[found[2]]
        verb = {"GET": "read", "PUT": "write", "DELETE": "delete"}.get(request.method)
        if verb is None or (kind == VMS and verb != "read"):
            raise Refused(405, "HttpMethodNotAllowed")
        self._strike(request, after=False)
        self._allow(request, f"{kind}/{verb}")
        if not any(f"/resourcegroups/{found[1]}/" in id_ for id_ in self.resources):
            raise Refused(404, "ResourceGroupNotFound", f"Resource group '{found[1]}' could not be found.")
        if verb == "read":
            return self.get(path)
        self._unlocked(path, request.method)
        self.must_rest(path)
        return self._delete(request, path) if verb == "delete" else self._put(request, path, kind)

    def get(self, path: str) -> tuple[int, Any, dict[str, str]]:
        for operation in list(self._operations.values()):
            if operation.resource == path:
                self._tick(operation)
        body = self.resources.get(path)
        if self._stale.get(path, 0) > 0 and path in self._previous:
            self._stale[path] -= 1
            body = self._previous[path]
        if body is None:
            raise Refused(404, "ResourceNotFound", f"The Resource '{path}' was not found.")
        return 200, self.show(body), {"ETag": body["etag"]} if "etag" in body else {}

    def _put(self, request: Request, path: str, kind: str) -> tuple[int, Any, dict[str, str]]:
        before = self.resources.get(path)
        condition = request.headers.get("if-match")
        if condition is not None and (before is None or condition not in ("*", before["etag"])):
            raise Refused(412, "PreconditionFailed", "Precondition failed.", "PreconditionFailedEtagMismatch")
        if before is not None and request.headers.get("if-none-match") == "*":
            raise Refused(412, "PreconditionFailed", "The resource exists already.")
        if kind == NICS:
            for action in joins(request.body):
                self._allow_link(action)
            made = accept_nic(request.body, before, self.resources)
        else:
            made = accept_group(request.body, before)
            if not self.flushes:
                made["properties"].pop("flushConnection", None)
        name = request.path.rpartition("/")[2]
        made = {"id": request.path, "name": name, "type": kind, **made}
        made["properties"]["provisioningState"] = "Succeeded" if self.put_style is Style.AT_ONCE else "Updating"
        if self.put_style is Style.AT_ONCE:
            self._flush(before, made)
        self.store(made)
        headers = self.begin(request, path, self.put_style, before)
        status = 202 if self.put_style is Style.LOCATION else 200 if before else 201
        return status, None if self.put_style is Style.LOCATION else self.show(made), headers

    def _delete(self, request: Request, path: str) -> tuple[int, Any, dict[str, str]]:
        if path not in self.resources:
            return 204, None, {}
        if self.show(self.resources[path])["properties"].get("networkInterfaces"):
            raise Refused(400, "InUseNetworkSecurityGroupCannotBeDeleted", "The group is in use.")
        if self.delete_style is Style.AT_ONCE:
            self._previous[path] = self.resources.pop(path)
            return 200, None, {}
        self.set_state(path, "Deleting")
        return 202, None, self.begin(request, path, self.delete_style, None, deletes=True)

    def update(self, request: Request, path: str, body: Body) -> Body:
        """What stands there is this now, and an operation begins on it."""
        body["properties"]["provisioningState"] = "Succeeded" if self.put_style is Style.AT_ONCE else "Updating"
        return self.store({**self.resources[path], **body})

    def begin(
        self, request: Request, path: str, style: Style, before: Body | None, deletes: bool = False
    ) -> dict[str, str]:
        if style is Style.AT_ONCE:
            return {}
        id_ = str(uuid.uuid4())
        self._operations[id_] = Operation(path, deletes, self.polls, self._failure)
        self._failure = None
        network = "/providers/microsoft.network/" in path
        namespace = "Microsoft.Network" if network else "Microsoft.Compute"
        base = f"http://{request.headers['host']}/subscriptions/{SUBSCRIPTION}/providers/{namespace}/locations"
        tail = f"{id_}?api-version={request.query['api-version']}&t=t&c=c&s=s&h=h"
        headers = {"Retry-After": "10"}
        if style in (Style.ASYNC, Style.BOTH):
            headers["Azure-AsyncOperation"] = f"{base}/{LOCATION}/operations/{tail}"
        if style in (Style.LOCATION, Style.BOTH):
            where = f"operationResults/{tail}" if network else f"operations/{tail}&monitor=true"
            headers["Location"] = f"{base}/{LOCATION}/{where}"
        return headers

    def _poll(self, style: str, id_: str) -> tuple[int, Any, dict[str, str]]:
        operation = self._operations.get(id_)
        if operation is None:
            raise Refused(404, "NotFound", "The operation was not found.")
        self._tick(operation)
        wait = {"Retry-After": "10"}
        error = {"code": operation.error[0], "message": operation.error[1], "details": []} if operation.error else None
        if style == "operations":
            failed = {"error": error} if operation.status == "Failed" else {}
            return 200, {"status": operation.status, **failed}, wait if operation.status == "InProgress" else {}
        if operation.status == "InProgress":
            return 202, None, wait
        if operation.status == "Failed":
            return 409, {"error": error}, {}
        return (204, None, {}) if operation.deletes else (200, self.show(self.resources[operation.resource]), {})

    def _tick(self, operation: Operation) -> None:
        if operation.polls <= 0:
            self._end(operation)
        operation.polls -= 1

    def _end(self, operation: Operation) -> None:
        if operation.status != "InProgress":
            return
        operation.status = "Failed" if operation.error else "Succeeded"
        if operation.deletes and not operation.error:
            self._previous[operation.resource] = self.resources.pop(operation.resource)
        elif operation.resource in self.resources:
            before = self._previous.get(operation.resource)
            if not operation.error:
                self._flush(before, self.resources[operation.resource])
            self.set_state(operation.resource, operation.status)

    def _flush(self, before: Body | None, group: Body) -> None:
        """Rules decide about new connections; open ones are cut when a group begins to flush, and by nothing else."""
        was = before is not None and before["properties"].get("flushConnection")
        begun = group["properties"].get("flushConnection") and not was
        if group["type"] == GROUPS and begun:
            for nic in self.show(group)["properties"].get("networkInterfaces", []):
                self.flows[nic["id"].lower()] = []

    # -- below ------------------------------------------------------------------------------------------------------

    def _strike(self, request: Request, after: bool) -> None:
        for fault in self._faults:
            if fault.after == after and fault.times > 0 and fault.matches(request):
                fault.times -= 1
                fault.act()

    def _allow(self, request: Request, action: str) -> None:
        if not self._allows(action):
            message = f"The client '{OBJECT_ID}' does not have authorization to perform action '{action}'"
            raise Refused(403, "AuthorizationFailed", f"{message} over scope '{request.path}'.")

    def _allow_link(self, action: str) -> None:
        if not self._allows(action):
            raise Refused(403, "LinkedAuthorizationFailed", f"no permission to perform action '{action}'")

    def _allows(self, action: str) -> bool:
        def any_of(patterns: Iterable[str]) -> bool:
            return any(fnmatch(action.lower(), pattern.lower()) for pattern in patterns)

        return any(any_of(role["actions"]) and not any_of(role["notActions"]) for role in self.granted)

    def _unlocked(self, path: str, method: str) -> None:
        for lock in self.locks:
            forbids = lock["properties"]["level"] == "ReadOnly" or method == "DELETE"
            if forbids and f"{path}/".startswith(f"{_scope(lock)}/"):
                raise Refused(409, "ScopeLocked", f"The scope '{path}' is locked: '{lock['id']}'.")

    def must_rest(self, path: str) -> None:
        if path in self.resources and self.resources[path]["properties"]["provisioningState"] in (
            "Updating",
            "Deleting",
        ):
            raise Refused(429, "RetryableError", "Another operation.", "RetryableErrorDueToAnotherOperation")

    def show(self, body: Body) -> Body:
        """A group names the interfaces that have it."""
        shown = copy.deepcopy(body)
        if body["type"] == GROUPS:
            using = [
                {"id": other["id"]}
                for other in self.resources.values()
                if (other["properties"].get("networkSecurityGroup") or {}).get("id", "").lower() == body["id"].lower()
            ]
            if using:
                shown["properties"]["networkInterfaces"] = using
            for rule in shown["properties"]["securityRules"]:
                rule |= {"id": f"{body['id']}/securityRules/{rule['name']}", "etag": body.get("etag")}
        return shown

    def set_state(self, path: str, state: str) -> None:
        body = copy.deepcopy(self.resources[path])
        body["properties"]["provisioningState"] = state
        self.store(body, keep_previous=True)

    def store(self, body: Body, keep_previous: bool = False) -> Body:
        path = body["id"].lower()
        if not keep_previous:
            self._previous[path] = self.resources.get(path)
        self._etags += 1
        if body["type"].startswith("Microsoft.Network/"):
            body["etag"] = f'W/"{uuid.UUID(int=self._etags)}"'
        self.resources[path] = body
        return copy.deepcopy(body)


def _group(name: str) -> str:
    return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{name}"


def _scope(lock: Body) -> str:
    return str(lock["id"]).lower().partition("/providers/microsoft.authorization/locks/")[0]


def _json(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return None
