"""Ways around an approval, each tried: none of them changes anything at the provider."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from quarantine.case import (
    Allowed,
    Approved,
    Case,
    Escalated,
    EscalationAsked,
    Opened,
    Outcome,
    Reason,
    Status,
)
from quarantine.config import Approvals, Budget, Guards, Mode, Settings
from quarantine.errors import Misused, QuarantineError
from quarantine.model import Finding
from quarantine.playbook import Playbook
from quarantine.store.sql import Also
from quarantine.testing.fake.world import Died, Fault
from quarantine.testing.installation import settings
from tests.core.bench import Bench, playbook

ANN, BOB = "local:ann", "local:bob"
VALID = timedelta(minutes=30)
PLENTY = Budget(per_account_10m=100, per_account_24h=100, global_24h=100)


def bench_in(folder: Path, mode: Mode = Mode.ASK, *, guards: dict[str, Any] | None = None, **approvals: Any) -> Bench:
    made = settings(guards=Guards(mode=mode, budget=PLENTY, **(guards or {})), approvals=Approvals(**approvals))
    return Bench(folder, made)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """The mode is ask, and a second person is needed."""
    return bench_in(tmp_path)


def asked(bench: Bench, name: str = "isolate", machine: str = "web") -> Case:
    """A detector's case that waits for an approval."""
    case = bench.settle(bench.open(bench.machine(machine), name))
    assert case.status is Status.AWAITING_APPROVAL, (case.status, case.sentence)
    return case


def by_hand(bench: Bench, name: str, by: str = ANN, machine: str = "web", digest: str = "") -> Case:
    """A case that a person asked for, as far as it goes."""
    found = Finding(source="hand", id=f"hand-{name}-{by}", resource=bench.machine(machine), seen_at=bench.clock())
    chosen = bench.shelf.find(name)
    opened = Opened(
        finding=found, playbook=name, playbook_digest=chosen.digest, requested=True, plan_digest=digest
    )  # fmt: skip
    return bench.settle(bench.store.open(opened, by, bench.clock()))


def reconfigured(bench: Bench, new: Settings) -> None:
    """The server is started again with another configuration."""
    bench.settings = new
    bench.engine = bench.worker()


def edited(bench: Bench, changed: Playbook | None, name: str) -> None:
    """A playbook is written anew, or taken away, and the server is started again."""
    if changed is None:
        del bench.shelf.playbooks[name]
    else:
        bench.shelf.playbooks[name] = changed
    bench.engine = bench.worker()


def stays_undone(bench: Bench, case: Case, *statuses: Status) -> Case:
    """However long it is carried on, nothing is changed at the provider."""
    case = bench.settle(case)
    assert bench.changes() == [], "something was changed"
    assert case.status in statuses, (case.status, case.reason, case.sentence)
    assert not any(item.event.type in ("allowed", "intended") for item in bench.store.history(case.id))
    bench.assert_whole()
    return case


WAITING, CLOSED, HUMAN = Status.AWAITING_APPROVAL, Status.CLOSED, Status.NEEDS_HUMAN


# -- the honest way, so that the rest means something ------------------------------------------------------------------


def test_an_approval_of_what_was_shown_acts(bench: Bench) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    assert bench.settle(case).status is Status.CONTAINED
    assert bench.changes() != []


def test_the_first_eight_digits_are_enough(bench: Bench) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest[:8])
    assert bench.settle(case).status is Status.CONTAINED


# -- 1-12: who ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spelling",
    [
        ANN, "local:Ann", "local:ANN", " local:ann", "local:ann ", "local: ann", "local:ann\t", "local:\uff41nn",
        "LOCAL:ann", "api:ann", "token:ann", "ann",
    ],
)  # fmt: skip
def test_who_asked_cannot_approve_it_under_any_spelling(bench: Bench, spelling: str) -> None:
    case = by_hand(bench, "stop")
    with pytest.raises(Misused, match="somebody else must approve"):
        bench.desk.approve(case.id, spelling, case.plan_digest)
    stays_undone(bench, case, WAITING)


