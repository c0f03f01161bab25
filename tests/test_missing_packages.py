"""Where a provider's packages are missing, the others work, and it is named with the command that installs them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from quarantine.registry import installed
from tests.testbed.process import free_port

PACKAGES = {
    "aws": ("boto3", "botocore"),
    "azure": ("azure",),
    "docker": ("docker",),
    "kubernetes": ("kubernetes",),
    "vmware": ("pyVmomi",),
}
COMMANDS = {
    "aws": "pip install cloud-quarantine",
    "azure": "pip install cloud-quarantine",
    "docker": 'pip install "cloud-quarantine[docker]"',
    "kubernetes": "pip install cloud-quarantine",
    "vmware": 'pip install "cloud-quarantine[vmware]"',
}


def providers(folder: Path) -> dict[str, Any]:
    """Every provider, each with one place where nobody answers."""
    nobody = f"127.0.0.1:{free_port()}"
    cluster = {"name": "nobody", "cluster": {"server": f"http://{nobody}"}}
    context = {"name": "nobody", "context": {"cluster": "nobody", "user": "nobody"}}
    user = {"name": "nobody", "user": {"token": "none"}}
    kubeconfig = {
        "apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context], "users": [user],
        "current-context": "nobody",
    }  # fmt: skip
    (folder / "kubeconfig").write_text(json.dumps(kubeconfig))
    subscription = "11111111-2222-3333-4444-555555555555"
    return {
        "aws": {"accounts": {"123456789012": {"regions": ["eu-west-1"]}}, "endpoint_url": f"http://{nobody}"},
        "azure": {
            "subscriptions": {subscription: {"resource_groups": ["shop"]}},
            "endpoint_url": f"http://{nobody}",
            "token": "env:NOBODY",
        },
        "docker": {"hosts": {"alpha": {"url": f"tcp://{nobody}"}}},
        "kubernetes": {"clusters": {"prod": {"kubeconfig": str(folder / "kubeconfig")}}},
        "vmware": {
            "vcenters": {
                "lab": {"url": f"https://{nobody}/sdk", "user": "nobody", "password": "env:NOBODY"},
            }
        },
    }


def doctor(folder: Path, without: tuple[str, ...]) -> list[dict[str, str]]:
    (folder / "config.yaml").write_text(yaml.safe_dump({"data": "data", "providers": providers(folder)}))
    block = f"import sys; sys.modules.update(dict.fromkeys({without!r})); from quarantine.cli import main; main()"
    command = [sys.executable, "-c", block, "doctor", "--config", str(folder / "config.yaml"), "-o", "json"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "NOBODY": "none", "AWS_ACCESS_KEY_ID": "none",
                   "AWS_SECRET_ACCESS_KEY": "none", "AWS_EC2_METADATA_DISABLED": "true"}  # fmt: skip
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.startswith("["), done.stderr
    checks: list[dict[str, str]] = json.loads(done.stdout)
    return checks


def test_the_table_has_every_provider() -> None:
    assert set(PACKAGES) == set(COMMANDS) == set(installed())


@pytest.mark.parametrize("missing", sorted(PACKAGES))
def test_the_missing_one_is_named_and_the_others_work(missing: str, tmp_path: Path) -> None:
    checks = doctor(tmp_path, PACKAGES[missing])
    named = [check for check in checks if "is not installed" in check["message"]]
    assert len(named) == 1, checks
    assert COMMANDS[missing] in named[0]["message"]
    failed = {check["subject"].split()[0] for check in checks if check["verdict"] == "fail"}
    assert len(failed) >= len(PACKAGES), f"each of the others says that nobody answers: {failed}"
