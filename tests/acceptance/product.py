"""The program as its users run it: a server process on files, a sender that signs, a person at the command line."""

import base64
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from quarantine import app
from quarantine.app import App
from quarantine.audit import Finding, verify
from quarantine.case import Case, Recorded, Status
from quarantine.signature import sign
from quarantine.store.sql import Store
from tests.testbed.poll import until
from tests.testbed.process import Process, free_port

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes, or so").decode()
TOKEN = "a-token-for-senders-that-cannot-sign"


class Answer:
    """What the server answered to one request."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Product:
    """One installation in a folder of its own. Runs inside `with`."""

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any],
        environment: Mapping[str, str] | None = None,
        server: Sequence[str] = ("serve",),
        server_environment: Mapping[str, str] | None = None,
    ) -> None:
        """`server` is the verb of its process, `serve` or `worker`; `server_environment` is for it alone."""
        self.folder = folder
        self.port = free_port()
        self.config = folder / "config.yaml"
        self._log = folder / "server.log"
        self._server: Process | None = None
        self.detector: Callable[[Any], None] = lambda record: None
        """Is told of every record that is sent: who sends it has it, and can be asked for it again."""
        self._verb = tuple(server)
        self._workers: list[Process] = []
        base: dict[str, Any] = {
            "data": "data",
            "server": {"port": self.port},
            "guards": {"mode": "ask"},
            "worker": {"lease": "30s"},
            "sources": {
                "security-hub": {"parser": "aws:asff", "secret": "env:SENDER_SECRET"},
                "guardduty": {"parser": "aws:guardduty", "scheme": "bearer", "secret": "env:SENDER_TOKEN"},
                "falco": {
                    "parser": "kubernetes:falco", "scheme": "bearer", "secret": "env:SENDER_TOKEN", "cluster": "testbed"
                },
            },
        }  # fmt: skip
        self.config.write_text(yaml.safe_dump({**base, **settings}, sort_keys=False))
        senders = {**os.environ, "SENDER_SECRET": SECRET, "SENDER_TOKEN": TOKEN}
        self._environment = {**senders, **(environment or {})}
        self._server_environment = (
            self._environment if server_environment is None else {**senders, **server_environment}
        )
        self.store = Store(settings.get("database") or f"sqlite:///{folder / 'data' / 'quarantine.db'}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in [*self._workers, self._server]:
            if process is not None:
                process.stop(seconds=30)
        self.store.close()
        if "office" in self.__dict__:
            self.office.store.close()
        if error is not None:
            logs = [self._log, *(worker.log for worker in self._workers)]
            for log in logs:
                error.add_note(f"{log.name} ends: {log.read_text(errors='replace')[-3000:] if log.exists() else ''}")

    # -- the process ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        command: list[str | Path] = [sys.executable, "-m", "quarantine.cli", *self._verb, "--config", self.config]
        begun = self._begun()
        self._server = Process(command, self._log, self._server_environment)
        works = self._answers if self._verb[0] == "serve" else lambda: self._begun() > begun
        self._server.wait_ready(works, seconds=30)

    def kill(self) -> None:
        """kill -9."""
        assert self._server is not None
        self._server.stop(signal.SIGKILL)

    def release_later(self, case_id: str, span: timedelta) -> Case:
        """Release what waits until no lost request can arrive any more; then `span` is over, and it is given back."""
        self.say("case", "release", case_id, "--no-wait")
        until(lambda: "may arrive until" in self.last_word(case_id), seconds=30)
        assert self.store.load(case_id).status is Status.RELEASING, "nothing is undone before"
        self.kill()
        words = [str(self.config), case_id, str(span.total_seconds())]
        subprocess.run([sys.executable, "-m", "tests.acceptance.later", *words], env=self._environment, check=True)
        return self.store.load(case_id)

    def last_word(self, case_id: str) -> str:
        """The sentence of the last event."""
        return str(getattr(self.store.history(case_id)[-1].event, "sentence", ""))

    @property
    def pid(self) -> int:
        assert self._server is not None
        return self._server.pid

    def freeze(self) -> None:
        """It stands still, as on a machine that is suspended."""
        assert self._server is not None
        self._server.tell(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._server is not None
        self._server.tell(signal.SIGCONT)

    def stop(self) -> None:
        """As an init system stops it."""
        assert self._server is not None
        self._server.stop(signal.SIGTERM, seconds=30)

    def start_worker(self) -> Process:
        """One more process that carries cases on. Returns when it says that it works."""
        log = self.folder / f"worker-{len(self._workers) + 1}.log"
        command: list[str | Path] = [sys.executable, "-m", "quarantine.cli", "worker", "--config", self.config]
        worker = Process(command, log, self._environment)
        self._workers.append(worker)
        worker.wait_ready(lambda: '"event": "working"' in log.read_text(), seconds=30)
        return worker

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def _begun(self) -> int:
        """How many times a worker has said that it works."""
        return self.log().count('"event": "working"') if self._log.exists() else 0

    def _answers(self) -> bool:
        try:
            return self.request("GET", "/healthz").status == 200
        except OSError:
            return False

    # -- a sender ------------------------------------------------------------------------------------------------

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.read(), dict(response.getheaders()))
        finally:
            connection.close()

    def send(
        self,
        record: object,
        source: str = "security-hub",
        delivery: str | None = None,
        at: float | None = None,
        secret: str = SECRET,
    ) -> Answer:
        """A signed webhook."""
        self.detector(record)
        body = record if isinstance(record, bytes) else json.dumps(record).encode()
        delivery = delivery or f"msg_{uuid.uuid4().hex}"
        timestamp = int(time.time() if at is None else at)
        headers = {
            "content-type": "application/json",
            "webhook-id": delivery,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(secret.encode(), delivery, timestamp, body),
        }
        return self.request("POST", f"/v1/findings/{source}", body, headers)

    def send_with_token(self, record: object, source: str, token: str = TOKEN) -> Answer:
        """A webhook of a sender that cannot sign."""
        headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
        return self.request("POST", f"/v1/findings/{source}", json.dumps(record).encode(), headers)

    def send_at_once(self, records: list[object], clients: int) -> list[Answer]:
        """All of them, from so many clients at the same time."""
        answers: list[Answer] = []
        start = threading.Barrier(clients)

        def client(mine: list[object]) -> None:
            start.wait()
            answers.extend(self.send(record) for record in mine)

        threads = [threading.Thread(target=client, args=(records[number::clients],)) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers

    # -- a person ------------------------------------------------------------------------------------------------

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command line, as a user of this installation."""
        return subprocess.run(
            [sys.executable, "-m", "quarantine.cli", "--config", str(self.config), *words],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=self._environment,
            stdin=subprocess.DEVNULL,
        )

    def say(self, *words: str) -> str:
        """A command that must succeed; its stdout."""
        done = self.run(*words)
        assert done.returncode == 0, f"{words} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    @cached_property
    def office(self) -> App:
        """Where people sit: what they say is said here, without a process for each word."""
        return app.load(self.config)

    # -- the record ----------------------------------------------------------------------------------------------

    def cases(self) -> list[Case]:
        return [self.store.load(line.id) for line in self.store.lines()]

    def only_case(self) -> Case:
        """Waits until there is one."""
        until(self.cases, seconds=20)
        (case,) = self.cases()
        return case

    def wait(self, case_id: str, *statuses: Status, seconds: float = 30) -> Case:
        """Until the case has one of these statuses."""

        def there() -> Case | None:
            case = self.store.load(case_id)
            return case if case.status in statuses else None

        try:
            found = until(there, seconds)
        except AssertionError as error:
            case = self.store.load(case_id)
            raise AssertionError(f"{case.status} {case.reason} {case.sentence}, not {statuses}") from error
        assert found is not None
        return found

    def events(self, case_id: str) -> list[Recorded]:
        return self.store.history(case_id)

    def types(self, case_id: str) -> list[str]:
        return [recorded.event.type for recorded in self.events(case_id)]

    def ledger(self) -> dict[str, list[Recorded]]:
        """The events of every case."""
        return {line.id: self.events(line.id) for line in self.store.lines()}

    def assert_whole(self) -> None:
        with self.store.record() as record:
            report = verify(record)
        assert report.finding is Finding.OK, report.sentence


