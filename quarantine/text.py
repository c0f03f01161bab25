"""Text that others wrote, made safe to show: the one border between a finding's words and a terminal or a page."""

import unicodedata

LONGEST = 500

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def safe_text(value: object, longest: int = LONGEST) -> str:
    """`value` as one line in which every control, bidi, zero-width or unassigned character is a visible escape.

    Finding titles, tags and pod names are written by whoever attacks us; a terminal or a browser must never
    interpret them. At most `longest` characters are shown; a cut is marked.
    """
    text = value if isinstance(value, str) else str(value)
    shown = "".join(_visible(character) for character in text[: longest + 1])
    if len(shown) <= longest:
        return shown
    return shown[: longest - 1] + "…"


def _visible(character: str) -> str:
    if unicodedata.category(character) not in _INVISIBLE:
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
