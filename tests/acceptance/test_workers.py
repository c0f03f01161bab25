"""Many workers on PostgreSQL, as processes of their own: killed, replaced, cut off from their database, stopped.

The door is a server without workers and without any credentials; what it takes, workers contain.
"""

import math
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from quarantine.case import Case, Status
from tests.acceptance.conftest import CLOSED, Aws, Install
from tests.acceptance.product import Product, asff
from tests.testbed.aws import ACCOUNT, REGION, aws_environment
from tests.testbed.missing import Missing, need
from tests.testbed.poll import until
from tests.testbed.postgres import Postgres

CASES = 24
PLENTY = {"per_account_10m": 1000, "per_account_24h": 1000, "global_24h": 1000}
AUTO = {"mode": "auto", "budget": PLENTY, "storm": {"cases": 1000, "within": "5m"}}
Start = Callable[..., Product]


@pytest.fixture(scope="module")
def lasting() -> Iterator[Postgres]:
    """A PostgreSQL that keeps what it has committed, since it is crashed here."""
    with ExitStack() as stack:
        postgres = Postgres(durable=True)
        try:
            stack.enter_context(postgres)
        except Missing as missing:
            need(str(missing))
        yield postgres


@pytest.fixture
def on_postgres(lasting: Postgres, aws: Aws, install: Install) -> Start:
    """A door without workers on a fresh database. Workers are started by the test."""

    def start(**settings: Any) -> Product:
        providers = {"aws": {"endpoint_url": aws.proxy.url, "accounts": {ACCOUNT: {"regions": [REGION]}}}}
        environment = aws_environment(aws.proxy.url)
        del environment["AWS_ENDPOINT_URL"]
        nothing = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        given = {"database": lasting.fresh_database(), "providers": providers, "guards": AUTO, **settings}
        return install(given, environment, server=("serve", "--no-worker"), server_environment=nothing)

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
