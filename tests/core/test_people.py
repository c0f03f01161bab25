"""Who may say what: roles and scopes, tokens and how they end, and every way around them that we could think of."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarantine import app
from quarantine.action import Relation
from quarantine.case import Case, Opened, Outcome, Status
from quarantine.cli import options
from quarantine.cli.exit_code import ExitCode
from quarantine.config import Approvals, Mode
from quarantine.desk import Desk
from quarantine.errors import Forbidden, Misused, NotFound
from quarantine.model import Finding, Resource
from quarantine.people import WORDS, Grant, Role, Token, Word, is_whole, new_secret, same_person, token_of
from quarantine.testing.fake.provider import FakeProvider
from quarantine.testing.fake.world import KIND
from quarantine.testing.installation import START, settings
from tests.core.bench import Bench
from tests.core.cli_bench import CommandLine

DAY = timedelta(days=1)
LOCAL = "local:root"


def grants(*said: str) -> tuple[Grant, ...]:
    return tuple(Grant.parse(text) for text in said)


def token(*said: str, expires: datetime = START + DAY) -> Token:
    return Token("0123456789ab", "ann", grants(*said), LOCAL, START, expires)


def at(scope: str, kind: str = "fake:machine") -> Resource:
    return Resource(kind=kind, id="web", scope=scope)


# -- grants ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("word", Word)
def test_a_role_may_say_what_the_table_says_and_nothing_else(role: Role, word: Word) -> None:
    refusal = token(str(role)).refusal(word, [at("east/shop")], START)
    assert (refusal is None) == (word in WORDS[role])
    if refusal is not None:
        assert "ann" in refusal and "that takes the role" in refusal


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        ("", True),
        ("fake", True),
        ("fake:east", True),
        ("fake:east/shop", True),
        ("fake:east/sho", False),
        ("fake:eas", False),
        ("fake:east/shop/deeper", False),
        ("fake:west", False),
        ("aws", False),
        ("aws:east", False),
    ],
)
def test_a_scope_covers_whole_parts(scope: str, covered: bool) -> None:
    assert Grant(role=Role.APPROVER, scope=scope).covers(at("east/shop")) is covered


def test_every_resource_must_be_covered() -> None:
    some = token("approver@fake:east", "operator")
    assert some.refusal(Word.APPROVE, [at("east/shop"), at("east")], START) is None
    refusal = some.refusal(Word.APPROVE, [at("east/shop"), at("west/shop")], START)
    assert refusal is not None and "only within fake:east" in refusal and "west/shop" in refusal


def test_a_word_about_everything_takes_a_role_without_a_scope_except_to_stop() -> None:
    assert token("admin@fake:east").refusal(Word.RULE, [], START) is not None
    assert token("admin@fake:east").refusal(Word.LOOSEN, [], START) is not None
    assert token("operator@fake:east").refusal(Word.STOP, [], START) is None
    assert token("viewer").refusal(Word.STOP, [], START) is not None


@pytest.mark.parametrize(
    "text", ["", "root", "approver@", "approver@aws:", "approver@a b", "APPROVER", "approver@aws@x"]
)
def test_a_grant_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no (role|scope)"):
        Grant.parse(text)


@given(st.sampled_from(list(Role)), st.sampled_from(["", "aws", "aws:123456789012", "kubernetes:prod/shop"]))
def test_a_grant_is_written_as_it_is_read(role: Role, scope: str) -> None:
    grant = Grant(role=role, scope=scope)
    assert Grant.parse(str(grant)) == grant


# -- secrets and names -------------------------------------------------------------------------------------------------


def test_a_secret_that_was_cut_or_changed_is_known_for_it() -> None:
    secret = new_secret("0123456789ab")
    assert re.fullmatch(r"qo_0123456789ab_[0-9a-f]{64}_[0-9a-f]{8}", secret)
    assert is_whole(secret)
    for place in range(len(secret)):
        assert not is_whole(secret[:place])
        other = "0" if secret[place] != "0" else "1"
        assert not is_whole(secret[:place] + other + secret[place + 1 :])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("person:ann/0123", "person:ann/4567", True),
        ("person:ann/0123", "local:ann", True),
        ("person:ann/0123", "local:Ann ", True),
        ("person:ann/0123", "person:bob/0123", False),
        ("person:ann/0123", None, False),
    ],
)
def test_the_same_person_with_another_token_is_the_same_person(one: str, other: str | None, same: bool) -> None:
    assert same_person(one, other) is same
    assert other is None or same_person(other, one) is same


def test_only_people_with_a_token_have_one() -> None:
    assert token_of("person:ann/0123") == "0123"
    assert token_of("local:ann/0123") is None
    assert token_of("source:person:ann/0123") is None


# -- through the desk --------------------------------------------------------------------------------------------------


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, settings(Mode.ASK))


def person(bench: Bench, name: str, *said: str, span: timedelta = DAY) -> str:
    """Who speaks with a new token."""
    made, secret = bench.desk.make_token(LOCAL, name, grants(*said), span)
    assert bench.desk.speaker(secret).name == made.name
    return made.name


def asked(bench: Bench, playbook: str = "isolate") -> Case:
    case = bench.settle(bench.open(bench.machine(), playbook))
    assert case.status is Status.AWAITING_APPROVAL
    return case


def by_hand(bench: Bench, by: str, playbook: str = "stop") -> Case:
    found = Finding(source="hand", id=f"hand-{by}", resource=bench.machine(), seen_at=bench.clock())
    chosen = bench.shelf.find(playbook)
    opened = Opened(finding=found, playbook=playbook, playbook_digest=chosen.digest, requested=True)
    return bench.settle(bench.store.open(opened, by, bench.clock()))


def said_of(bench: Bench, case: Case) -> str:
    """Every sentence of its record."""
    return " ".join(str(getattr(item.event, "sentence", "")) for item in bench.store.history(case.id))


def nothing_is_done(bench: Bench, case: Case) -> Case:
    case = bench.settle(case)
    assert bench.changes() == []
    return case


def test_an_approver_approves_and_the_record_says_with_which_token(bench: Bench) -> None:
    ann = person(bench, "ann", "approver")
    case = asked(bench)
    bench.desk.approve(case.id, ann)
    assert bench.settle(case).status is Status.CONTAINED
    approved = next(item for item in bench.store.history(case.id) if item.event.type == "approved")
    assert approved.by == ann and token_of(approved.by) is not None


@pytest.mark.parametrize("said", ["viewer", "operator", "auditor", "approver@aws", "approver@fake:elsewhere"])
def test_who_is_no_approver_there_does_not_approve(bench: Bench, said: str) -> None:
    ann, case = person(bench, "ann", said), asked(bench)
    for say in (bench.desk.approve, bench.desk.deny):
        with pytest.raises(Forbidden, match=r"token .* of ann may"):
            say(case.id, ann)
    assert nothing_is_done(bench, case).status is Status.AWAITING_APPROVAL


def test_a_plan_that_reaches_beyond_the_approvers_scope_is_not_theirs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The case's resource is within; what a relation leads to is not."""
    peer = bench.world.add("peer", scope="local/elsewhere")
    leads_there = Relation(KIND, KIND, ("machine.get",), lambda *_: [peer])
    monkeypatch.setattr(FakeProvider, "relations", {"peers": leads_there})
    case = bench.settle(bench.open(bench.world.add("web", scope="local/here"), "isolate-web-and-peers"))
    assert case.plan is not None and len(case.plan.steps) == 2, case.sentence
    with pytest.raises(Forbidden, match="only within fake:local/here, not at fake:machine/peer in local/elsewhere"):
        bench.desk.approve(case.id, person(bench, "ann", "approver@fake:local/here"))
    bench.desk.approve(case.id, person(bench, "ann", "approver@fake:local"))


