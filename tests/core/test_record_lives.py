"""Whatever the life of a record, it verifies; and with any one byte of it changed, it does not.

Appends, redactions, acts on the installation, sealing, deaths at a write, restarts and changes of the key come in any
order.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from quarantine.audit import Finding, Report, Trust, verify_signed
from quarantine.bundle import Bundle, Wrapping, write
from quarantine.case import Halted, Reason, Repeated, Status
from quarantine.commitment import Disclosure
from quarantine.config import Ledger, LedgerWitness
from quarantine.herald import Herald, Reply
from quarantine.ledger import Sealed
from quarantine.note import Key, Verifier
from quarantine.redaction import erasable, redacted
from quarantine.sealer import Sealer, key_in_use, key_of, make_key, rotate
from quarantine.store.sql import Also, Store
from quarantine.witness import Witness
from tests.core.builders import Clock, finding
from tests.core.tampering import Rows, rows_of
from tests.core.test_tree import a_finding

OWN = Key("witness/w", b"w" * 32)


class Died(Exception):
    """The process ended here."""


class Life(RuleBasedStateMachine):
    """One installation, from its first entry to an auditor's visit."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="quarantine-record-"))
        self.clock = Clock()
        self.path = self.folder / "ledger.key"
        self.first = make_key(self.path, "test/log").verifier
        self.armed = ""
        self.cases: list[str] = []
        self.store = self.opened()
        self.store.log_key(str(self.first))
        self.start()

    def opened(self) -> Store:
        store = Store(f"sqlite:///{self.folder / 'record.db'}", clock=self.clock, failpoint=self.failpoint)
        store.migrate()
        return store

    def failpoint(self, place: str) -> None:
        if self.armed and self.armed in place:
            self.armed = ""
            raise Died(place)

    def start(self) -> None:
        key = key_in_use(self.path, self.store.log_key() or "")
        self.sealer = Sealer(self.store, key, self.clock, Ledger(), renewed=lambda: key_of(self.path))

    # -- what happens ------------------------------------------------------------------------------------------------

    @rule(
        place=st.sampled_from(["before commit", "after commit", "after commit of seal", "before commit of checkpoint"])
    )
    def dies_soon(self, place: str) -> None:
        self.armed = place

    @rule()
    def opens_a_case(self) -> None:
        self.try_to(lambda: self.cases.append(self.store.open(a_finding(f"f-{len(self.cases)}"), "s", self.clock()).id))

    @precondition(lambda self: self.cases)
    @rule(which=st.integers(0, 10**6))
    def appends(self, which: int) -> None:
        case = self.cases[which % len(self.cases)]
        again = [Repeated(finding=finding(id=f"again-{which}"))]
        self.try_to(lambda: self.store.append(case, again, by="source:test", at=self.clock(), also=Also()))

    @precondition(lambda self: self.cases)
    @rule(which=st.integers(0, 10**6))
    def stops(self, which: int) -> None:
        case = self.cases[which % len(self.cases)]
        if self.store.load(case).status is Status.NEW:
            halted = Halted(reason=Reason.UNREACHABLE, sentence="the platform does not answer")
            self.try_to(lambda: self.store.append(case, [halted], by="engine", at=self.clock(), also=Also()))

    @precondition(lambda self: self.cases)
    @rule(which=st.integers(0, 10**6), everything=st.booleans())
    def redacts(self, which: int, everything: bool) -> None:
        case = self.cases[which % len(self.cases)]
        there = erasable(self.store.entries(case))
        if there and self.store.load(case).status is Status.NEEDS_HUMAN:
            event = redacted(there if everything else [there[which % len(there)]], "a name")
            also = Also(keep_due=True, erases=event.commitments)
            self.try_to(lambda: self.store.append(case, [event], by="local:ann", at=self.clock(), also=also))

    @rule(on=st.booleans())
    def turns_a_switch(self, on: bool) -> None:
        self.try_to(lambda: self.store.switch("all", on, "drill", "local:ann", self.clock()))

    @rule()
    def seals(self) -> None:
        self.try_to(self.sealer.seal)

    @rule()
    def changes_the_key(self) -> None:
        self.try_to(lambda: rotate(self.store, self.path, "local:ann", self.clock(), "a new year"))

    @rule()
    def restarts(self) -> None:
        self.armed = ""
        self.store.close()
        self.store = self.opened()
        self.start()

    def try_to(self, act: object) -> None:
        """After a death everything begins anew, from what is on disk."""
        try:
            act()  # type: ignore[operator]
        except Died:
            self.cases = [line.id for line in self.store.lines()]
            self.restarts()

    # -- the auditor comes -------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        self.armed = ""
        self.restarts()
        self.sealer.seal()
        newest = key_of(self.path).verifier
        for key in (self.first, newest):
            with self.store.record() as record:
                report = verify_signed(record, Trust([key], self.clock()))
            assert report.finding is Finding.OK, report.sentence
        with self.store.record() as record:
            rows = rows_of(record)
        assert self.audited(rows, newest).finding is Finding.OK
        for number, entry in enumerate(rows.entries):
            place = (number * 31) % len(entry.content)
            raw = bytearray(entry.content)
            raw[place] ^= 1
            spoiled = Rows([*rows.entries], rows.cases, rows.notes)
            spoiled.entries[number] = replace(entry, content=bytes(raw))
            assert self.audited(spoiled, newest).finding is not Finding.OK
            for disclosures in self.spoiled(entry):
                spoiled.entries[number] = replace(entry, disclosures=disclosures)
                assert self.audited(spoiled, newest).finding is not Finding.OK
            spoiled.entries[number] = replace(entry, leaf=entry.leaf[::-1])
            assert self.audited(spoiled, newest).finding is not Finding.OK
        self.store.close()

    def spoiled(self, entry: Sealed) -> Iterator[tuple[Disclosure, ...]]:
        """What stands beside it with a byte changed, without one value, and with one that was erased or made up."""
        for index, (name, content) in enumerate(entry.disclosures):
            raw = bytearray(content)
            raw[index * 13 % len(raw)] ^= 1
            rest = entry.disclosures[:index] + entry.disclosures[index + 1 :]
            yield (*rest, Disclosure(name, bytes(raw)))
            yield rest
        yield (*entry.disclosures, Disclosure("0" * 64, b'["",""]'))

    def audited(self, rows: Rows, key: Verifier) -> Report:
        return verify_signed(rows, Trust([key], self.clock()))