def test_the_guards_see_the_requester_too_if_the_desk_is_gone_around(bench: Bench) -> None:
    """Whoever writes the event straight into the record meets the same rule again."""
    case = by_hand(bench, "stop")
    yes = Approved(digest=case.plan_digest, expires_at=bench.clock() + VALID)
    bench.store.append(case, [yes], by="local:Ann", at=bench.clock(), also=Also(due=bench.clock()))
    stays_undone(bench, case, WAITING)


def test_an_edited_configuration_does_not_make_an_old_word_count(bench: Bench, tmp_path: Path) -> None:
    """Approved while one person was enough; by the time it is used, two are needed again."""
    reconfigured(bench, bench_in(tmp_path, second_person=False).settings)
    bench.desk._approvals = Approvals(second_person=False)
    case = by_hand(bench, "isolate-carefully", machine="other")
    assert bench.changes() != [], "with one person it needs nobody else"
    bench.world.sent.clear()
    reconfigured(bench, bench_in(tmp_path).settings)
    case = by_hand(bench, "stop", by=BOB)
    bench.desk.approve(case.id, BOB, case.plan_digest)
    stays_undone(bench, case, WAITING)


def test_one_person_alone_is_in_the_record_where_that_is_allowed(tmp_path: Path) -> None:
    bench = bench_in(tmp_path, second_person=False)
    case = by_hand(bench, "stop")
    allowed = [item.event for item in bench.store.history(case.id) if isinstance(item.event, Allowed)]
    assert any("approvals.second_person is off" in sentence for sentence in allowed[0].sentences)


def test_the_requester_of_a_reversible_but_careful_playbook_needs_another_too(bench: Bench) -> None:
    case = by_hand(bench, "isolate-carefully")
    with pytest.raises(Misused, match="somebody else"):
        bench.desk.approve(case.id, ANN)
    stays_undone(bench, case, WAITING)


# -- 13-22: which plan -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 2, 4, 7])
def test_too_little_of_a_digest_binds_nothing(bench: Bench, length: int) -> None:
    case = asked(bench)
    with pytest.raises(Misused, match="at least its first 8 digits"):
        bench.desk.approve(case.id, ANN, case.plan_digest[:length])
    stays_undone(bench, case, WAITING)


@pytest.mark.parametrize("digest", ["00000000", "zzzzzzzz", "        ", "%%%%%%%%", "........", "\n" * 8, "0" * 65])
def test_a_digest_that_was_made_up_is_refused(bench: Bench, digest: str) -> None:
    case = asked(bench)
    with pytest.raises(Misused):
        bench.desk.approve(case.id, ANN, digest)
    stays_undone(bench, case, WAITING)


def test_the_right_beginning_with_a_wrong_end_is_refused(bench: Bench) -> None:
    case = asked(bench)
    wrong = case.plan_digest[:63] + ("0" if case.plan_digest[63] != "0" else "1")
    with pytest.raises(Misused, match="look again"):
        bench.desk.approve(case.id, ANN, wrong)
    stays_undone(bench, case, WAITING)


def test_the_digest_of_another_cases_plan_is_refused(bench: Bench) -> None:
    case, other = asked(bench), asked(bench, machine="other")
    with pytest.raises(Misused, match="look again"):
        bench.desk.approve(case.id, ANN, other.plan_digest)
    stays_undone(bench, case, WAITING)


def test_an_approval_of_another_plan_cannot_even_be_written_down(bench: Bench) -> None:
    case, other = asked(bench), asked(bench, machine="other")
    for digest in (other.plan_digest, "", case.plan_digest[:8]):
        yes = Approved(digest=digest, expires_at=bench.clock() + VALID)
        with pytest.raises(Misused, match="does not fit"):
            bench.store.append(case, [yes], by=ANN, at=bench.clock())
    stays_undone(bench, case, WAITING)


def test_a_resource_that_changes_after_the_yes_is_asked_about_again(bench: Bench) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    bench.world.meddle("web", labels={"app": "other"})
    again = stays_undone(bench, case, WAITING)
    assert again.plan_digest != case.plan_digest and again.consent is None


