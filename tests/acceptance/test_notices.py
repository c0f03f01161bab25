"""People are told by the running server, whatever becomes of it and of the receiver."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from quarantine.case import Status
from quarantine.config import Secret, Source
from quarantine.signature import authentic
from tests.acceptance.conftest import Aws
from tests.acceptance.product import Product, asff
from tests.core.test_notify import hang, receiving, status
from tests.testbed.aws import ACCOUNT
from tests.testbed.poll import until

Start = Callable[..., Product]
SECRET = "SENDER_SECRET"  # the name of a variable that the product is started with


def test_a_person_is_told_within_seconds_and_can_check_who_says_so(
    aws: Aws, on_aws: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.acceptance.product import SECRET as VALUE

    with receiving() as receiver:
        product = on_aws(notify={"on-call": {"url": receiver.url, "secret": f"env:{SECRET}"}})
        product.send(asff(aws.public_bucket(), ACCOUNT))
        case = product.wait(product.only_case().id, Status.AWAITING_APPROVAL)
        until(lambda: receiver.requests, 10)
        ((_, headers, body),) = receiver.requests
        monkeypatch.setenv(SECRET, VALUE)
        source = Source(parser="any", secret=Secret.model_validate(f"env:{SECRET}"))
        assert authentic(source, headers, body, datetime.now(UTC), timedelta(minutes=1))
        assert receiver.bodies[0]["type"] == "quarantine.approval_asked"
        assert receiver.bodies[0]["data"]["case"] == case.id
        until(lambda: '"notice"' in product.log(), 10)


def test_what_was_not_told_before_kill_9_is_told_after_it(aws: Aws, on_aws: Start) -> None:
    with receiving() as receiver:
        receiver.answers = [status(503)]
        product = on_aws(notify={"on-call": {"url": receiver.url}})
        product.send(asff(aws.public_bucket(), ACCOUNT))
        case = product.wait(product.only_case().id, Status.AWAITING_APPROVAL)
        until(lambda: receiver.requests, 10)
        product.kill()
        product.start()
        until(lambda: len(receiver.requests) >= 2, 60)  # who dies while it sends has it for 30 s more
        assert {body["data"]["case"] for body in receiver.bodies} == {case.id}
        assert len({headers["webhook-id"] for _, headers, _ in receiver.requests}) == 1


def test_a_receiver_that_hangs_holds_up_no_containment(aws: Aws, on_aws: Start) -> None:
    with receiving() as receiver:
        receiver.answers = [hang] * 50
        product = on_aws(notify={"on-call": {"url": receiver.url}})
        product.send(asff(aws.public_bucket(), ACCOUNT))
        case = product.wait(product.only_case().id, Status.AWAITING_APPROVAL)
        until(lambda: receiver.requests, 10)
        product.say("case", "approve", case.id, "--yes", "--no-wait")
        product.wait(case.id, Status.CONTAINED, seconds=8)
        assert len(receiver.requests) == 1, "it hangs still"
