"""The logged-in connections to one vCenter. The SDK is imported when the first one is opened: that takes half a second.

A connection serves one thread at a time: it is borrowed, used for one call, and given back. So there are as many
sessions at the vCenter as calls at the same moment, and all of them are logged out when the program ends: abandoned
ones use up what a vCenter allows (pyvmomi issue 23).
"""

import atexit
import hashlib
import hmac
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from http.client import HTTPException, HTTPResponse
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from xml.parsers.expat import ExpatError

from quarantine.action import sdk
from quarantine.errors import Misconfigured, Unreachable

SECONDS: Final = 15.0
"""Until a connection, or an answer, counts as not coming."""
IDLE_SECONDS: Final = 30
"""A connection that was not used for longer is opened anew: the other side may have closed it."""
VERSION: Final = "vim.version.version11"
"""vSphere API 6.5, which every later vCenter speaks too. A fixed one needs no question before each log-in."""


class NotSent(Exception):
    """There is no connection that we trust, so nothing went out."""


class Unreadable(Exception):
    """What came back is no answer that the SDK understands; the error is the cause."""


class Refused(Exception):
    """The vCenter does not let us in; the fault is the cause."""


@dataclass(frozen=True)
class Address:
    """Where a vCenter is, who we are there, and how we know it."""

    url: str
    user: str
    password: Callable[[], bytes]
    ca_file: Path | None = None
    thumbprint: str | None = None
    """SHA-256 of the server's certificate, hexadecimal. With it, this very certificate and no other is trusted."""

    @property
    def trust(self) -> ssl.SSLContext | None:
        """None without TLS. Raises Unreachable if the file cannot be read."""
        if urlsplit(self.url).scheme == "http":
            return None
        try:
            context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        except (OSError, ssl.SSLError) as error:
            raise Unreachable(f"ca_file {self.ca_file}: {error}") from error
        if self.thumbprint is not None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE  # the thumbprint is checked instead, before anything is sent
        return context


@dataclass
class Session:
    """One logged-in connection."""

    stub: Any
    content: Any
    key: str


class Sessions:
    """The pool of one vCenter. Threads may share it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: list[Session] = []
        self._lock = threading.Lock()
        atexit.register(self.close)

    @contextmanager
    def borrow(self) -> Iterator[Session]:
        """A session that nobody else uses meanwhile. Raises NotSent, Refused, Unreachable."""
        with self._lock:
            session = self._idle.pop() if self._idle else None
        session = session or self._open()
        try:
            yield session
        finally:
            with self._lock:
                self._idle.append(session)

    def forget(self, session: Session) -> None:
        """The vCenter does not know this session any more: log in again on the same connection. Raises as `borrow`."""
        session.stub.cookie = ""
        self._log_in(session)

    def close(self) -> None:
        """Logs out whatever nobody is using. The pool may be used again afterwards."""
        with self._lock:
            idle, self._idle = self._idle, []
        for session in idle:
            with suppress(OSError, HTTPException, NotSent, sdk("pyVmomi", "vmware").vmodl.MethodFault):
                session.content.sessionManager.Logout()
            session.stub.DropConnections()

    def _open(self) -> Session:
        parts = urlsplit(self._address.url)
        port = parts.port or (80 if parts.scheme == "http" else 443)
        pin = self._address.thumbprint
        stub = _stub_class()(
            host=parts.hostname,
            port=-port if parts.scheme == "http" else port,  # pyVmomi's sign for "without TLS"
            path=parts.path.rstrip("/") or "/sdk",
            version=VERSION,
            sslContext=self._address.trust,
            httpConnectionTimeout=SECONDS,
            connectionPoolTimeout=IDLE_SECONDS,
            acceptCompressedResponses=False,  # see _Answer
        )
        stub.pin = pin.replace(":", "").lower() if pin else None
        session = Session(stub, None, "")
        try:
            self._log_in(session)
        except BaseException:
            stub.DropConnections()
            raise
        return session

    def _log_in(self, session: Session) -> None:
        vim = sdk("pyVmomi", "vmware").vim
        try:
            password = self._address.password().decode()
        except (Misconfigured, UnicodeDecodeError) as error:
            raise Unreachable(f"no password for {self._address.user}: {error}") from error
        session.content = vim.ServiceInstance("ServiceInstance", session.stub).RetrieveContent()
        try:
            user = session.content.sessionManager.Login(userName=self._address.user, password=password)
        except vim.fault.VimFault as error:
            raise Refused(self._address.user) from error
        session.key = user.key


@cache
def _stub_class() -> Any:
    """pyVmomi's connection, with the pin checked on every new one, and answers that must be answers.

    pyVmomi's own `thumbprint` is looked at only when the certificate does not verify otherwise: any certificate that
    a public authority signed would do (SoapAdapter.py, `_Connect`).
    """
    sdk("pyVmomi", "vmware")
    adapter: Any = sdk("pyVmomi.SoapAdapter", "vmware").SoapStubAdapter

    class Stub(adapter):  # type: ignore[misc]
        pin: str | None = None

        def GetConnection(self) -> Any:  # noqa: N802
            try:
                connection = super().GetConnection()
            except (OSError, HTTPException) as error:
                raise NotSent(str(error)) from error
            if self.pin is not None and not hmac.compare_digest(self.pin, _digest(connection)):
                found = _digest(connection)
                connection.close()
                raise NotSent(f"the server's certificate has the SHA-256 {found or 'of none'}, not {self.pin}")
            connection.response_class = _Answer
            return connection

        def InvokeMethod(self, mo: Any, info: Any, args: Any, outerStub: Any = None) -> Any:  # noqa: N802, N803
            try:
                return super().InvokeMethod(mo, info, args, outerStub)
            except (LookupError, AttributeError, TypeError, ValueError, ExpatError) as error:
                raise Unreadable(f"{type(error).__name__}: {error}") from error

    return Stub


class _Answer(HTTPResponse):
    """One that is read whole, and looked at, when it begins.

    pyVmomi takes any page that is well-formed for an empty answer. A search that a proxy answers with a page of its
    own would have found nothing, and the machine would be taken for gone.
    """

    def begin(self) -> None:
        super().begin()
        body = super().read()
        if self.status in (200, 500) and not _ENVELOPE.search(body[:1000]):
            raise HTTPException(f"{self.status} {self.reason}: what answers there is not a vCenter ({body[:80]!r})")
        self._whole = BytesIO(body)

    def read(self, amount: int | None = None) -> bytes:
        return self._whole.read(-1 if amount is None else amount)


_ENVELOPE: Final = re.compile(rb"<(\w+:)?Envelope[\s>]")


def _digest(connection: Any) -> str:
    certificate = connection.sock.getpeercert(binary_form=True) if hasattr(connection.sock, "getpeercert") else b""
    return hashlib.sha256(certificate).hexdigest() if certificate else ""
