"""A server that does not own its tables does all of its work, and cannot touch what is recorded."""

from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from quarantine import dispatch
from quarantine.audit import Finding, Trust, verify_signed
from quarantine.case import Closed, Outcome, Repeated
from quarantine.cli.exit_code import ExitCode
from quarantine.cli.program import program
from quarantine.config import Ledger
from quarantine.redaction import erasable, redacted
from quarantine.sealer import Sealer
from quarantine.store.schema import RECORDS
from quarantine.store.sql import Also, Store
from tests.core.builders import Clock, finding
from tests.core.test_tree import KEY, a_finding
from tests.testbed.postgres import Postgres

ROLE = "quarantine_runtime"


@pytest.fixture(scope="module")
def url(postgres: Postgres) -> Iterator[str]:
    """A database as its owner has left it, for the role that servers have."""
    owner = postgres.fresh_database()
    store = Store(owner)
    store.migrate()
    dispatch.prepare(store)
    store.close()
    sql = CliRunner().invoke(program, ["permissions", "--provider", "postgresql", "--principal", ROLE])
    assert sql.exit_code == 0, sql.output
    engine = create_engine(owner, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(f"DROP ROLE IF EXISTS {ROLE}"))
        connection.execute(text(f"CREATE ROLE {ROLE} LOGIN"))
        connection.execute(text(sql.stdout))
    yield owner.replace("postgres@", f"{ROLE}@")
    postgres.drop_database(owner)
    with create_engine(postgres.url, poolclass=NullPool).begin() as connection:
        connection.execute(text(f"DROP ROLE {ROLE}"))


def test_it_writes_seals_is_seen_and_verifies(url: str, clock: Clock) -> None:
    store = Store(url, clock=clock, hints=dispatch.Hints())
    store.migrate()
    dispatch.prepare(store)
    case = store.open(a_finding("f-1"), "source:test", clock())
    store.append(case, [Repeated(finding=finding(id="again"))], by="source:test", at=clock(), also=Also())
    store.switch("all", True, "a drill", "local:ann", clock())
    store.append(case.id, [Closed(outcome=Outcome.DECLINED)], by="local:ann", at=clock(), also=Also())
    gone = redacted(erasable(store.entries(case.id)), "a customer's name")
    store.append(case.id, [gone], by="local:ann", at=clock(), also=Also(keep_due=True, erases=gone.commitments))
    Sealer(store, KEY, clock, Ledger()).seal()
    store.cosign(5, "w", clock(), "")
    assert store.sweep() >= 0
    with store.record() as record:
        report = verify_signed(record, Trust([KEY.verifier], clock()))
    assert (report.finding, report.entries, report.redacted) == (Finding.OK, 5, 2)
    store.close()


@pytest.mark.parametrize("table", RECORDS)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {} SET {} = {}",
        "DELETE FROM {}",
        "TRUNCATE {}",
        "ALTER TABLE {} DISABLE TRIGGER ALL",
        "DROP TABLE {}",
        "SET session_replication_role = replica",
        "UPDATE alembic_version SET version_num = version_num",
    ],
)
def test_it_may_not_touch_what_is_recorded(url: str, table: str, statement: str) -> None:
    column = {"events": "type", "leaves": "entry"}.get(table, "size")
    engine = create_engine(url, poolclass=NullPool)
    with pytest.raises(Exception, match=r"permission denied|must be owner"), engine.begin() as connection:
        connection.execute(text(statement.format(table, column, column)))


def test_it_may_erase_a_value_and_never_change_one(url: str) -> None:
    engine = create_engine(url, poolclass=NullPool)
    with pytest.raises(Exception, match="permission denied"), engine.begin() as connection:
        connection.execute(text("UPDATE disclosures SET content = content"))


@pytest.mark.parametrize("role", ["", "x; DROP TABLE events", "Ann", "a" * 64, '"'])
def test_what_is_no_role_is_refused(role: str) -> None:
    refused = CliRunner().invoke(program, ["permissions", "--provider", "postgresql", "--principal", role])
    assert (refused.exit_code, "is no role" in refused.stderr) == (ExitCode.USAGE, True)