def test_the_same_person_through_two_tokens_is_one_person(bench: Bench) -> None:
    asks, approves = person(bench, "ann", "operator"), person(bench, "ann", "approver")
    case = by_hand(bench, asks)
    with pytest.raises(Misused, match="somebody else must approve"):
        bench.desk.approve(case.id, approves)
    with pytest.raises(Misused, match="somebody else must approve"):
        bench.desk.approve(case.id, "local:ann")
    nothing_is_done(bench, case)
    bench.desk.approve(case.id, person(bench, "bob", "approver"))
    assert bench.settle(case).touched


def test_an_approval_ends_with_the_token_that_it_came_with(bench: Bench) -> None:
    """Revoked after the yes and before the act: it asks again. Another token of the same person changes nothing."""
    stolen, case = person(bench, "ann", "approver"), asked(bench)
    person(bench, "ann", "approver")
    bench.desk.approve(case.id, stolen)
    bench.desk.revoke_token(LOCAL, str(token_of(stolen)))
    assert nothing_is_done(bench, case).status is Status.AWAITING_APPROVAL
    assert "was revoked by local:root" in said_of(bench, case)
    bench.desk.approve(case.id, person(bench, "bob", "approver"))
    assert bench.settle(case).status is Status.CONTAINED


def test_a_token_that_runs_out_before_the_act_takes_its_approval_along(bench: Bench) -> None:
    ann, case = person(bench, "ann", "approver", span=timedelta(minutes=1)), asked(bench)
    bench.desk.approve(case.id, ann)
    bench.clock.turn(timedelta(minutes=2))
    nothing_is_done(bench, case)
    assert "ran out" in said_of(bench, case)


