"""The real servers, each started by the first test that asks for it, and kept for the run.

What the machine lacks skips the tests that want it, with the reason; under STRICT=1 it fails them.
"""

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import settings

from quarantine.testing.crash import RUNS
from quarantine.testing.installation import memory_folder
from tests.testbed.aws import Moto
from tests.testbed.controlplane import ControlPlane
from tests.testbed.dockerd import Dockerd
from tests.testbed.enforcer import Enforcer
from tests.testbed.missing import started
from tests.testbed.network import PodNetwork
from tests.testbed.node import Node
from tests.testbed.oracle import Oracle
from tests.testbed.postgres import Postgres
from tests.testbed.proxy import FaultProxy
from tests.testbed.space import Space

Tell = Callable[[str], None]
_TOLD = pytest.StashKey[list[str]]()

settings.register_profile("busy", deadline=timedelta(seconds=10))
settings.load_profile("busy")  # an example that waits half a second for a processor is no defect


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """One for all tests: give each test a namespace of its own."""
    with started(ControlPlane()) as running:
        yield running


@pytest.fixture(scope="module")
def pod_network() -> Iterator[PodNetwork]:
    """Wires for pods, which a `node` uses. Takes milliseconds: no other module has to live with its packet filter."""
    with started(PodNetwork()) as running:
        yield running


@pytest.fixture(scope="module")
def node(control_plane: ControlPlane, pod_network: PodNetwork) -> Iterator[Node]:
    """Pods run on it with a network of their own, in the namespaces that a test has it `serve`."""
    with Node(control_plane, pod_network) as running:
        yield running


@pytest.fixture
def space(control_plane: ControlPlane, node: Node) -> Iterator[Space]:
    """A namespace of its own for each test, on the `node`."""
    with Space(control_plane, node) as made:
        yield made


@pytest.fixture(scope="module")
def _enforcer(control_plane: ControlPlane, node: Node) -> Iterator[Enforcer]:
    with Enforcer(control_plane, node) as running:
        yield running


@pytest.fixture
def enforcer(_enforcer: Enforcer) -> Iterator[Enforcer]:
    """Enforces network policies between the pods of the `node`. A test may stop it."""
    yield _enforcer
    _enforcer.start()


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    """Says what network policies let through, by another implementation than ours."""
    with started(Oracle()) as running:
        yield running


@pytest.fixture(scope="session")
def dockerd() -> Iterator[Dockerd]:
    """One for all tests: give containers and networks `unique` names."""
    with started(Dockerd()) as running:
        yield running


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One for all tests: take a `fresh_database` for each."""
    with started(Postgres()) as running:
        yield running


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    """One for all tests: `reset` it in the fixture that hands it on."""
    with started(Moto()) as running:
        yield running


@pytest.fixture
def proxy() -> Iterator[Callable[..., FaultProxy]]:
    """Puts a proxy in front of a URL, until the end of the test: `proxy(upstream, upstream_ca=None)`."""
    with ExitStack() as stack:

        def start(upstream: str, upstream_ca: str | None = None) -> FaultProxy:
            return stack.enter_context(FaultProxy(upstream, upstream_ca))

        yield start


@pytest.fixture
def seed(record_property: Callable[[str, object], None]) -> int:
    """What a test draws its random choices from; printed when it fails. SEED=... repeats them."""
    number = int(os.environ.get("SEED") or random.SystemRandom().randrange(1_000_000))
    record_property("seed", number)
    print(f"SEED={number}")  # noqa: T201 - pytest shows it beside a failure
    return number


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where the machine has that."""
    with memory_folder(tmp_path) as folder:
        yield folder


@pytest.fixture(scope="session")
def tell(request: pytest.FixtureRequest) -> Tell:
    """Says something that stands at the end of the run, whether the test fails or not."""
    told = request.config.stash.setdefault(_TOLD, [])

    def say(line: str) -> None:
        print(line, flush=True)  # noqa: T201 - seen at once with -s
        told.append(line)

    return say


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The numbers of the long tests, and of the crash tests of all processes."""
    told = [*config.stash.get(_TOLD, []), *_crash_runs(terminalreporter)]
    if told:
        terminalreporter.section("counted")
        for line in told:
            terminalreporter.write_line(line)


def _crash_runs(terminalreporter: pytest.TerminalReporter) -> Iterator[str]:
    runs: Counter[str] = Counter()
    for report in chain.from_iterable(terminalreporter.stats.values()):
        if isinstance(report, pytest.TestReport) and report.when == "teardown":
            for counted in (str(value) for name, value in report.user_properties if name == RUNS):
                playbook, _, count = counted.rpartition(" ")
                runs[playbook] += int(count)
    if runs:
        yield f"{runs.total()} crash runs: {', '.join(f'{name} {runs[name]}' for name in sorted(runs))}"
