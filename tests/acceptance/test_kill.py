"""kill -9 of the server between any two steps, and in the middle of one apply: the case goes on to its end.

The provider's proxy holds a chosen call, before or after its effect; the server is killed while it waits; a new one
starts on the same files. The effect is there once, the before-image is the first one, and the record is whole.
"""

from collections.abc import Callable

import pytest

from quarantine.case import Outcome, Status
from quarantine_aws.cloud import S3_SIGNATURE
from tests.acceptance.conftest import CLOSED, Aws
from tests.acceptance.product import Product, asff
from tests.testbed.aws import ACCOUNT
from tests.testbed.call import Call
from tests.testbed.proxy import FaultProxy

Start = Callable[..., Product]


def changes(proxy: FaultProxy) -> list[Call]:
    """Every call that changed something at the provider."""
    reads = ("Get", "Head", "List", "Describe")
    return [call for call in proxy.recorded() if call.forwarded and not (call.operation or "").startswith(reads)]


@pytest.mark.parametrize("after_the_effect", [False, True], ids=["before the effect", "after the effect"])
def test_killed_while_the_bucket_is_being_closed(aws: Aws, on_aws: Start, after_the_effect: bool) -> None:
    bucket = aws.public_bucket()
    before = aws.image(bucket)
    product = on_aws(guards={"mode": "auto"})
    hold = aws.proxy.hold_answer if after_the_effect else aws.proxy.hold
    held = hold("PutPublicAccessBlock")
    product.send(asff(bucket, ACCOUNT))
    held.wait_reached()
    product.kill()
    held.abandon()
    case = product.only_case()
    assert product.types(case.id)[-1] == "intended", "the intent is on disk before the call goes out"

    product.start()
    product.wait(case.id, Status.CONTAINED, seconds=60)
    assert aws.block(bucket) == CLOSED
    expected = "reconciled" if after_the_effect else "retried"
    assert expected in product.types(case.id)
    assert len(changes(aws.proxy)) == 1, "the effect happened once"

    assert product.release_later(case.id, S3_SIGNATURE).outcome is Outcome.RELEASED
    assert aws.image(bucket) == before
    product.assert_whole()


@pytest.mark.parametrize("after_the_effect", [False, True], ids=["before the effect", "after the effect"])
def test_killed_while_the_bucket_is_being_released(aws: Aws, on_aws: Start, after_the_effect: bool) -> None:
    bucket = aws.public_bucket()
    before = aws.image(bucket)
    product = on_aws(guards={"mode": "auto"})
    product.send(asff(bucket, ACCOUNT))
    case = product.wait(product.only_case().id, Status.CONTAINED)
    hold = aws.proxy.hold_answer if after_the_effect else aws.proxy.hold
    held = hold("DeletePublicAccessBlock")
    product.say("case", "release", case.id, "--no-wait")
    held.wait_reached()
    product.kill()
    held.abandon()

    product.start()
    closed = product.wait(case.id, Status.CLOSED, seconds=60)
    assert closed.outcome is Outcome.RELEASED
    assert aws.image(bucket) == before
    assert len(changes(aws.proxy)) == 2, "one change to contain, one to release"
    product.assert_whole()


@pytest.mark.parametrize("nth", range(1, 17))
def test_killed_at_every_call_of_a_containment(aws: Aws, on_aws: Start, nth: int) -> None:
    """Sixteen calls: resolve, observe, identity, observe again, the change, the read-back. Each is a place to die."""
    bucket = aws.public_bucket()
    product = on_aws(guards={"mode": "auto"})
    seen = 0

    def wanted(call: Call) -> bool:
        nonlocal seen
        seen += 1
        return seen == nth

    held = aws.proxy.hold(wanted)
    product.send(asff(bucket, ACCOUNT))
    held.wait_reached()
    product.kill()
    held.abandon()
    product.start()
    product.wait(product.only_case().id, Status.CONTAINED, seconds=60)
    assert aws.block(bucket) == CLOSED
    assert len(changes(aws.proxy)) == 1
    product.assert_whole()


def test_a_lost_answer_is_looked_up_and_not_repeated(aws: Aws, on_aws: Start) -> None:
    bucket = aws.public_bucket()
    product = on_aws(guards={"mode": "auto"})
    aws.proxy.lose_answer("PutPublicAccessBlock")
    product.send(asff(bucket, ACCOUNT))
    case = product.wait(product.only_case().id, Status.CONTAINED)
    assert len(changes(aws.proxy)) == 1
    assert "reconciled" in product.types(case.id)