def test_a_resource_that_changes_back_does_not_revive_the_old_yes(bench: Bench) -> None:
    case = asked(bench)
    was = bench.world.machine("web").labels
    bench.desk.approve(case.id, ANN, case.plan_digest)
    bench.world.meddle("web", labels={"app": "other"})
    stays_undone(bench, case, WAITING)
    bench.world.meddle("web", labels=was)
    bench.clock.turn(timedelta(minutes=1))
    again = stays_undone(bench, case, WAITING)
    assert again.plan_digest == case.plan_digest, "the very same plan, and yet it waits for a new yes"


def test_another_resource_under_the_same_name_is_not_what_was_approved(bench: Bench) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    bench.world.remove("web")
    bench.machine()
    closed = stays_undone(bench, case, CLOSED)
    assert closed.outcome is Outcome.TARGET_GONE


def test_a_resource_that_is_gone_and_came_back_is_asked_about_as_a_new_one(bench: Bench) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    bench.world.remove("web")
    stays_undone(bench, case, CLOSED)
    new = bench.open(bench.machine(), "isolate", seen_at=bench.clock() + timedelta(seconds=1))
    assert new.id != case.id
    stays_undone(bench, new, WAITING)


def test_an_edited_playbook_is_another_plan(bench: Bench) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    edited(bench, playbook("isolate", "fake:machine-isolate", "fake:machine-close"), "isolate")
    again = stays_undone(bench, case, WAITING)
    assert again.plan is not None and len(again.plan.steps) == 2


def test_a_playbook_that_only_says_it_otherwise_is_another_plan_too(bench: Bench) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    edited(bench, playbook("isolate", "fake:machine-isolate").model_copy(update={"description": "Other."}), "isolate")
    assert stays_undone(bench, case, WAITING).plan_digest != case.plan_digest


def test_a_playbook_that_was_taken_away_does_nothing(bench: Bench) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    edited(bench, None, "isolate")
    stays_undone(bench, case, HUMAN)


