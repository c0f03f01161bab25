"""Many workers on PostgreSQL, as processes of their own: killed, replaced, cut off from their database, stopped.

The door is a server without workers and without any credentials; what it takes, workers contain.
"""

import math
import os
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from quarantine.case import Case, Status
from tests.acceptance.conftest import CLOSED, Aws, Install
from tests.acceptance.product import Product, asff
from tests.testbed.aws import ACCOUNT, REGION, aws_environment
from tests.testbed.call import Call
from tests.testbed.missing import started
from tests.testbed.poll import until
from tests.testbed.postgres import Postgres

CASES = 16
PLENTY = {"per_account_10m": 1000, "per_account_24h": 1000, "global_24h": 1000}
AUTO = {"mode": "auto", "budget": PLENTY, "storm": {"cases": 1000, "within": "5m"}}
Start = Callable[..., Product]


@pytest.fixture(scope="module")
def lasting() -> Iterator[Postgres]:
    """A PostgreSQL that keeps what it has committed, since it is crashed here."""
    with started(Postgres(durable=True)) as postgres:
        yield postgres


@pytest.fixture
def on_postgres(lasting: Postgres, aws: Aws, install: Install) -> Start:
    """A door without workers on a fresh database. Workers are started by the test."""

    def start(server: tuple[str, ...] = ("serve", "--no-worker"), **settings: Any) -> Product:
        providers = {"aws": {"endpoint_url": aws.proxy.url, "accounts": {ACCOUNT: {"regions": [REGION]}}}}
        environment = aws_environment(aws.proxy.url)
        del environment["AWS_ENDPOINT_URL"]
        nothing = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        given = {"database": lasting.fresh_database(), "providers": providers, "guards": AUTO, **settings}
        only_door = None if len(server) == 1 else nothing
        product = install(given, environment, server=server, server_environment=only_door)
        product.detector = aws.security_hub_has
        return product

    return start


def report(product: Product, buckets: list[str]) -> None:
    answers = product.send_at_once([asff(bucket, ACCOUNT) for bucket in buckets], clients=4)
    assert [answer.status for answer in answers] == [202] * len(buckets)


def all_contained(product: Product, buckets: list[str], seconds: float) -> list[Case]:
    def there() -> bool:
        counts = product.store.counts()
        assert not counts.get(Status.NEEDS_HUMAN), [(case.reason, case.sentence) for case in product.cases()]
        return counts == {Status.CONTAINED: len(buckets)}

    until(there, seconds)
    cases = product.cases()
    assert sorted(case.resource.id for case in cases) == sorted(buckets)
    return cases


def closings(aws: Aws) -> list[str]:
    """Every change that reached the provider, by path: one for each bucket, if all is well."""
    return sorted(call.path for call in aws.proxy.recorded("PutPublicAccessBlock") if call.forwarded)


def assert_contained_once(aws: Aws, product: Product, buckets: list[str]) -> None:
    assert [aws.block(bucket) for bucket in buckets] == [CLOSED] * len(buckets)
    assert len(closings(aws)) == len(set(closings(aws))) == len(buckets), "one change for each"
    for case in product.cases():
        assert product.types(case.id).count("intended") == 1
    product.assert_whole()


def test_a_killed_worker_is_replaced_by_another_one(aws: Aws, on_postgres: Start) -> None:
    product = on_postgres()
    buckets = [aws.public_bucket(f"leak-{number}") for number in range(CASES)]
    doomed, _ = product.start_worker(), product.start_worker()
    held = aws.proxy.hold_answer("PutPublicAccessBlock", times=math.inf)
    report(product, buckets)
    until(lambda: len(closings(aws)) >= 8, seconds=60)  # both have all hands full, their changes made and not answered
    assert any(f":{doomed.pid}:" in owner for owner in product.store.owners()), "it is killed in the middle of cases"
    doomed.stop(signal.SIGKILL)
    held.let_go()
    product.start_worker()
    all_contained(product, buckets, seconds=90)
    assert_contained_once(aws, product, buckets)


