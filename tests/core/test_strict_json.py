"""What the door takes for JSON: the same to every parser, or nothing."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarantine.errors import Malformed
from quarantine.intake import DEEPEST, strict_json

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdef", max_size=5), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(record=st.dictionaries(st.text('abcxyz"\\', max_size=6), values, max_size=5))
def test_every_plain_object_comes_back(record: dict[str, object]) -> None:
    assert strict_json(json.dumps(record).encode()) == [record]


@given(body=st.binary(max_size=100))
def test_whatever_comes_it_is_objects_or_malformed(body: bytes) -> None:
    with contextlib.suppress(Malformed):
        assert all(isinstance(record, dict) for record in strict_json(body))


@given(text=st.text('{}[]":,\\u0d8nulNaIfity1e9-. ', max_size=60))
def test_whatever_looks_like_json_is_objects_or_malformed(text: str) -> None:
    with contextlib.suppress(Malformed):
        assert all(isinstance(record, dict) for record in strict_json(text.encode()))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not JSON"),
        (b"null", "one JSON object"),
        (b"[]", "one JSON object"),
        (b'"x"', "one JSON object"),
        (b'[{"a": 1}, 2]', "one JSON object"),
        (b'[[{"a": 1}]]', "one JSON object"),
        (b'{"a": 1', "line 1, column"),
        (b'{"a": 1} {}', "not JSON"),
        (b'{"a": 1, "a": 2}', "stands twice"),
        (b'{"b": {"a": 1, "\\u0061": 2}}', "stands twice"),
        (b'{"a": NaN}', "not a number"),
        (b'{"a": -Infinity}', "not a number"),
        (b'{"a": 1e400}', "too large"),
        (b'{"a": 18446744073709551616}', "beyond 2"),
        (b'{"a": -18446744073709551616}', "beyond 2"),
        (b'{"a": ' + b"9" * 5000 + b"}", "beyond 2"),
        (b'{"a": "\\u0000"}', "NUL"),
        (b'{"a": ["\\ud800"]}', "surrogate"),
        (b'{"\\udfff": 1}', "surrogate"),
        (b'{"a": "\xff"}', "not UTF-8"),
        ("{\"a\": 1}".encode("utf-16"), "not UTF-8"),
        (b'{"a":' + b"[" * DEEPEST + b"]" * DEEPEST + b"}", "deeper than"),
        (b'{"a":' * 100_000, "deeper than"),
    ],
)  # fmt: skip
def test_what_two_parsers_could_read_differently_is_malformed(body: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        strict_json(body)


def test_brackets_inside_of_text_do_not_count_as_depth() -> None:
    assert strict_json(b'{"a": "' + b"[" * 1000 + b'\\""}') == [{"a": "[" * 1000 + '"'}]


def test_an_integer_that_a_double_cannot_hold_is_kept_as_its_digits() -> None:
    """Every alert of Falco has one: `evt.time`, in nanoseconds."""
    body = b'{"evt.time": 1795515630123456789, "largest": 9007199254740992, "least": -9007199254740993}'
    (record,) = strict_json(body)
    assert record == {
        "evt.time": "1795515630123456789",
        "largest": 9007199254740992,
        "least": "-9007199254740993",
    }


def test_a_list_of_objects_is_as_many_records() -> None:
    """Azure Event Grid, "Event schema": events come as an array."""
    assert strict_json(b'[{"a": 1}, {"a": 2}]') == [{"a": 1}, {"a": 2}]
