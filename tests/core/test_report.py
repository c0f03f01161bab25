"""A case as a page: it tells what happened to who never saw the program, proves it, and does nothing in a browser."""

import hashlib
import re
import shutil
import subprocess
from collections import Counter
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import ClassVar

import pytest

from quarantine.case import (
    Allowed,
    Approved,
    Asked,
    Captured,
    Closed,
    Contained,
    Drifted,
    Event,
    Evidence,
    Halted,
    Intended,
    Opened,
    Outcome,
    Planned,
    Reason,
    Redacted,
    ReleaseRequested,
    Verified,
)
from quarantine.cli.exit_code import ExitCode
from quarantine.ledger import START, proof_of, seal
from quarantine.merkle import Frontier, leaf
from quarantine.note import Checkpoint, Key, Note
from quarantine.report import Papers, page
from quarantine.state import Difference
from tests.core.builders import NOW, custody, finding, opened, plan, recorded, resource, salt, step
from tests.core.cli_bench import CommandLine
from tests.testbed.missing import need

KEY = Key("example.com/log", b"k" * 32)
HOSTILE = (
    "<script>document.title=1</script>",
    "<img src=x onerror=document.title=2>",
    "</style><style>*{display:none}",
    '"><a href=javascript:1>x</a>',
    "&lt;b&gt;&#60;i&#62;",
    "<!--",
    "]]><svg onload=1>",
    "\u202egnp.exe\u2066",
    "\x1b[31mred\x1b[0m\x07",
    "zero\u200bwidth\u2028line",
    "a → b",
    "x" * 20_000,
)


def papers(*events: Event, first: Opened | None = None, signed: bool = True) -> Papers:
    entries, previous = [], START
    for item in recorded([first or opened(), *events]):
        sealed = seal(item, previous, salt)
        entries.append(sealed)
        previous = sealed.hash
    leaves = [leaf(entry.content) for entry in entries]
    state = Checkpoint(KEY.verifier.name, len(leaves), Frontier().extended(leaves).root)
    note = str(Note(state.body).signed(KEY))
    proof = proof_of(entries[-1].content, len(entries) - 1, leaves, note) if signed else None
    return Papers(entries, proof, str(KEY.verifier))


def contained(name: str = "web-1", text: str = "0.0.0.0/0") -> list[Event]:
    """The events that contain a machine."""
    differences = (Difference(path=("ports", name), before=text, absent_after=True),)
    planned = plan(step(differences=differences, resource=resource(name)), resource=resource(name))
    intended = Intended(
        step=0, action="fake:machine-close", resource=resource(name), before={}, target={}, epoch=1, key="k"
    )
    return [
        Planned(plan=planned, digest=planned.digest),
        Asked(guard="mode", sentence="mode is ask", digest=planned.digest, expires_at=NOW + timedelta(minutes=30)),
        Approved(digest=planned.digest, expires_at=NOW + timedelta(minutes=30), reason=text),
        Allowed(digest=planned.digest, sentences=("mode: ann approved it",)),
        intended,
        Verified(step=0),
        Contained(),
    ]


class Reader(HTMLParser):
    """What a page is made of, and its text."""

    void: ClassVar[set[str]] = {"meta"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.words: list[str] = []
        self.feed(text)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.words.append(data)


ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "header", "section", "article", "h1", "h2", "h3", "p", "span",
    "code", "pre", "ul", "li", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td", "div",
}  # fmt: skip


def test_it_says_what_happened_in_words() -> None:
    text = Reader(page(papers(*contained()))).text
    for sentence in (
        "detector reported “a shell in web-1”. The case was opened on 2026-03-01 12:00:01 UTC.",
        "It was contained on 2026-03-01 12:00:08 UTC, 7.00 s after the case was opened",
        "It is still contained and watched.",
        "said yes to exactly the plan",
        "In place: read back from the provider and equal to “after”. (read back 2026-03-01 12:00:07 UTC)",
    ):
        assert sentence in text
    assert "ports.web-1 0.0.0.0/0 absent" in text


def test_what_stays_possible_is_said() -> None:
    from quarantine.action import Caveat

    planned = plan(step(caveats=(Caveat(id="sessions", text="open sessions go on"),)))
    text = Reader(page(papers(Planned(plan=planned, digest=planned.digest)))).text
    assert "What the containment does not stop, as everybody was told who approved it: open sessions go on" in text
    assert "Nothing was changed at the provider." in text


def test_a_case_that_needs_a_person_and_one_that_was_refused_say_why() -> None:
    halted = Reader(page(papers(*contained()[:6], Halted(reason=Reason.PARTIAL, sentence="half of it is done")))).text
    assert "It stopped, and waits for a person: half of it is done." in halted
    refused = Reader(page(papers(Closed(outcome=Outcome.REFUSED, sentence="mode: not here")))).text
    assert "it was refused: mode: not here." in refused
    assert "No plan was made." in refused


@pytest.mark.parametrize("outcome", Outcome)
def test_every_end_has_a_sentence(outcome: Outcome) -> None:
    events: list[Event] = [Closed(outcome=outcome, sentence="so")]
    assert "On 2026-03-01 12:00:02 UTC: " in Reader(page(papers(*events))).text


