"""Evidence, kept under its SHA-256: written once, never changed, referred to by digest from the events.

EvidenceStore    what is kept of an artifact, and whether it is still that
Locker           where bytes lie: a folder here; a bucket with retention needs the same three methods
"""

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Protocol

from quarantine.action import Artifact
from quarantine.case import Evidence
from quarantine.config import Evidence as Limits
from quarantine.errors import NotFound, QuarantineError


class Locker(Protocol):
    """Where bytes lie under their SHA-256. Its text says where that is. Every method raises OSError."""

    def put(self, sha256: str, content: bytes) -> None:
        """Durable when this returns, and whole or not there at all whenever it dies."""

    def open(self, sha256: str) -> BinaryIO | None:
        """What lies there, whether it is what the digest says or not; None if nothing does."""

    def remove(self, sha256: str) -> None:
        """Nothing lies there when this returns."""


class EvidenceStore:
    """Keeps artifacts in a locker, within limits."""

    def __init__(self, locker: Locker, limits: Limits | None = None) -> None:
        self._locker = locker
        self._limits = limits or Limits()

    def keep_all(self, artifacts: Iterable[Artifact]) -> tuple[Evidence, ...]:
        """What one step collects, one after the other, so that only one of them is in memory.

        What is larger than the limits is cut, and the entry says so: who floods a log does not stop a containment.
        Raises QuarantineError if the disk does not take it.
        """
        kept: list[Evidence] = []
        left = self._limits.step_bytes
        for artifact in artifacts:
            kept.append(self.keep(artifact, min(left, self._limits.largest_bytes)))
            left -= kept[-1].size
        return tuple(kept)

    def keep(self, artifact: Artifact, most: int | None = None) -> Evidence:
        """Durable when this returns. The same content again is the same file. Of a larger one only `most` bytes."""
        content = artifact.content[: self._limits.largest_bytes if most is None else most]
        sha256 = hashlib.sha256(content).hexdigest()
        try:
            self._locker.put(sha256, content)
        except OSError as error:
            raise QuarantineError(f"evidence cannot be kept in {self._locker}: {error.strerror or error}") from error
        return Evidence(
            name=artifact.name,
            media_type=artifact.media_type,
            sha256=sha256,
            size=len(content),
            cut_from=len(artifact.content) if len(content) < len(artifact.content) else None,
        )

    def read(self, sha256: str) -> bytes:
        """Raises NotFound if it is missing or is not what the digest says."""
        content = self.content(sha256)
        if content is None:
            raise NotFound(f"evidence {sha256} is missing from {self._locker}")
        if hashlib.sha256(content).hexdigest() != sha256:
            raise NotFound(f"evidence {sha256} in {self._locker} was changed: its digest is another one")
        return content

    def content(self, sha256: str) -> bytes | None:
        """What lies there, whether it is what the digest says or not; None if there is none."""
        file = self._locker.open(sha256)
        if file is None:
            return None
        with file:
            return file.read()

    def digest(self, sha256: str) -> str | None:
        """The SHA-256 of what is kept under this one; None if there is none."""
        file = self._locker.open(sha256)
        if file is None:
            return None
        with file:
            digest = hashlib.sha256()
            while piece := file.read(_PIECE):
                digest.update(piece)
            return digest.hexdigest()

    def erase(self, sha256: str) -> None:
        """Not there when this returns. Raises QuarantineError."""
        try:
            self._locker.remove(sha256)
        except OSError as error:
            raise QuarantineError(
                f"evidence {sha256} cannot be erased in {self._locker}: {error.strerror or error}"
            ) from error


_PIECE = 1 << 20
"""Bytes that are in memory at once while a digest is made."""


class Folder:
    """A folder of files that nobody else can read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def place(self, sha256: str) -> Path:
        return self._path / sha256[:2] / sha256

    def put(self, sha256: str, content: bytes) -> None:
        """First aside, then renamed: a crash leaves the whole file or none."""
        path = self.place(sha256)
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, aside = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(aside).replace(path)
        _settle(path.parent)

    def open(self, sha256: str) -> BinaryIO | None:
        try:
            return self.place(sha256).open("rb")
        except FileNotFoundError:
            return None

    def remove(self, sha256: str) -> None:
        path = self.place(sha256)
        path.unlink(missing_ok=True)
        if path.parent.exists():
            _settle(path.parent)


def _settle(folder: Path) -> None:
    """What a folder names is durable when this returns."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
