"""The store: the same promises on SQLite and on PostgreSQL."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, SQLAlchemyError

from quarantine.audit import Finding as Verdict
from quarantine.audit import verify
from quarantine.case import Case, Closed, Opened, Outcome, Planned, Repeated, Status
from quarantine.config import Budget, Guards
from quarantine.errors import Fenced, Misconfigured, Misused, Moved, NotFound, QuarantineError
from quarantine.guard import Tallies
from quarantine.model import Finding, Resource
from quarantine.plan import Plan
from quarantine.store.sql import Also, Delivery, Held, Hold, Spend, Spent, Store
from quarantine.testing.installation import HandClock
from tests.testbed.poll import until
from tests.testbed.postgres import Postgres

MakeStore = Callable[..., Store]
SPAN = timedelta(seconds=60)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'cases.db'}"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.fresh_database()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def make(url: str, clock: HandClock) -> Iterator[MakeStore]:
    made: list[Store] = []

    def store(**changes: object) -> Store:
        made.append(Store(url, **{"clock": clock, **changes}))  # type: ignore[arg-type]
        made[-1].migrate()
        return made[-1]

    yield store
    for item in made:
        item.close()


@pytest.fixture
def store(make: MakeStore) -> Store:
    return make()


def opened(name: str = "web", number: int = 1, playbook: str = "isolate") -> Opened:
    resource = Resource(kind="fake:machine", id=name, scope="local", uid=f"uid-{name}")
    found = Finding(source="detector", id=f"finding-{number}", resource=resource, seen_at=HandClock().at)
    return Opened(finding=found, playbook=playbook, playbook_digest="0" * 64)


def planned(case: Case) -> Planned:
    plan = Plan(playbook=case.playbook, playbook_digest="0" * 64, resource=case.resource, steps=())
    return Planned(plan=plan, digest=plan.digest)


def at_once(jobs: int, job: Callable[[int], object]) -> list[object]:
    """So many threads, all let go at the same moment; what each returned or raised."""
    gate = threading.Barrier(jobs)

    def run(number: int) -> object:
        gate.wait()
        try:
            return job(number)
        except (QuarantineError, SQLAlchemyError) as error:
            return error

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(run, range(jobs)))


# -- cases -----------------------------------------------------------------------------------------------------------


def test_what_is_appended_comes_back_and_the_projection_says_the_same(store: Store, clock: HandClock) -> None:
    case = store.open(opened(), "source:detector", clock())
    case = store.append(case, [planned(case)], "engine", clock())
    assert store.load(case.id) == case
    assert [recorded.seq for recorded in store.history(case.id)] == [1, 2]
    (line,) = store.lines()
    assert (line.id, line.status, line.resource) == (case.id, case.status, "web")
    with store.record() as record:
        assert verify(record).finding is Verdict.OK


def test_a_stale_copy_of_a_case_catches_up(store: Store, clock: HandClock) -> None:
    first = store.open(opened(), "source:detector", clock())
    store.append(first, [planned(first)], "engine", clock())
    again = store.append(first, [Repeated(finding=first.finding)], "source:detector", clock())
    assert again.seq == 3
    assert again.plan is not None


def test_an_event_that_the_status_does_not_allow_leaves_nothing(store: Store, clock: HandClock) -> None:
    case = store.open(opened(), "source:detector", clock())
    store.append(case, [Closed(outcome=Outcome.DECLINED)], "local:ann", clock())
    with pytest.raises(Misused):
        store.append(case.id, [Repeated(finding=case.finding)], "source:detector", clock())
    assert len(store.history(case.id)) == 2


def test_one_live_case_for_a_resource_and_playbook(store: Store, clock: HandClock) -> None:
    case = store.open(opened(), "source:detector", clock())
    with pytest.raises(Moved):
        store.open(opened(number=2), "source:detector", clock())
    assert store.live(opened().finding, "isolate") == case.id
    store.append(case, [Closed(outcome=Outcome.DECLINED)], "local:ann", clock())
    assert store.live(opened().finding, "isolate") is None
    assert store.open(opened(number=3), "source:detector", clock()).id != case.id


def test_eight_threads_that_open_the_same_open_one(store: Store, clock: HandClock) -> None:
    results = at_once(8, lambda number: store.open(opened(number=number), "source:detector", clock()))
    assert sum(isinstance(result, Case) for result in results) == 1
    assert sum(isinstance(result, Moved) for result in results) == 7
    assert len(store.lines()) == 1


def test_appends_from_many_threads_leave_no_gap_and_lose_nothing(store: Store, clock: HandClock) -> None:
    case = store.open(opened(), "source:detector", clock())
    results = at_once(8, lambda _: store.append(case, [Repeated(finding=case.finding)], "source:detector", clock()))
    assert all(isinstance(result, Case) for result in results), results
    assert [recorded.seq for recorded in store.history(case.id)] == list(range(1, 10))
    with store.record() as record:
        assert verify(record).finding is Verdict.OK


def test_a_case_is_found_by_the_beginning_of_its_id(store: Store, clock: HandClock) -> None:
    case = store.open(opened(), "source:detector", clock())
    assert store.find(case.id[:6]) == case.id
    for unknown in ("c-zzzz", "%", "_"):
        with pytest.raises(NotFound):
            store.find(unknown)


def test_events_are_never_changed_or_deleted(store: Store, clock: HandClock) -> None:
    store.open(opened(), "source:detector", clock())
    for statement in ("UPDATE events SET type = 'x'", "DELETE FROM events"):
        with pytest.raises(DatabaseError, match="events are never"), store._engine.begin() as connection:
            connection.execute(text(statement))
    with store.record() as record:
        assert verify(record).finding is Verdict.OK


# -- leases ----------------------------------------------------------------------------------------------------------


def test_a_due_case_is_claimed_by_one_of_eight(store: Store, clock: HandClock) -> None:
    case = store.open(opened(), "source:detector", clock())
    leases = [lease for lease in at_once(8, lambda number: store.claim(f"w{number}", SPAN)) if lease is not None]
    assert len(leases) == 1
    assert leases[0].case == case.id  # type: ignore[attr-defined]


def test_a_lease_that_ran_out_is_taken_over_and_the_late_worker_is_fenced(store: Store, clock: HandClock) -> None:
    case = store.open(opened(), "source:detector", clock())
    late = store.claim("late", SPAN)
    assert late is not None and store.claim("other", SPAN, case.id) is None
    clock.turn(SPAN + timedelta(seconds=1))
    other = store.claim("other", SPAN, case.id)
    assert other is not None and other.epoch == late.epoch + 1
    with pytest.raises(Fenced):
        store.append(case, [planned(case)], "engine", clock(), lease=late)
    with pytest.raises(Fenced):
        store.renew(late, SPAN)
    with pytest.raises(Fenced):
        store.check(late)
    store.free(late)
    assert store.check(other) > timedelta(0), "a late worker cannot give back what is not its own"
    assert len(store.history(case.id)) == 1
    store.append(case, [planned(case)], "engine", clock(), lease=other)


def test_whoever_stands_still_in_a_transaction_holds_up_nobody(postgres: Postgres, clock: HandClock) -> None:
    """A frozen worker keeps its connection and its locks: PostgreSQL is told to end such a session."""
    url = postgres.fresh_database()
    usual, hasty = Store(url, clock), Store(f"{url}?options=-c%20idle_in_transaction_session_timeout%3D200ms", clock)
    usual.migrate()
    with usual._engine.connect() as connection:
        limit = connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar()
    assert limit == "15s", "less than the shortest lease"
    case = usual.open(opened(), "source:detector", clock())
    frozen = hasty._engine.connect()
    frozen.execute(text("SELECT * FROM cases FOR UPDATE"))
    assert usual.claim("other", SPAN, case.id) is None
    until(lambda: usual.claim("other", SPAN, case.id), seconds=20)
    with pytest.raises(DatabaseError):
        frozen.execute(text("SELECT 1"))
    frozen.close()
    for store in (usual, hasty):
        store.close()
    postgres.drop_database(url)


def test_a_renewed_lease_lasts_longer_and_a_freed_one_is_free(store: Store, clock: HandClock) -> None:
    case = store.open(opened(), "source:detector", clock())
    lease = store.claim("a", SPAN)
    assert lease is not None
    clock.turn(timedelta(seconds=50))
    store.renew(lease, SPAN)
    clock.turn(timedelta(seconds=50))
    assert store.claim("b", SPAN, case.id) is None
    store.free(lease)
    assert store.claim("b", SPAN, case.id) is not None


def test_a_case_is_due_when_it_is_due_and_at_rest_never(store: Store, clock: HandClock) -> None:
    case = store.open(opened(), "source:detector", clock())
    case = store.append(case, [planned(case)], "engine", clock(), also=Also(due=clock() + timedelta(minutes=5)))
    assert store.claim("w", SPAN) is None
    clock.turn(timedelta(minutes=6))
    lease = store.claim("w", SPAN)
    assert lease is not None
    store.free(lease)
    store.append(case, [Closed(outcome=Outcome.DECLINED)], "local:ann", clock(), also=Also(due=clock()))
    assert store.claim("w", SPAN) is None


def test_what_may_come_early_is_taken_when_nothing_else_waits(store: Store, clock: HandClock) -> None:
    early = store.open(opened("early", 1), "source:detector", clock())
    also = Also(due=clock() + SPAN, early=clock() + timedelta(seconds=1))
    store.append(early, [planned(early)], "engine", clock(), also=also)
    assert store.claim("w", SPAN) is None, "not before its time"
    clock.turn(timedelta(seconds=2))
    due = store.open(opened("due", 2), "source:detector", clock())
    first, second = store.claim("w", SPAN), store.claim("w", SPAN)
    assert first is not None and first.case == due.id, "what is due comes first, however young"
    assert second is not None and second.case == early.id
    store.free(second)
    store.receive([Delivery("detector", "1", clock(), b"{}")])
    assert store.claim("w", SPAN) is None, "a delivery waits"
    clock.turn(SPAN)
    claimed = store.claim("w", SPAN)
    assert claimed is not None and claimed.case in {early.id, due.id}, "by then it is due"

    store.append(early.id, [], "local:ann", clock(), also=Also(due=clock() + SPAN))
    assert store.claim_hinted("w", SPAN, early.id) is None, "what is said to a case is said anew"


def test_what_is_said_during_a_turn_is_not_put_off_by_what_the_turn_waits_for(store: Store, clock: HandClock) -> None:
    """Else a release that is asked for while its case is looked at would wait until the next look."""
    case = store.open(opened(), "source:detector", clock())
    lease = store.claim("w", SPAN)
    assert lease is not None
    store.append(case.id, [planned(case)], "local:ann", clock(), also=Also(due=clock()))
    in_an_hour = clock() + timedelta(hours=1)
    now = store.append(case, [], "engine", clock(), lease=lease, also=Also(due=in_an_hour))
    assert store.due(case.id) == clock()
    store.append(now, [], "engine", clock(), lease=lease, also=Also(due=in_an_hour))
    assert store.due(case.id) == in_an_hour, "who has seen it may wait"


def test_a_hinted_case_is_claimed_only_if_it_is_due(store: Store, clock: HandClock) -> None:
    case = store.open(opened(), "source:detector", clock())
    store.append(case, [], "engine", clock(), also=Also(due=clock() + timedelta(minutes=5)))
    assert store.claim_hinted("w", SPAN, case.id) is None
    assert store.claim_hinted("w", SPAN, "c-unknown") is None
    clock.turn(timedelta(minutes=6))
    assert store.claim_hinted("w", SPAN, case.id) is not None
    assert store.claim_hinted("w", SPAN, case.id) is None


def test_on_sqlite_what_another_program_commits_is_news(tmp_path: Path, clock: HandClock) -> None:
    store, other = (Store(f"sqlite:///{tmp_path / 'cases.db'}", clock) for _ in range(2))
    store.migrate()
    with store.news() as changed:
        assert changed() and not changed()
        other.open(opened(), "source:detector", clock())
        assert changed() and not changed()
        other.counts()
        assert not changed(), "to read is no news"


def test_without_a_clock_of_the_tests_the_database_tells_the_time(url: str, clock: HandClock, make: MakeStore) -> None:
    store = make(clock=None)
    store.open(opened(), "source:detector", clock())
    lease = store.claim("w", SPAN)
    assert lease is not None
    assert timedelta(seconds=50) < store.check(lease) <= SPAN


def test_the_leases_of_one_owner_are_freed_together(store: Store, clock: HandClock) -> None:
    for number in range(3):
        store.open(opened(f"web-{number}", number), "source:detector", clock())
        store.claim("dead", SPAN)
    assert store.owners() == ["dead"]
    store.free_all("dead")
    assert store.owners() == []
    assert store.claim("w", SPAN) is not None


# -- holds and budgets -------------------------------------------------------------------------------------------------


def test_one_case_holds_a_resource_under_an_action_until_it_closes(store: Store, clock: HandClock) -> None:
    hold = Hold("fake:machine|local|uid-web", "fake:machine-isolate")
    first = store.open(opened(), "source:detector", clock())
    second = store.open(opened(playbook="other"), "source:detector", clock())
    store.append(first, [], "engine", clock(), also=Also(hold=hold))
    store.append(first, [], "engine", clock(), also=Also(hold=hold))
    with pytest.raises(Held) as held:
        store.append(second, [planned(second)], "engine", clock(), also=Also(hold=hold))
    assert held.value.case == first.id
    assert len(store.history(second.id)) == 1, "what comes with a hold that is refused is not written either"
    store.append(first, [Closed(outcome=Outcome.DECLINED)], "local:ann", clock())
    store.append(second, [], "engine", clock(), also=Also(hold=hold))


def test_a_case_spends_once(store: Store, clock: HandClock) -> None:
    case = store.open(opened(), "source:detector", clock())
    for _ in range(3):
        store.append(case, [], "engine", clock(), also=Also(spend=spend()))
    assert store.budget_used(clock()) == {"*": [clock()], "local": [clock()]}
    clock.turn(timedelta(hours=24, seconds=1))
    assert store.budget_used(clock()) == {"*": []}


def test_only_one_of_many_takes_the_last_place(store: Store, clock: HandClock) -> None:
    """Eight workers at once, 160 cases, and a budget of 10."""
    cases = [store.open(opened(f"web-{n}"), "source:detector", clock()) for n in range(160)]
    limits = Guards(budget=Budget(per_account_10m=10, per_account_24h=10, global_24h=10))

    def attempt(case: Case) -> bool:
        def check(tallies: Tallies) -> str:
            return "" if tallies.spent_lately < limits.budget.per_account_10m else "the budget is spent"

        try:
            store.append(case, [], "engine", clock(), also=Also(spend=Spend("local", (), limits, check)))
        except Spent:
            return False
        return True

    with ThreadPoolExecutor(8) as workers:
        taken = list(workers.map(attempt, cases))
    assert sum(taken) == 10
    assert len(store.budget_used(clock())["local"]) == 10


def test_what_is_refused_a_place_writes_nothing(store: Store, clock: HandClock) -> None:
    case = store.open(opened(), "source:detector", clock())
    refusing = Spend("local", (), Guards(), lambda _: "the budget is spent")
    with pytest.raises(Spent, match="the budget is spent"):
        store.append(case, [planned(case)], "engine", clock(), also=Also(spend=refusing))
    assert store.load(case.id).seq == 1


def test_a_refill_begins_the_count_anew(store: Store, clock: HandClock) -> None:
    for number, name in enumerate(("a", "b")):
        case = store.open(opened(name, number), "source:detector", clock())
        store.append(case, [], "engine", clock(), also=Also(spend=spend(("local", "other")[number])))
    clock.turn(SPAN)
    store.refill("local", "a false alarm", "local:ann", clock())
    assert {key: len(times) for key, times in store.budget_used(clock()).items()} == {"*": 2, "local": 0, "other": 1}
    store.refill("*", "a new day", "local:ann", clock())
    assert {key: len(times) for key, times in store.budget_used(clock()).items()} == {"*": 0, "local": 0, "other": 0}


def test_what_is_counted_is_of_others_within_the_span_and_since_the_last_refill(store: Store, clock: HandClock) -> None:
    def counted() -> tuple[int, int, int, int]:
        found = store.tallies(last, last.resource, {"pods"}, Guards(), clock())
        return found.spent, found.spent_lately, found.spent_everywhere, found.spent_in_group.get("pods", 0)

    for number, (account, group) in enumerate((("local", ""), ("local", "pods"), ("other", "pods"), ("local", "pods"))):
        last = store.open(opened(f"web-{number}", number), "source:detector", clock())
        spend = Spend(account, (group,) if group else (), Guards(), lambda _: "")
        store.append(last, [], "engine", clock(), also=Also(spend=spend))
        clock.turn(timedelta(minutes=3))
    assert counted() == (2, 1, 3, 1), "the last one's own place is not counted, nor what is 10 minutes old as late"
    store.refill("local", "a false alarm", "local:ann", clock())
    assert counted() == (0, 0, 3, 1)
    store.refill("*", "a new day", "local:ann", clock())
    assert counted() == (0, 0, 0, 1)
    clock.turn(timedelta(hours=24))
    assert counted() == (0, 0, 0, 0)


def spend(account: str = "local") -> Spend:
    return Spend(account, (), Guards(), lambda _: "")


# -- intake ----------------------------------------------------------------------------------------------------------


def test_a_delivery_is_taken_once_whoever_brings_it(store: Store, clock: HandClock) -> None:
    deliveries = [Delivery("s", f"d{number % 3}", clock(), b"{}") for number in range(6)]
    assert store.receive(deliveries) == [True, True, True, False, False, False]
    assert store.receive(deliveries[:1]) == [False]
    assert store.receive([Delivery("other", "d0", clock(), b"{}")]) == [True]
    assert store.waiting_count() == 4


def test_sixteen_that_bring_the_same_delivery_bring_it_once_and_lose_nothing_else(
    store: Store, clock: HandClock
) -> None:
    def bring(number: int) -> list[bool]:
        own = Delivery("s", f"own-{number}", clock(), b"{}")
        return store.receive([own, Delivery("s", "same", clock(), b"{}")])

    results = at_once(16, bring)
    assert all(isinstance(result, list) for result in results), results
    assert sum(result[1] for result in results) == 1  # type: ignore[index]
    assert store.waiting_count() == 17


def test_what_is_settled_waits_no_more(store: Store, clock: HandClock) -> None:
    store.receive([Delivery("s", "d", clock(), b"{}")])
    (delivery,) = store.waiting()
    assert store.results("s", "d") is None
    store.settle(delivery, [{"fate": "ignored"}])
    assert store.waiting() == []
    assert store.results("s", "d") == [{"fate": "ignored"}]
    with pytest.raises(NotFound):
        store.results("s", "unknown")


def test_what_was_settled_first_stays(store: Store, clock: HandClock) -> None:
    store.receive([Delivery("s", "d", clock(), b"{}")])
    (delivery,) = store.waiting()
    store.settle(delivery, [{"fate": "linked"}])
    store.settle(delivery, [{"fate": "duplicate"}])
    assert store.results("s", "d") == [{"fate": "linked"}]


def test_sixteen_that_link_the_same_finding_do_not_harm_each_other(store: Store, clock: HandClock) -> None:
    case = store.open(opened(), "source:detector", clock())
    assert at_once(16, lambda _: store.remember(case.finding, case.id, clock())) == [None] * 16
    assert at_once(8, lambda n: store.switch("all", True, f"reason {n}", "local:ann", clock())) == [None] * 8


# -- switches, slots, cursors ------------------------------------------------------------------------------------------


def test_a_switch_is_on_until_it_is_off(store: Store, make: MakeStore, clock: HandClock) -> None:
    store.switch("all", True, "exercise", "local:ann", clock())
    store.switch("all", True, "again", "local:bob", clock())
    (switch,) = make().switches()
    assert (switch.scope, switch.reason, switch.by) == ("all", "again", "local:bob")
    store.switch("all", False, "", "local:ann", clock())
    assert store.switches() == []


def test_one_of_several_replicas_takes_a_slot(store: Store, clock: HandClock) -> None:
    assert sum(bool(result) for result in at_once(6, lambda _: store.take_slot("poll", clock()))) == 1


def test_a_cursor_stays_where_it_was_put(store: Store, clock: HandClock) -> None:
    assert store.cursor("poll") is None
    store.move_cursor("poll", "a", clock())
    store.move_cursor("poll", "b", clock())
    assert store.cursor("poll") == "b"


# -- the schema, and crashes -------------------------------------------------------------------------------------------


def test_migrations_make_what_the_schema_says(store: Store) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from quarantine.store import schema

    with store._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []


def test_several_may_migrate_at_the_same_time(make: MakeStore) -> None:
    results = at_once(4, lambda _: make())
    assert all(isinstance(result, Store) for result in results), results


def test_a_sqlite_file_that_another_process_is_busy_with_is_waited_for(tmp_path: Path) -> None:
    """SQLite does not wait by itself before it switches a new file to its write-ahead log."""
    path = tmp_path / "new.db"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("CREATE TABLE somebody (was_here)")
        other.execute("BEGIN IMMEDIATE")
        store = Store(f"sqlite:///{path}")
        with ThreadPoolExecutor(1) as pool:
            migrated = pool.submit(store.migrate)
            with pytest.raises(TimeoutError):
                migrated.result(timeout=0.3)
            other.execute("COMMIT")
            migrated.result(timeout=10)
        store.close()


def test_a_newer_schema_is_refused(store: Store) -> None:
    with store._engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Misconfigured, match="upgrade the program"):
        store.migrate()


def test_a_crash_before_the_commit_leaves_nothing_and_after_it_everything(make: MakeStore, clock: HandClock) -> None:
    class Died(BaseException):
        pass

    deadly: list[str] = []

    def failpoint(name: str) -> None:
        if name in deadly:
            raise Died

    store = make(failpoint=failpoint)
    case = store.open(opened(), "source:detector", clock())
    for place, length in (("before commit of planned", 1), ("after commit of planned", 2)):
        deadly[:] = [place]
        with pytest.raises(Died):
            store.append(case.id, [planned(case)], "engine", clock())
        assert len(store.history(case.id)) == length
    with store.record() as record:
        assert verify(record).finding is Verdict.OK


def test_the_installation_has_one_id(store: Store, make: MakeStore) -> None:
    assert store.installation() == make().installation()


def test_counts_and_last_case(store: Store, clock: HandClock) -> None:
    case = store.open(opened(), "source:detector", clock())
    assert store.counts() == {str(Status.NEW): 1}
    last = store.last_case(case.finding)
    assert last is not None and last.id == case.id
    assert store.last_case(opened("other", 9).finding) is None


def test_a_database_that_cannot_be_opened_says_so_in_plain_words(tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path}/no/such/folder/x.db", "postgresql+psycopg://nobody@127.0.0.1:1/nothing"):
        with pytest.raises(Misconfigured, match="the database cannot be opened") as problem:
            Store(url).migrate()
        assert "sqlalche.me" not in str(problem.value)
