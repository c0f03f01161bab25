"""100,000 cases wait for a person. What do they cost a worker, and how soon does it have the one that is approved?

The approval comes from another process than the one that acts, as on the command line. Approve-to-claim is the time
from the approval's commit until the case's epoch has grown in the database, so it includes our own look for that.
"""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from sqlalchemy import insert, select, text

from quarantine.app import App, load
from quarantine.case import Recorded, fold
from quarantine.commitment import new_salt
from quarantine.config import Approvals, Mode
from quarantine.ledger import START, seal
from quarantine.store import disclosures, schema
from quarantine.store.sql import Store, _projection
from quarantine.testing.installation import HandClock, settings
from tests.core.bench import Bench
from tests.testbed.postgres import Postgres
from tests.testbed.process import Process, free_port

PARKED = 100_000
CLAIMS = 500
APPROVALS = 100
RACING = 400
BATCH = 5_000
BARS = {
    "claim, nothing due, p50 ms": 5.0,
    "claim, one due, p50 ms": 5.0,
    "approve to claim, p50 ms": 50.0,
    "approve to claim, p95 ms": 50.0,
    "the newest 200 in a list, p50 ms": 50.0,
    "memory of the worker, MB": 150.0,
}


def run() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="quarantine-bench-") as folder, Postgres(durable=True) as postgres:
        template = awaiting(Path(folder))
        results = {}
        for name, url, verb in (("sqlite", None, "serve"), ("postgresql", postgres.fresh_database(), "worker")):
            home = Path(folder) / name
            home.mkdir()
            results[name] = measure(home, url, verb, template)
    bars = {}
    for what, limit in BARS.items():
        for name, result in results.items():
            bars[f"{name}: {what}"] = (result["summary"][what], limit)
    return {"parked": PARKED, "bars": bars, **results}


def awaiting(folder: Path) -> list[str]:
    """The events of a case that waits for its approval, as the engine makes them."""
    asks_for_a_day = settings(Mode.ASK, approvals=Approvals(valid_for=timedelta(days=1)))
    bench = Bench(folder, asks_for_a_day, HandClock(datetime.now(UTC)))
    case = bench.advance(bench.open(bench.machine(), "isolate"))
    assert case.status == "awaiting_approval", case.status
    lines = [recorded.model_dump_json() for recorded in bench.store.history(case.id)]
    bench.store.close()
    return [
        line.replace(case.id, "c-CASE").replace('"web"', '"NAME"').replace('"uid-1"', '"uid-NAME"') for line in lines
    ]


def park(store: Store, template: list[str]) -> list[str]:
    """So many of them, each with its events, whole chains, and its expiry as due time. Their ids."""
    ids, due = [], (datetime.now(UTC) + timedelta(days=1)).timestamp()
    rows: dict[Any, list[dict[str, Any]]] = {schema.cases: [], schema.events: [], schema.disclosures: []}
    for number in range(PARKED):
        case_id, name = f"c-{number:012x}", f"machine-{number}"
        history = [
            Recorded.model_validate_json(line.replace("c-CASE", case_id).replace("NAME", name)) for line in template
        ]
        head = START
        for recorded in history:
            sealed = seal(recorded, head, new_salt)
            head = sealed.hash
            entry = {"case_id": case_id, "seq": sealed.seq, "type": recorded.event.type}
            rows[schema.events].append({**entry, "content": sealed.content, "hash": sealed.hash})
            rows[schema.disclosures] += disclosures.rows_of(sealed)
        case = fold(history)
        row = {"id": case_id, "opened_at": due - number, "epoch": 1, "head": head, "due_at": due + number}
        rows[schema.cases].append({**row, **_projection(case)})
        ids.append(case_id)
        if len(ids) % BATCH == 0:
            with store._engine.begin() as connection:
                for table, content in rows.items():
                    if content:
                        connection.execute(insert(table), content)
                        content.clear()
    return ids


def measure(home: Path, url: str | None, verb: str, template: list[str]) -> dict[str, Any]:
    app = installation(home, url)
    ids = park(app.store, template)
    if url is not None:
        return measured(app, home, verb, ids)
    with app.store.news():  # as in a server: the last connection that closes would write everything back each time
        return measured(app, home, verb, ids)


