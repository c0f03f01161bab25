"""People are told: once for each thing, in time, whatever the receivers do, and never more than they should hear."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from quarantine.case import Case, Reason, Status
from quarantine.config import Breaker, Budget, Guards, Mode, NoticeKind, Scheme, Secret, Source, Storm, Webhook
from quarantine.errors import Misconfigured
from quarantine.notice import QUIET
from quarantine.notify import MOST_ATTEMPTS, LogChannel, Notifier, WebhookChannel, again_after, subscriptions
from quarantine.signature import authentic
from quarantine.store.notices import Sending
from quarantine.testing.installation import HandClock, settings
from tests.core.bench import Bench
from tests.testbed.certificates import write_server_certificate
from tests.testbed.poll import until

SECRET = "whsec_c2VjcmV0IG9mIHRoZSByZWNlaXZlciBvZiBub3RpY2Vz"
PLENTY = Budget(per_account_10m=1000, per_account_24h=1000, global_24h=1000)
SOON = timedelta(milliseconds=300)
HOSTILE = "\x1b[2J<!channel> \u202egnp.exe\r\n{{7*7}}"

Answer = Callable[[BaseHTTPRequestHandler], None]


class Receiver(ThreadingHTTPServer):
    """A real HTTP server that answers as it is told, and remembers what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[Answer] = []
        """How the next requests are answered, one each; after them, 204."""
        self.closing = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook?t=token-in-the-url"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.requests]

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((self.path, headers, body))
        answer = self.server.answers.pop(0) if self.server.answers else status(204)
        answer(self)

    do_GET = do_POST  # noqa: N815 - the name that http.server looks for  # noqa: N815 - the name that http.server looks for

    def log_message(self, *_: object) -> None: ...


