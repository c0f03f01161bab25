"""A witness: sees the states of logs, makes sure that each begins with the one before, and signs that with its own key.

    old 42                      the state that the log thinks we saw last
    <hash> ...                  the proof that the new one begins with it
                                an empty line
    <checkpoint>                the new state, signed by the log

It runs on another host, under other people's hands, and keeps one checkpoint of each log: who rewrites a record, key in
hand, cannot make it agree. It learns the name and the size of a log, and nothing that is in it.
Source: c2sp.org/tlog-witness.
"""

import fcntl
import hashlib
import os
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from quarantine.errors import Misconfigured
from quarantine.merkle import extends
from quarantine.note import Checkpoint, Key, Note, Unsigned, Verifier, decoded

LARGEST = 64 << 10
"""Bytes of a request."""
_MOST_HASHES = 63
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True)
class Answer:
    """What is said to a log, in the words of HTTP."""

    status: int
    text: str
    size: bool = False
    """The text is the size of the state that was seen last."""


@dataclass(frozen=True)
class Asked:
    """A log's request."""

    old: int
    proof: tuple[bytes, ...]
    note: Note
    checkpoint: Checkpoint

    @classmethod
    def parse(cls, body: bytes) -> "Asked":
        """Raises Unsigned."""
        try:
            head, separator, note = body.decode().partition("\n\n")
        except UnicodeDecodeError:
            raise Unsigned("the request is no text") from None
        lines = head.split("\n")
        old = _OLD.fullmatch(lines[0])
        if not separator or old is None or len(lines) - 1 > _MOST_HASHES:
            raise Unsigned("a request is: old SIZE, the hashes of the proof, an empty line, and a checkpoint")
        parsed = Note.parse(note)
        return cls(int(old[1]), tuple(decoded(line) for line in lines[1:]), parsed, Checkpoint.parse(parsed.body))


def request(old: int, proof: Sequence[str], note: str) -> bytes:
    """A log's request; the hashes in base64."""
    return "\n".join([f"old {old}", *proof, "", note]).encode()


class Witness:
    """One key, and the last state of each log that it knows. Safe to ask from several threads."""

    def __init__(self, folder: Path, key: Key, logs: Sequence[Verifier], clock: Callable[[], datetime]) -> None:
        """Raises Misconfigured, also if another witness works in this folder."""
        self._folder = folder
        self._key = key.as_witness()
        self._logs = logs
        self._clock = clock
        self._alone = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Misconfigured(f"another witness works in {folder}: two could be told two histories") from error
        except OSError as error:
            raise Misconfigured(f"{folder} cannot be used: {error.strerror}") from error

    @property
    def verifier(self) -> Verifier:
        """What others know our cosignatures by."""
        return self._key.verifier

    def close(self) -> None:
        os.close(self._lock)

    def path(self, origin: str) -> Path:
        """The file with the last state of a log: an anchor for whoever verifies it."""
        return self._folder / f"{hashlib.sha256(origin.encode()).hexdigest()[:32]}.note"

    def ask(self, body: bytes) -> Answer:
        """Cosign a new state, or say why not. The state is durable when this returns."""
        try:
            asked = Asked.parse(body)
        except Unsigned as error:
            return Answer(400, f"{error}\n")
        origin = asked.checkpoint.origin
        keys = [key for key in self._logs if key.name == origin]
        if not keys:
            return Answer(404, "this log is not known here\n")
        try:
            signed = asked.note.signed_by(keys)
        except Unsigned as error:
            return Answer(403, f"{error}\n")
        if not signed:
            return Answer(403, "no known key of this log has signed it\n")
        if asked.old > asked.checkpoint.size:
            return Answer(400, "the old state is larger than the new one\n")
        with self._alone:
            return self._advance(asked)

    def _advance(self, asked: Asked) -> Answer:
        seen, new = self.last(asked.checkpoint.origin), asked.checkpoint
        if asked.old != (seen.size if seen else 0):
            return Answer(409, f"{seen.size if seen else 0}\n", size=True)
        if seen is not None and seen.size == new.size and seen.root != new.root:
            return Answer(409, f"{seen.size}\n", size=True)
        if seen is None or seen.size == 0:
            if asked.proof:
                return Answer(422, "nothing was seen before: there is nothing to prove\n")
        elif not extends(seen.size, seen.root, new.size, new.root, asked.proof):
            return Answer(422, "the new state does not begin with the old one\n")
        cosigned = asked.note.cosigned(self._key, self._clock())
        self._keep(new.origin, str(cosigned))
        return Answer(200, f"{cosigned.signatures[-1]}\n")

    def last(self, origin: str) -> Checkpoint | None:
        """The last state that was seen of a log. Raises Misconfigured if its file was spoilt: nothing is assumed."""
        try:
            text = self.path(origin).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(f"{self.path(origin)} cannot be read: {error}") from error
        try:
            return Checkpoint.in_note(text)
        except Unsigned as error:
            raise Misconfigured(f"{self.path(origin)} was spoilt: {error}") from error

    def _keep(self, origin: str, note: str) -> None:
        path = self.path(origin)
        aside = path.with_suffix(".next")
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(note)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