def test_a_database_that_crashes_in_the_middle_costs_seconds(lasting: Postgres, aws: Aws, on_postgres: Start) -> None:
    product = on_postgres()
    buckets = [aws.public_bucket(f"leak-{number}") for number in range(CASES)]
    product.start_worker(), product.start_worker()
    report(product, buckets)
    for share in (1, CASES // 3):
        until(lambda share=share: product.store.counts().get(Status.CONTAINED, 0) >= share, seconds=60)  # type: ignore[misc]
        lasting.crash()
        refused = product.send(asff("too-late", ACCOUNT))
        assert refused.status == 503, "nothing is accepted that cannot be stored"
        lasting.start()
    all_contained(product, buckets, seconds=90)
    assert_contained_once(aws, product, buckets)


def test_after_the_kill_switch_no_worker_changes_anything_also_without_a_server(aws: Aws, on_postgres: Start) -> None:
    product = on_postgres()
    buckets = [aws.public_bucket(f"leak-{number}") for number in range(CASES)]
    product.start_worker(), product.start_worker()
    report(product, buckets)
    until(lambda: len(closings(aws)) >= 3, seconds=60)
    stalled: set[str] = set()

    def the_last_look_before_the_change(call: Call) -> bool:
        """The guards have said yes, and nothing was changed yet: from here only the gate can stop it."""
        bucket = call.path.strip("/")
        judged = {line.resource for line in product.store.lines([Status.CONTAINING])}
        if call.method != "GET" or bucket not in judged or call.path in closings(aws):
            return False
        stalled.add(bucket)
        return True

    held = aws.proxy.hold(the_last_look_before_the_change, times=math.inf)
    until(lambda: len(stalled) >= 4, seconds=60)
    product.kill()
    product.say("kill", "on", "--reason", "exercise")
    held.let_go()
    until(lambda: not product.store.owners(), seconds=60)
    on_at = product.store.switches()[0].at
    late = [call.path for call in aws.proxy.recorded("PutPublicAccessBlock") if call.at > on_at + timedelta(seconds=1)]
    assert late == []
    assert [aws.block(bucket) for bucket in stalled] == [None] * len(stalled)
    assert 3 <= len(closings(aws)) < CASES, "it came in the middle"

    contained = [case.id for case in product.cases() if case.status is Status.CONTAINED]
    product.say("case", "release", contained[0], "--no-wait")
    product.wait(contained[0], Status.CLOSED)


def test_a_worker_that_is_told_to_stop_finishes_its_turns_and_begins_no_new_one(aws: Aws, on_postgres: Start) -> None:
    product = on_postgres(worker={"lease": "30s", "threads": 1})
    buckets = [aws.public_bucket(f"leak-{number}") for number in range(8)]
    worker = product.start_worker()
    held = aws.proxy.hold_answer("PutPublicAccessBlock")
    report(product, buckets)
    held.wait_reached()
    until(lambda: len(product.cases()) == len(buckets), seconds=30)
    worker.tell(signal.SIGTERM)
    until(lambda: '"event": "stopping"' in worker.log.read_text())
    held.let_go()
    assert worker.wait(seconds=30) == 0
    assert '"event": "stopped"' in worker.log.read_text()
    assert product.store.owners() == [], "every lease is given back"
    counts = product.store.counts()
    assert counts.get(Status.CONTAINED, 0) >= 1, "the turn was finished"
    given_way = [case for case in product.cases() if case.status is Status.CONTAINING]
    assert all(case.all_applied for case in given_way), "no turn was cut: what is left of these is to look"
    assert counts.get(Status.NEW, 0) >= 1, "and others were left"

    product.start_worker()
    all_contained(product, buckets, seconds=60)
    assert_contained_once(aws, product, buckets)


def test_what_a_person_says_reaches_a_worker_at_once(aws: Aws, on_postgres: Start) -> None:
    """The sweep is out of the way: it would look only once an hour."""
    product = on_postgres(guards={"mode": "ask"}, worker={"lease": "30s", "poll": "1h"})
    product.start_worker()
    bucket = aws.public_bucket()
    before = aws.image(bucket)
    report(product, [bucket])
    case = product.only_case()
    product.wait(case.id, Status.AWAITING_APPROVAL, Status.PROPOSED)
    product.say("case", "approve", case.id, "--yes", "--no-wait")
    product.wait(case.id, Status.CONTAINED)
    product.say("case", "release", case.id, "--no-wait")
    product.wait(case.id, Status.CLOSED)
    assert aws.image(bucket) == before
    assert {recorded.by for recorded in product.events(case.id)} >= {"engine"}


def test_a_lost_hint_costs_seconds(aws: Aws, on_postgres: Start) -> None:
    """Every job is thrown away before a worker is there to see it."""
    product = on_postgres()
    bucket = aws.public_bucket()
    report(product, [bucket])
    with product.store._engine.begin() as connection:
        assert connection.execute(text("DELETE FROM procrastinate_jobs")).rowcount == 1
    product.start_worker()
    all_contained(product, [bucket], seconds=20)
    with product.store._engine.connect() as connection:
        left = connection.execute(text("SELECT count(*) FROM procrastinate_jobs WHERE status <> 'todo'")).scalar()
        assert left in (0, 1), "jobs are deleted when they have ended"


def test_a_server_with_workers_is_one_of_them(aws: Aws, on_postgres: Start) -> None:
    product = on_postgres(server=("serve",))
    buckets = [aws.public_bucket(f"leak-{number}") for number in range(4)]
    report(product, buckets[:2])
    all_contained(product, buckets[:2], seconds=60)
    product.start_worker()
    product.kill()
    product.start()
    report(product, buckets[2:])
    all_contained(product, buckets, seconds=60)
    assert_contained_once(aws, product, buckets)
    product.stop()
    assert '"event": "stopped"' in product.log()


def test_a_worker_refuses_a_database_that_is_newer_than_itself(aws: Aws, on_postgres: Start) -> None:
    product = on_postgres()
    with product.store._engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    refused = product.run("worker")
    assert refused.returncode == 2
    assert "the database is at schema 9999" in refused.stderr
    assert "upgrade the program" in refused.stderr


@pytest.mark.parametrize("words", [("worker",), ("serve", "--no-worker")], ids=" ".join)
def test_on_sqlite_there_is_one_process(words: tuple[str, ...], install: Install) -> None:
    refused = install({}).run(*words)
    assert refused.returncode == 2
    assert "postgresql+psycopg://" in refused.stderr
