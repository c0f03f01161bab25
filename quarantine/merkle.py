"""A Merkle tree over entries, as in RFC 6962, section 2.1: one root stands for all of them, in their order. Pure.

Frontier      the roots of the perfect subtrees, largest first: all that appending needs, at most 64 hashes
inclusion     proves to somebody who knows a root that an entry is in it        (at most 20 hashes for a million)
consistency   proves that a later tree begins with all of an earlier one        (nothing was rewritten since)
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

SIZE = hashlib.sha256().digest_size
EMPTY = hashlib.sha256(b"").digest()
"""The root of a tree without entries."""


def leaf(entry: bytes) -> bytes:
    """The hash of an entry. No entry can pass for an inner node: their hashes begin with another byte."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True)
class Frontier:
    """The right edge of a tree of `size` entries."""

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def extended(self, leaves: Iterable[bytes]) -> Self:
        """With these leaf hashes appended."""
        size, hashes = self.size, list(self.hashes)
        for grown in leaves:
            full, position = grown, size
            while position & 1:  # a perfect subtree of the same height stands to its left
                full = node(hashes.pop(), full)
                position >>= 1
            hashes.append(full)
            size += 1
        return type(self)(size, tuple(hashes))

    @property
    def root(self) -> bytes:
        if not self.hashes:
            return EMPTY
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node(left, root)
        return root


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over these leaf hashes."""
    return Frontier().extended(leaves).root


def inclusion(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The proof that the leaf at `index` is in the tree over `leaves`. Raises IndexError if it has no such place."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"entry {index} of a tree of {len(leaves)}")
    path: list[bytes] = []
    low, high = 0, len(leaves)
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(root(leaves[middle:high]))
            high = middle
        else:
            path.append(root(leaves[low:middle]))
            low = middle
    return path[::-1]


def includes(size: int, tree: bytes, index: int, leaf_hash: bytes, proof: Sequence[bytes]) -> bool:
    """Does the proof show that this leaf is at `index` of the tree with this root and size? (RFC 9162, 2.1.3.2)"""
    if not 0 <= index < size:
        return False
    first, last, found = index, size - 1, leaf_hash
    for other in proof:
        if last == 0:
            return False
        if first & 1 or first == last:
            found = node(other, found)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            found = node(found, other)
        first, last = first >> 1, last >> 1
    return last == 0 and found == tree


def consistency(leaves: Sequence[bytes], old: int) -> list[bytes]:
    """The proof that the tree over `leaves` begins with its first `old` ones. Raises IndexError if there are fewer."""
    if not 0 <= old <= len(leaves):
        raise IndexError(f"a tree of {len(leaves)} cannot begin with {old}")
    if old in (0, len(leaves)):
        return []
    path: list[bytes] = []
    low, high, whole = 0, len(leaves), True
    while old != high - low:
        middle = _split(high - low)
        if old <= middle:
            path.append(root(leaves[low + middle : high]))
            high = low + middle
        else:
            path.append(root(leaves[low : low + middle]))
            low, old, whole = low + middle, old - middle, False
    if not whole:
        path.append(root(leaves[low:high]))
    return path[::-1]


def extends(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Does the proof show that the new tree begins with all of the old one? (RFC 9162, 2.1.4.2)"""
    if not 0 <= old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY
    path = list(proof)
    if not old & (old - 1):  # the old tree is perfect: its root is a node of the new one
        path.insert(0, old_root)
    if not path:
        return False
    first, last = old - 1, new - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    then = now = path[0]
    for other in path[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            then, now = node(other, then), node(other, now)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            now = node(now, other)
        first, last = first >> 1, last >> 1
    return last == 0 and then == old_root and now == new_root


def _split(size: int) -> int:
    """The largest power of two below `size`, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)
