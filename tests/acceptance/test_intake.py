"""What comes to the door: a storm, and everything that must get a clear answer."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from quarantine.case import Outcome, Reason, Status
from tests.acceptance.conftest import CLOSED, Aws
from tests.acceptance.product import TOKEN, Product, asff
from tests.testbed.aws import ACCOUNT
from tests.testbed.poll import until

Start = Callable[..., Product]


def test_the_same_finding_a_hundred_times_at_once_is_one_case_and_one_containment(aws: Aws, on_aws: Start) -> None:
    bucket = aws.public_bucket()
    product = on_aws(guards={"mode": "auto"})
    record = asff(bucket, ACCOUNT)
    answers = product.send_at_once([record] * 100, clients=20)
    assert [answer.status for answer in answers] == [202] * 100
    until(lambda: product.store.waiting_count() == 0, seconds=30)
    case = product.wait(product.only_case().id, Status.CONTAINED)
    assert len(product.cases()) == 1
    puts = [call for call in aws.proxy.recorded() if call.operation == "PutPublicAccessBlock"]
    assert len(puts) == 1
    assert product.types(case.id).count("intended") == 1


def test_the_same_delivery_again_is_a_duplicate(aws: Aws, on_aws: Start) -> None:
    product = on_aws()
    record = asff(aws.public_bucket(), ACCOUNT)
    assert product.send(record, delivery="msg_1").json["status"] == "accepted"
    assert product.send(record, delivery="msg_1").json["status"] == "duplicate"


def test_many_findings_at_once_are_all_contained(aws: Aws, on_aws: Start) -> None:
    buckets = [aws.public_bucket() for _ in range(12)]
    budget = {"per_account_10m": 100, "per_account_24h": 100, "global_24h": 100}
    product = on_aws(guards={"mode": "auto", "budget": budget})
    product.send_at_once([asff(bucket, ACCOUNT) for bucket in buckets], clients=6)
    until(lambda: [aws.block(bucket) for bucket in buckets] == [CLOSED] * 12, seconds=60)


def test_beyond_the_budget_a_case_waits_for_a_person(aws: Aws, on_aws: Start) -> None:
    product = on_aws(guards={"mode": "auto", "budget": {"per_account_10m": 1}})
    first, second = aws.public_bucket(), aws.public_bucket()
    product.send(asff(first, ACCOUNT))
    product.wait(product.only_case().id, Status.CONTAINED)
    product.send(asff(second, ACCOUNT))
    until(lambda: len(product.cases()) == 2, seconds=20)
    held = next(case for case in product.cases() if case.resource.id == second)
    held = product.wait(held.id, Status.PROPOSED)
    until(lambda: "budget" in product.store.load(held.id).sentence)
    assert aws.block(second) is None
    product.say("case", "approve", held.id, "--yes", "--no-wait")
    product.wait(held.id, Status.CONTAINED)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 422, "not JSON"),
        (b"[]", 422, "one JSON object"),
        (b'{"a": 1, "a": 2}', 422, "stands twice"),
        (b"\xff\xfe", 422, "not UTF-8"),
        (b'{"hello": "world"}', 422, ""),
        (b"x" * 300_000, 413, "262144"),
    ],
)
def test_a_bad_body_has_a_clear_answer(aws: Aws, on_aws: Start, body: bytes, status: int, says: str) -> None:
    product = on_aws()
    answer = product.send(body)
    assert (answer.status, says in answer.json["error"]) == (status, True)
    assert product.cases() == []


def test_whoever_is_not_authentic_is_told_one_thing_and_the_log_says_which(aws: Aws, on_aws: Start) -> None:
    product = on_aws()
    record = asff(aws.public_bucket(), ACCOUNT)
    bearer = {"content-type": "application/json", "authorization": "Bearer wrong"}
    answers = [
        product.send(record, secret="another secret"),
        product.send(record, source="nobody"),
        product.send(record, at=time.time() - 3600),
        product.send(record, source="guardduty"),
        product.send_with_token(record, "security-hub", TOKEN),
        product.request("POST", "/v1/findings/guardduty", b"{}", bearer),
        product.request("POST", "/v1/findings/security-hub", b"{}", {"content-type": "application/json"}),
    ]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    for why in ("wrong signature", "unknown source", "timestamp is more than 300 s off", "wrong bearer token"):
        assert why in product.log()
    assert product.cases() == []


def test_other_methods_paths_and_encodings_are_refused(aws: Aws, on_aws: Start) -> None:
    product = on_aws()
    assert product.request("GET", "/v1/findings/security-hub").status == 405
    assert product.request("POST", "/v1/other").status == 404
    token = {"authorization": f"Bearer {TOKEN}"}
    text = product.request("POST", "/v1/findings/guardduty", b"{}", {**token, "content-type": "text/plain"})
    packed = {**token, "content-type": "application/json", "content-encoding": "gzip"}
    assert text.status == 415
    assert product.request("POST", "/v1/findings/guardduty", b"{}", packed).status == 415


def test_an_account_that_is_not_configured_is_refused_and_says_what_to_do(aws: Aws, on_aws: Start) -> None:
    product = on_aws(guards={"mode": "auto"})
    assert product.send(asff("a-bucket", "999999999999")).status == 202
    case = product.wait(product.only_case().id, Status.CLOSED)
    assert case.outcome is Outcome.REFUSED
    assert "999999999999 is not a configured account" in case.sentence and "providers" in case.sentence
    assert aws.proxy.recorded() == [], "not even a read goes out for it"


@pytest.mark.parametrize(
    "changes",
    [{"Workflow": {"Status": "SUPPRESSED"}}, {"RecordState": "ARCHIVED"}, {"Sample": True}],
)
def test_a_finding_that_is_not_real_any_more_opens_nothing(aws: Aws, on_aws: Start, changes: dict[str, Any]) -> None:
    product = on_aws(guards={"mode": "auto"})
    product.send(asff(aws.public_bucket(), ACCOUNT, **changes), delivery="msg_1")
    until(lambda: product.store.results("security-hub", "msg_1") is not None)
    results = product.store.results("security-hub", "msg_1")
    assert results is not None and {result["fate"] for result in results} == {"ignored"}
    assert product.cases() == []


@pytest.mark.parametrize("is_still_there", [True, False], ids=["still there", "not there any more"])
def test_an_old_finding_acts_only_if_its_source_still_has_it(aws: Aws, on_aws: Start, is_still_there: bool) -> None:
    bucket = aws.public_bucket()
    product = on_aws(guards={"mode": "auto"})
    if not is_still_there:
        product.detector = lambda _: None
    product.send(asff(bucket, ACCOUNT, updated=datetime.now(UTC) - timedelta(hours=2)))
    product.wait(product.only_case().id, Status.CONTAINED if is_still_there else Status.PROPOSED)
    assert aws.block(bucket) == (CLOSED if is_still_there else None)


def test_a_missing_permission_is_named(aws: Aws, on_aws: Start) -> None:
    denied = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>no</Message></Error>"
    aws.proxy.answer("PutPublicAccessBlock", 403, {"content-type": "application/xml"}, denied)
    product = on_aws(guards={"mode": "auto"})
    product.send(asff(aws.public_bucket(), ACCOUNT))
    case = product.wait(product.only_case().id, Status.NEEDS_HUMAN)
    assert case.reason is Reason.PERMISSION_MISSING
    assert "s3:PutBucketPublicAccessBlock" in case.sentence
    product.say("case", "retry", case.id, "--no-wait")
    product.wait(case.id, Status.CONTAINED, seconds=60)


def test_a_throttled_change_is_made_later(aws: Aws, on_aws: Start) -> None:
    slow = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>slow</Message></Error>"
    aws.proxy.answer("PutPublicAccessBlock", 503, {"content-type": "application/xml"}, slow, times=3)
    bucket = aws.public_bucket()
    product = on_aws(guards={"mode": "auto"})
    product.send(asff(bucket, ACCOUNT))
    product.wait(product.only_case().id, Status.CONTAINED, seconds=60)
    assert aws.block(bucket) == CLOSED


def test_a_provider_that_cannot_be_reached_is_asked_again(aws: Aws, on_aws: Start) -> None:
    bucket = aws.public_bucket()
    product = on_aws(guards={"mode": "auto"})
    aws.proxy.drop(lambda call: True, times=8)
    product.send(asff(bucket, ACCOUNT))
    product.wait(product.only_case().id, Status.CONTAINED, seconds=90)
    assert aws.block(bucket) == CLOSED


def test_a_kill_switch_stops_the_case_and_off_lets_it_go_on(aws: Aws, on_aws: Start) -> None:
    bucket = aws.public_bucket()
    product = on_aws(guards={"mode": "auto"})
    product.say("kill", "on", "--reason", "exercise")
    product.send(asff(bucket, ACCOUNT))
    case = product.wait(product.only_case().id, Status.PROPOSED)
    until(lambda: "kill switch" in product.store.load(case.id).sentence)
    assert aws.block(bucket) is None
    product.say("kill", "off")
    product.run("case", "retry", case.id)
    product.wait(case.id, Status.CONTAINED)


def test_a_kill_switch_stops_a_change_that_is_about_to_go_out(aws: Aws, on_aws: Start) -> None:
    """It is in the gate: the guards have said yes already."""
    bucket = aws.public_bucket()
    product = on_aws(guards={"mode": "auto"})

    def after_the_guards(call: object) -> bool:
        cases = product.cases()
        return bool(cases) and cases[0].allowed

    held = aws.proxy.hold(after_the_guards)
    product.send(asff(bucket, ACCOUNT))
    held.wait_reached()
    product.say("kill", "on", "--reason", "exercise")
    held.let_go()
    case = product.wait(product.only_case().id, Status.NEEDS_HUMAN)
    assert case.reason is Reason.STOPPED
    assert aws.block(bucket) is None
