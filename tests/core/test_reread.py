"""Pull before act: shortly before anything is done by itself, the finding is asked for again at its source."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from quarantine.case import Case, Intended, Opened, Outcome, Reason, Reread, Status
from quarantine.config import Budget, Guards, Mode, Schedule, Storm
from quarantine.errors import Throttled
from quarantine.model import Finding, Resource, Severity, Standing
from quarantine.sources import Poller
from quarantine.testing.fake.world import EVERYONE, Died, Fault
from quarantine.testing.installation import settings
from tests.core.bench import Bench

DETECTION = "fake:detection"
SECOND = timedelta(seconds=1)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def detected(bench: Bench, name: str = "isolate", standing: Standing = Standing.ACTIVE, **changes: Any) -> Case:
    """A case from a finding that the platform's detector has as well, and says this of by now."""
    machine = bench.machine()
    bench.world.detect(f"finding-{name}-web", machine.id)
    if standing is not Standing.ACTIVE:
        bench.world.detect(f"finding-{name}-web", machine.id, standing)
    return bench.open(machine, name, reader=DETECTION, **changes)


def said(bench: Bench, case: Case) -> list[Standing]:
    return [item.event.sighting.standing for item in bench.store.history(case.id) if isinstance(item.event, Reread)]


def asked(bench: Bench) -> int:
    return bench.world.asked.count("finding.get")


def why(bench: Bench, case: Case) -> str:
    allowed = next(item.event for item in bench.store.history(case.id) if item.event.type == "allowed")
    (sentence,) = [item for item in allowed.sentences if item.startswith("source: ")]
    return str(sentence)


def test_what_the_source_confirms_is_acted_on_and_the_record_says_so(bench: Bench) -> None:
    case = bench.settle(detected(bench))
    assert case.status is Status.CONTAINED
    assert said(bench, case) == [Standing.ACTIVE]
    assert asked(bench) == 1
    assert why(bench, case) == "source: fake:detection confirms the finding (asked at 03:00:00 UTC)"
    types = bench.types(case)
    assert types.index("reread") < types.index("allowed") < types.index("intended")


@pytest.mark.parametrize(
    ("standing", "outcome"),
    [
        (Standing.RESOLVED, Outcome.NOT_NEEDED),
        (Standing.SUPPRESSED, Outcome.SUPPRESSED),
        (Standing.FALSE_POSITIVE, Outcome.FALSE_POSITIVE),
    ],
)
@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.ASK])
def test_what_has_ended_at_its_source_closes_untouched(
    tmp_path: Path, mode: Mode, standing: Standing, outcome: Outcome
) -> None:
    bench = Bench(tmp_path, settings(mode))
    case = bench.settle(detected(bench, standing=standing))
    assert (case.status, case.outcome) == (Status.CLOSED, outcome)
    assert "says that the finding is" in case.sentence
    assert bench.changes() == []


def test_a_finding_that_was_resolved_and_comes_back_opens_another_case(bench: Bench) -> None:
    first = bench.settle(detected(bench, standing=Standing.RESOLVED))
    bench.clock.turn(SECOND)
    bench.world.detect("finding-isolate-web", "web")
    again = bench.open(first.resource, "isolate", reader=DETECTION)
    assert again.after == first.id
    assert bench.settle(again).status is Status.CONTAINED


def test_what_the_source_does_not_know_waits_for_a_person(bench: Bench) -> None:
    """A forged report, or one whose source is slow to show it: neither acts, and neither is lost."""
    case = bench.settle(bench.open(bench.machine(), "isolate", reader=DETECTION))
    assert case.status is Status.AWAITING_APPROVAL
    assert case.sentence == (
        "fake:detection has no such finding about this resource (asked at 03:00:00 UTC): a person decides"
    )
    assert bench.changes() == []


