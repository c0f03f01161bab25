"""Whatever comes in, what goes out is one harmless line."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarantine.text import LONGEST, closest, safe_text

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ZERO_WIDTH = (
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b\u200c\u200d\u2060\u2061\u2062\u2063\u2064\u2800\u3164\ufeff\uffa0"
)
SPACES = "\xa0\u1680\u2000\u2003\u202f\u205f\u3000"
SEPARATORS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
SELECTORS = "\ufe00\ufe0f\U000e0100\U000e01ef\u180b\u180f"
TAGS = "\U000e0001\U000e0020\U000e0041\U000e007f"
PRIVATE = "\ue000\uf8ff\U000f0000\U0010fffd"
NOBODYS = "\ufdd0\ufffe\uffff\U0001fffe\u0378\U000e0fff"
SURROGATES = "\ud800\udbff\udc00\udfff"
INTERLINEAR = "\ufff9\ufffa\ufffb"

SINGLE = [
    *(chr(code) for code in range(0x20)),
    *(chr(code) for code in range(0x7F, 0xA0)),
    *(BIDI + ZERO_WIDTH + SPACES + SEPARATORS + SELECTORS + TAGS + PRIVATE + NOBODYS + SURROGATES + INTERLINEAR),
]
ESCAPES = [
    "\x1b[2J\x1b[H",  # clear the screen
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",  # a link
    "\x1b]52;c;cm0gLXJmIC8=\x07",  # write to the clipboard
    '\x1bP$q"p\x1b\\',
    "\x1b[6n",  # asks the terminal to type an answer
    "\x1b[?1049h",
    "\x1b#8",
    "\x1bc",  # resets the terminal
    "\x9b31m",  # the same in one byte
    "\x9d0;title\x9c",
    "\x90q\x9c",
    "\x1b[8m hidden \x1b[28m",
    "\x1b[1A\x1b[2Kall is well",
    "a\rb",
    "a\b\bxx",
    "a\x08\x7f\x07",
    "\x0e\x0f",
    "\x00",
    "web\x00.example",
]
SPOOFS = [
    "pod-\u202egnp.exe",
    "\u2066admin\u2069 approved",
    "user\u200b@example.com",
    "\ufeffbyte order",
    "e\u0301" * 3,
    "zalgo" + "\u0300\u0301\u0302" * 20,
    "\u200d".join("👩👩👧"),
    "🏴\U000e0067\U000e0062\U000e007f",
    "a\u00adb",
    "a\u2028status: closed",
    "a\u2029b",
    "a\u0085b",
    "line 1\nlevel=info case_closed",
    "line 1\r\n\r\n<html>",
    '{"json":\n "split"}',
    "\n" * 50,
    "\t\ttabs",
    "\u3164",
    "\u115f\u1160",
]
LONG = ["x" * 499, "x" * 500, "x" * 501, "x" * 100_000, "\x00" * 600, "\u202e" * 10_000, "\U000e0041" * 100]
OTHERS: list[object] = [
    "",
    " ",
    "plain",
    "Grüße, мир, 世界, 🙂",
    None,
    7,
    1.5,
    True,
    b"\x1b[0m",
    ["\x1b"],
    {"\n": "\u202e"},
]
IN_WORDS = [f"before{character}after" for character in SINGLE]
HOSTILE: list[object] = [*SINGLE, *IN_WORDS, *ESCAPES, *SPOOFS, *LONG, *OTHERS]

FORBIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
FORBIDDEN = set(BIDI + ZERO_WIDTH + SEPARATORS + SELECTORS + TAGS)


def assert_harmless(shown: str) -> None:
    assert not [character for character in shown if unicodedata.category(character) in FORBIDDEN_CATEGORIES]
    assert not FORBIDDEN & set(shown)
    assert len(shown.splitlines()) <= 1
    assert shown.isprintable()
    shown.encode("utf-8")


def test_there_are_enough_of_them() -> None:
    assert len({repr(item) for item in HOSTILE}) >= 200


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_string_is_shown_harmlessly(hostile: object) -> None:
    shown = safe_text(hostile)
    assert_harmless(shown)
    assert len(shown) <= LONGEST


@given(st.text(st.characters(codec=None)))
def test_any_text_is_shown_harmlessly(text: str) -> None:
    assert_harmless(safe_text(text))


@given(st.text(st.characters(codec=None), max_size=60), st.integers(1, 50))
def test_no_more_is_shown_than_was_asked_for(text: str, longest: int) -> None:
    shown = safe_text(text, longest)
    assert len(shown) <= longest
    assert_harmless(shown)


@given(st.text(st.characters(categories=("L", "N", "P", "S")), max_size=100))
def test_harmless_text_stays_as_it_is(text: str) -> None:
    assert safe_text(text) == text


@given(st.text(st.characters(codec=None), max_size=100))
def test_text_that_was_made_safe_stays_as_it_is(text: str) -> None:
    once = safe_text(text)
    assert safe_text(once) == once


def test_an_escape_shows_what_was_there() -> None:
    assert safe_text("a\x1b[0m\u202e\U000e0041b") == "a\\x1b[0m\\u202e\\U000e0041b"


def test_accents_and_other_scripts_are_words_not_attacks() -> None:
    assert safe_text("Grüße e\u0301 नमस्ते สวัสดี") == "Grüße e\u0301 नमस्ते สวัสดี"


def test_a_cut_is_marked() -> None:
    assert safe_text("x" * 20, longest=10) == "x" * 9 + "…"
    assert safe_text("x" * 10, longest=10) == "x" * 10


def test_a_cut_never_leaves_half_an_escape() -> None:
    for longest in range(1, 20):
        shown = safe_text("ab\x1bcd\u202e", longest)
        left = shown.removesuffix("…").replace("\\x1b", "").replace("\\u202e", "")
        assert "\\" not in left, shown


def test_the_closest_known_word_is_suggested() -> None:
    assert closest("playbok", ["playbooks", "guards"]) == " Did you mean 'playbooks'?"
    assert closest("xyz", ["playbooks", "guards"]) == ""
    assert closest("anything", []) == ""
