"""Everything at once, at random: findings, workers that die or fall silent, a platform that lies, strangers, people.

After every step the invariants are checked; at the end nothing goes wrong any more, and every case must come to rest
and be undone. `make soak` plays longer games. A game that failed is played again first: Hypothesis keeps it.
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from quarantine.case import Case, Opened, Outcome, Status
from quarantine.config import Approvals, Breaker, Budget, Guards, Mode, OnDrift, Storm, Watch
from quarantine.errors import Conflict, Denied, Gone, Misused, Moved, QuarantineError
from quarantine.model import Finding, Resource, Severity, Standing
from quarantine.testing.fake.machine_close import MachineClose
from quarantine.testing.fake.machine_delete import MachineDelete
from quarantine.testing.fake.machine_fence import MachineFence
from quarantine.testing.fake.machine_isolate import MachineIsolate
from quarantine.testing.fake.machine_stop import MachineStop
from quarantine.testing.fake.world import EVERYONE, KIND, Died, Fault
from quarantine.testing.installation import settings as settings_of
from quarantine.testing.invariants import check, i19_changes_nothing, i20_recovery_is_idempotent, rests
from tests.conftest import Tell
from tests.core.bench import PLAYBOOKS, Bench

SIGNATURE_LIFE = timedelta(minutes=5)
LATE_WITHIN = SIGNATURE_LIFE + timedelta(seconds=30)
STALE_WITHIN = timedelta(seconds=10)
CHANGES = ("policy.create", "policy.delete", "machine.patch_labels", "machine.set_ports", "machine.stop")
READS = ("machine.get", "policy.get", "identity.get", "operation.get", "machine.read_memory", "finding.get")
REFUSALS = (Fault.THROTTLE, Fault.TRANSIENT, Fault.UNREACHABLE, Fault.DENY, Fault.CONFLICT)
LOST = (Fault.LOSE_ANSWER, Fault.LOSE_REQUEST, Fault.ARRIVE_LATE, Fault.DIE_BEFORE, Fault.DIE_AFTER)
MACHINES = ("web", "db", "vault")
"""The last one is protected."""
SWITCHES = ("all", "everything", "provider:fake", "playbook:isolate", "source:detector")

failures = st.sampled_from([(), (), (Conflict("in its way"),), (Denied("a rule of the organisation"),)])
machines = st.sampled_from([*MACHINES[:2] * 6, MACHINES[2]])
playbooks = st.sampled_from(["isolate", "close", "isolate-peers", *sorted(item.name for item in PLAYBOOKS)])
numbers = st.integers(0, 3)
"""The how-manieth of the cases, the newest first."""
workers = st.integers(0, 2)
Work = tuple[int, int]
works = st.tuples(workers, st.sampled_from([0, 1, 1, 2, 4, 8]))
"""Who works on a case, and for how many turns."""
spans = st.sampled_from([timedelta(seconds=seconds) for seconds in (1, 1, 5, 21, 61, 61, 130, 331, 1900)])
ages = st.sampled_from([timedelta(0)] * 5 + [timedelta(seconds=30), timedelta(hours=2)])
views = [Standing.RESOLVED, Standing.SUPPRESSED, Standing.FALSE_POSITIVE, Standing.UNKNOWN]
standings = st.sampled_from([None] * 4 + [Standing.ACTIVE] * 5 + views)
"""What the detector says of a finding when it comes in; None for one that only pushes."""
changes = st.sampled_from([*CHANGES[:4] * 2, CHANGES[4]])
strangers = st.sampled_from(["label", "port", "label", "port", "remove", "replace"])
keys = st.sampled_from(["app", "owner", "22", "8080"])
words = st.sampled_from(
    [*["approve", "release"] * 4, "retry", "retry", "release wrongly found", "deny", "keep", "handled"]
)
mishaps = st.one_of(
    st.tuples(st.just("read"), st.sampled_from(READS), st.sampled_from(REFUSALS[:4])),
    st.tuples(st.just("meddle"), changes, machines),
    st.tuples(st.just("slow"), st.sampled_from(CHANGES[:4]), st.sampled_from([2, 12, 70]), failures),
    st.tuples(st.just("deny"), changes),
    st.just(("allow",)),
    st.tuples(st.just("stale"), st.integers(1, 4)),
    st.tuples(st.just("detector"), st.integers(0, 3), st.sampled_from([Standing.ACTIVE, *views])),
    st.tuples(st.just("stale detector"), st.integers(1, 3)),
)
controls = st.one_of(
    st.tuples(st.just("on"), st.sampled_from(SWITCHES)),
    st.tuples(st.just("off"), st.sampled_from(SWITCHES)),
    st.just(("refill",)),
    st.just(("dry run",)),
)


class Game(RuleBasedStateMachine):
    """One installation with three workers, and everybody who may get in its way."""

    def __init__(self) -> None:
        super().__init__()
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
        self.order: list[str] = []
        self.detected: dict[str, str] = {}
        """The machine of each finding that the detector has had."""
        self.alive: int | None = None
        """How many more places a worker passes before it dies; None while nobody is to die."""

    @initialize(
        budget=st.sampled_from([2, 100]),
        drift=st.sampled_from(list(OnDrift)),
        mode=st.sampled_from([Mode.AUTO] * 3 + [Mode.ASK]),
    )
    def begin(self, budget: int, drift: OnDrift, mode: Mode) -> None:
        guards = Guards(
            mode=mode,
            budget=Budget(per_account_10m=budget, per_account_24h=2 * budget, global_24h=3 * budget, group_percent=100),
            breaker=Breaker(failures=4, false_positives=2),
            storm=Storm(cases=8),
            same_resource_24h=4,
            protected=(f"{KIND}/{MACHINES[-1]} in *",),
        )
        self.bench = Bench(
            self.folder,
            settings_of(guards=guards, approvals=Approvals(), watch=Watch(on_drift=drift)),
            failpoint=self.place,
        )
        self.world, self.store, self.clock = self.bench.world, self.bench.store, self.bench.clock
        self.world.signature_life = SIGNATURE_LIFE
        self.witness = self.bench.witness
        for name in MACHINES:
            self.add(name)
        self.engines = [self.bench.engine, self.bench.worker(), self.bench.worker()]

    # -- findings and workers ----------------------------------------------------------------------------------------

    @rule(
        name=machines,
        playbook=playbooks,
        number=st.integers(0, 1),
        age=ages,
        named=st.booleans(),
        standing=standings,
        work=works,
    )
    def finding(
        self,
        name: str,
        playbook: str,
        number: int,
        age: timedelta,
        named: bool,
        standing: Standing | None,
        work: Work,
    ) -> None:
        """A new one, a repeated one, an old sighting; one that knows the machine's uid, or its name only."""
        found = self.found(name, playbook, f"{playbook}-{name}-{number}", named)
        found = found.model_copy(update={"seen_at": self.clock() - age})
        if standing is not None:
            found = found.model_copy(update={"reader": "fake:detection"})
            self.detect(found.id, name, standing)
        with self.mortal():
            result = self.bench.intake.link(found, "source:detector")
            if result.case is not None:
                self.work(result.case, work)

    @rule(name=machines, playbook=playbooks, work=works)
    def by_hand(self, name: str, playbook: str, work: Work) -> None:
        found = self.found(name, playbook, f"hand-{self.clock()}", named=True)
        chosen = self.bench.shelf.find(playbook)
        opened = Opened(finding=found, playbook=playbook, playbook_digest=chosen.digest, requested=True)
        with suppress(Moved), self.mortal():
            self.work(self.store.open(opened, by="local:ann", at=self.clock()).id, work)

    @precondition(lambda self: self.lines())
    @rule(number=numbers, work=works)
    def advance(self, number: int, work: Work) -> None:
        self.work(self.nth(number), work)

    @rule(worker=workers, span=spans)
    def time_passes(self, worker: int, span: timedelta) -> None:
        """And a worker carries on what has become due."""
        self.clock.turn(span)
        for case in self.lines():
            due = self.store.due(case)
            if due is not None and due <= self.clock():
                self.carry(worker, case)

    @rule(places=st.integers(0, 25), worker=workers)
    def die_soon(self, places: int, worker: int) -> None:
        """Who passes so many places more dies; one that died before is started anew and takes back what it held."""
        with self.mortal():
            self.store.free_all(f"worker-{worker + 1}")
        self.alive = places

    # -- a platform that lies ----------------------------------------------------------------------------------------

    @rule(call=changes, faults=st.lists(st.sampled_from([*LOST * 2, *REFUSALS]), min_size=1, max_size=3))
    def change_fails(self, call: str, faults: list[Fault]) -> None:
        self.world.fail(call, *faults)

    @rule(call=changes, span=spans, worker=workers, number=numbers, word=st.booleans())
    def freeze(self, call: str, span: timedelta, worker: int, number: int, word: bool) -> None:
        """Who makes this call next falls asleep in the middle of it; others go on meanwhile, a person among them."""

        def sleep() -> None:
            self.clock.turn(span)
            self.carry(worker, self.nth(number))
            if word:
                self.say("release", self.nth(number), "local:bob")
                self.clock.turn(span)
                self.carry(worker, self.nth(number))

        self.world.fail(call, sleep)

    @rule(mishap=mishaps)
    def mishap(self, mishap: tuple[Any, ...]) -> None:
        match mishap:
            case "read", call, fault:
                self.world.fail(call, *[fault] * 4)
            case "meddle", call, name:
                self.world.fail(call, lambda: self.meddle_with(name, "port", "8443"))
            case "slow", call, takes, failures:
                self.world.slow(call, timedelta(seconds=takes), *failures)
            case "deny", call:
                self.world.denied = {call}
            case ("allow",):
                self.world.denied.clear()
            case "stale", reads:
                self.world.stale(reads, STALE_WITHIN)
            case "stale detector", reads:
                self.world.stale_findings(reads)
            case "detector", number, standing:
                if self.detected:
                    finding = list(self.detected)[-1 - number % len(self.detected)]
                    self.detect(finding, self.detected[finding], standing)

    @rule()
    def arrive(self) -> None:
        self.world.arrive()

    # -- strangers and people ----------------------------------------------------------------------------------------

    @rule(name=machines, what=strangers, key=keys, number=numbers, work=works)
    def stranger(self, name: str, what: str, key: str, number: int, work: Work) -> None:
        """Changes a machine, or deletes it, or deletes it and makes another of its name; and who watches may see it."""
        if what in ("label", "port"):
            self.meddle_with(name, what, key)
        else:
            self.world.remove(name)
        if what == "replace":
            self.add(name)
        if self.lines():
            self.work(self.nth(number), work)

    @precondition(lambda self: self.lines())
    @rule(word=words, number=numbers, who=st.sampled_from(["local:ann", "local:bob"]), work=works)
    def person(self, word: str, number: int, who: str, work: Work) -> None:
        case = self.nth(number)
        self.say(word, case, who)
        self.work(case, work)

    @rule(control=controls, name=machines, playbook=playbooks)
    def control(self, control: tuple[str, ...], name: str, playbook: str) -> None:
        with self.mortal():
            match control:
                case ("on" | "off") as position, scope:
                    self.store.switch(scope, position == "on", "an exercise", "local:bob", self.clock())
                case ("refill",):
                    self.store.refill("*", "an exercise", "local:bob", self.clock())
                    self.witness.refilled()
                case ("dry run",):
                    i19_changes_nothing(self.witness, lambda: self.plan(name, playbook))
        self.clock.turn(timedelta(seconds=1))

    # -- what must be so ---------------------------------------------------------------------------------------------

    @invariant()
    def everything_holds(self) -> None:
        if hasattr(self, "witness"):
            with self.telling():
                check(self.witness)

    def teardown(self) -> None:
        try:
            if hasattr(self, "witness"):
                with self.telling():
                    self.come_to_an_end()
        finally:
            if hasattr(self, "bench"):
                self.store.close()
            shutil.rmtree(self.folder)

    def come_to_an_end(self) -> None:
        """Nothing goes wrong any more: then nothing is stuck, and everything can be undone."""
        self.alive = None
        self.world.calm()
        for scope in SWITCHES:
            self.store.switch(scope, False, "", "local:bob", self.clock())
        self.clock.turn(timedelta(minutes=1, seconds=1))
        self.settle()
        check(self.witness)
        self.advance_all()  # what was held back by a case that has ended is judged anew
        i20_recovery_is_idempotent(self.witness, self.advance_all)
        for line in self.lines():
            case = self.store.load(line)
            if case.status is not Status.CLOSED and case.touched and case.reversible:
                self.undo(case)
        check(self.witness)

    def undo(self, case: Case) -> None:
        """A person releases it. Where nobody else had a hand in it, everything is given back."""
        self.bench.desk.release(case.id, "local:bob")
        self.settle()
        after = self.store.load(case.id)
        assert case.plan is not None
        touched = {step.resource.identity for step in case.plan.steps}
        others = {effect.resource for effect in self.witness.effects if effect.mark.case != case.id}
        if touched & {*self.witness.strangers, *others}:
            return
        assert after.outcome in (Outcome.RELEASED, Outcome.TARGET_GONE), (after.status, after.reason, after.sentence)

    def settle(self) -> None:
        """Carries everything on, and turns the clock to what is due next, until all rest."""
        for _ in range(200):
            self.advance_all()
            resting = [rests(self.store.load(line), self.store.due(line), self.clock()) for line in self.lines()]
            if all(resting):
                return
            dues = [due for line in self.lines() if (due := self.store.due(line)) is not None and due > self.clock()]
            self.clock.turn(min([*dues, self.clock() + timedelta(seconds=61)]) - self.clock())
        restless = [self.store.load(line) for line in self.lines()]
        raise AssertionError(f"no rest: {[(case.id, case.status, case.sentence) for case in restless]}")

    def advance_all(self) -> None:
        for line in self.lines():
            self.engines[0].advance(line)

    # -- below -------------------------------------------------------------------------------------------------------

    def place(self, _: str) -> None:
        """The failpoint: before and after every commit and every call."""
        if self.alive is None:
            return
        self.alive -= 1
        if self.alive < 0:
            self.alive = None
            raise Died

    @contextmanager
    def telling(self) -> Iterator[None]:
        """What fails tells the whole story of every case that acted."""
        try:
            yield
        except AssertionError as error:
            for case in self.witness.cases():
                if case.acted_at is not None:
                    error.add_note(f"{case.id}: {case.playbook} on {case.resource}: {case.status} {case.sentence}")
                    for item in self.witness.history(case.id):
                        event = item.event.model_dump(exclude={"plan", "finding", "type", "sentences", "resource"})
                        error.add_note(f"    {item.at:%H:%M:%S} {item.event.type} {event}")
            for effect in self.witness.effects:
                error.add_note(f"{effect.at:%H:%M:%S} {effect.call} {effect.mark.case} {effect.mark.key[:8]}")
            raise

    def mortal(self) -> "suppress":
        return suppress(Died)

    def work(self, case: str, work: Work) -> None:
        """A worker carries a case on for some turns, each when it is due."""
        worker, turns = work
        for _ in range(turns):
            if not self.carry(worker, case):
                self.clock.turn(self.bench.settings.worker.lease + timedelta(seconds=1))
                continue
            due = self.store.due(case)
            if due is not None and due > self.clock():
                self.clock.turn(min(due - self.clock(), timedelta(minutes=6)))

    def carry(self, worker: int, case: str) -> bool:
        """False if another worker has the case, or the one that had it has just died."""
        with self.mortal():
            return self.engines[worker].advance(case) is not None
        return False

    def say(self, word: str, case: str, who: str) -> None:
        """A person's word; one that the case's status does not allow is turned away."""
        with suppress(Misused), self.mortal():
            if word == "release wrongly found":
                self.bench.desk.release(case, who, false_positive=True)
            else:
                getattr(self.bench.desk, word)(case, who)

    def plan(self, name: str, playbook: str) -> None:
        with suppress(QuarantineError), self.mortal():
            resource = Resource(kind=KIND, id=name, scope="local")
            self.bench.planner.draft(self.bench.shelf.find(playbook), resource)

    def lines(self) -> list[str]:
        """Every case, in the order in which they came up: their ids are random, and a game can be played again."""
        self.order += sorted({line.id for line in self.store.lines(limit=1000)} - set(self.order))
        return list(self.order)

    def nth(self, number: int) -> str:
        """The newest is the first."""
        lines = self.lines()
        return lines[-1 - number % len(lines)]

    def add(self, name: str) -> Resource:
        peers = tuple(other for other in MACHINES[:2] if other != name)
        return self.world.add(
            name, labels={"app": "shop", "tier": "front"}, ports={"22": EVERYONE, "443": "10.0.0.0/8"}, peers=peers
        )

    def found(self, name: str, playbook: str, identity: str, named: bool) -> Finding:
        try:
            uid = self.world.machine(name).uid if named else None
        except Gone:
            uid = self.add(name).uid
        return Finding(
            source="detector",
            id=identity,
            type=playbook,
            severity=Severity.HIGH,
            resource=Resource(kind=KIND, id=name, scope="local", uid=uid),
            seen_at=self.clock(),
        )

    def detect(self, finding: str, name: str, standing: Standing) -> None:
        """The detector comes to this view; UNKNOWN: it forgets the finding."""
        self.detected[finding] = name
        if standing is Standing.UNKNOWN:
            self.world.forget(finding)
        else:
            self.world.detect(finding, name, standing)

    def meddle_with(self, name: str, what: str, key: str) -> None:
        with suppress(QuarantineError):
            machine = self.world.machine(name)
            values = machine.labels if what == "label" else machine.ports
            changed = {**values, key: f"stranger-{self.clock():%H%M%S}"}
            self.witness.meddled(Resource(kind=KIND, id=name, scope="local", uid=machine.uid))
            self.world.meddle(name, "local", **{"labels" if what == "label" else "ports": changed})


@pytest.fixture(autouse=True)
def slow_and_forgetful(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The platform's reads may be stale, and its requests late: the actions say so."""
    for action in (MachineIsolate, MachineClose, MachineFence, MachineStop, MachineDelete):
        monkeypatch.setattr(action, "late_within", LATE_WITHIN)
        monkeypatch.setattr(action, "consistent_within", STALE_WITHIN)
        monkeypatch.setattr(action, "settles_within", timedelta(seconds=20))
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def play(games: int, steps: int, **more: Any) -> None:
    run_state_machine_as_test(
        Game,
        settings=settings(
            max_examples=games,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            **more,
        ),
    )


def test_nothing_breaks_in_a_few_games() -> None:
    """The same ones every time; `make soak` plays others."""
    play(games=50, steps=40, derandomize=True, database=None)


@pytest.mark.soak
def test_nothing_breaks_in_many_games(seed: int, tell: Tell) -> None:
    """As many as GAMES says, 1500 by default: about half an hour. SEED plays the same ones again."""
    games = int(os.environ.get("GAMES", "1500"))
    hypothesis.seed(seed)(Game)
    play(games=games, steps=60)
    tell(f"simulation: {games} games, SEED={seed}")
