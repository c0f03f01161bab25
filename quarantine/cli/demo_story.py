"""The demo: the real program, as a server and as commands, on an AWS that runs here. Every claim is looked at."""

import base64
import http.client
import json
import secrets
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from quarantine.cli.demo_cloud import ACCOUNT, PRIVATE, PUBLIC, REGION, SCOPE, DemoCloud, environment
from quarantine.cli.demo_stage import Spoilt, Stage, free_port, stoppable, unstoppable
from quarantine.cli.exit_code import ExitCode
from quarantine.cli.options import tell
from quarantine.signature import sign

SECRET = "DEMO_WEBHOOK_SECRET"  # noqa: S105 - the name of the variable
LONGEST = 30.0  # seconds that any one thing may take


def tell_it(keep: bool) -> ExitCode:
    """The whole story. Everything that it starts is stopped when this returns or raises."""
    stoppable()
    folder = Path(tempfile.mkdtemp(prefix="quarantine-demo-"))
    secret = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    config = folder / "config.yaml"
    stage = Stage(environment() | {SECRET: secret, "QUARANTINE_CONFIG": str(config)})
    try:
        return Story(stage, folder, secret).tell()
    finally:
        unstoppable()
        stage.stop_all()
        if keep:
            tell(f"Kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


class Story:
    """Its scenes, in order."""

    def __init__(self, stage: Stage, folder: Path, secret: str) -> None:
        self._stage = stage
        self._folder = folder
        self._secret = secret
        self._cloud = DemoCloud(free_port())
        self._port = free_port()
        self._case = ""
        self._before: dict[str, bytes] = {}

    def tell(self) -> ExitCode:
        stage = self._stage
        stage.title("cloud-quarantine", "a public bucket: reported, contained, watched, given back")
        task = self._an_aws()
        self._a_server()
        self._a_report()
        self._a_decision()
        self._somebody_opens_it()
        self._given_back()
        self._a_task(task)
        self._the_record()
        return self._end()

    # -- scenes --------------------------------------------------------------------------------------------------

    def _an_aws(self) -> str:
        stage, cloud, log = self._stage, self._cloud, self._folder / "moto.log"
        stage.scene(1, "An AWS on this machine")
        stage.start([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(cloud.port)], log)
        stage.until(cloud.answers, LONGEST, "moto answers", log)
        task = cloud.furnish()
        stage.did(f"moto, at {cloud.url}; this is all that the program will see of AWS")
        stage.note(f"bucket {PUBLIC}: its policy lets anybody read")
        stage.note(f"bucket {PRIVATE}: closed, and none of our business")
        stage.note("ECS service web in cluster shop, with one task")
        self._before = {bucket: cloud.image(bucket) for bucket in (PUBLIC, PRIVATE)}
        return task

    def _a_server(self) -> None:
        stage, log, config = self._stage, self._folder / "server.log", self._folder / "config.yaml"
        stage.scene(2, "The server, in mode ask: it proposes, a person decides")
        settings: dict[str, Any] = {
            "installation": "demo",
            "data": "data",
            "guards": {"mode": "ask"},
            "watch": {"every": "1s"},
            "server": {"port": self._port},
            "sources": {"security-hub": {"parser": "aws:asff", "secret": f"env:{SECRET}"}},
            "providers": {"aws": {"endpoint_url": self._cloud.url, "accounts": {ACCOUNT: {"regions": [REGION]}}}},
        }
        config.write_text(yaml.safe_dump(settings, sort_keys=False))
        stage.start([sys.executable, "-m", "quarantine.cli", "serve", "--config", config], log)
        stage.until(lambda: self._request("GET", "/healthz") == 200, LONGEST, "the server answers", log)
        stage.did(f"quarantine serve --config {config}")
        stage.note(f"takes signed findings at http://127.0.0.1:{self._port}/v1/findings/security-hub")

    def _a_report(self) -> None:
        stage = self._stage
        stage.scene(3, "Security Hub reports the bucket")
        body = json.dumps(_finding()).encode()
        forged = self._send(body, "whsec_" + base64.b64encode(b"somebody else's secret").decode())
        stage.check(forged == 401, "a forged report is refused (401)", forged)
        signed = self._send(body, self._secret)
        stage.check(signed == 202, "the signed one is accepted (202), and was on disk before the answer", signed)
        (case,) = self._until_cases(lambda case: case["status"] == "awaiting_approval", "a case asks for approval")
        self._case = case["id"]
        stage.check(case["resource"] == PUBLIC, "one case was opened, for the public bucket; it asks before it acts")
        stage.command("case", "list")
        stage.command("case", "show", self._case)
        stage.check(self._untouched(PUBLIC), "until now nothing at AWS was changed")

    def _a_decision(self) -> None:
        stage = self._stage
        stage.scene(4, "A person approves exactly that plan")
        plan = stage.ask("case", "show", self._case)["plan_digest"][:12]
        reason = ("--reason", "invoices are not for everybody")
        code = stage.command("case", "approve", self._case, "--plan", plan, *reason)
        stage.check(code == ExitCode.DONE, "contained", f"exit {code}")
        self._look_that_it_is_closed()

    def _somebody_opens_it(self) -> None:
        stage = self._stage
        stage.scene(5, "Somebody opens it again by hand")
        self._cloud.open_again(PUBLIC)
        block = self._cloud.block(PUBLIC)
        stage.did(f"aws s3api delete-public-access-block --bucket {PUBLIC}")
        stage.check(block is None, "it is open", block)
        stage.note("S3 may answer with old settings for a while after a change: for 15 s a difference proves nothing")
        (case,) = self._until_cases(lambda case: case["status"] == "needs_human", "the change is noticed")
        stage.check(case["reason"] == "drifted", "noticed: the case needs a person, because it drifted", case["reason"])
        code = stage.command("case", "retry", self._case, "--reason", "closed means closed")
        stage.check(code == ExitCode.DONE, "contained again", f"exit {code}")
        self._look_that_it_is_closed()

    def _given_back(self) -> None:
        stage = self._stage
        stage.scene(6, "The release gives back what was there before")
        code = stage.command("case", "release", self._case, "--reason", "moved to a signed download page")
        stage.check(code == ExitCode.DONE, "released", f"exit {code}")
        size = len(self._before[PUBLIC])
        stage.check(
            self._untouched(PUBLIC),
            f"{PUBLIC} is equal to before, byte for byte ({size} bytes: block, policy, ACL, tags)",
        )
        stage.check(self._untouched(PRIVATE), f"{PRIVATE} was never touched")

    def _a_task(self, task: str) -> None:
        stage = self._stage
        stage.scene(7, "A suspect task: what would happen, before it does")
        words = ("stop-task", f"aws:ecs-task/{task}", "--scope", SCOPE)
        stage.command("run", *words)
        caveats = [item["text"] for step in stage.ask("run", *words)["plan"]["steps"] for item in step["caveats"]]
        stage.check(
            any("'web'" in text for text in caveats),
            "the plan names the service that would start another task in its place",
            caveats,
        )

    def _the_record(self) -> None:
        stage = self._stage
        stage.scene(8, "The record")
        code = stage.command("audit", "verify")
        stage.check(code == ExitCode.DONE, "every entry is there and unaltered", f"exit {code}")

    def _end(self) -> ExitCode:
        stage = self._stage
        to_plan, to_verified = _times(stage.ask("case", "show", self._case)["events"])
        held = stage.checks - len(stage.failed)
        stage.scene(9, f"{held} of {stage.checks} checks held, in {stage.elapsed:.0f} s")
        stage.note(f"by the record: alert to plan {to_plan:.2f} s, approval to read back {to_verified:.2f} s")
        if stage.failed:
            tell(f"Failed: {'; '.join(stage.failed)}. Look at what is kept: quarantine demo --keep")
            return ExitCode.PARTLY
        stage.note("next: quarantine init, then quarantine doctor")
        return ExitCode.DONE

    # -- below ---------------------------------------------------------------------------------------------------

    def _look_that_it_is_closed(self) -> None:
        block = self._cloud.block(PUBLIC)
        closed = block is not None and all(block.values())
        said = ", ".join(name for name, on in (block or {}).items() if on)
        self._stage.check(closed, f"read back at AWS, not from our record: {said}", block)

    def _untouched(self, bucket: str) -> bool:
        return self._cloud.image(bucket) == self._before[bucket]

    def _until_cases(self, wanted: Callable[[Any], bool], what: str) -> list[Any]:
        def look() -> list[Any]:
            cases: list[Any] = self._stage.ask("case", "list")
            return cases if cases and all(wanted(case) for case in cases) else []

        return self._stage.until(look, LONGEST, what, self._folder / "server.log")

    def _request(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> int:
        """The status; 0 if nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request(method, path, body, headers or {})
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def _send(self, body: bytes, secret: str) -> int:
        """As Standard Webhooks says."""
        delivery, timestamp = f"msg_{uuid.uuid4().hex}", int(time.time())
        headers = {
            "content-type": "application/json",
            "webhook-id": delivery,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(secret.encode(), delivery, timestamp, body),
        }
        return self._request("POST", "/v1/findings/security-hub", body, headers)


def _finding() -> dict[str, Any]:
    """What Security Hub's control S3.2 says about a bucket, in its own format."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "SchemaVersion": "2018-10-08",
        "Id": f"arn:aws:securityhub:{REGION}:{ACCOUNT}:security-control/S3.2/finding/{uuid.uuid4()}",
        "ProductArn": f"arn:aws:securityhub:{REGION}::product/aws/securityhub",
        "GeneratorId": "security-control/S3.2",
        "AwsAccountId": ACCOUNT,
        "Region": REGION,
        "Types": ["Software and Configuration Checks/Industry and Regulatory Standards"],
        "CreatedAt": now,
        "UpdatedAt": now,
        "Severity": {"Label": "CRITICAL", "Normalized": 90},
        "Title": "S3 general purpose buckets should block public read access",
        "Description": "This control checks whether a bucket permits public read access.",
        "Resources": [{"Type": "AwsS3Bucket", "Id": f"arn:aws:s3:::{PUBLIC}", "Region": REGION}],
        "Compliance": {"Status": "FAILED", "SecurityControlId": "S3.2"},
        "Workflow": {"Status": "NEW"},
        "RecordState": "ACTIVE",
    }


def _times(events: list[Any]) -> tuple[float, float]:
    """(from the case's opening to its plan, from the approval to the first verification), in seconds."""
    first: dict[str, datetime] = {}
    for recorded in events:
        first.setdefault(recorded["event"]["type"], datetime.fromisoformat(recorded["at"]))
    try:
        spans = (first["planned"] - first["opened"], first["verified"] - first["approved"])
    except KeyError as missing:
        raise Spoilt(f"the record has no {missing.args[0]} event") from missing
    return spans[0] / timedelta(seconds=1), spans[1] / timedelta(seconds=1)
