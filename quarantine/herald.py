"""Shows each new state of the record to those who watch over it, and keeps what they sign.

A witness that is away or refuses holds up nothing here: `quarantine doctor` says how far each one is.
"""

import http.client
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from quarantine.config import Ledger
from quarantine.errors import QuarantineError
from quarantine.note import Checkpoint, Note, Unsigned, Verifier, encoded
from quarantine.store.sql import Store
from quarantine.text import safe_text
from quarantine.witness import request

log = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds that a witness may take to answer."""
_LONGEST = 16 << 10
"""Bytes of an answer that are read."""


class NotSeen(QuarantineError):
    """A witness did not cosign a state; the message says why."""


@dataclass(frozen=True)
class Reply:
    status: int
    text: str


Post = Callable[[str, bytes], Reply]
"""(url, body) -> what came back. Raises OSError, HTTPException."""


class Herald:
    """A thread that asks the witnesses."""

    def __init__(
        self, store: Store, clock: Callable[[], datetime], settings: Ledger, post: Post | None = None, beat: float = 1.0
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._post = post or _post
        self._beat = beat
        self._shown: dict[str, datetime] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="herald", daemon=True)

    def start(self) -> None:
        if self._settings.witnesses:
            self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(2)

    def show_all(self) -> None:
        """Show the last state to every witness that has not seen it, and whose time has come."""
        last = self._store.last_checkpoint()
        if last is None:
            return
        seen = self._store.seen()
        note = Note.parse(last[1])
        size = Checkpoint.parse(note.body).size
        for name, witness in self._settings.witnesses.items():
            known = Verifier.parse(witness.key)
            shown = self._shown.get(name)
            early = shown is not None and self._clock() - shown < self._settings.witness_every
            old = seen[str(known)][0] if str(known) in seen else 0
            if early or old >= size:
                continue
            self._shown[name] = self._clock()
            try:
                self._show(witness.url, known, old, note, size)
            except (NotSeen, OSError, http.client.HTTPException) as error:
                log.warning("not_witnessed", extra={"witness": name, "why": safe_text(error)})

    def _show(self, url: str, known: Verifier, old: int, note: Note, size: int) -> None:
        reply = self._ask(url, old, note, size)
        if reply.status == 409 and reply.text.strip().isdigit() and len(reply.text) < 20:
            old = int(reply.text)
            if old > size:
                raise NotSeen(f"it has seen {old} entries, and {size} are here: was the record cut off or put back?")
            reply = self._ask(url, old, note, size)
        if reply.status == 422 or reply.status == 409:
            raise NotSeen(f"it refuses: what is here does not begin with what it has seen ({reply.status})")
        if reply.status != 200:
            raise NotSeen(f"it answered {reply.status}: {reply.text}")
        self._store.cosign(size, str(known), self._clock(), _line_of(known, note, reply.text))

    def _ask(self, url: str, old: int, note: Note, size: int) -> Reply:
        proof = [encoded(step) for step in self._store.proof_since(old, size)]
        return self._post(url.rstrip("/") + "/add-checkpoint", request(old, proof, str(note)))

    def _run(self) -> None:
        while not self._stopping.wait(self._beat):
            try:
                self.show_all()
            except Exception:
                log.exception("herald_failed")


def _line_of(known: Verifier, note: Note, answer: str) -> str:
    """The line by this witness, if it is good. Raises NotSeen."""
    try:
        answered = Note.parse(f"{note.body}\n{answer}")
        if answered.signed_by([known]):
            return next(f"{signature}\n" for signature in answered.signatures if signature.of(known))
    except Unsigned as error:
        raise NotSeen(f"its answer cannot be used: {error}") from None
    raise NotSeen("its answer is not signed with the key that ledger.witnesses names")


def _post(url: str, body: bytes) -> Reply:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=PATIENCE)
    try:
        connection.request("POST", parts.path, body, {"Content-Type": "text/plain; charset=utf-8"})
        answer = connection.getresponse()
        return Reply(answer.status, answer.read(_LONGEST).decode("utf-8", "replace"))
    finally:
        connection.close()
