"""The second and the third door: by the clock and by hand. The same case comes out of each."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quarantine.case import Outcome, Status
from tests.acceptance.conftest import CLOSED, SCOPE, Aws, Cluster
from tests.acceptance.product import Product
from tests.testbed.poll import until

Start = Callable[..., Product]


# -- by the clock ----------------------------------------------------------------------------------------------------


def test_a_poll_finds_the_public_bucket_itself_and_closes_it(aws: Aws, on_aws: Start) -> None:
    public, private = aws.public_bucket(), "a-private-one"
    aws.moto.client("s3").create_bucket(Bucket=private)
    before, untouched = aws.image(public), aws.image(private)
    poll = {"poll": "aws:public-buckets", "scope": SCOPE, "every": "2s"}
    product = on_aws(guards={"mode": "auto"}, schedules={"buckets": poll})
    case = product.wait(product.only_case().id, Status.CONTAINED)
    assert case.opened_by == "schedule:buckets"
    assert aws.block(public) == CLOSED
    assert aws.image(private) == untouched
    product.stop()
    product.say("case", "release", case.id)
    assert product.store.load(case.id).outcome is Outcome.RELEASED, "a release needs no server"
    assert aws.image(public) == before


def test_a_schedule_runs_its_own_playbook_on_what_it_finds(aws: Aws, on_aws: Start, tmp_path: Path) -> None:
    """Matching would not choose this one: it answers another type."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "close-at-night.yaml").write_text(
        "name: close-at-night\ndescription: For tests.\nmatch: {resource: 'aws:s3-bucket', type: none-at-all}\n"
        "steps:\n  - action: aws:s3-block-public-access\n"
    )
    bucket = aws.public_bucket()
    poll = {"poll": "aws:public-buckets", "scope": SCOPE, "every": "2s", "playbook": "close-at-night"}
    product = on_aws(guards={"mode": "auto"}, schedules={"night": poll}, playbooks=[str(mine)])
    case = product.wait(product.only_case().id, Status.CONTAINED)
    assert case.playbook == "close-at-night"
    assert aws.block(bucket) == CLOSED


def test_a_finding_in_security_hub_is_polled(aws: Aws, on_aws: Start) -> None:
    from tests.acceptance.product import asff
    from tests.testbed.aws import ACCOUNT

    bucket = aws.public_bucket()
    (finding,) = asff(bucket, ACCOUNT)["detail"]["findings"]
    aws.moto.client("securityhub").batch_import_findings(Findings=[finding])
    poll = {"poll": "aws:security-hub", "scope": SCOPE, "every": "2s"}
    product = on_aws(guards={"mode": "auto"}, schedules={"hub": poll})
    product.wait(product.only_case().id, Status.CONTAINED)
    assert aws.block(bucket) == CLOSED


def test_a_poll_that_fails_is_told_and_tried_again(aws: Aws, on_aws: Start) -> None:
    bucket = aws.public_bucket()
    aws.proxy.answer(
        "ListBuckets", 403, {"content-type": "application/xml"}, b"<Error><Code>AccessDenied</Code></Error>"
    )
    poll = {"poll": "aws:public-buckets", "scope": SCOPE, "every": "2s"}
    product = on_aws(guards={"mode": "auto"}, schedules={"buckets": poll})
    product.wait(product.only_case().id, Status.CONTAINED)
    assert aws.block(bucket) == CLOSED
    assert '"event": "poll_failed"' in product.log()


# -- by hand ---------------------------------------------------------------------------------------------------------


def run(product: Product, *words: str) -> tuple[int, Any]:
    done = product.run(*words, "-o", "json")
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else None


def test_a_dry_run_touches_nothing_and_apply_does_it_without_a_server(aws: Aws, on_aws: Start) -> None:
    bucket = aws.public_bucket()
    before = aws.image(bucket)
    product = on_aws()
    product.stop()
    product.say("run", "close-public-bucket", f"aws:s3-bucket/{bucket}", "--scope", SCOPE)
    assert aws.image(bucket) == before
    assert product.cases() == []

    product.say("run", "close-public-bucket", f"aws:s3-bucket/{bucket}", "--scope", SCOPE, "--apply")
    case = product.only_case()
    assert (case.status, case.requested) == (Status.CONTAINED, True)
    assert aws.block(bucket) == CLOSED
    product.say("case", "release", case.id)
    assert aws.image(bucket) == before
    product.assert_whole()