def asff(bucket: str, account: str, *, updated: datetime | None = None, **changes: object) -> dict[str, Any]:
    """A Security Hub finding about a public bucket, as EventBridge brings it."""
    moment = (updated or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    finding = {
        "SchemaVersion": "2018-10-08",
        "Id": f"arn:aws:securityhub:us-east-1:{account}:security-control/S3.8/finding/{bucket}",
        "ProductArn": "arn:aws:securityhub:us-east-1::product/aws/securityhub",
        "ProductName": "Security Hub",
        "GeneratorId": "security-control/S3.8",
        "AwsAccountId": account,
        "Region": "us-east-1",
        "Types": ["Software and Configuration Checks/Industry and Regulatory Standards"],
        "CreatedAt": moment,
        "UpdatedAt": moment,
        "Severity": {"Label": "HIGH", "Normalized": 70},
        "Title": "S3 general purpose buckets should block public access",
        "Description": "This control checks whether a bucket blocks public access.",
        "Resources": [
            {"Type": "AwsS3Bucket", "Id": f"arn:aws:s3:::{bucket}", "Partition": "aws", "Region": "us-east-1"}
        ],
        "Compliance": {"Status": "FAILED", "SecurityControlId": "S3.8"},
        "Workflow": {"Status": "NEW"},
        "RecordState": "ACTIVE",
        **changes,
    }
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Security Hub Findings - Imported",
        "source": "aws.securityhub",
        "account": account,
        "time": moment,
        "region": "us-east-1",
        "resources": [finding["Id"]],
        "detail": {"findings": [finding]},
    }


def falco(pod: str, namespace: str, uid: str | None = None, **changes: object) -> dict[str, Any]:
    """A Falco alert about a pod, as falcosidekick posts it."""
    return {
        "uuid": str(uuid.uuid4()),
        "output": f"Critical Terminal shell in container (pod={pod})",
        "priority": "Critical",
        "rule": "Terminal shell in container",
        "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "source": "syscall",
        "hostname": "node-1",
        "tags": ["container", "shell"],
        "output_fields": {
            "k8s.pod.name": pod,
            "k8s.ns.name": namespace,
            "k8s.pod.uid": uid,
            "container.id": "3ad7b26ded6d",
            "proc.name": "bash",
        },
        **changes,
    }


Sender = Callable[[object], Answer]
