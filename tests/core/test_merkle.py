"""The tree against published vectors, and every proof against every change to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarantine.merkle import EMPTY, Frontier, consistency, extends, includes, inclusion, leaf, root

# The entries and roots that the reference implementation of RFC 6962 is tested with:
# google/certificate-transparency, python/ct/crypto/merkle_test.py; also transparency-dev/merkle, testonly/constants.go.
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [leaf(entry) for entry in ENTRIES]
MANY = [leaf(bytes([number])) for number in range(64)]


@pytest.mark.parametrize("size", range(9))
def test_the_roots_are_the_published_ones(size: int) -> None:
    assert root(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize(
    ("index", "size", "proof"),
    [
        (0, 1, []),
        (
            0,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
    ],
)
def test_inclusion_proofs_are_the_published_ones(index: int, size: int, proof: list[str]) -> None:
    found = inclusion(LEAVES[:size], index)
    assert [item.hex() for item in found] == proof
    assert includes(size, root(LEAVES[:size]), index, LEAVES[index], found)


@pytest.mark.parametrize(
    ("old", "new", "proof"),
    [
        (1, 1, []),
        (
            1,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            6,
            8,
            [
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
    ],
)
def test_consistency_proofs_are_the_published_ones(old: int, new: int, proof: list[str]) -> None:
    found = consistency(LEAVES[:new], old)
    assert [item.hex() for item in found] == proof
    assert extends(old, root(LEAVES[:old]), new, root(LEAVES[:new]), found)


def test_every_entry_of_every_small_tree_is_proven_and_no_other_place_is() -> None:
    for size in range(1, len(MANY) + 1):
        tree = root(MANY[:size])
        for index in range(size):
            proof = inclusion(MANY[:size], index)
            assert includes(size, tree, index, MANY[index], proof)
            wrong = {other for other in range(size) if includes(size, tree, other, MANY[index], proof)}
            assert wrong == {index}


def test_every_small_tree_extends_every_smaller_one() -> None:
    for new in range(len(MANY) + 1):
        for old in range(new + 1):
            assert extends(old, root(MANY[:old]), new, root(MANY[:new]), consistency(MANY[:new], old))


hashes = st.binary(min_size=32, max_size=32)


@given(st.lists(hashes, max_size=200), st.data())
def test_a_frontier_that_grew_in_steps_has_the_root_of_the_whole(leaves: list[bytes], data: st.DataObject) -> None:
    frontier, left = Frontier(), leaves
    while left:
        count = data.draw(st.integers(1, len(left)))
        frontier, left = frontier.extended(left[:count]), left[count:]
    assert (frontier.size, frontier.root) == (len(leaves), root(leaves))
    assert len(frontier.hashes) == len(leaves).bit_count()


@given(st.lists(hashes, min_size=1, max_size=80, unique=True), st.data())
def test_a_proof_of_inclusion_that_was_changed_anywhere_proves_nothing(
    leaves: list[bytes], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof, tree, size = inclusion(leaves, index), root(leaves), len(leaves)
    assert includes(size, tree, index, leaves[index], proof)
    other = data.draw(hashes.filter(lambda found: found not in leaves and found not in proof))
    assert not includes(size, tree, index, other, proof)
    assert not includes(size, other, index, leaves[index], proof)
    assert not includes(size, tree, index, leaves[index], [*proof, other])
    for place in range(len(proof)):
        assert not includes(size, tree, index, leaves[index], proof[:place] + proof[place + 1 :])
        assert not includes(size, tree, index, leaves[index], [*proof[:place], other, *proof[place + 1 :]])


@given(st.lists(hashes, min_size=2, max_size=80, unique=True), st.data())
def test_a_tree_that_was_rewritten_does_not_extend_the_old_one(leaves: list[bytes], data: st.DataObject) -> None:
    old = data.draw(st.integers(1, len(leaves) - 1))
    changed = list(leaves)
    place = data.draw(st.integers(0, old - 1))
    changed[place] = data.draw(hashes.filter(lambda found: found not in leaves))
    assert not extends(old, root(leaves[:old]), len(leaves), root(changed), consistency(changed, old))
    shorter = leaves[:place] + leaves[place + 1 :]
    if old <= len(shorter):
        assert not extends(old, root(leaves[:old]), len(shorter), root(shorter), consistency(shorter, old))


@pytest.mark.parametrize(
    ("old", "old_root", "new", "proof"),
    [(3, EMPTY, 2, []), (-1, EMPTY, 2, []), (2, root(MANY[:2]), 3, []), (0, MANY[0], 2, []), (0, EMPTY, 2, [MANY[0]])],
)
def test_what_cannot_be_is_not_proven(old: int, old_root: bytes, new: int, proof: list[bytes]) -> None:
    assert not extends(old, old_root, new, root(MANY[:new]), proof)


def test_a_place_that_there_is_not_has_no_proof() -> None:
    with pytest.raises(IndexError):
        inclusion(MANY, len(MANY))
    with pytest.raises(IndexError):
        consistency(MANY, len(MANY) + 1)
    assert not includes(4, root(MANY[:4]), 4, MANY[3], [])