@pytest.mark.parametrize("examples", [25, pytest.param(600, marks=pytest.mark.soak)])
def test_any_life_verifies_and_no_byte_of_it_can_be_another_one(examples: int) -> None:
    quick = settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    run_state_machine_as_test(Life, settings=quick)


def test_a_witness_and_a_bundle_go_along_with_every_change_of_the_key(tmp_path: Path, clock: Clock) -> None:
    """The witness goes on cosigning; whoever gets the bundle needs one key and that of the witness."""
    store = Store(f"sqlite:///{tmp_path / 'record.db'}", clock=clock)
    store.migrate()
    path = tmp_path / "ledger.key"
    keys = [make_key(path, "test/log").verifier]
    store.log_key(str(keys[0]))
    sealer = Sealer(store, key_of(path), clock, Ledger(), renewed=lambda: key_of(path))
    own = str(OWN.as_witness().verifier)
    watching = Ledger(witnesses={"w": LedgerWitness(url="http://w", key=own)})
    for year in range(3):
        store.open(a_finding(f"year-{year}"), "source:test", clock())
        keys.append(rotate(store, path, "local:ann", clock(), "a new year").verifier)
        sealer.seal()
        witness = Witness(tmp_path / "witness", OWN, keys, clock)

        def post(url: str, body: bytes, asked: Witness = witness) -> Reply:
            answer = asked.ask(body)
            return Reply(answer.status, answer.text)

        Herald(store, clock, watching, post).show_all()
        witness.close()
    with store.record() as record:
        write(tmp_path / "record.zip", record, Wrapping(str(keys[-1])))
    store.close()
    for key in keys:
        with Bundle(tmp_path / "record.zip") as bundle:
            report = verify_signed(bundle, Trust([key], clock(), (), [OWN.as_witness().verifier]))
        assert (report.finding, report.entries) == (Finding.OK, 6), report.sentence
        assert "the witness witness/w has seen 6" in report.sentence
