"""Text for people. What others wrote is made safe to show: the one border between a finding's words and a terminal."""

from datetime import datetime

LONGEST = 500

_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
"""Letters, marks and symbols that draw nothing (DerivedCoreProperties.txt, Default_Ignorable_Code_Point), so that two
names that differ look alike; and the blank Braille pattern."""


def safe_text(value: object, longest: int = LONGEST) -> str:
    """`value` as one line in which every control, bidi, blank or unassigned character is a visible escape.

    Finding titles, tags and pod names are written by whoever attacks us; a terminal or a browser must never
    interpret them. At most `longest` characters are shown; a cut is marked, and falls between escapes.
    """
    text = value if isinstance(value, str) else str(value)
    pieces = [_visible(character) for character in text[: longest + 1]]
    length = sum(map(len, pieces))
    if length <= longest:
        return "".join(pieces)
    while length > longest - 1:
        length -= len(pieces.pop())
    return "".join(pieces) + "…"


def _visible(character: str) -> str:
    if character.isprintable() and character not in _BLANK:
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def closest(word: str, known: "list[str]") -> str:
    """' Did you mean X?' for a mistyped word, or nothing."""
    import difflib

    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""


def many(count: int, noun: str, plural: str = "") -> str:
    """`1 case`, `2 cases`, `3 entries`."""
    return f"{count} {noun}" if count == 1 else f"{count} {plural or noun + 's'}"


def moment(at: datetime) -> str:
    """To the second. `at` is in UTC."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
