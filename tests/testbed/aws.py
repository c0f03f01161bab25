"""An AWS on a loopback port: moto's server as a process of its own, so that it outlives a killed client.

Where moto answers otherwise than AWS, `moto_server.py` puts it right before it starts.

Put a `FaultProxy` in front of it: that one records every call, and can break them.
"""

import importlib.util
import json
import os
import sys
import tempfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import boto3
import botocore.session
from botocore.config import Config

from tests.testbed.missing import Missing
from tests.testbed.process import Process, free_port

REGION = "us-east-1"
ACCOUNT = "123456789012"  # moto's
ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


class Moto:
    """Runs inside `with`. Missing if moto is not installed."""

    def __init__(self) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._folder = tempfile.TemporaryDirectory(prefix="quarantine-moto-", ignore_cleanup_errors=True)
        self._server: Process | None = None

    def __enter__(self) -> Self:
        if importlib.util.find_spec("moto") is None:
            raise Missing("AWS: moto is not installed, get it with: pip install 'moto[server]'")
        port = self.url.rpartition(":")[2]
        command: list[str | Path] = [
            sys.executable,
            Path(__file__).with_name("moto_server.py"),
            "-H",
            "127.0.0.1",
            "-p",
            port,
        ]
        environment = aws_environment(self.url)
        del environment["AWS_ENDPOINT_URL"]
        self._server = Process(command, Path(self._folder.name) / "moto.log", environment)
        self._server.wait_ready(self._answers, seconds=60)
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.stop()
        self._folder.cleanup()

    def reset(self) -> None:
        """Forgets every resource."""
        request = urllib.request.Request(f"{self.url}/moto-api/reset", method="POST")
        with urllib.request.urlopen(request, timeout=30) as response:
            response.read()

    def guardduty_says(self, finding: Mapping[str, Any]) -> None:
        """This is what GuardDuty's API shows under the finding's id from now on, in the words of an event."""
        request = urllib.request.Request(
            f"{self.url}/moto-api/guardduty", data=json.dumps(finding).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            response.read()

    def make_task(self) -> str:
        """The ARN of a Fargate task of the service `web`. It stays as it is: moto would let it end by and by."""
        transition = {"model_name": "ecs::task", "transition": {"progression": "manual", "times": 1_000_000}}
        request = urllib.request.Request(
            f"{self.url}/moto-api/state-manager/set-transition",
            data=json.dumps(transition).encode(),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()
        ecs, ec2 = self.client("ecs"), self.client("ec2")
        ecs.create_cluster(clusterName="shop")
        ecs.register_task_definition(
            family="web",
            containerDefinitions=[{"name": "web", "image": "registry.example/web:1", "memory": 512, "cpu": 256}],
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="256",
            memory="512",
        )
        ecs.create_service(cluster="shop", serviceName="web", taskDefinition="web", desiredCount=1)
        subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
        started = ecs.run_task(
            cluster="shop",
            taskDefinition="web",
            launchType="FARGATE",
            group="service:web",
            tags=[{"key": "team", "value": "shop"}],
            networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": ["sg-12345678"]}},
        )
        return str(started["tasks"][0]["taskArn"])

    def environment(self) -> dict[str, str]:
        """For programs that are to see this AWS, and none of the machine's own settings for AWS."""
        return aws_environment(self.url)

    def client(self, service: str, **config: Any) -> Any:
        """A boto3 client of this AWS; keywords are botocore's Config."""
        return aws_client(service, self.url, **config)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/moto-api/data.json", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False


def aws_environment(url: str, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for a program whose AWS is at the URL, which may be a proxy's."""
    return {name: value for name, value in base.items() if not name.startswith("AWS_")} | {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def aws_client(service: str, url: str, **config: Any) -> Any:
    """A boto3 client that sends everything to the URL, once: no retries unless the config says so."""
    core = botocore.session.Session()
    core.set_config_variable("config_file", os.devnull)
    core.set_config_variable("credentials_file", os.devnull)
    session = boto3.Session(botocore_session=core, region_name=REGION)
    return session.client(
        service,
        endpoint_url=url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(**({"retries": {"total_max_attempts": 1}, "read_timeout": 30} | config)),
    )
