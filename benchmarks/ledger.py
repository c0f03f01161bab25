"""What the signed record costs whoever writes it, and how long an auditor waits for a million entries.

Three ways to write the same events by eight programs on PostgreSQL: without a tree; with ours, where a trigger puts
each entry in line and a sealer in a program of its own gives out the places; and with the tree's edge in the writer's
own transaction, where all writers wait for one row. See docs/decisions/0019-a-sealer.md.
"""

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import create_engine, insert, text

from quarantine.audit import Finding, Trust, verify_signed
from quarantine.case import Case, Recorded, Repeated
from quarantine.commitment import new_salt
from quarantine.config import Ledger
from quarantine.ledger import START, seal
from quarantine.note import Key
from quarantine.sealer import Sealer
from quarantine.store import disclosures, schema, tree
from quarantine.store.sql import Also, Store, _projection
from tests.core.builders import finding, opened
from tests.testbed.postgres import Postgres

KEY = Key("bench/log", b"k" * 32)
RECORD = {
    "hostname": "node-7", "priority": "Warning", "rule": "Terminal shell in container", "source": "syscall",
    "output": "A shell was spawned in a container with an attached terminal (user=root shell=sh parent=runc)",
    "time": "2026-03-01T12:00:00.000000000Z", "tags": ["container", "maturity_stable", "mitre_execution", "shell"],
    "output_fields": {f"container.field_{number}": "a value of some length" for number in range(12)},
}  # fmt: skip
"""What a detector sends, of a usual size: the record commits to it."""
APPENDS = 1_000
WRITERS, SECONDS = 8, 8.0
ENTRIES, EACH = 1_000_000, 10
BATCH = 10_000


def run() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="quarantine-bench-") as folder, Postgres(durable=True) as postgres:
        alone = {name: appended(Path(folder), name) for name in ("no tree", "sealer")}
        many = {
            name: [written(postgres.fresh_database(), name) for _ in range(3)]
            for name in ("no tree", "sealer", "in the transaction")
        }
        verification = verified(Path(folder))
    rate = {name: median(samples) for name, samples in many.items()}
    added = round(median(alone["sealer"]) - median(alone["no tree"]), 3)
    return {
        "bars": {
            "sqlite, added to an append, p50 ms": (added, 1.0),
            "postgresql, 8 writers, share of the throughput lost": (
                round(1 - rate["sealer"] / rate["no tree"], 3),
                0.1,
            ),
            "1,000,000 entries verified, s": (verification["seconds"], 60.0),
            "1,000,000 entries verified, MB": (verification["megabytes"], 200.0),
        },
        "sqlite, an append, p50 ms": {name: median(samples) for name, samples in alone.items()},
        "postgresql, 8 writers, appends in a second": rate,
        "raw": {"sqlite ms": alone, "postgresql per second": many, "verification": verification},
    }