def measured(app: App, home: Path, verb: str, ids: list[str]) -> dict[str, Any]:
    idle = [timed(lambda: app.store.claim("bench", timedelta(seconds=60))) for _ in range(CLAIMS)]
    listed = [timed(app.store.lines) for _ in range(20)]
    one_due, claimed = [], iter(ids)
    for _ in range(CLAIMS):
        case_id = next(claimed)
        app.desk.approve(case_id, "local:ann")
        one_due.append(timed(lambda: app.store.claim("bench", timedelta(hours=1))))
        with app.store._engine.begin() as connection:  # parked again, and out of the way
            connection.execute(
                text("UPDATE cases SET due_at = NULL, owner = NULL, lease_until = NULL WHERE id = :id"), {"id": case_id}
            )
    races = race(app, [next(claimed) for _ in range(RACING)])
    with worker(home, verb) as process:
        to_claim = [approved(app, next(claimed)) for _ in range(APPROVALS)]
        memory = resident(process.pid)
    app.store.close()
    return {
        "summary": {
            "claim, nothing due, p50 ms": round(median(idle), 2),
            "claim, nothing due, p99 ms": percentile(idle, 99),
            "claim, one due, p50 ms": round(median(one_due), 2),
            "claim, one due, p99 ms": percentile(one_due, 99),
            "claim, eight at once in two programs, p50 ms": round(median(races), 2),
            "claim, eight at once in two programs, p99 ms": percentile(races, 99),
            "approve to claim, p50 ms": round(median(to_claim), 2),
            "approve to claim, p95 ms": percentile(to_claim, 95),
            "approve to claim, p99 ms": percentile(to_claim, 99),
            "the newest 200 in a list, p50 ms": round(median(listed), 2),
            "memory of the worker, MB": memory,
        },
        "raw ms": {
            "claim, nothing due": idle,
            "claim, one due": one_due,
            "claim, eight at once": races,
            "approve to claim": to_claim,
        },
    }


def race(app: App, due: list[str]) -> list[float]:
    """Two programs with four threads each claim until nothing is due. Every case goes to one of them."""
    for case_id in due:
        app.desk.approve(case_id, "local:ann")
    stores = [app.store, Store(app.settings.database_url)]
    taken: list[str] = []
    took: list[float] = []

    def claim_all(number: int) -> None:
        while True:
            began = time.perf_counter()
            lease = stores[number % 2].claim(f"bench-{number}", timedelta(hours=1))
            took.append(round((time.perf_counter() - began) * 1000, 3))
            if lease is None:
                return
            taken.append(lease.case)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(claim_all, range(8)))
    stores[1].close()
    assert sorted(taken) == sorted(due), "each once, and none left"
    return took


def installation(home: Path, url: str | None) -> App:
    content = {"data": "data", "database": url, "server": {"port": free_port()}, "guards": {"mode": "ask"}}
    (home / "config.yaml").write_text(yaml.safe_dump(content))
    return load(home / "config.yaml")


@contextmanager
def worker(home: Path, verb: str) -> Iterator[Process]:
    log = home / "worker.log"
    process = Process([sys.executable, "-m", "quarantine.cli", verb, "--config", home / "config.yaml"], log, os.environ)
    process.wait_ready(lambda: '"event": "working"' in log.read_text() or '"event": "serving"' in log.read_text(), 60)
    try:
        yield process
    finally:
        process.stop(signal.SIGTERM, seconds=30)


def approved(app: App, case_id: str) -> float:
    """Milliseconds from the approval's commit until a worker has the case."""
    before = epoch(app.store, case_id)
    app.desk.approve(case_id, "local:ann")
    began = time.perf_counter()
    while epoch(app.store, case_id) == before:
        if time.perf_counter() - began > 30:
            raise AssertionError(f"nobody takes case {case_id}")
    return round((time.perf_counter() - began) * 1000, 3)


def epoch(store: Store, case_id: str) -> int:
    with store._read() as connection:
        return int(connection.execute(select(schema.cases.c.epoch).where(schema.cases.c.id == case_id)).scalar_one())


def timed(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return round((time.perf_counter() - began) * 1000, 3)


def percentile(samples: list[float], percent: int) -> float:
    ordered = sorted(samples)
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 2)


def resident(pid: int) -> float:
    """The most that the process ever held, in MB: VmHWM of /proc."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return round(int(line.split()[1]) / 1024, 1)
