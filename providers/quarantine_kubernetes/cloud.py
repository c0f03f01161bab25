"""The connection to one cluster, and the one place that translates what its API server answers.

A call is a method and a path template: `get /api/v1/namespaces/{namespace}/pods/{name}`. Requests and answers are raw
JSON: the client's typed models drop what they do not know, and that would be missing from evidence and before-images.
"""

import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any, Final, NoReturn
from urllib.parse import quote, urlencode

from quarantine.action import Cloud, Mark, Receipt
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
from quarantine_kubernetes.recent import Recent
from quarantine_kubernetes.session import Session, events

READ_TRIES: Final = 3
MANAGER: Final = "cloud-quarantine"

MERGE: Final = "application/merge-patch+json"

REVIEWS: Final = frozenset(
    {
        "post /apis/authentication.k8s.io/v1/selfsubjectreviews",
        "post /apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    }
)
"""Questions that are asked with POST: the API server stores nothing (Kubernetes API reference, these kinds)."""


Probe = Callable[[str, int], str | None]
"""(address, port) -> our own address, if a connection is made."""


class Expired(Transient):
    """The API server has forgotten the snapshot that a list was of: it starts anew."""


@dataclass(frozen=True)
class Answer:
    """What came back for a change."""

    body: Any
    headers: Mapping[str, str]


class KubernetesCloud(Cloud):
    """Arguments of a call: the path's parameters, `query`, `body`, `content_type` of the body, and what to `accept`.

    `watch /apis/...` gives events while they come; close it, if they are not read to the end.
    """

    def __init__(self, cluster: str, session: Session, mark: Mark | None = None) -> None:
        super().__init__(mark)
        self.cluster = cluster
        self.recent = Recent()
        self.agents: tuple[str, ...] = ("kube-system", "calico-system")
        """The namespaces in which the network plug-in's agents run."""
        self.enforced_by: str | None = None
        """The network plug-in that is said to enforce policies where no agent can be seen."""
        self.probe: Probe | None = None
        """How a pod in quarantine is tried, if it is."""
        self.expected_subjects: tuple[str, ...] = ()
        self.exempt_namespaces: tuple[str, ...] = ("kube-system",)
        self.public_services: tuple[str, ...] = ()
        """What polls expect: subjects with rights, namespaces of privileged pods, `NAMESPACE/NAME` of open Services."""
        self.always_admitted: tuple[str, ...] = ("kube-system",)
        """The namespaces in which a blocked image still starts."""
        self._session = session

    def reads(self, call: str) -> bool:
        return call.startswith(("get ", "watch ")) or call in REVIEWS

    def invoke(self, call: str, arguments: Mapping[str, Any]) -> Any:
        method, _, template = call.partition(" ")
        reading = self.reads(call)
        path = _path(template, arguments)
        query = dict(arguments.get("query") or {})
        watching = method == "watch"
        if watching:
            query["watch"] = "true"
        if method in ("post", "put", "patch") and not reading:
            query["fieldManager"] = MANAGER
        if query:
            path += "?" + urlencode(query)
        body = arguments.get("body")
        headers = {"User-Agent": self._user_agent(), "Accept": arguments.get("accept") or "application/json, */*"}
        if body is not None:
            headers["Content-Type"] = arguments.get("content_type") or "application/json"
        sent = None if body is None else json.dumps(body).encode()
        response = self._send("GET" if watching else method.upper(), path, sent, headers, watching)
        if watching and response.status == 200:
            return events(response)
        answer = _content(response)
        if response.status >= 300 or answer is None:
            _refuse(response, answer, f"{method} {path.partition('?')[0]}", self.cluster, reading)
        return answer if reading else Answer(answer, response.headers)

    def receipt(self, answer: Any) -> Receipt:
        """The id under which the API server's audit log has the call, or the version that the change made."""
        body = answer.body if isinstance(answer.body, dict) else {}
        metadata = body.get("metadata") or {}
        version = f"{metadata.get('uid', '')}@{metadata.get('resourceVersion', '')}"
        return Receipt(id=answer.headers.get("Audit-Id") or version, answer=body)

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str], watching: bool) -> Any:
        """One try for a change; a read may meet a connection that the other side has closed meanwhile."""
        from urllib3 import exceptions

        reading = self.reads(f"{method.lower()} {path}")
        for remaining in reversed(range(READ_TRIES if reading else 1)):
            try:
                send = self._session.follow if watching else self._session.request
                return send(method, path, body, headers)
            except (exceptions.NewConnectionError, exceptions.ConnectTimeoutError, exceptions.ProxyError) as error:
                if not remaining:
                    raise Unreachable(f"no connection to cluster {self.cluster!r}: {error}") from error
            except exceptions.SSLError as error:
                if reading or _distrusted(error):
                    raise Unreachable(f"no trusted connection to cluster {self.cluster!r}: {error}") from error
                raise Unknown(f"{method} {path}: the connection broke: {error}") from error
            except exceptions.HTTPError as error:
                if not reading:
                    raise Unknown(f"{method} {path}: no answer: {error}") from error
                if not remaining or isinstance(error, exceptions.TimeoutError):
                    raise Transient(f"{method} {path}: no answer: {error}") from error
        raise AssertionError("the last try returns or raises")

    def _user_agent(self) -> str:
        return f"{MANAGER} case/{self._mark.case}" if self._mark else MANAGER


