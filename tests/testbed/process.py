"""Programs that a test starts, waits for, and stops: these, and no others."""

import pwd
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.testbed.poll import until

# Below the range that Linux hands to outgoing connections: nobody takes the port between our look and its use.
PORTS = range(20_000, 32_000)


def free_port() -> int:
    for port in random.sample(PORTS, k=200):
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port on 127.0.0.1")


class Process:
    """A running program; its output goes to a file. It dies with the thread that started it."""

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        self.name = log.stem
        self.log = log
        setpriv = shutil.which("setpriv")
        leash = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
        identity = pwd.getpwnam(user) if user else None
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*leash, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                env=environment,
                user=identity.pw_uid if identity else None,
                group=identity.pw_gid if identity else None,
                extra_groups=[] if identity else None,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self, answers: Callable[[], bool], seconds: float) -> None:
        """Returns as soon as it answers; if it dies or stays silent, AssertionError with its last words."""

        def ready() -> bool:
            if self._process.poll() is not None:
                raise AssertionError(f"{self.name} ended: {self._last_words()}")
            return answers()

        try:
            until(ready, seconds)
        except AssertionError as error:
            self.stop(signal.SIGKILL)
            raise AssertionError(f"{error}; {self.name} said: {self._last_words()}") from error

    def tell(self, what: signal.Signals) -> None:
        self._process.send_signal(what)

    def wait(self, seconds: float = 10) -> int:
        """Its exit code, when it has ended by itself."""
        return self._process.wait(seconds)

    def stop(self, how: signal.Signals = signal.SIGTERM, seconds: float = 10) -> None:
        """Returns when it is gone; killed if it does not go in time."""
        if self._process.poll() is None:
            self._process.send_signal(how)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _last_words(self) -> str:
        return self.log.read_text(errors="replace")[-1500:]