def test_a_finding_of_the_source_about_another_resource_confirms_nothing(bench: Bench) -> None:
    bench.world.detect("finding-isolate-web", "db")
    case = bench.settle(bench.open(bench.machine(), "isolate", reader=DETECTION))
    assert case.status is Status.AWAITING_APPROVAL
    assert said(bench, case) == [Standing.UNKNOWN]


@pytest.mark.parametrize("fault", [Fault.DENY, Fault.UNREACHABLE, Fault.THROTTLE, Fault.TRANSIENT, Fault.UNSUPPORTED])
def test_a_source_that_cannot_be_asked_holds_the_case_until_it_answers(bench: Bench, fault: Fault) -> None:
    case = detected(bench)
    bench.world.fail("finding.get", *[fault] * 3)
    case = bench.advance(case)
    assert case.status is Status.AWAITING_APPROVAL
    assert "could not be asked for the finding again" in case.sentence
    assert bench.changes() == []
    bench.world.calm()
    assert bench.store.due(case.id) == bench.clock() + timedelta(minutes=1)
    bench.clock.turn(timedelta(minutes=1))
    assert bench.settle(case).status is Status.CONTAINED
    assert said(bench, case) == [Standing.UNREAD, Standing.ACTIVE]


def test_a_source_that_stays_silent_is_recorded_once_and_the_question_expires(bench: Bench) -> None:
    case = detected(bench)
    bench.world.denied = {"finding.get"}
    for _ in range(40):
        case = bench.advance(case)
        if case.status is Status.CLOSED:
            break
        bench.clock.turn(timedelta(minutes=1))
    assert case.outcome is Outcome.EXPIRED
    assert said(bench, case) == [Standing.UNREAD]
    assert bench.changes() == []


def test_a_scope_that_is_not_configured_cannot_be_asked(bench: Bench) -> None:
    """The source keeps the finding where we may not look: a person decides."""
    bench.registry.rereads[DETECTION] = replace(bench.registry.rereads[DETECTION], scope=lambda _: "elsewhere")
    case = bench.settle(detected(bench), turns=1)
    assert case.status is Status.AWAITING_APPROVAL
    assert "account 'elsewhere' is not configured" in case.sentence


@pytest.mark.parametrize("standing", [Standing.RESOLVED, Standing.FALSE_POSITIVE, Standing.UNKNOWN])
def test_a_persons_yes_passes_and_the_record_shows_what_the_source_said(tmp_path: Path, standing: Standing) -> None:
    bench = Bench(tmp_path, settings(Mode.ASK))
    case = bench.settle(detected(bench))
    assert case.status is Status.AWAITING_APPROVAL
    bench.clock.turn(timedelta(minutes=2))
    bench.world.detect("finding-isolate-web", "web", standing)
    bench.desk.approve(case.id, "local:ann")
    case = bench.settle(case)
    assert case.status is Status.CONTAINED
    assert said(bench, case) == [Standing.ACTIVE, standing]
    assert why(bench, case).endswith("(asked at 03:02:00 UTC), and a person decided")


def test_by_hand_no_source_is_asked(bench: Bench) -> None:
    finding = Finding(source="hand", id="h", severity=Severity.HIGH, resource=bench.machine(), seen_at=bench.clock())
    opened = Opened(
        finding=finding, playbook="isolate", playbook_digest=bench.shelf.find("isolate").digest, requested=True
    )
    case = bench.store.open(opened, by="local:ann", at=bench.clock())
    assert bench.settle(case).status is Status.CONTAINED
    assert asked(bench) == 0


def test_a_source_that_only_pushes_is_not_asked(bench: Bench) -> None:
    case = bench.settle(bench.open(bench.machine(), "isolate", reader="fake:finding"))
    assert case.status is Status.CONTAINED
    assert why(bench, case) == "source: the source only pushes: it cannot be asked again"


