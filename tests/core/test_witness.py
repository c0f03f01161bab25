"""A witness cosigns what goes on from what it saw, and nothing else; a record shows itself and keeps its word."""

import asyncio
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from quarantine.audit import UNSEEN, Finding, Report, Trust, verify_signed
from quarantine.config import Ledger, LedgerWitness
from quarantine.errors import Misconfigured
from quarantine.herald import Herald, Reply
from quarantine.merkle import consistency, leaf, root
from quarantine.note import COSIGNATURE, Checkpoint, Key, Note, Verifier, encoded
from quarantine.sealer import Sealer
from quarantine.store.sql import Store
from quarantine.web.witness import application
from quarantine.witness import LARGEST, Answer, Witness, request
from tests.core.builders import NOW, Clock
from tests.core.test_tree import KEY, OTHER, write
from tests.testbed.poll import until

OWN = Key("witness.example/w1", b"w" * 32)
LEAVES = [leaf(str(number).encode()) for number in range(20)]
FORKED = [*LEAVES[:5], leaf(b"another"), *LEAVES[6:]]


@pytest.fixture
def witness(tmp_path: Path, clock: Clock) -> Iterator[Witness]:
    made = Witness(tmp_path / "witness", OWN, [KEY.verifier], clock)
    yield made
    made.close()


def state(size: int, leaves: list[bytes] = LEAVES, key: Key = KEY, origin: str = "") -> str:
    body = Checkpoint(origin or KEY.verifier.name, size, root(leaves[:size])).body
    return str(Note(body).signed(key))


def asking(old: int, size: int, leaves: list[bytes] = LEAVES, key: Key = KEY) -> bytes:
    return request(old, [encoded(step) for step in consistency(leaves[:size], old)], state(size, leaves, key))


def seen(witness: Witness) -> int | None:
    last = witness.last(KEY.verifier.name)
    return None if last is None else last.size


# -- what it says ------------------------------------------------------------------------------------------------------


def test_what_goes_on_is_cosigned_and_kept(witness: Witness, clock: Clock) -> None:
    for old, size in ((0, 0), (0, 3), (3, 3), (3, 8), (8, 20)):
        answer = witness.ask(asking(old, size))
        assert answer.status == 200, answer.text
        note = Note.parse(state(size).partition("\n\n")[0] + "\n\n" + answer.text)
        assert note.signed_by([witness.verifier]) == (witness.verifier,)
        assert note.signatures[0].seen_at == clock()
        assert seen(witness) == size
    assert witness.verifier.algorithm == COSIGNATURE
    kept = Note.parse(witness.path(KEY.verifier.name).read_text())
    assert kept.signed_by([KEY.verifier, witness.verifier]) == (KEY.verifier, witness.verifier)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (asking(0, 12), 409),
        (asking(7, 12), 409),
        (asking(8, 8, FORKED), 409),
        (asking(8, 12, FORKED), 422),
        (request(8, [], state(12)), 422),
        (request(8, [encoded(bytes(32))] * 3, state(12)), 422),
        (request(8, ["AAAA"], state(12)), 422),
        (request(8, [], state(5)), 400),
        (request(8, [], state(8, key=OTHER)), 403),
        (asking(8, 12).replace(b"\n12\n", b"\n13\n"), 403),
        (request(8, [], str(Note(Checkpoint("x/y", 9, bytes(32)).body).signed(Key("x/y", b"y" * 32)))), 404),
    ],
    ids=["from nothing", "from another", "fork of this size", "fork", "no proof", "another proof", "short hashes",
         "rollback", "another key", "another size", "another log"],
)  # fmt: skip
def test_what_does_not_is_refused_and_changes_nothing(witness: Witness, body: bytes, status: int) -> None:
    assert witness.ask(asking(0, 8)).status == 200
    before = witness.path(KEY.verifier.name).read_bytes()
    answer = witness.ask(body)
    assert answer.status == status, answer
    assert "—" not in answer.text, "nothing is cosigned"
    assert witness.path(KEY.verifier.name).read_bytes() == before
    if status == 409:
        assert answer == Answer(409, "8\n", size=True)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"old", b"old 1", b"old -1\n\n", b"old 01\n\n", b"new 0\n\n" + state(3).encode(), b"\xff\xfe\n\n",
        b"old 0\n" + b"AAAA\n" * 64 + b"\n" + state(3).encode(), b"old 0\n!!\n\n" + state(3).encode(),
        b"old 0\n\nno checkpoint\n", b"old 0\n\n" + state(3).encode()[:-1], b"old 0\n\n\n",
        b"old 99999999999999999999\n\n" + state(3).encode(),
    ],
)  # fmt: skip
def test_what_is_no_request_is_400(witness: Witness, body: bytes) -> None:
    assert witness.ask(body).status == 400
    assert seen(witness) is None