def status(code: int, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("content-length", "0")
        handler.end_headers()

    return answer


def reset(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    handler.connection.close()


def hang(handler: BaseHTTPRequestHandler) -> None:
    handler.server.closing.wait(20)  # type: ignore[attr-defined]


def drip(handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then: no time-out of a socket ever comes."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for byte in b"x: " + b"a" * 2000:
        handler.wfile.write(bytes([byte]))
        if handler.server.closing.wait(0.02):  # type: ignore[attr-defined]
            return


def nonsense(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")


@contextmanager
def receiving() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return told(tmp_path)


def told(folder: Path, mode: Mode = Mode.AUTO, hooks: dict[str, Webhook] | None = None, **guards: Any) -> Bench:
    """A bench whose notices go to the log and, if nothing else is said, to one webhook named `hook`."""
    plenty = {"budget": PLENTY, "breaker": Breaker(failures=1000, of_last=100)}
    channels = subscriptions({"hook": webhook()} if hooks is None else hooks)
    return Bench(folder, settings(guards=Guards(mode=mode, **{**plenty, **guards})), channels=channels)


def webhook(url: str = "https://example.com/", **parts: Any) -> Webhook:
    return Webhook(url=url, **parts)


def channel(receiver: Receiver, clock: HandClock, patience: timedelta = timedelta(seconds=30)) -> WebhookChannel:
    hook = webhook(receiver.url, secret=Secret.model_validate("env:RECEIVER_SECRET"))
    return WebhookChannel("hook", hook, clock, patience=patience, pause=lambda _: None)


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECEIVER_SECRET", SECRET)


def halted(bench: Bench, name: str = "web") -> Case:
    """A case that needs a person."""
    bench.world.denied.add("machine.patch_labels")
    case = bench.settle(bench.open(bench.machine(name), "isolate"))
    assert case.status is Status.NEEDS_HUMAN
    return case


def of_hook(bench: Bench) -> list[Sending]:
    return [sending for sending in bench.store.notices() if sending.channel == "hook"]


def kinds(bench: Bench) -> list[str]:
    return [sending.kind for sending in of_hook(bench)]


def postman(bench: Bench, *channels: Any) -> Notifier:
    return Notifier(bench.store, channels, beat=timedelta(milliseconds=20))


# -- what is told ----------------------------------------------------------------------------------------------------


def test_a_case_that_needs_a_person_is_told_in_the_transaction_that_says_so(bench: Bench) -> None:
    case = halted(bench)
    assert [(sending.channel, sending.kind, sending.case) for sending in bench.store.notices()] == [
        ("hook", "needs_human", case.id),
        ("log", "needs_human", case.id),
    ]
    assert all(sending.due_at == bench.store.history(case.id)[-1].at for sending in bench.store.notices())


def test_each_stop_is_told_anew_and_a_repeated_finding_is_not(bench: Bench) -> None:
    case = halted(bench)
    bench.clock.turn(timedelta(minutes=1))
    bench.open(bench.store.load(case.id).resource, "isolate", id="another")
    assert kinds(bench) == ["needs_human"]
    bench.desk.retry(case.id, "local:ann")
    assert bench.settle(case).status is Status.NEEDS_HUMAN
    assert kinds(bench) == ["needs_human", "needs_human"]


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_death_at_the_commit_leaves_both_the_event_and_its_notice_or_neither(bench: Bench, place: str) -> None:
    case = bench.open(bench.machine(), "isolate")
    bench.world.denied.add("machine.patch_labels")
    with bench.death(f"{place} commit of halted"):
        bench.settle(case)
    stopped = bench.store.load(case.id).status is Status.NEEDS_HUMAN
    assert (stopped, kinds(bench)) == ((True, ["needs_human"]) if place == "after" else (False, []))


def test_every_case_that_is_stopped_for_a_person_has_a_notice(bench: Bench) -> None:
    """I-17, looked at as a person would: over all cases, whatever stopped them."""
    cases = [halted(bench, f"m{number}") for number in range(5)]
    bench.world.denied.clear()
    bench.world.denied.add("identity.get")
    cases.append(bench.settle(bench.open(bench.machine("m9"), "close")))
    stopped = {line.id for line in bench.store.lines([Status.NEEDS_HUMAN])}
    assert stopped == {case.id for case in cases}
    for sending in bench.store.notices():
        stopped_at = bench.store.load(sending.case).updated_at
        assert sending.due_at is not None and sending.due_at - stopped_at <= timedelta(seconds=60)
    assert {sending.case for sending in of_hook(bench)} == stopped


def test_an_approval_that_is_asked_for_is_told_with_its_plan_and_its_end(tmp_path: Path, receiver: Receiver) -> None:
    bench = told(tmp_path, Mode.ASK)
    case = bench.settle(bench.open(bench.machine(), "isolate"))
    assert kinds(bench) == ["approval_asked"]
    assert postman(bench).deliver(channel(receiver, bench.clock))
    (body,) = receiver.bodies
    assert body["data"]["plan"] == case.plan_digest
    assert body["data"]["expires_at"] == "2026-03-01T03:30:00+00:00"
    assert body["text"].endswith(f"quarantine case show {case.id}")


def test_asking_again_because_the_plan_changed_is_told_again(tmp_path: Path) -> None:
    bench = told(tmp_path, Mode.ASK)
    case = bench.settle(bench.open(bench.machine(), "isolate"))
    bench.desk.approve(case.id, "local:ann", case.plan_digest)
    bench.world.meddle("web", labels={"app": "other"})
    bench.settle(case)
    assert kinds(bench) == ["approval_asked", "approval_asked"]


def test_what_goes_well_is_not_told(bench: Bench) -> None:
    case = bench.settle(bench.open(bench.machine(), "isolate"))
    bench.desk.release(case.id, "local:ann")
    bench.settle(case)
    assert bench.store.notices() == []


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.ASK])
def test_a_storm_is_one_page_and_not_thousands(tmp_path: Path, mode: Mode) -> None:
    bench = told(tmp_path, mode, storm=Storm(cases=3, within=timedelta(minutes=5)))
    # All have come before the first is looked at, as in a real storm.
    cases = [bench.open(bench.machine(f"m{number}"), "isolate") for number in range(25)]
    assert all(bench.settle(case).status is Status.AWAITING_APPROVAL for case in cases)
    assert kinds(bench) == ["storm"]
    assert bench.changes() == []


def test_two_storms_on_one_day_are_two_pages_and_sources_do_not_hide_each_other(tmp_path: Path) -> None:
    bench = told(tmp_path, storm=Storm(cases=1, within=timedelta(minutes=5)))

    def storm(prefix: str, by: str) -> None:
        for case in [bench.open(bench.machine(f"{prefix}{n}"), "isolate", by) for n in range(4)]:
            bench.settle(case)

    bench.clock.turn(timedelta(minutes=30))
    storm("a", "source:detector")
    storm("b", "source:another")
    assert kinds(bench) == ["storm", "storm"]
    bench.clock.turn(QUIET - timedelta(minutes=1))
    storm("c", "source:detector")
    assert kinds(bench) == ["storm", "storm"], "still the same page, also over the hour's edge"
    bench.clock.turn(QUIET)
    storm("d", "source:detector")
    assert kinds(bench) == ["storm", "storm", "storm"]


def test_an_open_breaker_is_paged_once_and_each_case_still_asks(tmp_path: Path) -> None:
    bench = told(tmp_path, breaker=Breaker())
    for number in range(2):
        halted(bench, f"bad{number}")
    bench.world.denied.clear()
    for number in range(3):
        case = bench.settle(bench.open(bench.machine(f"m{number}"), "isolate"))
        assert case.status is Status.AWAITING_APPROVAL and "went wrong" in case.sentence
    found = kinds(bench)
    assert (found.count("breaker"), found.count("approval_asked"), found.count("needs_human")) == (1, 3, 2)


def test_a_spent_budget_is_told_once(tmp_path: Path) -> None:
    bench = told(tmp_path, budget=Budget(per_account_10m=1, per_account_24h=1, global_24h=1))
    for number in range(4):
        bench.settle(bench.open(bench.machine(f"m{number}"), "isolate"))
    assert kinds(bench) == ["held"]


def test_what_observe_mode_would_do_disturbs_nobody(tmp_path: Path) -> None:
    bench = told(tmp_path, Mode.OBSERVE)
    assert bench.settle(bench.open(bench.machine(), "isolate")).status is Status.PROPOSED
    assert bench.store.notices() == []


def test_a_channel_gets_the_kinds_that_it_asked_for(tmp_path: Path) -> None:
    hooks = {"pager": webhook(events=(NoticeKind.NEEDS_HUMAN,)), "nobody": webhook(events=())}
    bench = told(tmp_path, Mode.ASK, hooks)
    bench.settle(bench.open(bench.machine(), "isolate"))
    assert [sending.channel for sending in bench.store.notices()] == ["log"]


# -- how it is told --------------------------------------------------------------------------------------------------


def test_a_receiver_can_check_the_signature_as_it_would_any_standard_webhook(bench: Bench, receiver: Receiver) -> None:
    halted(bench)
    assert postman(bench).deliver(channel(receiver, bench.clock))
    ((path, headers, body),) = receiver.requests
    source = Source(parser="any", scheme=Scheme.STANDARD_WEBHOOKS, secret=Secret.model_validate("env:RECEIVER_SECRET"))
    assert authentic(source, headers, body, bench.clock(), timedelta(minutes=5)).startswith("msg_")
    assert (path, headers["content-type"]) == ("/hook?t=token-in-the-url", "application/json")
    (sending,) = of_hook(bench)
    assert (sending.sent_at, sending.due_at, sending.attempts) == (bench.clock(), None, 1)
    assert not postman(bench).deliver(channel(receiver, bench.clock)), "once sent, it is not sent again"


def test_without_a_secret_nothing_pretends_to_be_signed(bench: Bench, receiver: Receiver) -> None:
    halted(bench)
    assert postman(bench).deliver(WebhookChannel("hook", webhook(receiver.url), bench.clock))
    assert "webhook-signature" not in receiver.requests[0][1]


def test_hostile_text_is_shown_escaped_and_stays_out_of_what_chat_programs_read(
    bench: Bench, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    resource = bench.world.add(HOSTILE, labels={"app": HOSTILE})
    bench.world.denied.add("machine.patch_labels")
    bench.settle(bench.open(resource, "isolate", title=HOSTILE))
    assert postman(bench).deliver(channel(receiver, bench.clock))
    (body,) = receiver.bodies
    assert "<" not in body["text"] and "channel" not in body["text"] and body["text"].isprintable()
    assert "<!channel>" in body["data"]["finding"] and "\\x1b" in body["data"]["finding"]
    assert all(value.isprintable() for value in body["data"].values())
    assert postman(bench).deliver(LogChannel())
    (record,) = [record for record in caplog.records if record.message == "notice"]
    assert all(str(value).isprintable() for name, value in vars(record).items() if name.startswith("of_"))


def test_no_secret_is_in_a_notice_a_row_or_a_log_line(
    bench: Bench, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    halted(bench)
    receiver.answers = [status(500), status(302, location=receiver.url)]
    for _ in range(2):
        postman(bench).deliver(channel(receiver, bench.clock))
        bench.clock.turn(timedelta(minutes=1))
    said = caplog.text + "".join(str(vars(record)) for record in caplog.records) + str(bench.store.notices())
    said += "".join(body.decode() for _, _, body in receiver.requests)
    for known in (SECRET, "token-in-the-url", "c2VjcmV0"):
        assert known not in said


# -- what receivers do -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (status(500), "answered 500"),
        (status(404), "answered 404"),
        (status(301, location="/elsewhere"), "answered 301: redirects are not followed"),
        (status(307, location="/elsewhere"), "answered 307: redirects are not followed"),
        (nonsense, "no HTTP answer: BadStatusLine"),
        (hang, "no answer within 0.3 s"),
        (drip, "no answer within 0.3 s"),
    ],
    ids=["error", "not found", "redirect", "redirect of a POST", "nonsense", "hangs", "drips"],
)
def test_a_receiver_that_fails_is_asked_again_later(
    bench: Bench, receiver: Receiver, answer: Answer, failure: str
) -> None:
    halted(bench)
    receiver.answers = [answer]
    patient, post = channel(receiver, bench.clock, timedelta(seconds=30)), postman(bench)
    hook = channel(receiver, bench.clock, SOON) if "within" in failure else patient
    assert not post.deliver(hook)
    assert len(receiver.requests) == 1, "nothing else was asked: no redirect, no second try"
    (sending,) = of_hook(bench)
    assert sending.failure.startswith(failure)
    assert sending.due_at == bench.clock() + timedelta(seconds=5)
    assert not post.deliver(hook) and len(receiver.requests) == 1, "not before it is due"
    bench.clock.turn(timedelta(seconds=5))
    assert post.deliver(patient)
    first, second = receiver.requests
    assert first[1]["webhook-id"] == second[1]["webhook-id"], "the receiver can tell that it is the same"
    assert first[1]["webhook-timestamp"] != second[1]["webhook-timestamp"]


def test_a_connection_that_breaks_is_made_once_more_at_once(bench: Bench, receiver: Receiver) -> None:
    halted(bench)
    receiver.answers = [reset]
    assert postman(bench).deliver(channel(receiver, bench.clock))
    assert len(receiver.requests) == 2
    halted(bench, "other")
    receiver.answers = [reset, reset]
    assert not postman(bench).deliver(channel(receiver, bench.clock))
    assert len(receiver.requests) == 4


def test_nobody_listens(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    halted(bench)
    hook = WebhookChannel("hook", webhook(f"http://127.0.0.1:{port}/"), bench.clock, pause=lambda _: None)
    assert not postman(bench).deliver(hook)
    assert of_hook(bench)[0].failure == "no connection: Connection refused"


def test_a_failure_is_tried_again_soon_then_seldom_and_for_a_day() -> None:
    pauses = [again_after(attempts) for attempts in range(1, MOST_ATTEMPTS)]
    assert [pause.total_seconds() for pause in pauses[:7] if pause] == [5, 10, 20, 40, 80, 160, 300]
    assert timedelta(hours=23) < sum((pause for pause in pauses if pause), timedelta(0)) < timedelta(hours=25)
    assert again_after(MOST_ATTEMPTS) is None


def test_a_receiver_that_never_answers_is_given_up_and_that_is_told(
    bench: Bench, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    halted(bench)
    engine = create_engine(bench.store.url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE notices SET attempts = :done"), {"done": MOST_ATTEMPTS - 1})
    engine.dispose()
    receiver.answers = [status(503)]
    assert not postman(bench).deliver(channel(receiver, bench.clock))
    (lost,) = bench.store.notices(only_given_up=True)
    assert (lost.channel, lost.failure, lost.due_at) == ("hook", "answered 503", None)
    assert "notice_given_up" in caplog.messages
    bench.clock.turn(timedelta(days=3))
    assert not postman(bench).deliver(channel(receiver, bench.clock))
    assert len(receiver.requests) == 1


def test_who_dies_while_sending_sends_again(bench: Bench, receiver: Receiver) -> None:
    halted(bench)
    hook, post = channel(receiver, bench.clock), postman(bench)
    with bench.death("before commit of notice sent"):
        post.deliver(hook)
    assert not post.deliver(hook), "another process may still be at it"
    bench.clock.turn(timedelta(seconds=31))
    assert post.deliver(hook)
    assert len(receiver.requests) == 2


def test_a_channel_that_hangs_holds_up_neither_cases_nor_another_channel(tmp_path: Path) -> None:
    with receiving() as slow, receiving() as quick:
        slow.answers = [hang] * 20
        hooks = {"slow": webhook(slow.url), "quick": webhook(quick.url)}
        bench = told(tmp_path, hooks=hooks)
        channels = [WebhookChannel(name, hook, bench.clock) for name, hook in hooks.items()]
        notifier = postman(bench, LogChannel(), *channels)
        notifier.start()
        try:
            halted(bench, "m0")
            until(lambda: slow.requests, 5)
            for number in range(1, 6):
                halted(bench, f"m{number}")
            until(lambda: len(quick.requests) == 6, 10)
            until(lambda: sum(sending.sent_at is not None for sending in bench.store.notices()) == 12, 10)
            assert {sending.channel for sending in bench.store.notices() if sending.sent_at} == {"quick", "log"}
            assert len(slow.requests) == 1
        finally:
            slow.closing.set()
            notifier.stop()


def test_two_processes_share_the_work(bench: Bench, receiver: Receiver) -> None:
    for number in range(8):
        halted(bench, f"m{number}")
    both = [postman(bench, channel(receiver, bench.clock)) for _ in range(2)]
    for notifier in both:
        notifier.start()
    until(lambda: all(sending.sent_at for sending in of_hook(bench)), 20)
    for notifier in both:
        notifier.stop()
    ids = [headers["webhook-id"] for _, headers, _ in receiver.requests]
    assert len(ids) == len(set(ids)) == 8


def test_a_secret_that_is_missing_is_found_at_the_start_and_later_tried_again(
    bench: Bench, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = channel(receiver, bench.clock)
    hook.check()
    monkeypatch.delenv("RECEIVER_SECRET")
    with pytest.raises(Misconfigured, match="RECEIVER_SECRET"):
        hook.check()
    halted(bench)
    assert not postman(bench).deliver(hook)
    assert "RECEIVER_SECRET is not set" in of_hook(bench)[0].failure
    assert receiver.requests == []


@pytest.mark.parametrize("kept", ["http://example.com/x", "https://example.com/a b", "nonsense", "https://me:p@h/"])
def test_an_address_that_is_kept_as_a_secret_is_checked_as_any_and_never_said(
    kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", kept)
    hook = WebhookChannel("hook", webhook("env:HOOK"), HandClock())
    with pytest.raises(Misconfigured, match="env:HOOK") as problem:
        hook.check()
    assert kept not in str(problem.value)
    monkeypatch.setenv("HOOK", "https://hooks.example.com/T0/B0/secret")
    hook.check()


def test_a_certificate_that_nobody_knows_is_refused(bench: Bench, tmp_path: Path, receiver: Receiver) -> None:
    write_server_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    halted(bench)
    hook = WebhookChannel("hook", webhook(receiver.url.replace("http://127.0.0.1", "https://localhost")), bench.clock)
    assert not postman(bench).deliver(hook)
    assert of_hook(bench)[0].failure.startswith("its certificate is not trusted")
    assert receiver.requests == []


def test_the_log_says_it_always(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    case = halted(bench)
    assert postman(bench).deliver(LogChannel())
    (record,) = [record for record in caplog.records if record.message == "notice"]
    assert record.levelname == "WARNING"
    assert (record.__dict__["of_reason"], record.__dict__["of_case"]) == (Reason.PERMISSION_MISSING, case.id)