def test_one_of_two_findings_that_has_ended_does_not_end_the_case(bench: Bench) -> None:
    """Another source still says that it is compromised."""
    case = bench.open(bench.machine(), "isolate", reader="fake:finding", id="another", source="falco")
    bench.world.detect("finding-isolate-web", "web", Standing.RESOLVED)
    bench.open(case.resource, "isolate", reader=DETECTION)
    case = bench.settle(case)
    assert case.status is Status.AWAITING_APPROVAL
    assert "2 findings are about" in case.sentence


def test_an_old_finding_is_as_fresh_as_its_source_says(bench: Bench) -> None:
    old = bench.clock() - timedelta(hours=5)
    held = bench.settle(bench.open(bench.machine("db"), "isolate", seen_at=old))
    assert held.status is Status.PROPOSED
    assert "last seen 300 min ago" in held.sentence
    case = bench.settle(detected(bench, seen_at=old))
    assert case.status is Status.CONTAINED


def test_no_source_is_asked_where_its_word_decides_nothing(tmp_path: Path) -> None:
    """Nothing is done anyway: the mode is observe, or the kill switch is on."""
    bench = Bench(tmp_path, settings(Mode.OBSERVE))
    assert bench.settle(detected(bench)).status is Status.PROPOSED
    assert asked(bench) == 0


def test_in_a_storm_the_sources_limits_are_not_spent_on_what_a_person_looks_at(tmp_path: Path) -> None:
    bench = Bench(tmp_path, settings(guards=Guards(mode=Mode.AUTO, storm=Storm(cases=0))))
    assert bench.settle(detected(bench)).status is Status.AWAITING_APPROVAL
    assert asked(bench) == 0


def test_a_source_that_was_not_asked_is_not_the_reason_where_another_guard_stops_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, settings(guards=Guards(mode=Mode.AUTO, budget=Budget(per_account_10m=0))))
    case = bench.settle(detected(bench))
    assert case.status is Status.PROPOSED
    assert "the budget is spent" in case.sentence
    assert asked(bench) == 0


# -- thirty seconds ------------------------------------------------------------------------------------------------


def poll(bench: Bench) -> Case:
    """Our own poll finds an open machine; a playbook of the schedule answers."""
    bench.machine()
    poller = Poller(bench.store, bench.registry, bench.shelf, bench.intake, bench.clock)
    (result,) = poller.run(
        "open", Schedule(poll="fake:open-machines", scope="local", every=timedelta(minutes=1), playbook="close")
    )
    assert result.case is not None
    return bench.store.load(result.case)


def test_what_was_polled_just_now_is_not_asked_for_again(bench: Bench) -> None:
    case = poll(bench)
    bench.clock.turn(timedelta(seconds=20))
    assert bench.settle(case).status is Status.CONTAINED
    assert said(bench, case) == []
    assert why(bench, case) == "source: fake:open-machines confirms the finding (asked at 03:00:00 UTC)"


def test_a_polled_condition_is_looked_at_again_when_the_poll_is_long_ago(bench: Bench) -> None:
    case = poll(bench)
    bench.clock.turn(timedelta(seconds=31))
    assert bench.settle(case).status is Status.CONTAINED
    assert said(bench, case) == [Standing.ACTIVE]


def test_a_polled_condition_that_is_over_closes(bench: Bench) -> None:
    case = poll(bench)
    bench.world.meddle("web", ports={"443": "10.0.0.0/8", "80": "10.0.0.0/8"})
    bench.clock.turn(timedelta(seconds=31))
    case = bench.settle(case)
    assert case.outcome is Outcome.NOT_NEEDED
    assert bench.changes() == []


class Death:
    """Kills whoever comes to the n-th place; says which places there were."""

    def __init__(self, at: int = -1) -> None:
        self.at = at
        self.passed: list[str] = []

    def __call__(self, place: str) -> None:
        self.passed.append(place)
        if len(self.passed) - 1 == self.at:
            raise Died


