"""The reports of a scanner, read from a real API server: how long it takes, and how much memory.

A thousand VulnerabilityReports of a hundred kilobytes each are listed to the end, page after page; then each of them is
written anew, as a scanner does each night, and the changes are followed. Whatever their number, memory must hold a
page.
"""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any

from tests.kubernetes.report_samples import VULNERABLE
from tests.kubernetes.workloads import SELECTOR, TEMPLATE
from tests.testbed import crds
from tests.testbed.controlplane import ADMIN, ControlPlane

REPORTS = 1_000
BYTES = 100_000
SPACE = "bench-reports"
PATH = f"/apis/aquasecurity.github.io/v1alpha1/namespaces/{SPACE}/vulnerabilityreports"
OWNERS = f"/apis/apps/v1/namespaces/{SPACE}/replicasets"
REPLICA_SET = {"replicas": 0, "selector": SELECTOR, "template": TEMPLATE}
BARS = {
    "1,000 reports of 100 kB listed, MB above idle": 40.0,
    "1,000 reports of 100 kB changed, MB above idle": 40.0,
}


def run() -> dict[str, Any]:
    with ControlPlane() as api:  # ends with all that is in it
        crds.install(api, crds.scanners())
        api.make_namespace(SPACE)
        owner = api.create(OWNERS, {"metadata": {"name": "app"}, "spec": REPLICA_SET})["metadata"]["uid"]
        for_all(lambda number: api.create(PATH, report(number, owner)))
        command = [sys.executable, "-m", "benchmarks._feeding", str(api.kubeconfig(ADMIN))]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
            assert reader.stdin is not None
            assert reader.stdout is not None
            listed = json.loads(reader.stdout.readline())
            for_all(lambda number: api.patch(f"{PATH}/{name(number)}", {"metadata": {"labels": {"scanned": "anew"}}}))
            reader.stdin.write("\n")
            reader.stdin.flush()
            changed = json.loads(reader.stdout.readline())
    assert listed["findings"] == changed["findings"] == REPORTS, (listed, changed)
    measured = {
        "1,000 reports of 100 kB listed, MB above idle": listed["megabytes"],
        "1,000 reports of 100 kB changed, MB above idle": changed["megabytes"],
    }
    return {
        "bars": {what: (measured[what], limit) for what, limit in BARS.items()},
        "MB of reports": round(REPORTS * len(json.dumps(report(0, ""))) / 1_000_000),
        "listed": listed,
        "changed": changed,
    }


def for_all(write: Any) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(REPORTS)))


def report(number: int, owner: str) -> dict[str, Any]:
    """As large as those of an image with some 250 vulnerabilities. Its owner is there, or it would be collected."""
    made = deepcopy(VULNERABLE)
    made["metadata"] |= {"name": name(number), "namespace": SPACE}
    made["metadata"]["ownerReferences"][0] |= {"name": "app", "uid": owner}
    known = made["report"]["vulnerabilities"]
    known *= -(-BYTES // len(json.dumps(known)))
    return made


def name(number: int) -> str:
    return f"replicaset-app-{number}-nginx"
