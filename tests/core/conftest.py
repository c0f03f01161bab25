"""What tests of the core may ask for: a clock that stands, a fake platform, a store on either database, a keyboard."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from quarantine.cli import approving, options
from quarantine.registry import Registry
from quarantine.store.sql import Store
from quarantine.testing.fake.provider import FakeProvider, FakeSettings
from quarantine.testing.fake.world import FakeWorld
from tests.core.builders import Clock
from tests.core.cli_bench import CommandLine, plug_in

if TYPE_CHECKING:
    from tests.testbed.postgres import Postgres

Open = Callable[..., Store]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world(clock: Clock) -> FakeWorld:
    return FakeWorld(clock)


@pytest.fixture
def registry(world: FakeWorld) -> Registry:
    """As if the fake platform were installed and configured, and nothing else."""
    return Registry([FakeProvider], {"fake": FakeProvider(FakeSettings(), world)})


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database; the test runs on both kinds."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'quarantine.db'}"
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    url = postgres.fresh_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture
def open_store(database: str) -> Iterator[Open]:
    """`open_store(clock=..., failpoint=...)`: another program on the same database, with its tables made."""
    stores: list[Store] = []

    def open_it(**options: object) -> Store:
        store = Store(database, **options)  # type: ignore[arg-type]
        stores.append(store)
        store.migrate()
        return store

    yield open_it
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store: Open, clock: Clock) -> Store:
    return open_store(clock=clock)


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """An installation in the folder of the test. What is set for another one does not count."""
    for name in ("QUARANTINE_CONFIG", options.TOKEN, approving.TOKEN):
        monkeypatch.delenv(name, raising=False)
    made = CommandLine(tmp_path)
    plug_in(made, monkeypatch)
    return made
