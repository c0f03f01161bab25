"""An independent witness, the provider's own record, against ours: no change without an earlier intent."""

import re
from collections.abc import Callable
from datetime import datetime

from quarantine.case import Changed, Intended, Recorded, ReleaseIntended, Status
from tests.acceptance.conftest import Aws, Cluster
from tests.acceptance.product import Product, asff, falco
from tests.testbed.aws import ACCOUNT
from tests.testbed.poll import until

Start = Callable[..., Product]
READS = ("Get", "Head", "List", "Describe")


def intents(events: list[Recorded]) -> list[Recorded]:
    return [recorded for recorded in events if isinstance(recorded.event, (Intended, ReleaseIntended))]


def assert_covered(product: Product, case_id: str, changes: list[tuple[str, datetime]]) -> None:
    """Every change that the witness saw stands behind an intent with an earlier sequence number."""
    events = product.events(case_id)
    ours = [recorded for recorded in events if isinstance(recorded.event, Changed)]
    assert len(ours) == len(changes) > 0, "the witness saw what we recorded, no more and no less"
    for (_, at), changed in zip(changes, ours, strict=True):
        assert isinstance(changed.event, Changed)
        before = [item for item in intents(events) if item.seq < changed.seq]
        assert before, "a change without an intent"
        assert before[-1].event.step == changed.event.step  # type: ignore[union-attr]
        assert before[-1].at <= at <= changed.at, "the intent was on disk before the call, the receipt after it"


def test_every_change_in_the_record_of_aws_follows_an_intent(aws: Aws, on_aws: Start) -> None:
    bucket = aws.public_bucket()
    product = on_aws(guards={"mode": "auto"})
    product.send(asff(bucket, ACCOUNT))
    case = product.wait(product.only_case().id, Status.CONTAINED)
    product.say("case", "release", case.id, "--no-wait")
    product.wait(case.id, Status.CLOSED)
    calls = [call for call in aws.proxy.recorded() if not (call.operation or "").startswith(READS)]
    for call in calls:
        named = re.search(r"cloud-quarantine[ /]case/(c-[0-9a-f]+)", call.headers["user-agent"])
        assert named is not None and named[1] == case.id, "CloudTrail can be joined by the user agent"
    assert_covered(product, case.id, [(call.operation or "", call.at) for call in calls])


def test_every_change_in_the_audit_log_of_kubernetes_follows_an_intent(cluster: Cluster, on_kubernetes: Start) -> None:
    cluster.api.make_pod(cluster.namespace, "web-1", {"app": "web"})
    product = on_kubernetes(guards={"mode": "auto"})
    product.send_with_token(falco("web-1", cluster.namespace), "falco")
    case = product.wait(product.only_case().id, Status.CONTAINED)
    product.say("case", "release", case.id, "--no-wait")
    product.wait(case.id, Status.CLOSED)

    def ours() -> list[tuple[str, datetime]]:
        return [
            (f"{entry['verb']} {entry['objectRef']['resource']}", datetime.fromisoformat(entry["stageTimestamp"]))
            for entry in cluster.api.audit()
            if f"case/{case.id}" in entry.get("userAgent", "")
            and entry["verb"] not in ("get", "list", "watch")
            and entry.get("objectRef", {}).get("namespace") == cluster.namespace
            and entry["stage"] == "ResponseComplete"
        ]

    until(lambda: len(ours()) >= 4)
    seen = ours()
    assert [verb for verb, _ in seen] == [
        "create networkpolicies", "patch pods", "patch pods", "delete networkpolicies"
    ]  # fmt: skip
    assert_covered(product, case.id, seen)
