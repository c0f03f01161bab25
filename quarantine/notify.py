"""Tells people: takes notices out of the outbox and sends them, at least once each, to the log and to webhooks.

    event ── same transaction ──> outbox ── one thread for each channel ──> sent
                                     └── a failure: due again later, until a day has passed

A channel that fails or hangs holds up neither a case nor another channel. What goes out goes to configured addresses
only, and no redirect is followed.
"""

import hashlib
import http.client
import json
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

import tenacity

from quarantine import __version__
from quarantine.config import NoticeKind, Webhook
from quarantine.errors import QuarantineError
from quarantine.notice import Notice
from quarantine.signature import sign
from quarantine.store.notices import Channels, Letter
from quarantine.store.sql import LOG_ONLY, Store

log = logging.getLogger(__name__)

PATIENCE = timedelta(seconds=10)
"""How long one attempt may take, from the first byte to the last."""
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=5)
MOST_ATTEMPTS = timedelta(hours=24) // LONGEST_PAUSE
"""After about a day a notice is given up. It stays in the record, and `quarantine doctor` says so."""


def _rest(seconds: float) -> None:
    threading.Event().wait(seconds)


class NotDelivered(QuarantineError):
    """This attempt failed; the reason never holds the address, which may be a secret."""


class Channel(Protocol):
    """One way to tell people."""

    @property
    def name(self) -> str: ...

    def send(self, notice: Notice) -> None:
        """Return when it has arrived. Raises QuarantineError."""


class LogChannel:
    """Every notice is a warning in the log of the server."""

    name = "log"

    def send(self, notice: Notice) -> None:
        log.warning("notice", extra={"kind": str(notice.kind), "text": notice.text, **_prefixed(notice.facts)})


class WebhookChannel:
    """POST to one address: `{type, timestamp, text, data}`, signed as Standard Webhooks 1.0 says."""

    def __init__(
        self,
        name: str,
        webhook: Webhook,
        clock: Callable[[], datetime],
        *,
        patience: timedelta = PATIENCE,
        pause: Callable[[float], None] = _rest,
    ) -> None:
        """`patience` is for one attempt; `pause` waits before the one repetition inside it."""
        self.name = name
        self._webhook = webhook
        self._clock = clock
        self._patience = patience
        # A connection that breaks is made once more at once. Whatever else fails is due again later.
        self._at_once = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(ConnectionError),
            stop=tenacity.stop_after_attempt(2),
            wait=tenacity.wait_fixed(0.2),
            sleep=pause,
            reraise=True,
        )

    def check(self) -> None:
        """Raises Misconfigured if the address or the secret cannot be read."""
        self._webhook.address()
        if self._webhook.secret is not None:
            self._webhook.secret.reveal()

    def send(self, notice: Notice) -> None:
        address = urlsplit(self._webhook.address())
        body = json.dumps(_payload(notice)).encode()
        headers = self._headers(notice, body)
        try:
            status = self._at_once(_post, address, headers, body, self._patience)
        except TimeoutError:
            raise NotDelivered(f"no answer within {self._patience.total_seconds():g} s") from None
        except ssl.SSLCertVerificationError as error:
            raise NotDelivered(f"its certificate is not trusted: {error.verify_message}") from None
        except OSError as error:
            raise NotDelivered(f"no connection: {error.strerror or type(error).__name__}") from None
        except http.client.HTTPException as error:  # its words may repeat the address
            raise NotDelivered(f"no HTTP answer: {type(error).__name__}") from None
        if 300 <= status < 400:
            raise NotDelivered(f"answered {status}: redirects are not followed, configure the address itself")
        if not 200 <= status < 300:
            raise NotDelivered(f"answered {status}")

    def _headers(self, notice: Notice, body: bytes) -> dict[str, str]:
        # The same for every attempt: whoever gets it twice can tell.
        delivery = f"msg_{hashlib.sha256(notice.key.encode()).hexdigest()[:32]}"
        timestamp = int(self._clock().timestamp())
        headers = {
            "content-type": "application/json",
            "user-agent": f"cloud-quarantine/{__version__}",
            "webhook-id": delivery,
            "webhook-timestamp": str(timestamp),
        }
        if self._webhook.secret is not None:
            headers["webhook-signature"] = sign(self._webhook.secret.reveal(), delivery, timestamp, body)
        return headers