def without_tree(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        on = " ON events" if engine.dialect.name == "postgresql" else ""
        connection.execute(text(f"DROP TRIGGER events_wait{on}"))
    engine.dispose()


def a_case(store: Store, name: str) -> Case:
    found = finding(
        id=name, seen_at=datetime.now(UTC), record=RECORD, resource=finding().resource.model_copy(update={"uid": name})
    )
    return store.open(opened(finding=found), "source:bench", datetime.now(UTC))


def append(store: Store, case: Case) -> Case:
    return store.append(case, [Repeated(finding=case.finding)], by="source:bench", at=datetime.now(UTC), also=Also())


def appended(folder: Path, name: str) -> list[float]:
    """Milliseconds of each durable append of one entry, while a sealer runs or without a tree."""
    url = f"sqlite:///{folder / name.replace(' ', '-')}.db"
    with closing(Store(url)) as store:
        store.migrate()
        if name == "no tree":
            without_tree(url)
        sealer = Sealer(store, KEY, lambda: datetime.now(UTC), Ledger())
        sealer.start()
        case, took = a_case(store, "one"), []
        for _ in range(APPENDS):
            began = time.perf_counter()
            case = append(store, case)
            took.append(round((time.perf_counter() - began) * 1000, 3))
        sealer.stop()
    return took


def written(url: str, name: str) -> float:
    """Appends in a second by all writers together."""
    with closing(Store(url)) as store:
        store.migrate()
    if name != "sealer":
        without_tree(url)
    context = multiprocessing.get_context("spawn")
    ready, begin, over = context.Semaphore(0), context.Event(), context.Event()
    counts = context.Queue()
    writer = in_the_transaction if name == "in the transaction" else plainly
    programs = [
        context.Process(target=writes, args=(url, number, writer, ready, begin, counts)) for number in range(WRITERS)
    ]
    sealing = context.Process(target=seals, args=(url, over))
    if name == "sealer":
        sealing.start()
    for program in programs:
        program.start()
    for _ in programs:
        ready.acquire()
    begin.set()
    total: int = sum(counts.get(timeout=120) for _ in programs)
    for program in programs:
        program.join()
    over.set()
    if name == "sealer":
        sealing.join()
    return round(total / SECONDS, 1)


Writer = Callable[[Store, Case], Case]


def plainly(store: Store, case: Case) -> Case:
    return append(store, case)


def in_the_transaction(store: Store, case: Case) -> Case:
    """As if the tree grew in the transaction that appends: the entry takes its place at the locked edge."""
    with store._engine.begin() as connection:
        recorded = Recorded(
            case=case.id, seq=case.seq + 1, at=datetime.now(UTC), by="bench", event=Repeated(finding=case.finding)
        )
        sealed = seal(recorded, START, new_salt)
        row = insert(schema.events).values(
            case_id=sealed.case, seq=sealed.seq, type="repeated", content=sealed.content, hash=sealed.hash
        )
        disclosures.keep(connection, sealed)
        entry = connection.execute(row.returning(schema.events.c.id)).scalar_one()
        connection.execute(schema.cases.update().where(schema.cases.c.id == case.id).values(seq=sealed.seq))
        connection.execute(insert(schema.unsealed).values(entry=entry))
        connection.execute(text("SELECT size FROM tree FOR UPDATE"))
        tree.grow(connection, BATCH)
    return case.model_copy(update={"seq": case.seq + 1})


def writes(url: str, number: int, writer: Writer, ready: Any, begin: Event, counts: Any) -> None:
    with closing(Store(url)) as store:
        case, made = a_case(store, f"writer-{number}"), 0
        ready.release()
        begin.wait()
        until = time.perf_counter() + SECONDS
        while time.perf_counter() < until:
            case, made = writer(store, case), made + 1
    counts.put(made)


def seals(url: str, over: Event) -> None:
    with closing(Store(url)) as store:
        sealer = Sealer(store, KEY, lambda: datetime.now(UTC), Ledger())
        sealer.start()
        over.wait()
        sealer.stop()


def verified(folder: Path) -> dict[str, float]:
    """Seconds, and the most memory, of a program that verifies a million signed entries."""
    url = f"sqlite:///{folder / 'million.db'}"
    with closing(Store(url)) as store:
        store.migrate()
        million(store)
        sealer = Sealer(store, KEY, lambda: datetime.now(UTC), Ledger())
        while store.seal(sealer._note, datetime.now(UTC), most=BATCH):
            pass
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    program = context.Process(target=verifies, args=(url, answers))
    program.start()
    seconds, megabytes = answers.get(timeout=600)
    program.join()
    return {"seconds": seconds, "megabytes": megabytes}


def million(store: Store) -> None:
    """The entries of many cases, chained as the store chains them."""
    event, at = Repeated(finding=finding(record=RECORD)), datetime.now(UTC)
    template = a_case(store, "template")
    rows: dict[Any, list[dict[str, Any]]] = {schema.cases: [], schema.events: [], schema.disclosures: []}
    for number in range((ENTRIES - 1) // EACH):
        case_id, head = f"c-{number:012x}", START
        for seq in range(1, EACH + 1):
            sealed = seal(Recorded(case=case_id, seq=seq, at=at, by="source:bench", event=event), head, new_salt)
            head = sealed.hash
            entry = {"case_id": case_id, "seq": seq, "type": "repeated", "content": sealed.content, "hash": head}
            rows[schema.events].append(entry)
            rows[schema.disclosures] += disclosures.rows_of(sealed)
        case = {"id": case_id, "opened_at": number, "epoch": 0, **_projection(template)}
        rows[schema.cases].append({**case, "live_key": None, "seq": EACH, "head": head})
        if len(rows[schema.events]) >= BATCH or number == (ENTRIES - 1) // EACH - 1:
            with store._engine.begin() as connection:
                for table, content in rows.items():
                    connection.execute(insert(table), content)
                    content.clear()


def verifies(url: str, answers: Any) -> None:
    began = time.perf_counter()
    with closing(Store(url)) as store, store.record() as record:
        report = verify_signed(record, Trust([KEY.verifier], datetime.now(UTC)))
    assert report.finding is Finding.OK, report.sentence
    assert report.entries > ENTRIES - EACH
    seconds = round(time.perf_counter() - began, 1)
    answers.put((seconds, round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)))