def test_evidence_stands_with_its_custody() -> None:
    piece = Evidence(name="log.txt", media_type="text/plain", sha256="ab" * 32, size=10, cut_from=99)
    events = contained()
    events.insert(4, Captured(step=0, evidence=(piece,), custody=custody(resource=resource("db-7"))))
    text = Reader(page(papers(*events))).text
    assert "as user/quarantine, by the process host:1:abc with cloud-quarantine 1.0" in text
    assert f"log.txt 10 bytes, the beginning of 99 no {'ab' * 32}" in text


def test_who_erased_what_is_a_decision_and_stands_beside_the_evidence() -> None:
    piece = Evidence(name="log.txt", media_type="text/plain", sha256="ab" * 32, size=10)
    events = contained()
    events.insert(4, Captured(step=0, evidence=(piece,), custody=custody(resource=resource("db-7"))))
    erased = Redacted(evidence=(piece.sha256,), reason="a customer's data")
    text = Reader(page(papers(*events, erased))).text
    assert "engine erased 1 piece of evidence for ever: “a customer's data”" in text
    assert re.search(r"log.txt 10 bytes 2026-[-0-9]+ [:0-9]+ UTC by engine (ab){32}", text)


def test_the_hashes_are_those_of_the_entries_and_the_proof_can_be_taken_out_of_the_page() -> None:
    made = papers(*contained())
    text = page(made)
    for entry in made.entries:
        assert hashlib.sha256(entry.content).hexdigest() in text
    found = re.search(r'<pre class="proof">(.*?)</pre>', text, re.DOTALL)
    assert found and found[1] + "\n" == made.proof, "copied from the page, it is the proof"
    assert str(KEY.verifier) in text


def test_what_is_not_signed_proves_nothing_and_says_so() -> None:
    text = Reader(page(papers(*contained(), signed=False))).text
    assert "No entry of this case is signed yet: this page proves nothing." in text


@pytest.mark.parametrize("hostile", HOSTILE)
def test_whatever_others_wrote_is_text(hostile: str) -> None:
    said = hostile[:200]
    first = opened(
        finding=finding(title=hostile[:4000], type=hostile[:1000], resource=resource(said), source=said[:64], id=said)
    )
    drift = Drifted(step=0, differences=(Difference(path=("ports", said), before=said, after=hostile),))
    text = page(papers(*contained(said, hostile), drift, ReleaseRequested(reason=hostile), first=first))
    reader, plain = Reader(text), Reader(page(papers(*contained(), drift, ReleaseRequested(reason="why"))))
    assert set(reader.tags) <= ALLOWED
    assert reader.tags == plain.tags, "not one element more than without it"
    assert reader.attributes <= {"lang", "charset", "http-equiv", "content", "name", "class"}
    assert all(character == "\n" or character.isprintable() for character in text)
    assert "<!--" not in text


def test_the_policy_of_the_page_allows_its_own_style_and_nothing_else() -> None:
    text = page(papers())
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert style and policy
    import base64

    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy[1] == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert not re.search(r"https?://|url\(|@import", text)


def test_a_browser_sees_the_same_page(tmp_path: Path) -> None:
    """Its parser may read what ours does not; no script runs, and our style is applied."""
    browser = shutil.which("chromium")
    if browser is None:
        need("Chromium is not installed: make testbed")
    said = " ".join(HOSTILE[:8])
    first = opened(finding=finding(title=said, resource=resource(said[:200])))
    text = page(papers(*contained(said[:200], said), first=first))
    path = tmp_path / "page.html"
    path.write_text(text, encoding="utf-8")
    words = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    shown = subprocess.run(
        [browser, *words, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    seen, ours = Reader(shown), Reader(text)
    assert seen.tags == ours.tags
    assert "<title>Case c-" in shown
    picture = tmp_path / "page.png"
    subprocess.run(
        [browser, *words, "--window-size=900,700", f"--screenshot={picture}", path.as_uri()],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    assert picture.stat().st_size > 20_000, "a page without its style, or an empty one, is smaller"


def test_a_case_of_the_record_is_written_and_its_proof_is_verified(line: CommandLine, tmp_path: Path) -> None:
    case = line.case("close")
    path = tmp_path / "case.html"
    written = line("report", case[2:8], str(path))
    assert (written.exit_code, written.stdout, path.stat().st_mode & 0o777) == (0, f"{path}\n", 0o600)
    assert line("report", case).stdout == path.read_text()
    again = line("report", case, str(path))
    assert (again.exit_code, "nothing was written" in again.stderr) == (ExitCode.USAGE, True)
    found = re.search(r'<pre class="proof">(.*?)</pre>', path.read_text(), re.DOTALL)
    assert found
    proof = tmp_path / "proof.txt"
    proof.write_text(found[1] + "\n")
    key = line("audit", "key").stdout.strip()
    assert line("audit", "verify", "--proof", str(proof), "--key", key).exit_code == 0


def test_a_case_that_is_not_there_has_no_report(line: CommandLine) -> None:
    assert line("report", "c-000000000000").exit_code == ExitCode.USAGE
