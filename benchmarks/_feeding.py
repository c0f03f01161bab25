"""python -m benchmarks._feeding KUBECONFIG: follows Trivy's reports, in a process of its own, and prints what it took.

One line when all are listed; another one, once a line has come in, when all changes since then are read.
"""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks._listing import forget_peak, memory
from quarantine.errors import Transient
from quarantine_kubernetes import Kubernetes
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.feeds import FEEDS
from quarantine_kubernetes.provider import Cluster, KubernetesSettings

(TRIVY,) = (poll for poll in FEEDS if poll.name == "kubernetes:trivy-reports")


def main(kubeconfig: str) -> None:
    settings = KubernetesSettings(clusters={"testbed": Cluster(kubeconfig=Path(kubeconfig))})
    cloud = Kubernetes(settings).connect("testbed")
    cloud.read("get version", "get /version")  # it is at rest, with its SDK and a connection
    idle, cursor = memory("VmRSS"), None
    for again in (True, False):
        forget_peak()
        told, cursor = follow(cloud, idle, cursor)
        print(json.dumps(told), flush=True)
        if again:
            sys.stdin.readline()


def follow(cloud: KubernetesCloud, idle: float, cursor: str | None) -> tuple[dict[str, Any], str | None]:
    """Run after run, as the scheduler does it, until nothing is left. What one has found is let go of before the next.

    A busy API server may not have caught up with its own writes, and says so: it is asked again.
    """
    began, runs, count, peaks = time.perf_counter(), 0, 0, []
    while runs == 0 or TRIVY.unfinished(cursor):
        try:
            findings, cursor = TRIVY.run(cloud, "testbed", datetime.now(UTC), cursor)
        except Transient:
            continue
        runs, count = runs + 1, count + len(findings)
        peaks.append(round(memory("VmHWM") - idle, 1))
    told = {
        "seconds": time.perf_counter() - began,
        "runs": runs,
        "findings": count,
        "megabytes after a quarter": peaks[len(peaks) // 4],
        "megabytes": peaks[-1],
    }
    return told, cursor


if __name__ == "__main__":
    main(sys.argv[1])
