"""python -m benchmarks._listing KUBECONFIG: one poll of all pods, in a process of its own, that prints what it took."""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from quarantine_kubernetes import Kubernetes
from quarantine_kubernetes.polls import PRIVILEGED_PODS
from quarantine_kubernetes.provider import Cluster, KubernetesSettings


def main(kubeconfig: str) -> None:
    settings = KubernetesSettings(clusters={"testbed": Cluster(kubeconfig=Path(kubeconfig))})
    cloud = Kubernetes(settings).connect("testbed")
    cloud.read("get version", "get /version")  # it is at rest, with its SDK and a connection
    forget_peak()
    idle = memory("VmRSS")
    began = time.perf_counter()
    findings, _ = PRIVILEGED_PODS.run(cloud, "testbed", datetime.now(UTC), None)
    took = time.perf_counter() - began
    print(json.dumps({"seconds": took, "megabytes": memory("VmHWM") - idle, "findings": len(findings)}))


def forget_peak() -> None:
    """It is counted from now on (proc(5))."""
    Path("/proc/self/clear_refs").write_text("5")


def memory(name: str) -> float:
    """In MB."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main(sys.argv[1])
