"""Eight workers try ten thousand containments against a budget of fifty: fifty happen, whoever is fastest."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from quarantine.case import Case, Status
from quarantine.config import Budget, Guards, Mode, Storm
from quarantine.engine import Engine
from quarantine.planner import Planner
from quarantine.store.sql import Store
from quarantine.testing.installation import settings
from quarantine.testing.invariants import check
from tests.conftest import Tell
from tests.core.bench import Bench

WORKERS, BUDGET = 8, 50
PLENTY = 100_000


def worker(bench: Bench, store: Store, number: int) -> Engine:
    """With connections of its own, as in another program."""
    planner = Planner(bench.registry, bench.shelf, bench.settings, store)
    name = f"racer-{number}"
    return Engine(
        store, bench.registry, bench.shelf, planner, bench.evidence, bench.settings, name=name, clock=bench.clock
    )


def race(folder: Path, url: str, attempts: int) -> None:
    budget = Budget(per_account_10m=BUDGET, per_account_24h=BUDGET, global_24h=BUDGET)
    guards = Guards(mode=Mode.AUTO, budget=budget, storm=Storm(cases=PLENTY))
    bench = Bench(folder, settings(guards=guards), url=url)
    cases = [bench.open(bench.machine(f"web-{number}"), "isolate") for number in range(attempts)]
    with ExitStack() as stack:
        engines = [
            worker(bench, stack.enter_context(closing(Store(bench.store.url, bench.clock))), number)
            for number in range(WORKERS)
        ]

        def carry(number: int) -> list[Case | None]:
            """Every eighth case; each worker begins its share at another end, so that they meet at the last places."""
            return [engines[number].advance(case.id) for case in cases[number::WORKERS]]

        with ThreadPoolExecutor(WORKERS) as pool:
            moved = [case for done in pool.map(carry, range(WORKERS)) for case in done]
    assert None not in moved, "each case is tried once"
    found = Counter(line.status for line in bench.store.lines(limit=PLENTY))
    assert found.total() == attempts
    acted = {status: count for status, count in found.items() if status in (Status.CONTAINING, Status.CONTAINED)}
    assert sum(acted.values()) == BUDGET, found
    assert sum(count for status, count in found.items() if status in (Status.PROPOSED, Status.AWAITING_APPROVAL)) == (
        attempts - BUDGET
    ), found
    isolated = [name for name in bench.world.names() if bench.world.machine(name).labels.get("app") != "shop"]
    assert len(isolated) == BUDGET, "as the platform sees it"
    assert len(bench.store.budget_used(bench.clock())["*"]) == BUDGET
    check(bench.witness)
    bench.store.close()


def test_four_hundred_attempts(database: str, tmp_path: Path) -> None:
    race(tmp_path, database, 400)


@pytest.mark.soak
def test_ten_thousand_attempts(database: str, tmp_path: Path, tell: Tell) -> None:
    race(tmp_path, database, 10_000)
    tell(f"{database.partition(':')[0]}: {WORKERS} workers, 10000 attempts, a budget of {BUDGET}: {BUDGET} acted")
