"""Signed notes and checkpoints, in the text formats of C2SP, which witnesses and verifiers everywhere read.

    example.com/quarantine          the origin: the name of the log, which never changes
    42                              how many entries its tree has
    qINS1GRFhWHwdkUeqLEoP4yEMkTBBzxBkGwGQlVlVcs=        the root over them

    — example.com/quarantine uXKIug...                  a signature: by the log, by a witness, by a key that takes over

Sources: c2sp.org/signed-note, c2sp.org/tlog-checkpoint, c2sp.org/tlog-cosignature. Pure. The cryptography is
imported when it is needed: most commands sign and verify nothing.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol, Self

from quarantine.merkle import SIZE

ED25519, COSIGNATURE = 0x01, 0x04
"""Algorithms of a signature: of a note as it is, and of a checkpoint that a witness saw at a time."""

_DASH = "— "
_NAME = re.compile(r"[^\s+]+")
_LONGEST = 1_000_000
"""Bytes. A checkpoint has some hundred."""


class Unsigned(ValueError):
    """A note or key that is malformed, or that none of the trusted keys has signed."""


@dataclass(frozen=True)
class Verifier:
    """A public key with its name: `example.com/quarantine+d8ac8f27+AQ...`."""

    name: str
    key: bytes
    algorithm: int = ED25519

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises Unsigned, which says what is wrong."""
        name, _, rest = text.strip().partition("+")
        claimed, _, encoded = rest.partition("+")
        raw = decoded(encoded)
        if not _NAME.fullmatch(name) or len(raw) != 1 + 32 or raw[0] not in (ED25519, COSIGNATURE):
            raise Unsigned("this is no verifier key: NAME+HASH+KEY, as 'quarantine audit key' prints it")
        verifier = cls(name, raw[1:], raw[0])
        if verifier.id.hex() != claimed:
            raise Unsigned(f"the verifier key of {name} was changed in copying: its hash is {verifier.id.hex()}")
        return verifier

    @property
    def id(self) -> bytes:
        """The first four bytes of the hash of name, algorithm and key."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.algorithm]) + self.key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{encoded(bytes([self.algorithm]) + self.key)}"

    def accepts(self, body: str, signature: bytes) -> bool:
        """Is it a signature of this body by this key?"""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        message = body.encode()
        if self.algorithm == COSIGNATURE:
            stamp, signature = signature[:8], signature[8:]
            message = _seen(int.from_bytes(stamp), body)
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(signature, message)
        except InvalidSignature:
            return False
        return True


class Signer(Protocol):
    """Who signs: a key in a file, or one day in a KMS or an HSM."""

    @property
    def verifier(self) -> Verifier: ...

    def sign(self, message: bytes) -> bytes:
        """The Ed25519 signature, 64 bytes."""


class Key:
    """A key in memory."""

    def __init__(self, name: str, seed: bytes, algorithm: int = ED25519) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = Verifier(name, self._key.public_key().public_bytes_raw(), algorithm)

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def as_witness(self) -> "Key":
        """The same key, for cosignatures: a verifier knows it by another name of its algorithm."""
        return Key(self.verifier.name, self._seed, COSIGNATURE)


@dataclass(frozen=True)
class Signature:
    """One line under a note."""

    name: str
    id: bytes
    signature: bytes = field(repr=False)

    def of(self, verifier: Verifier) -> bool:
        """Does it claim to be by this key?"""
        return (self.name, self.id) == (verifier.name, verifier.id)

    @property
    def seen_at(self) -> datetime:
        """When a witness saw it, as it says."""
        return datetime.fromtimestamp(int.from_bytes(self.signature[:8]), UTC)

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {encoded(self.id + self.signature)}"


@dataclass(frozen=True)
class Note:
    """A text that ends with a newline, and who signed it."""

    body: str
    signatures: tuple[Signature, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises Unsigned. That a signature stands there does not mean that it is good: see `signed_by`."""
        if len(text) > _LONGEST or any(character < " " and character != "\n" for character in text):
            raise Unsigned("the note holds control characters, or is too long")
        body, separator, lines = text.rpartition("\n\n")
        if not separator or not lines or not text.endswith("\n"):
            raise Unsigned("the note has no signatures")
        return cls(body + "\n", tuple(_signature(line) for line in lines.splitlines()))

    def __str__(self) -> str:
        return self.body + "\n" + "".join(f"{signature}\n" for signature in self.signatures)

    def signed(self, signer: Signer) -> Self:
        """With a signature more."""
        verifier = signer.verifier
        made = Signature(verifier.name, verifier.id, signer.sign(self.body.encode()))
        return type(self)(self.body, (*self.signatures, made))

    def cosigned(self, witness: Signer, at: datetime) -> Self:
        """With the word of a witness, that it saw this checkpoint at this time and knows no other history."""
        verifier, stamp = witness.verifier, int(at.timestamp())
        signature = stamp.to_bytes(8) + witness.sign(_seen(stamp, self.body))
        return type(self)(self.body, (*self.signatures, Signature(verifier.name, verifier.id, signature)))

    def signed_by(self, trusted: Iterable[Verifier]) -> tuple[Verifier, ...]:
        """Those of the trusted keys that have signed it. Raises Unsigned if one of their signatures is wrong."""
        found = []
        for verifier in trusted:
            for signature in self.signatures:
                if signature.of(verifier):
                    if not verifier.accepts(self.body, signature.signature):
                        raise Unsigned(f"the signature by {verifier.name} ({verifier.id.hex()}) is wrong")
                    found.append(verifier)
                    break
        return tuple(found)


@dataclass(frozen=True)
class Checkpoint:
    """The state of a log: so many entries, and the root over them."""

    origin: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, body: str) -> Self:
        """Raises Unsigned. Lines after the third are not ours to read."""
        lines = body.split("\n")
        if len(lines) < 4 or not lines[0] or not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]):
            raise Unsigned("this is no checkpoint: origin, size and root, each on a line")
        root = decoded(lines[2])
        if len(root) != SIZE:
            raise Unsigned("the root of the checkpoint has another length than a SHA-256")
        return cls(lines[0], int(lines[1]), root)

    @classmethod
    def in_note(cls, text: str) -> Self:
        """What a note says. Raises Unsigned, and looks at no signature."""
        return cls.parse(Note.parse(text).body)

    @property
    def body(self) -> str:
        return f"{self.origin}\n{self.size}\n{encoded(self.root)}\n"


def notes_in(text: str) -> list[str]:
    """The notes in a text that holds one after the other, an empty line between them. None of them is checked."""
    parts = text.split("\n\n")  # body, signatures, body, signatures, ...
    notes = [f"{body}\n\n{signatures}\n" for body, signatures in zip(parts[::2], parts[1::2], strict=False)]
    return notes + [part for part in parts[len(notes) * 2 :] if part.strip()]


def _seen(stamp: int, body: str) -> bytes:
    """What a witness signs."""
    return f"cosignature/v1\ntime {stamp}\n{body}".encode()


def _signature(line: str) -> Signature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    raw = decoded(encoded)
    if not line.startswith(_DASH) or not _NAME.fullmatch(name) or len(raw) <= 4:
        raise Unsigned("a line under the note is no signature")
    return Signature(name, raw[:4], raw[4:])


def encoded(raw: bytes) -> str:
    """As base64."""
    return base64.b64encode(raw).decode()


def decoded(text: str) -> bytes:
    """Raises Unsigned, also for a spelling that is not the only one."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Unsigned("it holds something that is not base64") from None
    if encoded(raw) != text:
        raise Unsigned("it holds base64 that is not written as it should be")
    return raw
