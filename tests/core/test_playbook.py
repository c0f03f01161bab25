"""Playbooks and settings: every mistake has file, line, column, and where one can tell, what was meant."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from quarantine import config, playbook
from quarantine.config import Guards, Mode, NoticeKind, Settings
from quarantine.document import loads, read
from quarantine.errors import Misconfigured
from quarantine.expression import Condition
from quarantine.match import Candidate, Matcher
from quarantine.model import Severity
from quarantine.playbook import Match, check
from quarantine.registry import Registry
from tests.core import builders

ROOT = Path(__file__).parents[2]

GOOD = """\
name: isolate
description: Isolate a machine.
match:
  resource: fake:machine
  severity: high
  source: detector
  when: finding.rule.startsWith("shell") && resource.account == "local"
steps:
  - action: fake:machine-capture
  - action: fake:machine-isolate
    with: {keep_labels: [app]}
  - action: fake:machine-isolate
    relation: peers
"""

MISTAKES = [
    ("an unknown key", "severity: high", "severty: high", ":5:3: unknown key 'severty'. Did you mean 'severity'?"),
    ("a key at the top", "description:", "descripton:", "unknown key 'descripton'. Did you mean 'description'?"),
    ("a missing key", "description: Isolate a machine.\n", "", "'description' is missing"),
    ("a wrong severity", "severity: high", "severity: hihg", ":5:3: match.severity: "),
    ("an unknown action", "action: fake:machine-capture", "action: fake:machine-captur", ":9:5: unknown action"),
    (
        "what was meant",
        "action: fake:machine-capture",
        "action: fake:machine-captur",
        "Did you mean 'fake:machine-capture'?",
    ),
    ("an unknown field", "keep_labels", "keep_label", ":11:12: unknown key 'keep_label'. Did you mean 'keep_labels'?"),
    ("a field of another type", "[app]", "{a: b}", ":11:12: keep_labels: "),
    (
        "another kind",
        "resource: fake:machine",
        "resource: fake:network",
        "works on fake:machine, this step has fake:network",
    ),
    (
        "an unknown relation",
        "relation: peers",
        "relation: pears",
        ":13:5: fake:machine has no relation 'pears'. Did you",
    ),
    ("one-way without approval", "fake:machine-capture", "fake:machine-stop", "must say 'approval: required'"),
    ("a broken condition", "startsWith", "startWith", ":7:3: not a valid condition"),
    ("an unknown variable", "finding.rule", "findng.rule", "undeclared reference"),
    (
        "a condition of another type",
        'finding.rule.startsWith("shell") && resource.account == "local"',
        "1 + 1",
        "gives INT",
    ),
    ("another name", "name: isolate", "name: isolation", ":1:1: 'isolation' stands in a file called 'isolate.yaml'"),
    ("a key twice", "name: isolate\n", "name: isolate\nname: isolate\n", ":2:1: 'name' stands here twice"),
    ("broken YAML", "match:\n", "match: [\n", "not valid YAML"),
    ("an alias", "description: Isolate a machine.", "description: &a x\napproval: *a", "aliases"),
    ("a boolean of YAML 1.1", "steps:", "on: yes\nsteps:", "unknown key 'on'"),
    ("no steps", GOOD[GOOD.index("  - action: fake:machine-c") :], "  []\n", "steps"),
    ("a list", GOOD, "- a\n", "expected a mapping, found a list"),
    ("nothing", GOOD, "", "missing"),
]


def parsed(text: str, registry: Registry) -> playbook.Playbook:
    return check(loads(text, "isolate.yaml"), registry, "isolate")


def test_a_good_playbook_loads(registry: Registry) -> None:
    loaded = parsed(GOOD, registry)
    assert loaded.match.source == ("detector",)
    assert loaded.steps[0].action == "fake:machine-capture"


@pytest.mark.parametrize(
    ("right", "wrong", "says"), [item[1:] for item in MISTAKES], ids=[item[0] for item in MISTAKES]
)
def test_a_mistake_is_named_with_its_place(registry: Registry, right: str, wrong: str, says: str) -> None:
    assert right in GOOD
    with pytest.raises(Misconfigured) as problem:
        parsed(GOOD.replace(right, wrong, 1), registry)
    assert says in str(problem.value)
    assert str(problem.value).startswith("isolate.yaml")


@given(text=st.text(max_size=200))
def test_whatever_is_in_a_file_it_is_a_document_or_misconfigured(text: str) -> None:
    with contextlib.suppress(Misconfigured):
        loads(text, "x.yaml")


def test_deep_nesting_and_large_files_are_refused() -> None:
    with pytest.raises(Misconfigured, match="nested deeper"):
        loads("[" * 40 + "]" * 40, "x.yaml")
    with pytest.raises(Misconfigured, match="larger than"):
        loads("a" * (1 << 20) + "b", "x.yaml")


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe4")
    for path, says in ((tmp_path / "none.yaml", "cannot be read"), (tmp_path, "cannot be read")):
        with pytest.raises(Misconfigured, match=says):
            read(path)
    with pytest.raises(Misconfigured, match="not UTF-8"):
        read(tmp_path / "latin.yaml")


def test_the_digest_is_of_what_it_says_and_not_of_its_layout(registry: Registry) -> None:
    commented = GOOD.replace("steps:", "# a comment\n\nsteps:")
    assert parsed(GOOD, registry).digest == parsed(commented, registry).digest
    assert parsed(GOOD, registry).digest != parsed(GOOD.replace("high", "low"), registry).digest


def test_users_playbooks_stand_beside_the_shipped_ones_and_replace_them_by_name(tmp_path: Path) -> None:
    from quarantine.registry import installed

    registry = Registry(installed().values(), {})
    shipped = playbook.load_all([], registry)
    assert {"close-public-bucket", "stop-task", "isolate-pod"} <= set(shipped.playbooks)
    text = shipped.origins["close-public-bucket"].read_text().replace("severity: high", "severity: critical")
    (tmp_path / "close-public-bucket.yaml").write_text(text)
    own = playbook.load_all([tmp_path], registry)
    assert own.find("close-public-bucket").match.severity is Severity.CRITICAL
    assert set(own.playbooks) == set(shipped.playbooks)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "close-public-bucket.yaml").write_text(text)
    with pytest.raises(Misconfigured, match="is also in"):
        playbook.load_all([tmp_path], registry)
    with pytest.raises(Misconfigured, match="does not exist"):
        playbook.load_all([tmp_path / "nowhere"], registry)


# -- conditions and matching -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "finding.missing == 1",
        "finding.missing",
        "finding.title",
        "finding.record.a.b.c == 1",
        "int(finding.title) == 1",
        "1 / (finding.title.size() - finding.title.size()) == 1",
    ],
)
def test_what_cannot_be_evaluated_is_never_true(text: str) -> None:
    holds, why = Condition(text).holds({"title": "x", "record": {}}, {})
    assert holds is False
    assert text in why


def test_a_condition_is_true_or_nothing() -> None:
    assert Condition("finding.title == 'x'").holds({"title": "x"}, {}) == (True, "")
    assert Condition("finding.title == 'y'").holds({"title": "x"}, {})[0] is False


def test_a_bomb_ends_soon_and_is_not_true() -> None:
    items = "finding.record.items"
    text = f"{items}.exists(a, {items}.exists(b, {items}.exists(c, {items}.exists(d, a + b + c + d < 0))))"
    holds, _ = Condition(text).holds({"record": {"items": list(range(200))}}, {})
    assert holds is False


def test_the_index_looks_only_at_playbooks_of_the_same_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    original = Candidate.clause

    def counting(self: Candidate, *arguments: Any) -> str:
        tried.append(self.playbook.name)
        return original(self, *arguments)

    monkeypatch.setattr(Candidate, "clause", counting)
    others = [builders.playbook(f"other-{n}", match=Match(resource=f"fake:kind-{n}")) for n in range(1000)]
    matcher = Matcher([*others, builders.playbook()])
    answer = matcher.answer(builders.finding())
    assert answer is not None
    assert tried == ["close-machine"]


def test_the_most_particular_playbook_answers() -> None:
    general = builders.playbook("a-general")
    narrow = builders.playbook("z-narrow", match=Match(resource="fake:machine", type=("shell",)))
    answer = Matcher([general, narrow]).answer(builders.finding())
    assert answer is not None
    assert answer.name == "z-narrow"
    other = Matcher([general, narrow]).answer(builders.finding(type="other"))
    assert other is not None
    assert other.name == "a-general"


def test_how_something_is_set_up_is_answered_only_by_a_playbook_that_names_it() -> None:
    """A control that fails on an instance is no reason to cut the instance off, however grave it is."""
    isolate = builders.playbook("isolate", match=Match(resource="fake:machine"))
    close = builders.playbook("close", match=Match(resource="fake:machine", type=("open",)))
    matcher = Matcher([isolate, close])
    (of_close, of_isolate) = matcher.trials(builders.finding(type="unpatched", posture=True))
    assert not of_close.answers
    assert of_isolate.clause == "it says how something is set up: a playbook for that names its type, 'unpatched'"
    answer = matcher.answer(builders.finding(type="open", posture=True))
    assert answer is not None and answer.name == "close"


@pytest.mark.parametrize(
    ("match", "clause"),
    [
        (Match(resource="fake:machine", severity=Severity.CRITICAL), "severity is high, below critical"),
        (Match(resource="fake:machine", source=("other",)), "source is detector, not other"),
        (Match(resource="fake:machine", type=("other",)), "type is 'shell', not other"),
        (Match(resource="fake:machine", when="finding.title == 'y'"), "false: finding.title == 'y'"),
    ],
)
def test_the_clause_that_was_false_is_told(match: Match, clause: str) -> None:
    (trial,) = Matcher([builders.playbook(match=match)]).trials(builders.finding())
    assert not trial.answers
    assert trial.clause == clause


# -- settings ----------------------------------------------------------------------------------------------------------


def test_the_example_holds_every_default() -> None:
    settings, document = config.load(ROOT / "config.example.yaml")
    assert settings.model_copy(update={"data": Settings().data}) == Settings()
    assert named_in(document.content) >= set(fields(Settings))


def fields(model: type[BaseModel], path: str = "") -> list[str]:
    """Every setting below `model`, by walking the models."""
    found = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found += fields(inner, f"{path}{name}.")
        else:
            found.append(f"{path}{name}")
    return found


def named_in(content: dict[str, Any], path: str = "") -> set[str]:
    found = set()
    for name, value in content.items():
        found.add(f"{path}{name}")
        if isinstance(value, dict):
            found |= named_in(value, f"{path}{name}.")
    return found


def test_the_commented_examples_are_right_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from quarantine.app import load

    text = (ROOT / "config.example.yaml").read_text()
    for section in ("sources", "schedules", "notify", "providers", "witnesses"):
        text = text.replace(f"{section}: {{}}", f"{section}:")
    lines = [line.removeprefix("#") if line.startswith("#   ") else line for line in text.splitlines()]
    (tmp_path / "config.yaml").write_text("\n".join(lines))
    app = load(tmp_path / "config.yaml")
    app.check()
    assert set(app.settings.sources) == {"security-hub", "guardduty", "defender", "falco"}
    assert set(app.settings.ledger.witnesses) == {"security-team"}
    assert set(app.settings.schedules) == {"public-buckets", "nightly-buckets", "reports"}
    assert set(app.settings.notify["on-call"].events) == set(NoticeKind)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gards: {}", ":1:1: unknown key 'gards'. Did you mean 'guards'?"),
        ("guards:\n  mod: ask", ":2:3: unknown key 'mod'. Did you mean 'mode'?"),
        ("guards:\n  mode: on", ":2:3: guards.mode: "),
        ("guards:\n  budget: {global_24h: -1}", ":2:12: guards.budget.global_24h: "),
        ("watch: {every: 5}", "write a number and a unit"),
        ("worker: {lease: 5s}", "at least 30s"),
        ("server: {port: 70000}", "server.port"),
        ("server: {tls_key: x}", "together"),
        ("schedules:\n  a: {poll: p, scope: s}", "either 'every'"),
        ("notify:\n  a: {url: 'http://example.com/x'}", "https only"),
        ("notify:\n  a: {url: 'https://me:hunter2@example.com/'}", "write https://HOST/PATH"),
        ("notify:\n  a: {url: 'ftp://127.0.0.1/'}", "https only"),
        ("notify:\n  a: {url: 'https://h:99999/'}", "write https://HOST/PATH"),
        ("sources:\n  Falco: {parser: p, secret: 'env:A'}", "small letters"),
    ],
)
def test_a_wrong_setting_is_named_with_its_place(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(Misconfigured) as problem:
        config.load(path)
    assert says in str(problem.value)
    assert str(problem.value).startswith(str(path))


def test_a_secret_by_value_is_refused_and_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("sources:\n  a: {parser: p, secret: hunter2-the-real-one}")
    with pytest.raises(Misconfigured) as problem:
        config.load(path)
    assert "env:NAME or file:/path" in str(problem.value)
    assert "hunter2" not in str(problem.value)


def test_the_most_careful_mode_counts() -> None:
    guards = Guards(mode=Mode.AUTO, playbooks={"a": Mode.ASK}, scopes={"1": Mode.OBSERVE, "2": Mode.AUTO})
    assert guards.mode_for("b", "3/x") is Mode.AUTO
    assert guards.mode_for("a", "3/x") is Mode.ASK
    assert guards.mode_for("a", "1/x") is Mode.OBSERVE
    assert guards.mode_for("a", "2/x") is Mode.ASK
    assert guards.mode_for("b", "11/x") is Mode.AUTO