def test_who_asked_by_hand_and_lost_the_token_has_asked_for_nothing(bench: Bench) -> None:
    ann = person(bench, "ann", "operator")
    found = Finding(source="hand", id="hand", resource=bench.machine(), seen_at=bench.clock())
    digest = bench.shelf.find("isolate").digest
    case = bench.store.open(
        Opened(finding=found, playbook="isolate", playbook_digest=digest, requested=True), ann, bench.clock()
    )
    bench.desk.revoke_token(LOCAL, str(token_of(ann)))
    assert "somebody else must approve" in nothing_is_done(bench, case).sentence


@pytest.mark.parametrize("verb", ["release", "retry", "keep", "handled"])
def test_an_approver_does_not_act(bench: Bench, verb: str) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, LOCAL)
    bench.settle(case)
    with pytest.raises(Forbidden, match="may not act"):
        getattr(bench.desk, verb)(case.id, person(bench, "ann", "approver"))


def test_an_operator_releases(bench: Bench) -> None:
    case = asked(bench)
    bench.desk.approve(case.id, LOCAL)
    bench.settle(case)
    bench.desk.release(case.id, person(bench, "ann", "operator@fake:local"))
    assert bench.settle(case).outcome is Outcome.RELEASED


def test_who_asked_may_take_it_back_without_being_an_approver(bench: Bench) -> None:
    ann = person(bench, "ann", "operator")
    case = by_hand(bench, ann)
    with pytest.raises(Forbidden):
        bench.desk.deny(case.id, person(bench, "bob", "operator"))
    assert bench.desk.deny(case.id, ann).outcome is Outcome.DECLINED


@pytest.mark.parametrize("by", ["person:ann/ffffffffffff", "person:ann/", "person:ann"])
def test_a_name_without_a_token_behind_it_says_nothing(bench: Bench, by: str) -> None:
    case = asked(bench)
    with pytest.raises(Forbidden, match="there is no token"):
        bench.desk.approve(case.id, by)


def test_a_dead_or_unknown_token_is_not_spoken_with(bench: Bench) -> None:
    made, secret = bench.desk.make_token(LOCAL, "ann", grants("approver"), DAY)
    with pytest.raises(Forbidden, match="another installation"):
        bench.desk.speaker(new_secret(made.id))
    with pytest.raises(Forbidden, match="no whole token: was it cut"):
        bench.desk.speaker(secret[:-1])
    bench.desk.revoke_token(LOCAL, made.id)
    with pytest.raises(Forbidden, match="was revoked by local:root"):
        bench.desk.speaker(secret)
    with pytest.raises(Misused, match="revoked already"):
        bench.desk.revoke_token(LOCAL, made.id)
    with pytest.raises(NotFound):
        bench.desk.revoke_token(LOCAL, "ffffffffffff")


def test_the_secret_is_nowhere_in_the_database(bench: Bench, tmp_path: Path) -> None:
    _, secret = bench.desk.make_token(LOCAL, "ann", grants("approver"), DAY)
    bench.desk.speaker(secret)
    bench.store.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("cases.db*"))
    assert secret.encode() not in kept and secret.split("_")[2].encode() not in kept


def test_only_an_admin_of_everything_makes_tokens_and_one_may_end_ones_own(bench: Bench) -> None:
    for said in ("viewer", "operator", "approver", "auditor", "admin@fake:testbed"):
        with pytest.raises(Forbidden):
            bench.desk.make_token(person(bench, "eve", said), "eve", grants("admin"), DAY)
    admin = person(bench, "ada", "admin")
    bench.desk.make_token(admin, "ann", grants("viewer"), DAY)
    ann = person(bench, "ann", "viewer")
    with pytest.raises(Forbidden):
        bench.desk.revoke_token(ann, str(token_of(admin)))
    bench.desk.revoke_token(ann, str(token_of(ann)))


@pytest.mark.parametrize(
    ("name", "said", "span"),
    [
        ("Ann", ("viewer",), DAY),
        ("ann/1", ("viewer",), DAY),
        ("", ("viewer",), DAY),
        ("ann", (), DAY),
        ("ann", ("viewer",), timedelta(0)),
        ("ann", ("viewer",), 367 * DAY),
    ],
)
def test_a_token_for_nobody_for_nothing_or_for_ever_is_not_made(
    bench: Bench, name: str, said: tuple[str, ...], span: timedelta
) -> None:
    with pytest.raises(Misused):
        bench.desk.make_token(LOCAL, name, grants(*said), span)
    assert bench.store.tokens() == []