def test_a_first_state_needs_no_proof_and_takes_none(witness: Witness) -> None:
    assert witness.ask(request(0, [encoded(bytes(32))], state(3))).status == 422
    assert witness.ask(request(0, [], state(3))).status == 200


def test_both_keys_of_a_log_that_changes_its_key_are_known(tmp_path: Path, clock: Clock) -> None:
    both = Witness(tmp_path / "w", OWN, [KEY.verifier, Key(KEY.verifier.name, b"n" * 32).verifier], clock)
    assert both.ask(asking(0, 3)).status == 200
    assert both.ask(asking(3, 8, key=Key(KEY.verifier.name, b"n" * 32))).status == 200
    both.close()


def test_it_remembers_after_a_restart_and_is_alone_in_its_folder(tmp_path: Path, clock: Clock) -> None:
    first = Witness(tmp_path / "w", OWN, [KEY.verifier], clock)
    assert first.ask(asking(0, 8)).status == 200
    with pytest.raises(Misconfigured, match="another witness works in"):
        Witness(tmp_path / "w", OWN, [KEY.verifier], clock)
    first.close()
    again = Witness(tmp_path / "w", OWN, [KEY.verifier], clock)
    assert again.ask(asking(0, 12, FORKED)).status == 409
    again.close()


def test_a_state_that_was_spoilt_is_never_taken_for_none(witness: Witness) -> None:
    assert witness.ask(asking(0, 8)).status == 200
    witness.path(KEY.verifier.name).write_text("spoilt")
    with pytest.raises(Misconfigured, match="was spoilt"):
        witness.ask(asking(0, 12, FORKED))
    assert knocked(witness, asking(0, 12, FORKED))[0] == 503


