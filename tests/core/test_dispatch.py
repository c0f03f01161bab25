"""Hints: there when the transaction is, one at most for each case, and never needed for anything but speed."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from quarantine.case import Repeated, Status
from quarantine.dispatch import Dispatcher, Hints, prepare
from quarantine.errors import Moved
from quarantine.store.sql import Also, Delivery, Store
from quarantine.testing.installation import HandClock
from tests.core.bench import Bench
from tests.core.builders import finding, opened
from tests.testbed.poll import until
from tests.testbed.postgres import Postgres

SPAN = timedelta(seconds=60)


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    url = postgres.fresh_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store(url, HandClock(), hints=Hints())
    store.migrate()
    prepare(store)
    yield store
    store.close()


def waiting(store: Store) -> list[str]:
    """The queueing locks of the jobs that nobody has begun."""
    with store._engine.connect() as connection:
        query = "SELECT queueing_lock FROM procrastinate_jobs WHERE status = 'todo' ORDER BY id"
        return [str(lock) for lock in connection.execute(text(query)).scalars()]


def forget(store: Store) -> None:
    with store._engine.begin() as connection:
        connection.execute(text("DELETE FROM procrastinate_jobs"))


def test_the_tables_are_made_once_whoever_comes_first(url: str) -> None:
    def come(_: int) -> bool:
        store = Store(url, HandClock(), hints=Hints())
        store.migrate()
        prepare(store)
        prepare(store)
        store.close()
        return True

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(come, range(4))) == [True] * 4


def test_a_hint_comes_with_the_case_and_not_without_it(store: Store) -> None:
    case = store.open(opened(), "source:detector", HandClock()())
    assert waiting(store) == [f"case-{case.id}"]
    with pytest.raises(Moved):
        store.open(opened(), "source:detector", HandClock()())
    assert waiting(store) == [f"case-{case.id}"]
    with store._engine.connect() as connection:
        Hints().give(connection, "c-rolled-back")
        connection.rollback()
    assert waiting(store) == [f"case-{case.id}"]


def test_a_second_hint_for_the_same_case_does_not_harm_the_transaction(store: Store) -> None:
    case = store.open(opened(), "source:detector", HandClock()())
    store.append(case.id, [], "local:ann", HandClock()(), also=Also(due=HandClock()()))
    assert store.due(case.id) == HandClock()(), "what came with the hint is committed"
    assert waiting(store) == [f"case-{case.id}"]


def test_a_worker_gives_no_hint_about_its_own_case(store: Store) -> None:
    case = store.open(opened(), "source:detector", HandClock()())
    forget(store)
    lease = store.claim("a", SPAN)
    assert lease is not None
    store.append(case.id, [], "engine", HandClock()(), lease, Also(due=HandClock()()))
    store.append(case.id, [Repeated(finding=finding(id="again"))], "source:x", HandClock()(), also=Also(keep_due=True))
    assert waiting(store) == []


def test_what_was_said_during_a_turn_is_hinted_when_the_case_is_given_back(store: Store) -> None:
    """Its own hint came while the case was taken, and was used up."""
    case = store.open(opened(), "source:detector", HandClock()())
    lease = store.claim("a", SPAN)
    assert lease is not None
    store.append(case.id, [], "engine", HandClock()(), lease, Also(due=HandClock()() + timedelta(hours=1)))
    forget(store)
    store.free(lease)
    assert waiting(store) == [], "nothing was said: it is due in an hour"

    lease = store.claim("a", SPAN, case.id)
    assert lease is not None
    store.append(case.id, [], "local:ann", HandClock()(), also=Also(due=HandClock()()))
    assert store.claim_hinted("b", SPAN, case.id) is None
    forget(store)
    store.free(lease)
    assert waiting(store) == [f"case-{case.id}"]


def test_who_gives_way_is_hinted_at_behind_the_others(store: Store) -> None:
    clock = HandClock()
    case = store.open(opened(), "source:detector", clock())
    lease = store.claim("a", SPAN)
    assert lease is not None
    store.append(case.id, [], "engine", clock(), lease, Also(due=clock() + timedelta(hours=1), early=clock()))
    forget(store)
    store.free(lease)
    assert waiting(store) == [f"case-{case.id}"]
    assert store.claim_hinted("a", SPAN, case.id) is not None


def test_a_late_hint_finds_nothing_to_do(store: Store) -> None:
    case = store.open(opened(), "source:detector", HandClock()())
    store.append(case.id, [], "engine", HandClock()(), also=Also(due=HandClock()() + timedelta(hours=1)))
    assert store.claim_hinted("a", SPAN, case.id) is None
    assert store.claim("a", SPAN, case.id) is not None


def test_the_sweep_hints_at_what_is_due_and_free_and_not_hinted_at(store: Store) -> None:
    clock = HandClock()
    cases = [store.open(opened(finding=finding_of(n)), "source:detector", clock()) for n in range(4)]
    assert store.sweep() == 0, "every hint is there"
    forget(store)
    taken = store.claim("a", SPAN, cases[0].id)
    assert taken is not None
    store.append(cases[1].id, [], "engine", clock(), also=Also(due=clock() + timedelta(hours=1)))
    forget(store)
    store.receive([Delivery("s", "d", clock(), b"{}")])
    forget(store)
    assert store.sweep() == 3
    assert sorted(waiting(store)) == sorted([f"case-{cases[2].id}", f"case-{cases[3].id}", "deliveries"])
    assert store.sweep() == 0


def test_deliveries_that_are_new_are_hinted_at_once(store: Store) -> None:
    delivery = Delivery("s", "d", HandClock()(), b"{}")
    store.receive([delivery])
    assert waiting(store) == ["deliveries"]
    forget(store)
    assert store.receive([delivery]) == [False]
    assert waiting(store) == []


def test_one_worker_settles_at_a_time(store: Store, url: str) -> None:
    other = Store(url, HandClock())
    with store.settling() as ours:
        assert ours
        with other.settling() as theirs:
            assert not theirs
    with other.settling() as theirs:
        assert theirs
    other.close()


def finding_of(number: int):  # type: ignore[no-untyped-def]
    from tests.core.builders import resource

    return finding(id=f"finding-{number}", resource=resource(f"machine-{number}"))


# -- the whole way, in one process -----------------------------------------------------------------------------------


@pytest.fixture
def bench(url: str, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, url=url)
    prepare(bench.store)
    bench.store._hints = Hints()
    yield bench
    bench.store.close()


@pytest.fixture
def start(bench: Bench) -> Iterator[Callable[[], Dispatcher]]:
    started: list[Dispatcher] = []

    def start_it() -> Dispatcher:
        engine = bench.worker()
        name = f"here:1:{len(started)}"
        dispatcher = Dispatcher(name, bench.store, engine, bench.intake, bench.settings.worker)
        dispatcher.start()
        started.append(dispatcher)
        return dispatcher

    yield start_it
    for dispatcher in started:
        dispatcher.stop()


def test_two_dispatchers_contain_each_case_once(bench: Bench, start: Callable[[], Dispatcher]) -> None:
    start(), start()
    cases = [bench.open(bench.machine(f"web-{number}"), "close") for number in range(10)]
    until(lambda: bench.store.counts() == {Status.CONTAINED: len(cases)}, seconds=30)
    assert len(bench.changes()) == len(cases)
    until(lambda: waiting(bench.store) == [], seconds=10)
    assert bench.store.owners() == []


def test_jobs_of_dead_workers_are_thrown_away(bench: Bench, start: Callable[[], Dispatcher]) -> None:
    with bench.store._engine.begin() as connection:
        dead = connection.execute(
            text("INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 hour') RETURNING id")
        ).scalar_one()
        Hints().give(connection, "c-of-a-dead-worker")
        connection.execute(text("UPDATE procrastinate_jobs SET status = 'doing', worker_id = :id"), {"id": dead})
    start()

    def jobs() -> int:
        with bench.store._engine.connect() as connection:
            return int(connection.execute(text("SELECT count(*) FROM procrastinate_jobs")).scalar_one())

    until(lambda: jobs() == 0, seconds=20)