def test_without_tokens_nobody_speaks_if_so_set_except_to_make_the_first(bench: Bench) -> None:
    strict = Desk(bench.store, Approvals(without_token=False), bench.clock)
    case = asked(bench)
    with pytest.raises(Forbidden, match=r"put your token into \$QUARANTINE_TOKEN"):
        strict.approve(case.id, LOCAL)
    admin, _ = strict.make_token(LOCAL, "ada", grants("admin"), DAY)
    with pytest.raises(Forbidden):
        strict.make_token(LOCAL, "eve", grants("admin"), DAY)
    strict.revoke_token(admin.name, admin.id)
    strict.make_token(LOCAL, "ada", grants("admin"), DAY)


def test_break_glass_goes_by_the_person_and_needs_somebody_who_may_act(tmp_path: Path) -> None:
    bench = Bench(tmp_path, settings(Mode.ASK, approvals=Approvals(break_glass=("person:ann",))))
    ann, anna = person(bench, "ann", "operator"), person(bench, "anna", "operator")
    case = by_hand(bench, ann)
    with pytest.raises(Misused, match="may not open the glass"):
        bench.desk.break_open(anna, timedelta(minutes=15), "alone")
    _, glass = bench.desk.break_open(ann, timedelta(minutes=15), "alone at night")
    with pytest.raises(Forbidden):
        bench.desk.approve(case.id, person(bench, "eve", "viewer"), token=glass, reason="mine")
    bench.desk.approve(case.id, ann, token=glass, reason="alone at night")
    assert bench.settle(case).touched


# -- at the command line -----------------------------------------------------------------------------------------------


@pytest.fixture
def line(line: CommandLine) -> CommandLine:
    """With a machine on its platform."""
    line.machine()
    return line


def secret_of(line: CommandLine, *words: str) -> str:
    made = line("token", "create", *words)
    assert made.exit_code == ExitCode.DONE, made.stderr
    return made.stdout.strip()


RUN = ("run", "isolate", "fake:machine/web-1", "--scope", "local")


def test_a_token_in_the_environment_is_who_one_is(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer, operator = secret_of(line, "vic", "--role", "viewer"), secret_of(line, "ann", "--role", "operator")
    monkeypatch.setenv(options.TOKEN, viewer)
    for words in ((*RUN, "--apply"), ("kill", "on", "--reason", "x"), ("budget", "refill", "--all", "--reason", "x")):
        refused = line(*words)
        assert refused.exit_code == ExitCode.AUTHENTICATION, (words, refused.stderr)
        assert "that takes the role" in refused.stderr
    assert line(*RUN).exit_code == ExitCode.DONE, "looking is no word"
    monkeypatch.setenv(options.TOKEN, operator)
    assert line("kill", "on", "--reason", "x").exit_code == ExitCode.DONE
    assert line("kill", "off").exit_code == ExitCode.AUTHENTICATION
    assert app.load(line.config).store.switches()[0].by.startswith("person:ann/")
    assert line.world.sent == []


@pytest.mark.parametrize("value", ["", "  ", "qo_1", "local:root"])
def test_a_variable_that_holds_no_token_is_not_taken_for_none(
    line: CommandLine, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """`export QUARANTINE_TOKEN=$(vault ...)` that failed must not make its user the administrator of the machine."""
    monkeypatch.setenv(options.TOKEN, value)
    refused = line("kill", "on", "--reason", "x")
    assert refused.exit_code == ExitCode.AUTHENTICATION
    assert "no whole token" in refused.stderr
    assert app.load(line.config).store.switches() == []


def test_a_token_is_listed_used_and_ended(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = secret_of(line, "ann", "--role", "operator@fake", "--role", "approver", "--for", "7d")
    (listed,) = line.asks("token", "list")
    assert (listed["person"], listed["grants"], listed["used_at"]) == ("ann", "operator@fake, approver", None)
    assert datetime.fromisoformat(listed["expires_at"]) < datetime.now(UTC) + timedelta(days=7)
    monkeypatch.setenv(options.TOKEN, secret)
    assert line("kill", "on", "--reason", "x").exit_code == ExitCode.DONE
    monkeypatch.delenv(options.TOKEN)
    assert line.asks("token", "list")[0]["used_at"]
    assert line("token", "revoke", listed["id"]).exit_code == ExitCode.DONE
    assert line.asks("token", "list") == []
    assert line.asks("token", "list", "--all")[0]["state"] == "revoked"
    monkeypatch.setenv(options.TOKEN, secret)
    assert line("kill", "on", "--reason", "x").exit_code == ExitCode.AUTHENTICATION


def test_a_role_that_does_not_exist_names_those_that_do(line: CommandLine) -> None:
    refused = line("token", "create", "ann", "--role", "root")
    assert refused.exit_code == ExitCode.USAGE
    assert "viewer, operator, approver, auditor, admin" in refused.stderr
