"""Keys that follow each other: each change is a statement signed by both, and stands in the record. Pure.

    cloud-quarantine key rotation v1
    example.com/quarantine              the log, whose name never changes
    example.com/quarantine+d8ac8f27+AQ...       the key until now
    example.com/quarantine+77aa01c3+AQ...       the key from now on

Who trusts one of the keys can trust all of them: the old one names its successor, the new one what came before. Each
signs only its own part of the record, so a key that was taken out of use, and got lost, signs nothing new.
"""

from bisect import bisect_right
from collections.abc import Sequence

from quarantine.ledger import checked
from quarantine.note import Checkpoint, Note, Signer, Unsigned, Verifier

_TITLE = "cloud-quarantine key rotation v1"


def statement(old: Signer, new: Signer) -> str:
    """That `new` follows `old`, signed by both."""
    body = f"{_TITLE}\n{old.verifier.name}\n{old.verifier}\n{new.verifier}\n"
    return str(Note(body).signed(old).signed(new))


def read(text: str) -> tuple[Verifier, Verifier]:
    """The old and the new key of a statement that both have signed. Raises Unsigned."""
    note = Note.parse(text)
    lines = note.body.splitlines()
    if len(lines) != 4 or lines[0] != _TITLE:
        raise Unsigned("this is no statement about keys")
    old, new = Verifier.parse(lines[2]), Verifier.parse(lines[3])
    if {old.name, new.name} != {lines[1]}:
        raise Unsigned("a key cannot follow that of another log")
    if old.id == new.id or set(note.signed_by([old, new])) != {old, new}:
        raise Unsigned("it is not signed by both keys")
    return old, new


class Succession:
    """Which key signs which part of a record."""

    def __init__(self, trusted: Sequence[Verifier], changes: Sequence[tuple[int, str]]) -> None:
        """`changes` are (place in the tree, statement), in order. Raises Unsigned, which says what is wrong."""
        self._trusted = trusted
        self._begins: list[int] = []
        self._keys: list[Verifier] = []
        for place, text in changes:
            old, new = read(text)
            if not self._keys:
                self._begins, self._keys = [0], [old]
            elif self._keys[-1] != old:
                raise Unsigned(f"the key {old.id.hex()} hands over, and was not in use")
            self._begins.append(place + 1)
            self._keys.append(new)
        if self._keys and not set(self._keys) & set(trusted):
            raise Unsigned("none of the keys that followed each other is a trusted one")

    def checked(self, note: str) -> Checkpoint:
        """The checkpoint in a note, if the key of its time has signed it. Raises Unsigned."""
        if not self._keys:
            return checked(note, self._trusted)
        size = Checkpoint.in_note(note).size
        return checked(note, [self._keys[bisect_right(self._begins, size) - 1]])
