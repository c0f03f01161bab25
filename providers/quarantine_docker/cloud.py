"""The connection to one Docker host, and the one place that translates what its daemon answers.

A call is a method and a path template of the Docker Engine API: `POST /networks/{id}/connect`. It is also the name of
the permission that it needs: daemons, their authorization plugins and proxies before their socket know no other.
Requests and answers are raw JSON.
"""

import json
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from string import Formatter
from typing import Any, Final, NoReturn
from urllib.parse import quote

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

INSPECT: Final = "GET /containers/{id}/json"
LIST: Final = "GET /containers/json"
NETWORK: Final = "GET /networks/{id}"
INFO: Final = "GET /info"
VERSION: Final = "GET /version"
READS: Final = frozenset({INSPECT, LIST, NETWORK, INFO, VERSION})
"""Not every GET only reads: that of /containers/{id}/attach/ws writes to a process."""

READ_TRIES: Final = 3
CONNECT_SECONDS: Final = 5
ANSWER_SECONDS: Final = 30
AGENT: Final = "cloud-quarantine"

_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")
"""What containers, networks and ids are called (moby daemon/names, RestrictedNameChars)."""


@dataclass(frozen=True)
class Answer:
    """What came back for a change; `about` says in words what it was."""

    about: str
    headers: Mapping[str, str]


class DockerCloud(Cloud):
    """Arguments of a call: the path's parameters, `query` and `body`."""

    def __init__(self, host: str, client: Any, mark: Mark | None = None) -> None:
        super().__init__(mark)
        self.host = host
        self._client = client
        self._spoken: dict[str, tuple[int, int]] = {}  # shared by the copies that `through` makes

    def reads(self, call: str) -> bool:
        return call in READS

    @property
    def api(self) -> tuple[int, int]:
        """The newest version of the API that the daemon speaks; asked once, as docker's own clients do."""
        if "api" not in self._spoken:
            response = self._send("GET", "/_ping", {}, reading=True)
            major, _, minor = response.headers.get("Api-Version", "").partition(".")
            if not (major.isdigit() and minor.isdigit()):
                raise Transient(f"Docker host {self.host!r}: what answers there is no Docker daemon")
            self._spoken["api"] = (int(major), int(minor))
        return self._spoken["api"]

    def invoke(self, call: str, arguments: Mapping[str, Any]) -> Any:
        method, _, template = call.partition(" ")
        path, reading = _path(template, arguments), self.reads(call)
        # A path without a version means another API on every daemon.
        response = self._send(method, "/v{}.{}".format(*self.api) + path, arguments, reading)
        where = f"{method} {path} on Docker host {self.host!r}"
        if response.status_code >= HTTPStatus.MULTIPLE_CHOICES:
            _refuse(response, where, call, reading)
        if not reading:
            return Answer(_about(path, arguments.get("body") or {}), response.headers)
        try:
            return json.loads(response.content)
        except ValueError as error:
            raise Transient(f"{where}: what answers there is no Docker daemon") from error

    def receipt(self, answer: Any) -> Receipt:
        """The daemon gives its calls no ids. This is how `docker events` has the change: what, and when."""
        return Receipt(id=f"{answer.about}, {answer.headers.get('Date', 'at a time that it did not say')}")

    def _send(self, method: str, path: str, arguments: Mapping[str, Any], reading: bool) -> Any:
        """One try for a change; a read may meet a connection that a restarted daemon has closed meanwhile."""
        from requests import exceptions

        where = f"{method} {path} on Docker host {self.host!r}"
        for remaining in reversed(range(READ_TRIES if reading else 1)):
            try:
                return self._client.request(
                    method,
                    self._client.base_url + path,
                    params=arguments.get("query"),
                    json=arguments.get("body"),
                    headers={"User-Agent": f"{AGENT} case/{self._mark.case}" if self._mark else AGENT},
                    timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                    allow_redirects=False,
                    verify=self._client.verify,  # else $REQUESTS_CA_BUNDLE goes before `tls`
                )
            except exceptions.RequestException as error:
                _never_sent(error, where, reading)
                if not reading:
                    raise Unknown(f"{where}: no answer: {error}") from error
                if not remaining or isinstance(error, exceptions.Timeout):
                    raise Transient(f"{where}: no answer: {error}") from error
        raise AssertionError("the last try returns or raises")


def _path(template: str, arguments: Mapping[str, Any]) -> str:
    names = [name for _, name, _, _ in Formatter().parse(template) if name]
    return template.format(**{name: _segment(str(arguments[name])) for name in names})


def _segment(name: str) -> str:
    """One part of a path. Names come from findings: `..` must not climb, and nothing must become another call."""
    if not _NAME.fullmatch(name):
        raise Gone(f"nothing in Docker can have the name {name[:80]!r}")
    return quote(name, safe="")


def _about(path: str, body: Mapping[str, Any]) -> str:
    _, kind, name, verb = path.split("/")
    return f"{kind.removesuffix('s')} {verb}: {name[:12]}, container {str(body.get('Container', ''))[:12]}"


def _never_sent(error: Exception, where: str, reading: bool) -> None:
    """Raises where it is certain that no request left: there was no connection to send it on, or none to be trusted."""
    from requests import exceptions
    from urllib3.exceptions import NewConnectionError

    causes = tuple(_causes(error))
    if any(isinstance(cause, PermissionError) for cause in causes):
        raise Denied(f"{where}: no permission to open the socket: add our user to its group (docker)") from error
    certain: tuple[type[BaseException], ...] = (
        *(exceptions.ConnectTimeout, exceptions.ProxyError, NewConnectionError),
        *(FileNotFoundError, ConnectionRefusedError, ssl.SSLCertVerificationError),
    )
    if reading:  # of a change, TLS may have broken after the daemon had it
        certain = (*certain, exceptions.SSLError)
    if any(isinstance(cause, certain) for cause in causes):
        raise Unreachable(
            f"{where}: no connection: {error}. Is the daemon running, are `url` and `tls` right?"
        ) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The SDK's adapters wrap errors of the socket in arguments of others."""
    seen: list[BaseException | None] = [error]
    while seen:
        current = seen.pop()
        if current is None:
            continue
        yield current
        seen += [current.__cause__, *(item for item in current.args if isinstance(item, BaseException))]
        reason = getattr(current, "reason", None)
        seen += [reason] if isinstance(reason, BaseException) else []


def _refuse(response: Any, where: str, call: str, reading: bool) -> NoReturn:
    """By HTTP status (Docker Engine API, Errors; moby errdefs/http_helpers.go)."""
    status = response.status_code
    said = f"{where}: {status}: {_message(response)}"
    error: ProviderError
    if status in (401, 403):
        # Also the daemon's word for an address that is in use; its message says which it is.
        error = Denied(f"{said}; if an authorization plugin or a proxy says so, allow the call there")
    elif status == 404:
        # For a network, and where both are named, it may not be the container that is missing.
        error = Gone(said) if call == INSPECT else Conflict(said)
    elif status == 409:
        error = Conflict(said)
    elif status == 429:
        error = Throttled(said)
    elif status >= 500:
        error = Transient(said) if reading else Unknown(said)
    else:
        error = Unsupported(said)
    raise error


def _message(response: Any) -> str:
    try:
        return str(json.loads(response.content)["message"])[:500]
    except (ValueError, LookupError, TypeError):
        return str(response.reason)
