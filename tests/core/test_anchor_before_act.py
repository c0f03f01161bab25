"""A playbook may want that a witness elsewhere has seen its plan before anything is done, and then nothing is."""

from datetime import timedelta
from pathlib import Path

import pytest

from quarantine.case import Case, Outcome, Status
from quarantine.config import Ledger, LedgerWitness
from quarantine.herald import Herald, Reply
from quarantine.note import Key
from quarantine.sealer import Sealer
from quarantine.testing.installation import settings
from quarantine.witness import Witness
from tests.core.bench import Bench

KEY, OWN = Key("test/log", b"k" * 32), Key("witness/w", b"w" * 32)
ANN, BOB = "local:ann", "local:bob"


@pytest.fixture
def watching(tmp_path: Path) -> Ledger:
    key = str(OWN.as_witness().verifier)
    return Ledger(witnesses={"w": LedgerWitness(url="http://w", key=key)}, witness_every=timedelta(seconds=0))


@pytest.fixture
def bench(tmp_path: Path, watching: Ledger) -> Bench:
    (tmp_path / "installation").mkdir()
    made = Bench(tmp_path / "installation", settings(ledger=watching))
    for name, known in made.shelf.playbooks.items():
        made.shelf.playbooks[name] = known.model_copy(update={"anchor_before_act": True})
    return made


@pytest.fixture
def witness(bench: Bench, tmp_path: Path) -> Witness:
    return Witness(tmp_path / "witness", OWN, [KEY.verifier], bench.clock)


def seen(bench: Bench, witness: Witness) -> None:
    """What was written until now is sealed, and the witness sees it."""

    def post(url: str, body: bytes) -> Reply:
        answer = witness.ask(body)
        return Reply(answer.status, answer.text)

    Sealer(bench.store, KEY, bench.clock, bench.settings.ledger).seal()
    Herald(bench.store, bench.clock, bench.settings.ledger, post).show_all()
    bench.clock.turn(timedelta(seconds=3))


def waiting(bench: Bench, case: Case) -> Case:
    for _ in range(3):
        case = bench.advance(case)
        bench.clock.turn(timedelta(seconds=3))
    return case


def test_nothing_is_done_before_a_witness_has_seen_the_plan(bench: Bench, witness: Witness) -> None:
    case = waiting(bench, bench.open(bench.machine(), "isolate"))
    assert (case.status, case.sentence) == (
        Status.PROPOSED,
        "a witness has to see the plan before it is carried out",
    )
    assert bench.changes() == []
    assert bench.types(case) == ["opened", "planned", "held"], "said once"
    seen(bench, witness)
    assert bench.settle(case).status is Status.CONTAINED
    assert "a witness has seen the plan" in str(bench.store.history(case.id))


def test_what_a_witness_saw_before_does_not_count(bench: Bench, witness: Witness) -> None:
    other = bench.open(bench.machine("other"), "isolate")
    waiting(bench, other)
    seen(bench, witness)
    case = waiting(bench, bench.open(bench.machine(), "isolate"))
    assert (case.status, bench.changes()) == (Status.PROPOSED, [])


def test_a_person_is_asked_when_the_plan_was_seen_and_the_yes_is_not_lost(bench: Bench, witness: Witness) -> None:
    case = waiting(bench, bench.open(bench.machine(), "stop"))
    assert case.status is Status.PROPOSED
    seen(bench, witness)
    case = bench.advance(case)
    assert case.status is Status.AWAITING_APPROVAL
    bench.desk.approve(case.id, ANN, case.plan_digest)
    done = bench.settle(case)
    assert (done.outcome, bench.world.machine("web").power) == (Outcome.ONE_WAY_DONE, "stopped")


def test_an_approval_does_not_get_past_it(bench: Bench) -> None:
    case = waiting(bench, bench.open(bench.machine(), "isolate"))
    bench.desk.approve(case.id, ANN, case.plan_digest)
    case = waiting(bench, case)
    assert (case.status, bench.changes()) == (Status.PROPOSED, [])


def test_an_escalation_waits_for_the_witness_too(bench: Bench, witness: Witness) -> None:
    case = bench.open(bench.machine(), "isolate")
    waiting(bench, case)
    seen(bench, witness)
    case = bench.settle(case)
    bench.world.sent.clear()
    bench.desk.escalate(case.id, ANN, bench.shelf.find("close"))
    case = waiting(bench, case)
    assert (case.escalation is not None, bench.changes()) == (True, [])
    seen(bench, witness)
    case = waiting(bench, case)
    assert "machine.set_ports" in bench.changes()
    bench.assert_whole()


def test_where_there_is_no_witness_it_says_so_and_waits(tmp_path: Path) -> None:
    (tmp_path / "installation").mkdir()
    bench = Bench(tmp_path / "installation", settings())
    known = bench.shelf.playbooks["isolate"]
    bench.shelf.playbooks["isolate"] = known.model_copy(update={"anchor_before_act": True})
    case = bench.settle(bench.open(bench.machine(), "isolate"))
    assert (case.status, case.sentence) == (
        Status.PROPOSED,
        "isolate wants a witness, and ledger.witnesses names none",
    )


def test_the_word_of_a_witness_that_is_not_ours_does_not_count(bench: Bench, witness: Witness) -> None:
    case = waiting(bench, bench.open(bench.machine(), "isolate"))
    Sealer(bench.store, KEY, bench.clock, bench.settings.ledger).seal()
    bench.store.cosign(99, "another+witness", bench.clock(), "")
    assert waiting(bench, case).status is Status.PROPOSED