class Notifier:
    """The outbox's postman: a thread for each channel, on one store. Several processes may have one."""

    def __init__(self, store: Store, channels: Sequence[Channel], *, beat: timedelta) -> None:
        """`beat` is how often the outbox is looked into, when it was empty or an attempt failed."""
        self._store = store
        self._beat = beat.total_seconds()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(channel,), name=f"notify-{channel.name}", daemon=True)
            for channel in channels
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, patience: float = 2) -> None:
        """An attempt that is under way then is made again after the next start."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(patience)

    def deliver(self, channel: Channel) -> bool:
        """One attempt with the notice that is due longest; False if there was none, or it failed."""
        letter = self._store.take_notice(channel.name, 3 * PATIENCE)
        if letter is None:
            return False
        try:
            channel.send(letter.notice)
        except QuarantineError as error:
            self._failed(letter, str(error))
            return False
        self._store.notice_sent(letter)
        return True

    def _failed(self, letter: Letter, failure: str) -> None:
        again = again_after(letter.attempts)
        fields = {"channel": letter.channel, "key": letter.notice.key, "attempt": letter.attempts, "why": failure}
        if again is None:
            log.error("notice_given_up", extra=fields)
        else:
            log.warning("notice_not_delivered", extra=fields)
        self._store.notice_failed(letter, failure, again)

    def _run(self, channel: Channel) -> None:
        while not self._stopping.is_set():
            try:
                if self.deliver(channel):
                    continue
            except Exception:
                log.exception("notify_failed", extra={"channel": channel.name})
            self._stopping.wait(self._beat)


def again_after(attempts: int) -> timedelta | None:
    """When the next attempt follows so many that failed; None when there have been enough."""
    if attempts >= MOST_ATTEMPTS:
        return None
    doubled: timedelta = FIRST_PAUSE * 2 ** min(attempts - 1, 10)
    return min(doubled, LONGEST_PAUSE)


def subscriptions(webhooks: dict[str, Webhook]) -> Channels:
    """Which kinds of notice each channel takes. The log takes all."""
    return {**LOG_ONLY, **{name: frozenset(webhook.events) for name, webhook in webhooks.items()}}


def _payload(notice: Notice) -> dict[str, object]:
    return {
        "type": f"quarantine.{NoticeKind(notice.kind)}",
        "timestamp": notice.at.isoformat(),
        "text": notice.text,
        "data": notice.facts,
    }


def _prefixed(facts: dict[str, str]) -> dict[str, str]:
    return {f"of_{name}": value for name, value in facts.items()}


def _post(address: SplitResult, headers: dict[str, str], body: bytes, patience: timedelta) -> int:
    """The status of the answer; its body is not read. Raises OSError, TimeoutError, HTTPException."""
    seconds = patience.total_seconds()
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.hostname or "", address.port, timeout=seconds)
    # The time-out of a socket begins anew with every byte; this one does not.
    late = threading.Event()
    hurry = threading.Timer(seconds, _cut, (connection, late))
    hurry.daemon = True
    hurry.start()
    try:
        connection.connect()
        if late.is_set():
            raise TimeoutError
        target = (address.path or "/") + (f"?{address.query}" if address.query else "")
        connection.request("POST", target, body, headers)
        status = connection.getresponse().status
        if late.is_set():  # headers that were cut off look whole to http.client
            raise TimeoutError
        return status
    except (OSError, http.client.HTTPException):
        if late.is_set():
            raise TimeoutError from None
        raise
    finally:
        hurry.cancel()
        connection.close()


def _cut(connection: http.client.HTTPConnection, late: threading.Event) -> None:
    late.set()
    if connection.sock is not None:
        try:
            # Not SSLSocket.shutdown, which takes the TLS layer away from under the thread that reads.
            socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)
        except OSError:
            log.debug("already_closed")
