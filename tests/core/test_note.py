"""Signed notes and checkpoints, against the published examples, and every one against every change to it."""

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarantine.merkle import root
from quarantine.note import COSIGNATURE, Checkpoint, Key, Note, Unsigned, Verifier

# The example of golang.org/x/mod/sumdb/note, which the C2SP specification is made after.
PETER = Verifier.parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
EXAMPLE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
LOG = Key("example.com/quarantine", b"l" * 32)
OTHER = Key("example.com/quarantine", b"o" * 32)
WITNESS = Key("witness.example.org", b"w" * 32, COSIGNATURE)
BODY = Checkpoint(LOG.verifier.name, 2, root([b"1" * 32, b"2" * 32])).body
AT = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)


def test_the_published_example_is_read_and_verified() -> None:
    note = Note.parse(EXAMPLE)
    assert note.signed_by([PETER]) == (PETER,)
    assert str(note) == EXAMPLE
    assert str(PETER) == "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"


def test_a_checkpoint_is_signed_by_the_log_and_by_a_witness_and_read_again() -> None:
    note = Note(BODY).signed(LOG).cosigned(WITNESS, AT)
    again = Note.parse(str(note))
    assert again == note
    assert again.signed_by([WITNESS.verifier, LOG.verifier]) == (WITNESS.verifier, LOG.verifier)
    assert again.signatures[1].seen_at == AT
    assert Checkpoint.parse(again.body).body == BODY


def test_another_key_under_the_same_name_is_another_key() -> None:
    note = Note(BODY).signed(OTHER)
    assert note.signed_by([LOG.verifier]) == ()
    assert LOG.verifier.id != OTHER.verifier.id


def test_a_key_that_claims_the_id_of_another_is_found_out() -> None:
    forged = str(Note(BODY).signed(LOG)).splitlines()
    (genuine,) = Note.parse(str(Note(BODY).signed(LOG))).signatures
    line = base64.b64encode(genuine.id + OTHER.sign(BODY.encode())).decode()
    forged[-1] = f"— {LOG.verifier.name} {line}"
    with pytest.raises(Unsigned, match="is wrong"):
        Note.parse("\n".join(forged) + "\n").signed_by([LOG.verifier])


def test_the_word_of_a_witness_is_not_one_of_the_log_nor_of_another_time() -> None:
    seen = Note(BODY).cosigned(WITNESS, AT).signatures[0]
    plain = Verifier(WITNESS.verifier.name, WITNESS.verifier.key)
    assert not plain.accepts(BODY, seen.signature)
    later = (int(AT.timestamp()) + 1).to_bytes(8) + seen.signature[8:]
    assert WITNESS.verifier.accepts(BODY, seen.signature)
    assert not WITNESS.verifier.accepts(BODY, later)


@given(st.data())
def test_a_note_that_was_changed_anywhere_is_not_signed(data: st.DataObject) -> None:
    text = str(Note(BODY).signed(LOG))
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda character: character != text[place]))
    changed = text[:place] + other + text[place + 1 :]
    try:
        signers = Note.parse(changed).signed_by([LOG.verifier])
    except Unsigned:
        return
    assert signers == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        BODY,
        BODY + "\n",
        BODY + "\n— no-signature\n",
        BODY + "\nnot a signature\n",
        BODY + "\n— name with spaces AAAAAAAA\n",
        BODY + "\n— name AAAA\n",
        BODY + "\n— name ####\n",
        BODY + "\n— name AAAAAAB=\n",
        str(Note(BODY).signed(LOG))[:-1],
        str(Note(BODY).signed(LOG)).replace("\n", "\r\n"),
    ],
)
def test_what_is_no_note_is_not_read(text: str) -> None:
    with pytest.raises(Unsigned):
        Note.parse(text)


@pytest.mark.parametrize(
    "body",
    ["", "a\n1\n", "\n1\nAAAA\n", "a\n01\nAAAA\n", "a\n-1\nAAAA\n", "a\n1\nAAAA\n", "a\n1\n!\n", "a\n1x\nAAAA\n"],
)
def test_what_is_no_checkpoint_is_not_read(body: str) -> None:
    with pytest.raises(Unsigned):
        Checkpoint.parse(body)


@pytest.mark.parametrize("change", ["", "PeterNeumann", "PeterNeumann+c74f20a4", "Peter+c74f20a3", "a b+c74f20a3"])
def test_a_verifier_key_that_was_changed_in_copying_is_refused(change: str) -> None:
    whole = str(PETER)
    text = whole.replace("PeterNeumann+c74f20a3", change) if "+" in change else change
    with pytest.raises(Unsigned):
        Verifier.parse(text)


def test_a_verifier_key_is_written_as_it_is_read() -> None:
    for key in (LOG, WITNESS):
        assert Verifier.parse(str(key.verifier)) == key.verifier
