"""python -m benchmarks [NAME ...]: runs each, prints its lines, keeps its raw numbers in results/NAME.json.

A benchmark is a module here with `run() -> dict`: what was measured, with the raw samples, under `bars` what is asked
for, as (measured, limit) by name. Exit 1 if a bar is missed.
"""

import json
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent


def machine() -> dict[str, Any]:
    """What a number is worth depends on it."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "niceness": os.nice(0),
        "load before": os.getloadavg(),
        "fsync p50 ms": fsync(),
    }


def fsync() -> float:
    """How long this disk takes to keep 4 KB: no commit is faster."""
    samples = []
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(100):
            began = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            samples.append((time.perf_counter() - began) * 1000)
    return round(median(samples), 2)


def main(names: list[str]) -> int:
    known = sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))
    unknown = set(names) - set(known)
    if unknown:
        print(f"no benchmark {', '.join(sorted(unknown))}. There are: {', '.join(known)}", file=sys.stderr)
        return 2
    missed = 0
    for name in names or known:
        about = machine()
        result: dict[str, Any] = import_module(f"benchmarks.{name}").run()
        file = HERE / "results" / f"{name}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({"machine": about, **result}, indent=1) + "\n")
        print(f"     load {about['load before'][0]:.1f} on {about['cores']} cores, fsync {about['fsync p50 ms']} ms")
        for what, (measured, limit) in result["bars"].items():
            met = measured <= limit
            missed += not met
            print(f"{'ok  ' if met else 'MISS'} {name}: {what}: {measured} (at most {limit})")
        print(f"     raw: {file.relative_to(HERE.parent)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
