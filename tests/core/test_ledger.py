"""The chain: every way to touch it is found, and gets the code of its kind."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from quarantine.audit import Chain, Chains, Finding, Report, verify
from quarantine.case import Repeated
from quarantine.ledger import START, Sealed, seal, unseal
from quarantine.model import canonical, read_canonical
from tests.core.builders import CASE, finding, opened, recorded, salt

LENGTH = 5


def chain(case: str = CASE) -> list[Sealed]:
    events = recorded([opened(), *[Repeated(finding=finding(id=f"f{n}")) for n in range(LENGTH - 1)]], case=case)
    sealed: list[Sealed] = []
    for item in events:
        sealed.append(seal(item, sealed[-1].hash if sealed else START, salt))
    return sealed


def verified(entries: list[Sealed], length: int = LENGTH, head: str | None = None) -> Report:
    return verify(Chains([Chain(CASE, length, chain()[-1].hash if head is None else head, entries)]))


def rehashed(sealed: Sealed, content: bytes) -> Sealed:
    return replace(sealed, content=content, hash=hashlib.sha256(content).hexdigest())


def test_a_whole_chain_is_whole() -> None:
    report = verified(chain())
    assert (report.finding, report.entries, report.cases) == (Finding.OK, LENGTH, 1)


def test_what_was_sealed_comes_back() -> None:
    (item,) = recorded([opened()])
    assert unseal([seal(item, START, salt)]) == [item]


def test_the_same_entry_after_another_one_has_another_hash() -> None:
    (item,) = recorded([opened()])
    assert seal(item, START, salt).hash != seal(item, "1" * 64, salt).hash


@given(entry=st.integers(0, LENGTH - 1), data=st.data())
def test_one_bit_anywhere_is_found(entry: int, data: st.DataObject) -> None:
    entries = chain()
    content = bytearray(entries[entry].content)
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    entries[entry] = replace(entries[entry], content=bytes(content))
    assert verified(entries).finding is Finding.ALTERED


@given(entry=st.integers(0, LENGTH - 1))
def test_an_entry_that_is_changed_and_hashed_anew_is_found(entry: int) -> None:
    entries = chain()
    record = json.loads(entries[entry].content)
    record["by"] = "local:mallory"
    entries[entry] = rehashed(entries[entry], canonical(record))
    assert verified(entries).finding is Finding.ALTERED


@given(entry=st.integers(0, LENGTH - 2))
def test_a_deleted_entry_is_missing(entry: int) -> None:
    entries = chain()
    del entries[entry]
    assert verified(entries).finding is Finding.MISSING


@given(entry=st.integers(0, LENGTH - 2))
def test_a_deleted_entry_with_new_numbers_is_found(entry: int) -> None:
    entries = chain()
    del entries[entry]
    entries = [replace(item, seq=number) for number, item in enumerate(entries, 1)]
    assert verified(entries).finding in (Finding.ALTERED, Finding.TRUNCATED)


@given(pair=st.lists(st.integers(0, LENGTH - 1), min_size=2, max_size=2, unique=True))
def test_two_swapped_entries_are_found(pair: list[int]) -> None:
    entries = chain()
    first, second = pair
    entries[first], entries[second] = entries[second], entries[first]
    assert verified(entries).finding is Finding.MISSING


@given(entry=st.integers(0, LENGTH - 1))
def test_a_doubled_entry_is_found(entry: int) -> None:
    entries = chain()
    entries.insert(entry, entries[entry])
    assert verified(entries).finding is Finding.MISSING


@given(left=st.integers(0, LENGTH - 1))
def test_a_cut_end_is_found(left: int) -> None:
    assert verified(chain()[:left]).finding is Finding.TRUNCATED


def test_a_cut_end_with_the_length_put_right_is_found_by_the_head() -> None:
    assert verified(chain()[:3], length=3).finding is Finding.ALTERED


def test_an_entry_of_another_case_is_found() -> None:
    entries = chain()
    entries[0] = replace(chain("c-another")[0], case=CASE)
    assert verified(entries).finding is Finding.ALTERED


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content.replace(b'":', b'": ', 1),
        lambda content: b"not JSON",
        lambda content: b"\xff\xfe",
        lambda content: b"[]",
    ],
    ids=["not canonical", "not JSON", "not text", "not an object"],
)
def test_what_is_not_a_canonical_object_is_malformed(spoil: Callable[[bytes], bytes]) -> None:
    entries = chain()
    entries[0] = rehashed(entries[0], spoil(entries[0].content))
    assert verified(entries).finding is Finding.MALFORMED


def test_the_first_bad_entry_is_named() -> None:
    entries = chain()
    entries[2] = replace(entries[2], content=entries[2].content[:-1] + b" ")
    assert f"case {CASE}, entry 3" in verified(entries).sentence


# -- canonical JSON is written and read fast --------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e15, 1e15) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)

# What is hard for one of the two ways to write it: control characters, other planes, long digits, keys of other types.
hard = st.sampled_from(
    [
        "\x00",
        "\x1f",
        "\x7f",
        "\\",
        '"',
        "/",
        "\u2028",
        "\ue000",
        "\U0001f600",
        "1.5",
        "1" * 16,
        2**53 - 1,
        10**15,
        1e16,
        True,
        1,
        0,
    ]
)
writable = st.recursive(
    json_values | hard,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner)
        | st.dictionaries(st.text() | hard | st.integers() | st.booleans() | st.none(), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(writable)
def test_what_is_written_fast_is_what_the_library_writes(value: object) -> None:
    try:
        expected: object = rfc8785.dumps(value)  # type: ignore[arg-type]
    except ValueError as error:
        expected = type(error)
    try:
        written: object = canonical(value)
    except ValueError as error:
        written = type(error)
    assert written == expected


@given(json_values)
def test_what_is_canonical_is_read_as_canonical(value: object) -> None:
    try:
        content = canonical(value)
    except ValueError:
        return  # lone surrogates
    assert read_canonical(content)[1]


@given(json_values, st.booleans(), st.booleans(), st.sampled_from([(",", ":"), (", ", ": ")]))
def test_what_is_written_in_any_other_way_is_not(
    value: object, is_sorted: bool, ascii_only: bool, separators: tuple[str, str]
) -> None:
    text = json.dumps(value, sort_keys=is_sorted, ensure_ascii=ascii_only, separators=separators)
    try:
        content = text.encode()
        expected = canonical(json.loads(content)) == content
    except ValueError:
        return
    assert read_canonical(content)[1] is expected


@pytest.mark.parametrize(
    "content", [b'{"a":1,"a":1}', b"9007199254740993", b"1.0", b"1e2", b"-0", b'"\\u0061"', b'{"b":1,"a":1}', b" 1"]
)
def test_these_are_not_canonical(content: bytes) -> None:
    try:
        assert read_canonical(content)[1] is False
    except ValueError:
        return


@pytest.mark.parametrize("content", [b"NaN", b"[Infinity]", b"-Infinity", b"", b"{"])
def test_these_are_not_json(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_canonical(content)
