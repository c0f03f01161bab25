"""The provider's side of a proxy: sends one call on, and reads the answer."""

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

from tests.testbed.call import Call
from tests.testbed.fault import Answer
from tests.testbed.relay import HOP_BY_HOP, Headers

PATIENCE = 120  # seconds without a byte from the provider


class Upstream:
    def __init__(self, url: str, ca: str | None = None) -> None:
        self._url = urlsplit(url)
        self._tls = ssl.create_default_context(cafile=ca) if self._url.scheme == "https" else None
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    def close(self) -> None:
        """Breaks off whatever is under way."""
        with self._lock:
            sockets = list(self._open)
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def send(self, call: Call, headers: Headers) -> Answer:
        """OSError or HTTPException if there is no whole answer."""
        # One connection per call: with one that the provider had closed meanwhile we would not know whether
        # the call took effect.
        connection = self._connection()
        connection.connect()
        opened = connection.sock
        with self._lock:
            self._open.add(opened)
        streaming = False
        try:
            response = self._ask(connection, call, headers)
            if call.query.get("watch") in ("1", "true"):
                streaming = True
                chunks = self._stream(connection, response, opened)
                return Answer(response.status, response.getheaders(), b"", chunks)
            return Answer(response.status, response.getheaders(), response.read())
        finally:
            if not streaming:
                self._hang_up(connection, opened)

    def _ask(self, connection: http.client.HTTPConnection, call: Call, headers: Headers) -> http.client.HTTPResponse:
        connection.putrequest(call.method, call.target, skip_host=True, skip_accept_encoding=True)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP:
                connection.putheader(name, value)
        if call.body or call.method in ("POST", "PUT", "PATCH"):
            connection.putheader("Content-Length", str(len(call.body)))
        connection.endheaders(call.body or None)
        return connection.getresponse()

    def _stream(
        self,
        connection: http.client.HTTPConnection,
        response: http.client.HTTPResponse,
        opened: socket.socket,
    ) -> Iterator[bytes]:
        try:
            while chunk := response.read1(65536):
                yield chunk
        except http.client.HTTPException as error:
            raise ConnectionResetError("the provider broke off") from error
        finally:
            response.close()
            self._hang_up(connection, opened)

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._tls is None:
            return http.client.HTTPConnection(host, port, timeout=PATIENCE)
        return http.client.HTTPSConnection(host, port, timeout=PATIENCE, context=self._tls)

    def _hang_up(self, connection: http.client.HTTPConnection, opened: socket.socket) -> None:
        with self._lock:
            self._open.discard(opened)
        connection.close()
        opened.close()