def _path(template: str, arguments: Mapping[str, Any]) -> str:
    names = [name for _, name, _, _ in Formatter().parse(template) if name]
    return template.format(**{name: _segment(str(arguments[name])) for name in names})


def _segment(name: str) -> str:
    """One part of a path. Names come from findings: `..` must not climb, and nothing must become a list."""
    if name in ("", ".", "..") or "/" in name or "%" in name:
        raise Gone(f"nothing can have the name {name!r} (Kubernetes, Object Names and IDs: path segment names)")
    return quote(name, safe="")


def _content(response: Any) -> Any:
    """An object, the bytes of a log, or None for what no API server says: the page of a proxy, a cut answer."""
    kind = response.headers.get("Content-Type", "")
    if kind.startswith("text/plain"):
        return response.data
    try:
        answer = json.loads(response.data)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _refuse(response: Any, answer: Any, request: str, cluster: str, reading: bool) -> NoReturn:
    """By HTTP status and Status.reason (Kubernetes API Concepts; apimachinery meta/v1 StatusReason)."""
    status, body = response.status, answer if isinstance(answer, dict) else {}
    reason, details = body.get("reason"), body.get("details") or {}
    said = f"{request} on cluster {cluster!r}: {status} {reason or response.reason}: {body.get('message', '')}"
    error: ProviderError
    if status in (401, 403):
        error = Denied(f"{said}; {_next_step(request, status)}")
    elif status == 404:
        error = Gone(said)
    elif status == 409:
        error = Conflict(said)
    elif status == 422 and any(cause.get("field") == "metadata.uid" for cause in details.get("causes") or []):
        error = Gone(f"another object has this name now: {said}")
    elif status == 429:
        wait = response.headers.get("Retry-After")
        error = Throttled(f"{said}; it asks to wait {wait} s" if wait else said)
    elif status == 410 and reading:
        error = Expired(said)
    elif status < 300 or status == 410 or status >= 500:
        error = Transient(said) if reading else Unknown(said)
    else:
        error = Unsupported(said)
    raise error


_VERBS: Final = {"post": "create", "put": "update"}


def _next_step(request: str, status: int) -> str:
    """How to find out what is missing, for the resource and namespace that the path names."""
    if status == 401:
        return "the credentials are not valid (any more): `kubectl auth whoami` with the same kubeconfig shows who asks"
    method, _, path = request.partition(" ")
    root, *parts = path.strip("/").split("/")
    if root not in ("api", "apis"):
        return f"grant it, then check with `kubectl auth can-i {method} {path}`"
    group = f".{parts.pop(0)}" if root == "apis" else ""
    space = f" --namespace {parts[2]}" if parts[1] == "namespaces" and len(parts) > 3 else ""
    resource, name, subresource = [*parts[3 if space else 1 :], "", ""][:3]
    verb = _VERBS.get(method, method if method != "get" or name else "list")
    what = f"{resource}{group}" + (f"/{name}" if name else "")
    part = f" --subresource {subresource}" if subresource else ""
    return f"grant it, then check with `kubectl auth can-i {verb} {what}{part}{space}`"


def _distrusted(error: Exception) -> bool:
    """Certainly before anything was sent: the certificate did not verify."""
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in (*error.args, error.__cause__))
