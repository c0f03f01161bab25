"""Seals the record: gives every entry its place in the tree, and signs the state, at most once a second.

The key is a file of this host that nobody else can read; the database never sees it. Whichever process has it seals.
"""

import base64
import logging
import os
import secrets
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from quarantine.config import Ledger
from quarantine.errors import Misconfigured, QuarantineError, Superseded, Unavailable
from quarantine.journal import KeyRotated
from quarantine.merkle import Frontier
from quarantine.note import ED25519, Checkpoint, Key, Note, Signer, notes_in
from quarantine.store.sql import Store
from quarantine.succession import statement

log = logging.getLogger(__name__)

BEAT = 1.0
"""Seconds between two checkpoints at least: the end of the record is never longer unsealed while a sealer runs."""
END = "\n"
"""Stands between two checkpoints in the anchor's file: an empty line after the signatures."""
_PREFIX = "PRIVATE+KEY+"


class Sealer:
    """A thread that seals what was written since it last looked."""

    def __init__(
        self,
        store: Store,
        signer: Signer,
        clock: Callable[[], datetime],
        settings: Ledger,
        beat: float = BEAT,
        renewed: Callable[[], Signer | None] = lambda: None,
    ) -> None:
        """`renewed` gives the key that signs by now, when it is not `signer` any more; None if it is not here."""
        self._renewed = renewed
        self._store = store
        self._signer = signer
        self._clock = clock
        self._settings = settings
        self._beat = beat
        self._anchored: tuple[datetime, str] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sealer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Seals what is left, and returns."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(30)

    def seal(self) -> None:
        """Everything that waits. Raises QuarantineError."""
        try:
            self._seal()
        except Superseded:
            signer = self._renewed()
            if signer is None:
                raise
            log.warning("ledger_key_changed", extra={"verifier": str(signer.verifier)})
            self._signer = signer
            self._seal()

    def _seal(self) -> None:
        while self._store.seal(self._note, self._clock(), key=str(self._signer.verifier)):
            pass

    def anchor(self) -> None:
        """Append the last checkpoint to the anchor's file, if it is a new one and its time has come. Raises OSError."""
        path, last = self._settings.anchor, self._store.last_checkpoint()
        if path is None or last is None:
            return
        if self._anchored is not None:
            at, note = self._anchored
            if note == last[1] or self._clock() - at < self._settings.anchor_every:
                return
        with path.open("a", encoding="utf-8") as file:
            file.write(last[1] + END)
            file.flush()
            os.fsync(file.fileno())
        self._anchored = self._clock(), last[1]

    def _note(self, tree: Frontier) -> str:
        return str(Note(Checkpoint(self._signer.verifier.name, tree.size, tree.root).body).signed(self._signer))

    def _run(self) -> None:
        ends = False
        while not ends:
            ends = self._stopping.wait(self._beat)
            try:
                self.seal()
                self.anchor()
            except Unavailable as error:
                log.warning("not_sealed", extra={"error": str(error)})
            except OSError as error:
                log.warning("not_anchored", extra={"file": str(self._settings.anchor), "error": str(error)})
            except QuarantineError:
                log.exception("not_sealed")


NEXT, PAST = ".next", ".until-"
"""What the file of a key that is to come is called, and how that of one that is gone goes on, with its hash."""


def key_in_use(path: Path, verifier: str) -> Key:
    """The key in this file, whose public part is `verifier`.

    A change of the key that was interrupted after it was recorded is brought to its end here. Raises Misconfigured.
    """
    coming = path.with_name(path.name + NEXT)
    if coming.exists() and str(key_of(coming).verifier) == verifier:
        if path.exists():
            path.rename(path.with_name(f"{path.name}{PAST}{key_of(path).verifier.id.hex()}"))
        coming.rename(path)
    key = key_of(path)
    if str(key.verifier) != verifier:
        raise Misconfigured(
            f"{path} is not the key that this record is signed with: bring that back, or take this one away"
        )
    return key


def rotate(store: Store, path: Path, by: str, at: datetime, reason: str) -> Key:
    """Make another key, record that it follows, signed by both, and put its file in the place of the old one.

    The old file stays beside it. Raises Misconfigured, Superseded.
    """
    old = key_in_use(path, store.log_key() or "")
    coming = path.with_name(path.name + NEXT)
    coming.unlink(missing_ok=True)  # of a change that was never recorded: nothing is signed with it
    new = make_key(coming, old.verifier.name)
    act = KeyRotated(statement=statement(old, new), reason=reason)
    store.rotate(str(old.verifier), str(new.verifier), act, by, at)
    return key_in_use(path, str(new.verifier))


def key_of(path: Path) -> Key:
    """The key in this file. Raises Misconfigured, also if others than its owner can read it."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(4096).decode("ascii", errors="replace").strip()
    except FileNotFoundError:
        raise Misconfigured(f"there is no ledger key {path}: bring it back from where it is kept safe") from None
    except OSError as error:
        raise Misconfigured(f"ledger key {path}: {error.strerror}") from error
    if mode & 0o077:
        raise Misconfigured(f"ledger key {path} can be read by others: chmod 600 {path}")
    if not text.startswith(_PREFIX):
        raise Misconfigured(f"ledger key {path} is no key: it begins with {_PREFIX}")
    name, _, rest = text.removeprefix(_PREFIX).partition("+")
    claimed, _, encoded = rest.partition("+")
    raw = b""
    with suppress(ValueError):
        raw = base64.b64decode(encoded, validate=True)
    if len(raw) != 1 + 32 or raw[0] != ED25519:
        raise Misconfigured(f"ledger key {path} is no Ed25519 key")
    key = Key(name, raw[1:])
    if key.verifier.id.hex() != claimed:
        raise Misconfigured(f"ledger key {path} was changed: its hash does not fit")
    return key


def make_key(path: Path, name: str) -> Key:
    """A new key in a new file that only its owner can read. Raises Misconfigured if there is one."""
    seed = secrets.token_bytes(32)
    key = Key(name, seed)
    text = f"{_PREFIX}{name}+{key.verifier.id.hex()}+{base64.b64encode(bytes([ED25519]) + seed).decode()}\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise Misconfigured(f"there is a ledger key {path} already: it is never written over") from None
    except OSError as error:
        raise Misconfigured(f"ledger key {path} cannot be written: {error.strerror}") from error
    return key


def anchors_in(path: Path) -> list[str]:
    """The checkpoints in an anchor's file. Raises Misconfigured."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"anchors {path}: {error}") from error
    return notes_in(text)