def test_wherever_a_worker_dies_the_next_one_does_not_act_on_its_word(memory: Path) -> None:
    """A minute later the source says otherwise; before the intent nothing is done then, whoever died where."""

    def begin(name: str) -> tuple[Bench, Case]:
        (memory / name).mkdir()
        bench = Bench(memory / name)
        return bench, detected(bench, "isolate-and-close")

    bench, case = begin("alive")
    bench.failpoint = alive = Death()
    bench.settle(case)
    before_the_intent = alive.passed[: alive.passed.index("after commit of intended")]
    assert {"after commit of planned,reread", "before commit of allowed", "after commit of captured"} <= {
        *before_the_intent
    }
    for number, place in enumerate(before_the_intent):
        bench, case = begin(str(number))
        bench.failpoint = Death(number)
        with pytest.raises(Died):
            bench.settle(case)
        bench.failpoint = lambda _: None
        bench.clock.turn(bench.settings.worker.lease + SECOND)
        bench.world.detect("finding-isolate-and-close-web", "web", Standing.RESOLVED)
        case = bench.settle(case, bench.worker())
        assert bench.changes() == [], f"after a death {place}, it acted on the word of a minute ago"
        assert case.outcome is Outcome.NOT_NEEDED or case.reason is Reason.STOPPED


def test_a_word_that_grew_old_between_the_yes_and_the_act_is_asked_for_again(tmp_path: Path) -> None:
    """The poll was 20 seconds before the yes, and evidence takes 15: 35 seconds are too long."""
    bench = Bench(tmp_path)
    case = detected(bench, "isolate-and-close", read_at=bench.clock())
    bench.clock.turn(timedelta(seconds=20))
    bench.world.fail("machine.read_memory", lambda: bench.clock.turn(timedelta(seconds=15)))
    case = bench.settle(case)
    assert case.status is Status.CONTAINED
    assert said(bench, case) == [Standing.ACTIVE]
    history = bench.store.history(case.id)
    intent = next(item for item in history if isinstance(item.event, Intended))
    word = next(item.event for item in history if isinstance(item.event, Reread))
    assert intent.at - word.sighting.at <= timedelta(seconds=30)


def test_a_source_that_falls_silent_between_the_yes_and_the_act_is_asked_for_five_minutes(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    case = detected(bench, "isolate-and-close")
    bench.world.fail("machine.read_memory", lambda: bench.clock.turn(timedelta(seconds=35)))
    bench.world.fail("finding.get", Fault.PASS, *[Fault.UNREACHABLE] * 1000)
    case = bench.settle(case)
    assert (case.status, case.reason) == (Status.NEEDS_HUMAN, Reason.UNREACHABLE)
    assert bench.changes() == []
    bench.world.calm()
    bench.desk.retry(case.id, "local:ann")
    assert bench.settle(case).status is Status.CONTAINED


def test_a_stale_word_is_what_the_source_says(bench: Bench) -> None:
    """It shows its old view once; nothing can be done about that but to look soon before acting."""
    bench.world.stale_findings(1)
    case = bench.settle(detected(bench, standing=Standing.RESOLVED))
    assert case.status is Status.CONTAINED


def test_the_planner_repeats_only_what_may_work_in_a_moment(bench: Bench) -> None:
    case = detected(bench)
    draft = bench.planner.draft(bench.shelf.find("isolate"), case.resource)
    bench.world.fail("finding.get", Fault.THROTTLE)
    tries: list[str] = []

    def reading(read: Callable[..., object], *arguments: object) -> object:
        try:
            return read(*arguments)
        except Throttled:
            tries.append("again")
            return read(*arguments)

    judged = bench.planner.judged(case, draft, bench.clock(), reading)
    assert judged.judgement.stopped is None
    assert tries == ["again"]


def test_a_machine_is_not_confirmed_by_its_name_alone(bench: Bench) -> None:
    """The uid must match as well: what has the name now is another machine."""
    case = detected(bench)
    bench.world.add("web", ports={"22": EVERYONE})
    case = bench.settle(case)
    assert case.outcome is Outcome.TARGET_GONE
    assert isinstance(case.resource, Resource)