def test_a_new_caveat_is_another_plan(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from quarantine.action import Caveat
    from quarantine.testing.fake.machine_isolate import MachineIsolate

    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    monkeypatch.setattr(MachineIsolate, "caveats", lambda *_: (Caveat(id="open", text="open connections stay open"),))
    assert stays_undone(bench, case, WAITING).plan_digest != case.plan_digest


def test_a_new_permission_is_another_plan(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from quarantine.testing.fake.machine_isolate import MachineIsolate

    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    more = (*MachineIsolate().permissions(), "machine.delete")
    monkeypatch.setattr(MachineIsolate, "permissions", lambda _: more)
    stays_undone(bench, case, WAITING)


def test_a_relation_that_finds_more_is_another_plan(bench: Bench) -> None:
    bench.machine("a"), bench.machine("b")
    resource = bench.world.add("web", peers=("a",))
    case = bench.settle(bench.open(resource, "isolate-peers"))
    bench.desk.approve(case.id, ANN, case.plan_digest)
    bench.world.meddle("web", peers=("a", "b"))
    stays_undone(bench, case, WAITING)


def test_a_saved_plan_that_no_longer_matches_is_asked_about(bench: Bench) -> None:
    case = by_hand(bench, "isolate", digest="f" * 64)
    assert case.status is WAITING
    with pytest.raises(Misused, match="somebody else"):
        bench.desk.approve(case.id, ANN)
    stays_undone(bench, case, WAITING)


def test_a_change_between_the_look_and_the_intent_stops_it(bench: Bench) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    bench.world.fail("identity.get", lambda: bench.world.meddle("web", labels={"app": "swapped"}))
    moved = bench.settle(case)
    assert (moved.status, moved.reason) == (HUMAN, Reason.CONFLICT)
    assert bench.changes() == []


# -- 23-31: when -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [timedelta(0), timedelta(microseconds=1), timedelta(seconds=1), timedelta(days=9)])
def test_a_yes_that_comes_when_the_time_is_over_is_too_late(bench: Bench, late: timedelta) -> None:
    """Also if no worker has noticed yet that it is over."""
    case = asked(bench)
    bench.clock.turn(VALID + late)
    with pytest.raises(Misused, match="too late"):
        bench.desk.approve(case.id, ANN, case.plan_digest)
    assert stays_undone(bench, case, CLOSED).outcome is Outcome.EXPIRED


def test_the_last_moment_is_still_in_time(bench: Bench) -> None:
    case = asked(bench)
    bench.clock.turn(VALID - timedelta(microseconds=1))
    bench.desk.approve(case.id, ANN, case.plan_digest)
    assert bench.settle(case).status is Status.CONTAINED


@pytest.mark.parametrize("late", [timedelta(0), timedelta(seconds=1), timedelta(hours=7)])
def test_a_yes_that_nobody_used_in_time_is_used_up(bench: Bench, late: timedelta) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    bench.clock.turn(VALID + late)
    assert stays_undone(bench, case, WAITING).consent is None


def test_a_yes_after_a_no(bench: Bench) -> None:
    case = asked(bench)
    bench.desk.deny(case.id, BOB)
    with pytest.raises(Misused, match="no plan to approve"):
        bench.desk.approve(case.id, ANN, case.plan_digest)
    assert stays_undone(bench, case, CLOSED).outcome is Outcome.DECLINED


def test_a_no_after_a_yes_that_was_not_used_yet(bench: Bench) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    bench.desk.deny(case.id, BOB)
    assert stays_undone(bench, case, CLOSED).outcome is Outcome.DECLINED


def test_the_finding_that_was_denied_does_not_ask_again(bench: Bench) -> None:
    case = asked(bench)
    bench.desk.deny(case.id, BOB)
    bench.clock.turn(timedelta(minutes=1))
    found = case.finding.model_copy(update={"seen_at": bench.clock()})
    assert bench.intake.link(found, "source:detector").case == case.id
    stays_undone(bench, case, CLOSED)


def test_the_same_plan_in_a_new_case_needs_its_own_yes(bench: Bench) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    bench.desk.deny(case.id, BOB)
    again = bench.open(case.resource, "isolate", id="another finding")
    assert again.id != case.id
    again = stays_undone(bench, again, WAITING)
    assert again.plan_digest == case.plan_digest


def test_a_yes_from_before_the_release_does_not_contain_again(bench: Bench) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    bench.settle(case)
    bench.desk.release(case.id, BOB)
    assert bench.settle(case).outcome is Outcome.RELEASED
    bench.world.sent.clear()
    with pytest.raises(Misused, match="no plan to approve"):
        bench.desk.approve(case.id, ANN, case.plan_digest)
    again = bench.open(case.resource, "isolate", id="another", seen_at=bench.clock())
    assert stays_undone(bench, again, WAITING).consent is None


def test_a_yes_while_it_is_contained_already(bench: Bench) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    bench.settle(case)
    done = bench.changes()
    with pytest.raises(Misused, match="no plan to approve"):
        bench.desk.approve(case.id, BOB, case.plan_digest)
    yes = Approved(digest=case.plan_digest, expires_at=bench.clock() + VALID)
    with pytest.raises(Misused):
        bench.store.append(case.id, [yes], by=BOB, at=bench.clock())
    bench.settle(case)
    assert bench.changes() == done


def test_a_yes_while_it_is_containing(bench: Bench) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    bench.world.fail("policy.create", Fault.DIE_BEFORE)
    with pytest.raises(Died):
        bench.settle(case)
    sent = bench.changes()
    with pytest.raises(Misused, match="containing"):
        bench.desk.approve(case.id, BOB, case.plan_digest)
    assert bench.changes() == sent


def test_a_yes_is_used_once_though_the_case_goes_back_to_the_start(bench: Bench) -> None:
    """Stopped by the kill switch before the first change, and retried: it is planned and asked for anew."""
    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    with bench.death("before commit of intended"):
        bench.settle(case)
    bench.store.switch("all", True, "drill", BOB, bench.clock())
    stopped = bench.settle(case, bench.worker())
    assert (stopped.status, stopped.reason) == (HUMAN, Reason.STOPPED)
    bench.store.switch("all", False, "", BOB, bench.clock())
    bench.desk.retry(case.id, ANN)
    again = bench.settle(case)
    assert (again.status, again.consent) == (WAITING, None)
    assert bench.changes() == []


# -- 32-40: what happens between the yes and the act -------------------------------------------------------------------


def test_the_mode_becomes_observe(bench: Bench, tmp_path: Path) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    reconfigured(bench, settings(mode=Mode.OBSERVE))
    stays_undone(bench, case, Status.PROPOSED)


def test_the_mode_of_this_scope_becomes_observe(bench: Bench) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    reconfigured(bench, settings(guards=Guards(mode=Mode.AUTO, scopes={"local": Mode.OBSERVE})))
    stays_undone(bench, case, Status.PROPOSED)


@pytest.mark.parametrize("scope", ["all", "everything", "provider:fake", "playbook:isolate", "source:detector"])
def test_a_kill_switch_is_turned_on(bench: Bench, scope: str) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    bench.store.switch(scope, True, "drill", BOB, bench.clock())
    stays_undone(bench, case, Status.PROPOSED)


def test_it_becomes_protected(bench: Bench) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    reconfigured(bench, settings(guards=Guards(mode=Mode.AUTO, protected=("fake:machine/web in *",))))
    assert stays_undone(bench, case, CLOSED).outcome is Outcome.REFUSED


def test_its_account_is_taken_out_of_the_configuration(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from quarantine.testing.fake.provider import FakeProvider

    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    monkeypatch.setattr(FakeProvider, "scopes", lambda _: ("elsewhere",))
    assert stays_undone(bench, case, CLOSED).outcome is Outcome.REFUSED


def test_the_credentials_lead_elsewhere(bench: Bench) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    bench.world.lands_in = "another"
    assert stays_undone(bench, case, CLOSED).outcome is Outcome.REFUSED


def test_the_action_cannot_work_any_more(bench: Bench) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    bench.world.meddle("web", power="stopped")
    stays_undone(bench, case, Status.PROPOSED)


def test_the_source_takes_the_finding_back(bench: Bench) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    resolved = case.finding.model_copy(update={"active": False, "seen_at": bench.clock() + timedelta(seconds=1)})
    from quarantine.case import Repeated

    again = Repeated(finding=resolved)
    bench.store.append(case.id, [again], by="source:detector", at=bench.clock(), also=Also(due=bench.clock()))
    assert stays_undone(bench, case, CLOSED).outcome is Outcome.REFUSED


def test_the_facts_cannot_be_read(bench: Bench) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    bench.world.denied.add("identity.get")
    stays_undone(bench, case, HUMAN)


def test_what_cannot_work_is_not_made_to_by_a_yes(bench: Bench) -> None:
    resource = bench.machine()
    bench.world.meddle("web", power="stopped")
    case = bench.settle(bench.open(resource, "isolate"))
    bench.desk.approve(case.id, ANN, case.plan_digest)
    stays_undone(bench, case, Status.PROPOSED)


def test_a_case_without_a_plan_cannot_be_approved(bench: Bench) -> None:
    case = bench.open(bench.machine(), "isolate")
    with pytest.raises(Misused, match="no plan to approve"):
        bench.desk.approve(case.id, ANN)
    stays_undone(bench, case, WAITING)


def test_auto_does_not_stretch_to_what_cannot_be_undone(tmp_path: Path) -> None:
    bench = bench_in(tmp_path, Mode.AUTO)
    careless = playbook("delete", "fake:machine-delete")  # as if the loader had let it through
    edited(bench, careless, "delete")
    case = bench.open(bench.machine(), "delete")
    stays_undone(bench, case, WAITING)


# -- 41 and more: by the way of an escalation --------------------------------------------------------------------------


def held(bench: Bench, name: str = "isolate") -> Case:
    """A contained case; what was changed until now does not count."""
    case = asked(bench, name)
    bench.desk.approve(case.id, ANN, case.plan_digest)
    case = bench.settle(case)
    assert case.status is Status.CONTAINED
    bench.world.sent.clear()
    return case


def escalated(bench: Bench, case: Case, name: str = "stop", by: str = ANN, digest: str = "") -> Case:
    bench.desk.escalate(case.id, by, bench.shelf.find(name), digest)
    return bench.settle(case)


def nothing_more(bench: Bench, case: Case) -> Case:
    case = bench.settle(case)
    assert bench.changes() == []
    assert case.status is Status.CONTAINED, (case.status, case.sentence)
    assert not any(isinstance(item.event, Escalated) for item in bench.store.history(case.id))
    assert bench.world.machine("web").power == "running"
    return case


def test_an_escalation_that_cannot_be_undone_waits(bench: Bench) -> None:
    case = escalated(bench, held(bench))
    assert case.escalation is not None and case.asks_until is not None
    nothing_more(bench, case)


@pytest.mark.parametrize("spelling", [ANN, "local:ANN", "api:ann"])
def test_who_wants_the_escalation_cannot_approve_it(bench: Bench, spelling: str) -> None:
    case = escalated(bench, held(bench))
    with pytest.raises(Misused, match="somebody else"):
        bench.desk.approve(case.id, spelling)
    nothing_more(bench, case)


def test_the_guards_see_who_wants_the_escalation_too(bench: Bench) -> None:
    case = escalated(bench, held(bench))
    assert case.escalation is not None
    yes = Approved(digest=case.escalation.digest, expires_at=bench.clock() + VALID)
    bench.store.append(case, [yes], by=ANN, at=bench.clock(), also=Also(due=bench.clock()))
    nothing_more(bench, case)


def test_the_old_yes_does_not_cover_the_escalation(bench: Bench) -> None:
    case = escalated(bench, held(bench))
    with pytest.raises(Misused, match="look again"):
        bench.desk.approve(case.id, BOB, case.plan_digest)
    nothing_more(bench, case)


def test_an_escalation_without_a_plan_yet_cannot_be_approved(bench: Bench) -> None:
    case = held(bench)
    bench.desk.escalate(case.id, ANN, bench.shelf.find("stop"))
    with pytest.raises(Misused, match="no plan to approve"):
        bench.desk.approve(case.id, BOB)
    nothing_more(bench, case)


def test_an_escalation_that_nobody_approves_ends_and_a_late_yes_is_too_late(bench: Bench) -> None:
    case = escalated(bench, held(bench))
    bench.clock.turn(VALID)
    with pytest.raises(Misused, match="too late"):
        bench.desk.approve(case.id, BOB)
    assert nothing_more(bench, case).escalation is None
    with pytest.raises(Misused, match="no plan to approve"):
        bench.desk.approve(case.id, BOB)


def test_a_denied_escalation_is_over(bench: Bench) -> None:
    case = escalated(bench, held(bench))
    bench.desk.deny(case.id, BOB)
    with pytest.raises(Misused, match="no plan to approve"):
        bench.desk.approve(case.id, BOB)
    assert nothing_more(bench, case).escalation is None


def test_what_can_be_undone_is_added_at_once_when_a_person_asks(bench: Bench) -> None:
    case = escalated(bench, held(bench), "close")
    assert (case.status, bench.changes()) == (Status.CONTAINED, ["machine.set_ports"])


def test_a_plan_that_changed_since_it_was_seen_is_asked_about(bench: Bench) -> None:
    case = escalated(bench, held(bench), "close", digest="f" * 64)
    with pytest.raises(Misused, match="somebody else"):
        bench.desk.approve(case.id, ANN)
    nothing_more(bench, case)


def test_a_resource_that_changes_voids_the_yes_to_the_escalation(bench: Bench) -> None:
    case = escalated(bench, held(bench), "close", digest="f" * 64)
    bench.desk.approve(case.id, BOB)
    bench.world.meddle("web", ports={"8080": "0.0.0.0/0"})
    again = nothing_more(bench, case)
    assert again.asks_until is not None and again.escalation is not None
    assert case.escalation is not None and again.escalation.digest != case.escalation.digest


@pytest.mark.parametrize("scope", ["all", "provider:fake", "playbook:stop", "playbook:isolate", "source:detector"])
def test_a_kill_switch_ends_an_approved_escalation(bench: Bench, scope: str) -> None:
    case = escalated(bench, held(bench))
    bench.desk.approve(case.id, BOB)
    bench.store.switch(scope, True, "drill", BOB, bench.clock())
    assert nothing_more(bench, case).escalation is None


def test_observe_mode_ends_an_approved_escalation(bench: Bench) -> None:
    case = escalated(bench, held(bench))
    bench.desk.approve(case.id, BOB)
    reconfigured(bench, settings(guards=Guards(mode=Mode.ASK, playbooks={"stop": Mode.OBSERVE})))
    nothing_more(bench, case)


def test_a_protected_resource_is_not_escalated(bench: Bench) -> None:
    case = escalated(bench, held(bench))
    bench.desk.approve(case.id, BOB)
    reconfigured(bench, settings(guards=Guards(protected=("fake:machine/web in *",))))
    nothing_more(bench, case)


def test_an_edited_playbook_voids_the_yes_to_the_escalation(bench: Bench) -> None:
    case = escalated(bench, held(bench))
    bench.desk.approve(case.id, BOB)
    edited(bench, playbook("stop", "fake:machine-stop", "fake:machine-delete"), "stop")
    assert nothing_more(bench, case).asks_until is not None


def test_escalated_cannot_be_written_where_nobody_asked_for_it(bench: Bench) -> None:
    case = held(bench)
    assert case.plan is not None
    forged = Escalated(plan=case.plan, digest=case.plan_digest, sentences=("yes",))
    with pytest.raises(Misused, match="nobody asked"):
        bench.store.append(case, [forged], by="engine", at=bench.clock())
    shown = EscalationAsked(plan=case.plan, digest=case.plan_digest, guard="mode", sentence="")
    with pytest.raises(Misused):
        bench.store.append(case, [shown], by="engine", at=bench.clock())
    nothing_more(bench, case)


# -- breaking the glass ------------------------------------------------------------------------------------------------


@pytest.fixture
def glass(tmp_path: Path) -> Bench:
    return bench_in(tmp_path, break_glass=(ANN,))


def opened_glass(bench: Bench, by: str = ANN, span: timedelta = timedelta(minutes=15)) -> str:
    return bench.desk.break_open(by, span, "the plant is on fire")[1]


def test_with_the_glass_broken_one_person_acts_alone_and_that_stands_out(glass: Bench) -> None:
    case = by_hand(glass, "stop")
    token = opened_glass(glass)
    done = glass.desk.approve(case.id, ANN, case.plan_digest, "nobody else is awake", token)
    assert done.glass_broken
    closed = glass.settle(case)
    assert closed.outcome is Outcome.ONE_WAY_DONE
    allowed = next(item.event for item in glass.store.history(case.id) if isinstance(item.event, Allowed))
    assert any("alone, by breaking the glass" in sentence for sentence in allowed.sentences)
    assert [sending.kind for sending in glass.store.notices()].count("break_glass") == 2, "opened, and used"
    (kept,) = glass.store.glasses()
    assert (kept.used_by, kept.case, kept.reviewed_by) == (ANN, case.id, None)
    (line,) = glass.store.lines()
    assert line.glass_broken


@pytest.mark.parametrize("by", [BOB, "local:root", "local:ANN", "api:ann", ""])
def test_only_who_is_named_may_open_the_glass(glass: Bench, by: str) -> None:
    with pytest.raises(Misused, match="may not open the glass"):
        opened_glass(glass, by)
    assert glass.store.glasses() == []


def test_by_default_nobody_may(bench: Bench) -> None:
    with pytest.raises(Misused, match="may not open the glass"):
        opened_glass(bench)


@pytest.mark.parametrize("span", [timedelta(0), timedelta(seconds=59), timedelta(minutes=61), timedelta(days=1)])
def test_a_token_is_short_lived(glass: Bench, span: timedelta) -> None:
    with pytest.raises(Misused, match="at least 1m and at most 1h"):
        opened_glass(glass, span=span)


def refused_token(bench: Bench, case: Case, token: str, reason: str = "why") -> None:
    with pytest.raises(Misused):
        bench.desk.approve(case.id, ANN, case.plan_digest, reason, token)
    stays_undone(bench, case, WAITING)


@pytest.mark.parametrize("token", ["g-0123456789ab", "x", "%", "0" * 32])
def test_a_token_that_was_made_up_breaks_nothing(glass: Bench, token: str) -> None:
    opened_glass(glass)
    refused_token(glass, by_hand(glass, "stop"), token)


def test_the_id_of_a_token_is_not_the_token(glass: Bench) -> None:
    opened_glass(glass)
    refused_token(glass, by_hand(glass, "stop"), glass.store.glasses()[0].id)


def test_the_secret_of_a_token_is_nowhere_in_the_database(glass: Bench) -> None:
    token = opened_glass(glass)
    case = by_hand(glass, "stop")
    glass.desk.approve(case.id, ANN, "", "why", token)
    glass.store.close()
    assert all(token.encode() not in file.read_bytes() for file in glass.folder.iterdir() if file.is_file())


@pytest.mark.parametrize("late", [timedelta(0), timedelta(seconds=1)])
def test_a_token_that_has_run_out_breaks_nothing(glass: Bench, late: timedelta) -> None:
    token = opened_glass(glass, span=timedelta(minutes=5))
    case = by_hand(glass, "stop")
    glass.clock.turn(timedelta(minutes=5) + late)
    refused_token(glass, case, token)


def test_a_token_is_for_one_approval(glass: Bench) -> None:
    token = opened_glass(glass)
    first, second = by_hand(glass, "stop", machine="other"), by_hand(glass, "stop", by="local:ann")
    glass.desk.approve(first.id, ANN, "", "why", token)
    glass.settle(first)
    glass.world.sent.clear()
    refused_token(glass, second, token)


@pytest.mark.parametrize("reason", ["", " ", "\n\t"])
def test_without_a_reason_the_glass_stays_whole(glass: Bench, reason: str) -> None:
    token = opened_glass(glass)
    refused_token(glass, by_hand(glass, "stop"), token, reason)
    assert glass.store.glasses()[0].used_at is None


def test_a_token_gets_past_nothing_but_the_second_person(glass: Bench) -> None:
    case = by_hand(glass, "stop")
    glass.desk.approve(case.id, ANN, "", "why", opened_glass(glass))
    glass.store.switch("all", True, "drill", BOB, glass.clock())
    stays_undone(glass, case, Status.PROPOSED)


def test_a_token_does_not_cover_a_plan_that_changed(glass: Bench) -> None:
    case = by_hand(glass, "stop")
    glass.desk.approve(case.id, ANN, "", "why", opened_glass(glass))
    edited(glass, playbook("stop", "fake:machine-stop", "fake:machine-delete"), "stop")
    stays_undone(glass, case, WAITING)


def test_a_token_is_not_wasted_where_nobody_else_is_needed(glass: Bench) -> None:
    token = opened_glass(glass)
    case = asked(glass)
    refused_token(glass, case, token)
    assert glass.store.glasses()[0].used_at is None


def test_whoever_broke_the_glass_cannot_review_it(glass: Bench) -> None:
    case = by_hand(glass, "stop")
    glass.desk.approve(case.id, ANN, "", "why", opened_glass(glass))
    (kept,) = glass.store.glasses()
    for spelling in (ANN, "local:Ann", "api:ann"):
        with pytest.raises(Misused, match="somebody else must review"):
            glass.desk.reviewed(kept.id, spelling)
    glass.desk.reviewed(kept.id, BOB, "it was on fire")
    assert glass.store.glasses()[0].reviewed_by == BOB
    assert glass.store.history(case.id)[-1].event.type in ("reviewed",)
    with pytest.raises(Misused, match="reviewed already"):
        glass.desk.reviewed(kept.id, "local:cleo")
    glass.assert_whole()


def test_what_was_not_used_cannot_be_reviewed(glass: Bench) -> None:
    opened_glass(glass)
    with pytest.raises(Misused, match="never used"):
        glass.desk.reviewed(glass.store.glasses()[0].id, BOB)
    with pytest.raises(QuarantineError, match="there is no"):
        glass.desk.reviewed("g-000", BOB)
