"""The first door: a finding comes in by webhook, the resource is contained, verified and released."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from quarantine.case import Outcome, Reason, Status
from tests.acceptance.conftest import CLOSED, Aws, Cluster
from tests.acceptance.product import Product, asff, falco
from tests.testbed.aws import ACCOUNT
from tests.testbed.poll import until

Start = Callable[..., Product]


def test_a_public_bucket_is_closed_after_approval_and_given_back_byte_for_byte(aws: Aws, on_aws: Start) -> None:
    bucket = aws.public_bucket()
    before = aws.image(bucket)
    product = on_aws()

    answer = product.send(asff(bucket, ACCOUNT))
    assert answer.status == 202 and answer.json["status"] == "accepted"
    case = product.wait(product.only_case().id, Status.AWAITING_APPROVAL)
    assert aws.image(bucket) == before, "nothing is touched before a person has said yes"

    product.say("case", "approve", case.id, "--yes", "--no-wait")
    product.wait(case.id, Status.CONTAINED)
    assert aws.block(bucket) == CLOSED

    product.say("case", "release", case.id, "--no-wait")
    closed = product.wait(case.id, Status.CLOSED)
    assert closed.outcome is Outcome.RELEASED
    assert aws.image(bucket) == before
    product.assert_whole()


def test_in_auto_mode_no_one_is_asked(aws: Aws, on_aws: Start) -> None:
    bucket = aws.public_bucket()
    product = on_aws(guards={"mode": "auto"})
    product.send(asff(bucket, ACCOUNT))
    case = product.wait(product.only_case().id, Status.CONTAINED)
    assert aws.block(bucket) == CLOSED
    allowed = next(item.event for item in product.events(case.id) if item.event.type == "allowed")
    assert any("auto" in sentence for sentence in allowed.sentences), "an automatic act records why it was allowed"


def test_in_observe_mode_nothing_is_touched_and_the_plan_is_there(aws: Aws, on_aws: Start) -> None:
    bucket = aws.public_bucket()
    before = aws.image(bucket)
    product = on_aws(guards={"mode": "observe"})
    product.send(asff(bucket, ACCOUNT))
    case = product.wait(product.only_case().id, Status.PROPOSED)
    assert case.plan is not None and case.plan.needed
    product.run("case", "approve", case.id, "--yes")
    assert product.wait(case.id, Status.PROPOSED).status is Status.PROPOSED
    assert aws.image(bucket) == before
    assert not [call for call in aws.proxy.recorded() if (call.operation or "").startswith(("Put", "Delete"))]


def test_drift_is_noticed_put_right_on_request_and_still_released_exactly(aws: Aws, on_aws: Start) -> None:
    bucket = aws.public_bucket()
    before = aws.image(bucket)
    product = on_aws(guards={"mode": "auto"}, watch={"every": "1s"})
    product.send(asff(bucket, ACCOUNT))
    case = product.wait(product.only_case().id, Status.CONTAINED)

    aws.moto.client("s3").delete_public_access_block(Bucket=bucket)
    drifted = product.wait(case.id, Status.NEEDS_HUMAN)
    assert drifted.reason is Reason.DRIFTED

    product.say("case", "retry", case.id, "--no-wait")
    product.wait(case.id, Status.CONTAINED)
    assert aws.block(bucket) == CLOSED
    product.say("case", "release", case.id, "--no-wait")
    product.wait(case.id, Status.CLOSED)
    assert aws.image(bucket) == before, "the first before-image stays, whatever was seen later"


def test_drift_is_put_right_by_itself_where_that_is_set(aws: Aws, on_aws: Start) -> None:
    bucket = aws.public_bucket()
    product = on_aws(guards={"mode": "auto"}, watch={"every": "1s", "on_drift": "reapply"})
    product.send(asff(bucket, ACCOUNT))
    case = product.wait(product.only_case().id, Status.CONTAINED)
    aws.moto.client("s3").delete_public_access_block(Bucket=bucket)
    until(lambda: aws.block(bucket) == CLOSED, seconds=20)
    until(lambda: product.store.load(case.id).status is Status.CONTAINED)
    assert product.types(case.id).count("drifted") == 1


def test_what_another_changed_meanwhile_is_kept_and_reported(aws: Aws, on_aws: Start) -> None:
    bucket = aws.public_bucket()
    s3 = aws.moto.client("s3")
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(CLOSED, False))
    product = on_aws(guards={"mode": "auto"}, watch={"every": "1h"})
    product.send(asff(bucket, ACCOUNT))
    case = product.wait(product.only_case().id, Status.CONTAINED)

    theirs = {**CLOSED, "BlockPublicAcls": False, "IgnorePublicAcls": True}
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=theirs)
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "owner", "Value": "data"}]})
    product.say("case", "release", case.id, "--no-wait")
    product.wait(case.id, Status.CLOSED)
    assert aws.block(bucket) == dict.fromkeys(CLOSED, False), "theirs is the before-value here, the rest goes back"
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"], "what we never touched stays"


def test_a_bucket_that_is_gone_closes_the_case(aws: Aws, on_aws: Start) -> None:
    product = on_aws(guards={"mode": "auto"})
    product.send(asff("there-is-no-such-bucket", ACCOUNT))
    closed = product.wait(product.only_case().id, Status.CLOSED)
    assert closed.outcome is Outcome.TARGET_GONE


def test_a_finding_that_comes_back_after_the_release_opens_a_new_case(aws: Aws, on_aws: Start) -> None:
    bucket = aws.public_bucket()
    product = on_aws(guards={"mode": "auto"})
    product.send(asff(bucket, ACCOUNT))
    first = product.wait(product.only_case().id, Status.CONTAINED)
    product.say("case", "release", first.id, "--no-wait")
    product.wait(first.id, Status.CLOSED)
    product.send(asff(bucket, ACCOUNT, updated=datetime.now(UTC) + timedelta(seconds=1)))
    until(lambda: len(product.cases()) == 2, seconds=20)


def test_a_stop_by_the_init_system_is_clean_and_the_case_goes_on_after_the_start(aws: Aws, on_aws: Start) -> None:
    bucket = aws.public_bucket()
    product = on_aws()
    product.send(asff(bucket, ACCOUNT))
    case = product.wait(product.only_case().id, Status.AWAITING_APPROVAL)
    product.stop()
    assert '"event": "stopped"' in product.log()
    product.run("case", "approve", case.id, "--yes", "--no-wait")
    product.start()
    product.wait(case.id, Status.CONTAINED)


@pytest.mark.parametrize("uid_known", [True, False])
def test_an_alert_of_falco_isolates_the_pod_and_a_release_gives_it_back(
    cluster: Cluster, on_kubernetes: Start, uid_known: bool
) -> None:
    pod = cluster.api.make_pod(cluster.namespace, "web-1", {"app": "web", "tier": "front"})
    before = cluster.image("web-1")
    product = on_kubernetes(guards={"mode": "auto"})
    uid = pod["metadata"]["uid"] if uid_known else None
    assert product.send_with_token(falco("web-1", cluster.namespace, uid), "falco").status == 202
    case = product.wait(product.only_case().id, Status.CONTAINED)
    labels = cluster.pod("web-1")["metadata"]["labels"]
    assert "app" not in labels and len(labels) == 1
    (policy,) = cluster.policies()
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()

    product.say("case", "release", case.id, "--no-wait")
    product.wait(case.id, Status.CLOSED)
    assert cluster.image("web-1") == before
    product.assert_whole()


def test_a_pod_that_another_policy_keeps_open_is_not_reported_isolated(cluster: Cluster, on_kubernetes: Start) -> None:
    cluster.api.make_pod(cluster.namespace, "web-1", {"app": "web"})
    spec = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]}
    path = f"/apis/networking.k8s.io/v1/namespaces/{cluster.namespace}/networkpolicies"
    cluster.api.create(path, {"metadata": {"name": "allow-all"}, "spec": spec})
    before = cluster.image("web-1")
    product = on_kubernetes(guards={"mode": "auto"})
    product.send_with_token(falco("web-1", cluster.namespace), "falco")
    case = product.wait(product.only_case().id, Status.PROPOSED)
    until(lambda: product.store.load(case.id).sentence)
    sentence = product.store.load(case.id).sentence
    assert "allow-all" in sentence and "What would work" in sentence
    product.run("case", "approve", case.id, "--yes")
    assert cluster.image("web-1") == before


def test_a_policy_that_opens_the_pod_later_is_drift(cluster: Cluster, on_kubernetes: Start) -> None:
    cluster.api.make_pod(cluster.namespace, "web-1", {"app": "web"})
    product = on_kubernetes(guards={"mode": "auto"}, watch={"every": "1s"})
    product.send_with_token(falco("web-1", cluster.namespace), "falco")
    case = product.wait(product.only_case().id, Status.CONTAINED)
    spec = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]}
    path = f"/apis/networking.k8s.io/v1/namespaces/{cluster.namespace}/networkpolicies"
    cluster.api.create(path, {"metadata": {"name": "allow-all-out"}, "spec": spec})
    assert product.wait(case.id, Status.NEEDS_HUMAN).reason is Reason.DRIFTED
