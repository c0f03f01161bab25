"""An independent witness, the provider's own record, against ours: no change without an earlier intent."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from quarantine.case import Changed, Intended, Recorded, ReleaseIntended, Status
from tests.acceptance.conftest import Aws, Cluster
from tests.acceptance.product import Product, asff, falco
from tests.acceptance.trail import Mutation, disagreements, mutations
from tests.testbed.aws import ACCOUNT
from tests.testbed.controlplane import SERVICE, ControlPlane
from tests.testbed.poll import until

Start = Callable[..., Product]
READS = ("Get", "Head", "List", "Describe")


def intents(events: list[Recorded]) -> list[Recorded]:
    return [recorded for recorded in events if isinstance(recorded.event, (Intended, ReleaseIntended))]


def assert_covered(events: list[Recorded], changes: list[tuple[str, datetime]]) -> None:
    """Every change that the witness saw stands behind an intent with an earlier sequence number."""
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
    assert_covered(product.events(case.id), [(call.operation or "", call.at) for call in calls])


@pytest.fixture
def lived(cluster: Cluster, on_kubernetes: Start) -> tuple[list[Mutation], dict[str, list[Recorded]]]:
    """Both records of one whole life: contained, opened by somebody, put right, given back."""
    begin = datetime.now(UTC)
    cluster.api.make_pod(cluster.namespace, "web-1", {"app": "web"})
    product = on_kubernetes(guards={"mode": "auto"}, watch={"every": "1s", "on_drift": "reapply"})
    product.send_with_token(falco("web-1", cluster.namespace), "falco")
    case = product.wait(product.only_case().id, Status.CONTAINED)
    (policy,) = cluster.policies()
    cluster.api.delete(f"{cluster.policies_path}/{policy['metadata']['name']}")
    until(lambda: "drifted" in product.types(case.id), seconds=20)
    product.wait(case.id, Status.CONTAINED)
    product.say("case", "release", case.id, "--no-wait")
    product.wait(case.id, Status.CLOSED)

    def seen() -> list[Mutation]:
        return mutations(cluster.api.audit(SERVICE), begin)

    until(lambda: len(seen()) >= 5)
    return seen(), product.ledger()


def test_the_audit_log_of_kubernetes_and_the_ledger_agree(
    lived: tuple[list[Mutation], dict[str, list[Recorded]]], cluster: Cluster
) -> None:
    seen, ledger = lived
    assert [each.permission for each in seen] == [
        "create networkpolicies.networking.k8s.io",
        "patch pods",
        "create networkpolicies.networking.k8s.io",
        "patch pods",
        "delete networkpolicies.networking.k8s.io",
    ]
    assert disagreements(seen, ledger) == []
    (case,) = ledger
    assert_covered(ledger[case], [(each.permission, each.at) for each in seen])

    # Each of the records, altered: the other one tells.
    first = seen[0]
    assert disagreements(seen[1:], ledger) == [
        f"case {case} has a receipt {first.audit_id} of a call that nobody saw",
    ]
    again = replace(first, audit_id="another", at=first.at + timedelta(microseconds=1))
    assert set(disagreements([*seen, again], ledger)) == {
        f"nobody knows what came of {again}",
        f"case {case}: {first.permission} ({first.name}) was made 2 times",
    }
    early = replace(first, at=ledger[case][0].at - timedelta(seconds=1))
    assert f"nobody intended {early}" in disagreements([early, *seen[1:]], ledger)
    other = replace(first, permission="delete pods")
    assert disagreements([other, *seen[1:]], ledger) == [f"{first.permission} was recorded, and {other} was made"]
    releases = [one for one in seen if one.at > seen[3].at - timedelta(microseconds=1)]
    untouched = [one for one in seen if one not in releases]
    history = [one for one in ledger[case] if not (isinstance(one.event, Changed) and one.at > releases[0].at)]
    assert disagreements(untouched, {case: history}) == [
        f"case {case} intended kubernetes:pod-isolate, and no call followed"
    ]
    forgotten = [one for one in ledger[case] if not isinstance(one.event, Intended)]
    assert f"nobody intended {first}" in disagreements(seen, {case: forgotten})


def test_a_change_by_our_user_that_no_case_is_behind_is_found(
    cluster: Cluster, kubeconfig: Callable[..., Path], control_plane: ControlPlane
) -> None:
    """Somebody has taken our credentials."""
    begin = datetime.now(UTC)
    cluster.api.make_pod(cluster.namespace, "web-1", {"app": "web"})
    thief = control_plane.as_user(SERVICE)
    thief.patch(f"/api/v1/namespaces/{cluster.namespace}/pods/web-1", {"metadata": {"labels": {"app": "mine"}}})
    (alarm,) = until(lambda: disagreements(mutations(control_plane.audit(SERVICE), begin), {}))
    assert alarm.startswith(f"nobody intended patch pods ({cluster.namespace}/web-1")