def test_a_saved_plan_is_done_exactly_or_not_at_all(aws: Aws, on_aws: Start, tmp_path: Path) -> None:
    bucket, plan = aws.public_bucket(), tmp_path / "plan.json"
    product = on_aws()
    product.stop()
    words = ("plan", "close-public-bucket", f"aws:s3-bucket/{bucket}", "--scope", SCOPE, "--out", str(plan))
    product.say(*words)
    half_closed = {**CLOSED, "BlockPublicAcls": False}
    aws.moto.client("s3").put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=half_closed)
    assert product.run("apply", str(plan)).returncode == 7
    assert aws.block(bucket) == half_closed

    plan.unlink()
    product.say(*words)
    product.say("apply", str(plan))
    assert aws.block(bucket) == CLOSED


def test_a_task_is_stopped_only_when_a_second_person_says_so(aws: Aws, on_aws: Start) -> None:
    product, task = on_aws(), aws.moto.make_task()
    done = product.run("run", "stop-task", f"aws:ecs-task/{task}", "--scope", SCOPE, "--apply")
    assert done.returncode == 5, done.stderr
    case = product.only_case()
    assert case.plan is not None
    caveats = [caveat.text for step in case.plan.steps for caveat in step.caveats]
    assert any("'web'" in caveat and "start another" in caveat for caveat in caveats)
    own = product.run("case", "approve", case.id)
    assert own.returncode == 2 and "somebody else must approve" in own.stderr

    from datetime import UTC, datetime

    from quarantine.config import Approvals
    from quarantine.desk import Desk

    Desk(product.store, Approvals(), lambda: datetime.now(UTC)).approve(case.id, "local:somebody-else")
    closed = product.wait(case.id, Status.CLOSED, seconds=60)
    assert closed.outcome is Outcome.ONE_WAY_DONE
    (after,) = aws.moto.client("ecs").describe_tasks(cluster="shop", tasks=[task])["tasks"]
    assert after["desiredStatus"] == "STOPPED"
    captured = next(item.event for item in product.events(case.id) if item.event.type == "captured")
    files = [product.folder / "data" / "evidence" / piece.sha256[:2] / piece.sha256 for piece in captured.evidence]
    assert any(b'"team"' in file.read_bytes() for file in files), "the tags were kept before they were lost"


def test_a_pod_is_isolated_by_hand(cluster: Cluster, on_kubernetes: Start) -> None:
    cluster.api.make_pod(cluster.namespace, "web-1", {"app": "web"})
    before = cluster.image("web-1")
    product = on_kubernetes()
    scope = f"testbed/{cluster.namespace}"
    product.say("run", "isolate-pod", "kubernetes:pod/web-1", "--scope", scope, "--apply")
    case = product.only_case()
    assert len(cluster.policies()) == 1
    product.say("case", "release", case.id)
    until(lambda: product.store.load(case.id).status is Status.CLOSED)
    assert cluster.image("web-1") == before


def test_doctor_says_what_is_wrong_and_what_to_do(aws: Aws, on_aws: Start) -> None:
    product = on_aws()
    code, checks = run(product, "doctor")
    assert code == 0, checks
    accounts = {"999999999999": {"regions": ["us-east-1"]}}
    other = on_aws(providers={"aws": {"endpoint_url": aws.proxy.url, "accounts": accounts}})
    code, checks = run(other, "doctor")
    assert code == 6
    failed = [check for check in checks if check["verdict"] == "fail"]
    assert failed and all(check["fix"] for check in failed)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("run", "close-public-buket", "aws:s3-bucket/x", "--scope", SCOPE), 2, "Did you mean 'close-public-bucket'?"),
        (
            ("run", "close-public-bucket", "aws:s3-bucket/x", "--scope", "999999999999/us-east-1"),
            2,
            "is not a configured account",
        ),
        (("run", "close-public-bucket", "kubernetes:pod/x", "--scope", SCOPE), 2, "aws:s3-bucket"),
        (("run", "close-public-bucket", "aws:s3-bucket/there-is-none", "--scope", SCOPE), 2, "there-is-none in"),
        (("case", "show", "c-none"), 2, "no case begins with"),
        (("apply", "/no/such/plan.json"), 2, "plan.json"),
        (("validate", "/no/such/playbook.yaml"), 2, "playbook.yaml"),
    ],
)
def test_a_mistake_at_the_command_line_has_a_clear_answer(
    aws: Aws, on_aws: Start, words: tuple[str, ...], code: int, says: str
) -> None:
    done = on_aws().run(*words)
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
