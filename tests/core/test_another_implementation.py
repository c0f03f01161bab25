"""What we sign is what others verify: tree, proofs, note and key file, by golang.org/x/mod/sumdb."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from quarantine.config import Ledger
from quarantine.ledger import checked
from quarantine.merkle import consistency, inclusion, leaf
from quarantine.note import Note
from quarantine.sealer import Sealer, key_of, make_key
from quarantine.store.sql import Store
from tests.core.builders import Clock
from tests.core.test_tree import write
from tests.testbed.gobinary import GoBinary
from tests.testbed.missing import Missing, need

CHECKER = GoBinary(Path(__file__).parents[1] / "testbed" / "tlog", "the checker of logs")
Claim = dict[str, Any]


@pytest.fixture(scope="module")
def checker() -> Path:
    try:
        return CHECKER.build()
    except Missing as missing:
        need(missing)


@pytest.fixture
def claim(store: Store, clock: Clock, tmp_path: Path) -> Claim:
    """A log of ours with a proof of each kind, in their words."""
    path = tmp_path / "ledger.key"
    key = make_key(path, "example.com/quarantine")
    write(store, clock, cases=7)
    Sealer(store, key, clock, Ledger()).seal()
    _, note = store.last_checkpoint() or pytest.fail("no checkpoint")
    with store.record() as record:
        sealed = [entry for chain in record.chains() for entry in chain.entries]
    entries = [entry.content for entry in sorted(sealed, key=lambda entry: entry.position or 0)]
    leaves = [leaf(entry) for entry in entries]
    return {
        "Verifier": str(key.verifier),
        "Signer": path.read_text().strip(),
        "Note": note,
        "Records": [entry.hex() for entry in entries],
        "Index": 13,
        "Inclusion": [step.hex() for step in inclusion(leaves, 13)],
        "Old": 11,
        "Consistency": [step.hex() for step in consistency(leaves, 11)],
    }


def judged(checker: Path, claim: Claim) -> subprocess.CompletedProcess[str]:
    return subprocess.run([checker], input=json.dumps(claim), capture_output=True, text=True, timeout=60)


def test_it_agrees_with_root_proofs_and_signature_and_signs_with_our_key(
    checker: Path, claim: Claim, tmp_path: Path
) -> None:
    done = judged(checker, claim)
    assert done.returncode == 0, done.stdout + done.stderr
    key = key_of(tmp_path / "ledger.key")
    assert Note.parse(done.stdout).signed_by([key.verifier]) == (key.verifier,)
    assert checked(done.stdout, [key.verifier]).size == len(claim["Records"])


@pytest.mark.parametrize("part", ["Records", "Inclusion", "Consistency", "Index", "Old", "Note"])
def test_it_disagrees_where_something_is_not_ours(checker: Path, claim: Claim, part: str) -> None:
    """So it looks at each of them."""
    value = claim[part]
    if isinstance(value, list):
        claim[part] = [value[0][:-2] + ("00" if value[0][-2:] != "00" else "01"), *value[1:]]
    else:
        claim[part] = value + 1 if isinstance(value, int) else value.replace("\n21\n", "\n20\n")
    assert judged(checker, claim).returncode == 1
