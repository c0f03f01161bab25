"""A program built from Go modules alone, once per machine.

The binary lies outside the checkout, in a folder that outlives it, and is named by the hash of its sources:
a change builds a new one, and everyone else finds the old one.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.missing import Missing

SOURCES = ("go.mod", "go.sum", "main.go")


def cache_folder() -> Path:
    named = os.environ.get("QUARANTINE_TEST_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "cloud-quarantine"


@dataclass(frozen=True)
class GoBinary:
    source: Path
    title: str  # what a skip calls it
    flags: Sequence[str] = ()  # of `go build`

    @property
    def path(self) -> Path:
        """Where it is, or will be."""
        digest = hashlib.sha256()
        for name in SOURCES:
            digest.update(hashlib.sha256((self.source / name).read_bytes()).digest())
        return cache_folder() / f"{self.source.name}-{digest.hexdigest()[:16]}"

    def missing(self) -> str | None:
        """Why it cannot be had, as far as one can tell without building it."""
        if self.path.exists() or shutil.which("go"):
            return None
        return f"{self.title}: Go is not installed"

    def build(self) -> Path:
        """Returns the binary, building it if need be. Whoever else wants it meanwhile waits."""
        if self.path.exists():
            return self.path
        if reason := self.missing():
            raise Missing(reason)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(self.path.with_name(f"{self.source.name}.lock")):
            if not self.path.exists():
                self._compile()
        return self.path

    def _compile(self) -> None:
        # A Kubernetes build leaves 3.6 GB of objects behind. They go into a folder of our own, so that they
        # can be dropped without touching anyone's cache; after a failure they stay, and the next try resumes.
        objects = cache_folder() / f"{self.source.name}-objects"
        unfinished = self.path.with_name(f"{self.path.name}.unfinished")
        done = subprocess.run(
            ["go", "build", "-p", "2", "-trimpath", *self.flags, "-o", str(unfinished), "."],
            cwd=self.source,
            env=_environment(objects),
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise Missing(f"{self.title}: go build failed: {done.stderr.strip()[-500:]}")
        unfinished.rename(self.path)
        shutil.rmtree(objects, ignore_errors=True)


def _environment(objects: Path) -> dict[str, str]:
    proxies = subprocess.run(["go", "env", "GOPROXY"], capture_output=True, text=True, check=True).stdout
    return {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOCACHE": str(objects),
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        # Falling back to `direct` hides a missing module behind a misleading error of git.
        "GOPROXY": proxies.strip().removesuffix(",direct").removesuffix("|direct"),
    }


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