def knocked(witness: Witness, body: bytes, method: str = "POST", path: str = "/add-checkpoint") -> tuple[int, str, str]:
    """Status, content type and text of what the door answers, over ASGI."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b"", "root_path": ""}
    asyncio.run(application(witness)(scope, receive, send))
    headers = dict(sent[0]["headers"])
    text = b"".join(message.get("body", b"") for message in sent[1:]).decode()
    return sent[0]["status"], headers.get(b"content-type", b"").decode(), text


def test_the_door_speaks_the_protocol(witness: Witness) -> None:
    status, _, text = knocked(witness, asking(0, 8))
    assert (status, text.startswith("— witness.example/w1 ")) == (200, True)
    assert knocked(witness, asking(0, 12)) == (409, "text/x.tlog.size", "8\n")
    assert knocked(witness, b"x" * (LARGEST + 1))[0] == 413
    assert knocked(witness, b"", "GET")[0] == 405
    assert knocked(witness, b"", path="/")[0] == 404


# -- the record and its witness ----------------------------------------------------------------------------------------


def settings(witness: Witness) -> Ledger:
    watching = LedgerWitness(url="http://witness.example:8687", key=str(witness.verifier))
    return Ledger(witnesses={"w1": watching}, witness_every=timedelta(seconds=10))


@pytest.fixture
def herald(store: Store, clock: Clock, witness: Witness) -> Herald:
    def post(url: str, body: bytes) -> Reply:
        assert url == "http://witness.example:8687/add-checkpoint"
        answer = witness.ask(body)
        return Reply(answer.status, answer.text)

    return Herald(store, clock, settings(witness), post)


@pytest.fixture
def sealer(store: Store, clock: Clock) -> Sealer:
    return Sealer(store, KEY, clock, Ledger())


def verified(store: Store, clock: Clock, *witnesses: Verifier) -> Report:
    with store.record() as record:
        return verify_signed(record, Trust([KEY.verifier], clock(), (), witnesses))


def test_each_state_is_shown_and_the_word_of_the_witness_is_kept(
    store: Store, clock: Clock, herald: Herald, sealer: Sealer, witness: Witness
) -> None:
    herald.show_all()
    assert store.seen() == {}, "nothing is signed yet"
    for expected in (3, 6, 9):
        write(store, clock, cases=1)
        sealer.seal()
        herald.show_all()
        assert store.seen() == {str(witness.verifier): (expected, clock())}
        clock.pass_by(timedelta(seconds=10))
    _, note = store.last_checkpoint() or pytest.fail("no checkpoint")
    assert Note.parse(note).signed_by([witness.verifier]) == (witness.verifier,)
    report = verified(store, clock, witness.verifier)
    assert (report.finding, "the witness witness.example/w1 has seen 9" in report.sentence) == (0, True)


def test_it_is_shown_at_most_so_often(store: Store, clock: Clock, herald: Herald, sealer: Sealer) -> None:
    for _ in range(3):
        write(store, clock, cases=1)
        sealer.seal()
        herald.show_all()
        clock.pass_by(timedelta(seconds=4))
    assert [size for size, _ in store.seen().values()] == [3]
    clock.pass_by(timedelta(seconds=4))
    herald.show_all()
    assert [size for size, _ in store.seen().values()] == [9]


def test_a_witness_that_knows_more_than_the_record_remembers_is_asked_again(
    store: Store, clock: Clock, herald: Herald, sealer: Sealer, witness: Witness
) -> None:
    """Its answer was lost: it has seen what the record does not know that it has."""
    write(store, clock, cases=1)
    sealer.seal()
    _, note = store.last_checkpoint() or pytest.fail("no checkpoint")
    assert witness.ask(request(0, [], note)).status == 200
    write(store, clock, cases=1)
    sealer.seal()
    herald.show_all()
    assert [size for size, _ in store.seen().values()] == [6]


def test_a_record_that_was_rewritten_key_in_hand_is_refused_and_found(
    store: Store, clock: Clock, herald: Herald, sealer: Sealer, witness: Witness, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """The witness has seen another history of this log: it does not sign this one, however well it fits."""
    seen_before = [leaf(str(number).encode()) for number in range(5)]
    body = Checkpoint(KEY.verifier.name, 5, root(seen_before)).body
    assert witness.ask(request(0, [], str(Note(body).signed(KEY)))).status == 200
    write(store, clock, cases=2)
    sealer.seal()
    herald.show_all()
    assert store.seen() == {}
    assert "does not begin with what it has seen (422)" in caplog.records[-1].why  # type: ignore[attr-defined]
    assert verified(store, clock).finding is Finding.OK, "nothing here gives it away"
    clock.pass_by(UNSEEN + timedelta(seconds=1))
    report = verified(store, clock, witness.verifier)
    assert (report.finding, "has seen 0 entries, and none since" in report.sentence) == (24, True)


def test_a_record_that_was_cut_off_is_told_from_one_that_was_rewritten(
    store: Store, clock: Clock, herald: Herald, sealer: Sealer, witness: Witness, caplog: pytest.LogCaptureFixture
) -> None:
    assert witness.ask(asking(0, 12)).status == 200
    write(store, clock, cases=1)
    sealer.seal()
    herald.show_all()
    assert "was the record cut off or put back?" in caplog.records[-1].why  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Reply(200, ""), "cannot be used"),
        (Reply(200, "— witness.example/w1 AAAAAAAA\n"), "not signed with the key"),
        (Reply(200, "x" * 5000), "cannot be used"),
        (Reply(404, "this log is not known here\n"), "404"),
        (Reply(409, "x"), "409"),
        (Reply(500, "\x1b[31m"), "500"),
    ],
)
def test_what_a_witness_answers_is_not_believed(
    store: Store, clock: Clock, sealer: Sealer, witness: Witness, reply: Reply, why: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    write(store, clock, cases=1)
    sealer.seal()
    Herald(store, clock, settings(witness), lambda url, body: reply).show_all()
    assert store.seen() == {}
    told = caplog.records[-1].why  # type: ignore[attr-defined]
    assert why in told and "\x1b" not in told


def test_a_witness_that_is_away_holds_up_nothing(store: Store, clock: Clock, sealer: Sealer, witness: Witness) -> None:
    def away(url: str, body: bytes) -> Reply:
        raise ConnectionRefusedError("nobody there")

    write(store, clock, cases=1)
    sealer.seal()
    Herald(store, clock, settings(witness), away).show_all()
    assert verified(store, clock, witness.verifier).finding is Finding.OK, "it may be away for an hour"


def test_a_cosignature_that_was_changed_is_not_trusted(
    store: Store, clock: Clock, sealer: Sealer, witness: Witness
) -> None:
    write(store, clock, cases=1)
    sealer.seal()
    note = Note(Checkpoint(KEY.verifier.name, 4, bytes(32)).body).cosigned(OWN.as_witness(), NOW)
    store.cosign(3, str(witness.verifier), clock(), f"{note.signatures[0]}\n")
    assert verified(store, clock, witness.verifier).finding is Finding.KEY


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://u:p@x", "x", "http://x y", "http://x\n"])
def test_where_a_witness_is_must_be_an_address(url: str, witness: Witness) -> None:
    with pytest.raises(ValueError, match="write http"):
        LedgerWitness(url=url, key=str(witness.verifier))


def test_the_key_of_a_witness_is_not_that_of_a_log() -> None:
    with pytest.raises(ValueError, match="the key of a log"):
        LedgerWitness(url="http://x", key=str(OWN.verifier))


# -- as a program ------------------------------------------------------------------------------------------------------


def test_the_program_watches_over_a_record_and_stops(
    tmp_path: Path, store: Store, clock: Clock, sealer: Sealer
) -> None:
    words = ["witness", str(tmp_path / "w"), "--log", str(KEY.verifier), "--name", "soc.example/w", "--port", "0"]
    program = subprocess.Popen(
        [sys.executable, "-m", "quarantine.cli", *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        assert program.stderr is not None
        lines = [program.stderr.readline() for _ in range(2)]
        key = lines[0].split()[-1]
        assert key.startswith("soc.example/w+") and '"witnessing"' in lines[1], lines
        url = f"http://{json.loads(lines[1])['listen']}"
        watching = Ledger(witnesses={"soc": LedgerWitness(url=url, key=key)})
        write(store, clock, cases=1)
        sealer.seal()
        Herald(store, clock, watching).show_all()
        assert store.seen()[key][0] == 3
        with pytest.raises(urllib.error.HTTPError, match="409") as refused:
            urllib.request.urlopen(f"{url}/add-checkpoint", request(0, [], store.last_checkpoint()[1]), timeout=10)  # type: ignore[index]
        refused.value.close()
    finally:
        program.terminate()
        assert program.wait(20) == 0
        if program.stderr is not None:
            program.stderr.close()
    until(lambda: (tmp_path / "w" / "witness.key").stat().st_mode & 0o077 == 0, seconds=1)
