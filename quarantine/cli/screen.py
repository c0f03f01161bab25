"""What a person sees: aligned text with few colours. Everything from outside passes `safe_text`; nothing is markup.

green   held, verified, given back        yellow  waits for a person, changed        red  needs a person, failed
bold    what a line is about              dim     what only some will read
"""

import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from quarantine.cli.options import colourful
from quarantine.text import safe_text

WIDE = 10_000
"""The width where nobody looks: a pipe gets one line for each thing, never wrapped or cut."""
LONGEST = 2000


def safe(value: object, style: str = "") -> Text:
    """Text of anybody, as text."""
    return Text(safe_text(value, LONGEST), style)


def joined(*parts: Text | str) -> Text:
    """Parts in a row. A str is our own wording, not text from outside."""
    return Text.assemble(*parts)


class Screen:
    """One stream, seen by a person or read by a program."""

    def __init__(self, stream: TextIO) -> None:
        looked_at = stream.isatty()
        self._console = Console(
            file=stream,
            markup=False,
            highlight=False,
            emoji=False,
            force_terminal=None if looked_at else False,
            color_system="auto" if colourful(stream) else None,  # None: no bold and no dim either
            width=None if looked_at else WIDE,
        )
        self.width: int = self._console.width

    def line(self, *parts: Text | str) -> None:
        """One line, however long."""
        text = joined(*parts)
        text.rstrip()
        self._console.print(text, soft_wrap=True)

    def prose(self, text: Text, first: Text | str = "", indent: int | None = None) -> None:
        """Text that wraps, hanging under itself behind `first`."""
        start = first if isinstance(first, Text) else Text(first)
        indent = start.cell_len if indent is None else indent
        room = max(20, self.width - indent)
        for number, piece in enumerate(text.wrap(self._console, room) if text.plain else [Text("")]):
            lead = start.copy() if number == 0 else Text("")
            lead.append(" " * (indent - lead.cell_len))
            self.line(lead, piece)

    def fits(self, rows: Sequence[Sequence[Text]]) -> bool:
        return sum(_widths(rows)) + 2 * (len(rows[0]) - 1 if rows else 0) <= self.width

    def table(
        self, header: Sequence[str], rows: Sequence[Sequence[Text]], under: Sequence[Text] = (), indent: int = 0
    ) -> None:
        """Columns as wide as they need to be; the last one is cut if the line would not fit. With `under`, what
        belongs to each row wraps on lines below it."""
        lines = [tuple(Text(title, "dim") for title in header), *rows] if header else list(rows)
        widths = _widths(lines)
        below = [Text(""), *under] if header and under else list(under)
        for number, cells in enumerate(lines):
            self.line(self._row(cells, widths, indent))
            if below and below[number].plain:
                self.prose(below[number], " " * (indent + 4))

    def _row(self, cells: Sequence[Text], widths: Sequence[int], indent: int) -> Text:
        line = Text(" " * indent)
        for cell, width in zip(cells[:-1], widths, strict=False):
            line.append_text(cell)
            line.append(" " * (width - cell.cell_len + 2))
        line.append_text(shortened(cells[-1], max(8, self.width - line.cell_len)))
        return line

    def facts(self, facts: Iterable[tuple[str, Text]], indent: int = 0) -> None:
        """Names on the left, dim; what they are on the right, wrapped."""
        known = [(name, text) for name, text in facts if text.plain]
        width = max((len(name) for name, _ in known), default=0)
        for name, text in known:
            self.prose(text, joined(" " * indent, Text(name.ljust(width + 2), "dim")))

    def blank(self) -> None:
        self._console.print()


def stdout() -> Screen:
    return Screen(sys.stdout)


def stderr() -> Screen:
    return Screen(sys.stderr)


def shortened(text: Text, width: int) -> Text:
    """The text in at most `width` cells; a cut is marked."""
    if text.cell_len <= width:
        return text
    style = text.style
    return Text(set_cell_size(text.plain, width - 1).rstrip() + "…", style)


def _widths(rows: Sequence[Sequence[Text]]) -> list[int]:
    return [max(cell_len(cell.plain) for cell in column) for column in zip(*rows, strict=True)]


# -- words that several views share ----------------------------------------------------------------------------------


_TONES = {
    "new": "",
    "proposed": "yellow",
    "awaiting_approval": "yellow",
    "containing": "cyan",
    "contained": "green",
    "releasing": "cyan",
    "needs_human": "bold red",
    "closed": "dim",
}


def status_text(status: str, why: str | None) -> Text:
    """`needs_human: drifted`, in the colour of the status."""
    return Text(f"{status}: {why}" if why else status, _TONES.get(status, ""))


def severity_text(severity: str) -> Text:
    return Text(severity, {"critical": "bold red", "high": "red", "medium": "yellow"}.get(severity, "dim"))


def age(span: timedelta) -> str:
    """`12 s`, `5 min`, `3 h`, `2 d`."""
    seconds = max(0, int(span.total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (seconds >= size and unit != "min"):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
