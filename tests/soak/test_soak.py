"""Real processes are killed, frozen and cut off from their database at random: nothing is lost, doubled or left behind.

`make test` runs one small round of it, `make soak` all. A failure prints SEED=..., which repeats the choices.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import Aws
from tests.acceptance.product import Product
from tests.conftest import Tell
from tests.soak.fleet import Fleet, running
from tests.testbed.missing import started
from tests.testbed.postgres import Postgres


def sqlite(folder: Path) -> str:
    return f"sqlite:///{folder / 'shared.db'}"


def test_one_server_is_frozen_while_the_other_is_killed(aws: Aws, tmp_path: Path, seed: int, tell: Tell) -> None:
    with running(aws, tmp_path, 2, sqlite(tmp_path), seed) as fleet:
        fleet.feed(3)

        def kill_it_again_and_again(other: Product) -> None:
            for _ in range(3):
                fleet.feed(1)
                fleet.kill(other)

        fleet.freeze(kill_it_again_and_again, ways=("arrives", "late"))  # a lost one takes half a minute more
        fleet.rest(seconds=120)
        fleet.balance()
        tell(f"sample: {fleet.counts}")


@pytest.mark.soak
def test_a_server_on_sqlite_is_killed_a_hundred_times(aws: Aws, tmp_path: Path, seed: int, tell: Tell) -> None:
    with running(aws, tmp_path, 1, sqlite(tmp_path), seed) as fleet:
        for _ in range(100):
            fleet.feed(2)
            fleet.kill()
        end(fleet, tell, "killed on SQLite")


@pytest.mark.soak
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_workers_are_frozen_beyond_their_leases(
    aws: Aws, tmp_path: Path, seed: int, tell: Tell, database: str, request: pytest.FixtureRequest
) -> None:
    url = sqlite(tmp_path) if database == "sqlite" else request.getfixturevalue("postgres").fresh_database()
    with running(aws, tmp_path, 2 if database == "sqlite" else 3, url, seed) as fleet:
        for _ in range(20):
            fleet.feed(5)
            fleet.freeze(lambda _: fleet.feed(3))
        end(fleet, tell, f"frozen on {database}")


@pytest.mark.soak
def test_three_workers_on_postgresql_carry_500_cases_through_a_hundred_kills(
    aws: Aws, tmp_path: Path, seed: int, tell: Tell, postgres: Postgres
) -> None:
    with running(aws, tmp_path, 3, postgres.fresh_database(), seed) as fleet:
        for _ in range(100):
            fleet.feed(5)
            fleet.kill()
        end(fleet, tell, "killed on PostgreSQL")


@pytest.mark.soak
def test_postgresql_crashes_ten_times_during_300_cases(
    aws: Aws, tmp_path: Path, seed: int, tell: Tell, durable: Postgres
) -> None:
    with running(aws, tmp_path, 3, durable.fresh_database(), seed) as fleet:
        for _ in range(10):
            fleet.feed(30)
            fleet.work(fleet.chance.randrange(200))
            durable.crash()
            durable.start()
            fleet.counts.crashes += 1
        end(fleet, tell, "PostgreSQL crashed")


@pytest.fixture
def durable() -> Iterator[Postgres]:
    """One of its own, which keeps what it was given when it crashes."""
    with started(Postgres(durable=True)) as postgres:
        yield postgres


def end(fleet: Fleet, tell: Tell, what: str) -> None:
    fleet.rest(seconds=300)
    fleet.balance()
    tell(f"{what}: {fleet.counts}")
