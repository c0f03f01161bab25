"""Evidence, kept as files under their SHA-256: written once, never changed, referred to by digest from the events."""

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from quarantine.action import Artifact
from quarantine.case import Evidence
from quarantine.config import Evidence as Limits
from quarantine.errors import NotFound, QuarantineError


class EvidenceStore:
    """A folder of content-addressed files."""

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        self.folder = folder
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
        path = self.path(sha256)
        try:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._write(path, content)
        except OSError as error:
            raise QuarantineError(f"evidence cannot be kept in {self.folder}: {error.strerror}") from error
        return Evidence(
            name=artifact.name,
            media_type=artifact.media_type,
            sha256=sha256,
            size=len(content),
            cut_from=len(artifact.content) if len(content) < len(artifact.content) else None,
        )

    def path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256

    def read(self, sha256: str) -> bytes:
        """Raises NotFound if it is missing or is not what the digest says."""
        path = self.path(sha256)
        if not path.exists():
            raise NotFound(f"evidence {sha256} is missing from {self.folder}")
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise NotFound(f"evidence {path} was changed: its digest is another one")
        return content

    def content(self, sha256: str) -> bytes | None:
        """The file as it is, whether it is what the digest says or not; None if there is none here."""
        try:
            return self.path(sha256).read_bytes()
        except FileNotFoundError:
            return None

    def digest(self, sha256: str) -> str | None:
        """The SHA-256 of the file that is kept under this one; None if there is none here."""
        try:
            with self.path(sha256).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return None

    def _write(self, path: Path, content: bytes) -> None:
        """First aside, then renamed: a crash leaves the whole file or none."""
        handle, aside = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(aside).replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
