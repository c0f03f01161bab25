"""The providers' own records against ours: what was done in our name without an intent, and what only we saw.

The samples in trails/ are of the documented formats; that of Kubernetes was written by a real API server, and then
another name was put in for the user.
"""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from quarantine.case import Changed, Event, Intended, Outcome, Recorded, Verified
from quarantine.case import Closed as ClosedEvent
from quarantine.errors import Malformed
from quarantine.model import Resource
from quarantine.reconciliation import Ours, Reconciled, reconcile
from quarantine.trail import Trail, read
from tests.core.builders import CASE, NOW, opened
from tests.core.cli_bench import CommandLine

TRAILS = Path(__file__).parent / "trails"
ROLE = "arn:aws:sts::123456789012:assumed-role/quarantine"
BUCKET = Resource(kind="aws:s3-bucket", id="shop-assets", scope="123456789012/eu-west-1")
GROUP = "/subscriptions/1111-2222/resourceGroups/shop/providers/Microsoft.Network/networkSecurityGroups/web"
FIREWALL = Resource(kind="azure:network-security-group", id=GROUP, scope="1111-2222/shop")
APPLICATION = "1f2e3d4c-aaaa-bbbb-cccc-000000000001"
POD = Resource(kind="kubernetes:pod", id="web-65c3248b", scope="prod/shop-e9f29862")


def cloudtrail(**first: Any) -> str:
    """The sample, with what is given in its one change of ours."""
    events = json.loads((TRAILS / "cloudtrail.json").read_text())
    record = json.loads(events["Events"][1]["CloudTrailEvent"])
    events["Events"][1]["CloudTrailEvent"] = json.dumps({**record, **first})
    return json.dumps(events)


def history(
    *receipts: str, resource: Resource = BUCKET, at: datetime = NOW, case: str = CASE, last: Event | None = None
) -> list[Recorded]:
    """A case that intended one step at `at` + 6 s, was answered these, and went on."""
    intended = Intended(step=0, action="any", resource=resource, before={}, target={}, epoch=1, key="k")
    changed = [Changed(step=0, permission="p", call="a.call", receipt=receipt) for receipt in receipts]
    events: list[Event] = [opened(), intended, *changed, last or Verified(step=0)]
    seconds = [0, 6, *[7] * len(receipts), 8]
    return [
        Recorded(case=case, seq=seq, at=at + timedelta(seconds=second), by="engine", event=event)
        for seq, (event, second) in enumerate(zip(events, seconds, strict=True), 1)
    ]


def joined(ours: list[Recorded], *texts: str, principals: tuple[str, ...] = ()) -> Reconciled:
    kept = Ours()
    kept.add(ours)
    return reconcile(kept, [read(text, "trail.json") for text in texts], principals)


def sample(name: str) -> str:
    return (TRAILS / name).read_text()


# -- reading -----------------------------------------------------------------------------------------------------------


def test_cloudtrail_is_read_from_a_lookup_and_from_a_log_file() -> None:
    looked_up = read(sample("cloudtrail.json"), "x")
    records = [json.loads(event["CloudTrailEvent"]) for event in json.loads(sample("cloudtrail.json"))["Events"]]
    assert read(json.dumps({"Records": records}), "x") == looked_up
    ours, theirs = looked_up.calls
    assert (ours.operation, ours.principal, ours.case) == ("s3:PutBucketPublicAccessBlock", ROLE, CASE)
    assert (set(ours.ids), ours.target, ours.refused) == ({"R1"}, "shop-assets", False)
    assert (theirs.principal, theirs.case) == ("arn:aws:iam::123456789012:user/ann", "")
    assert (looked_up.begins, looked_up.ends) == (NOW + timedelta(seconds=5), NOW + timedelta(seconds=30))


def test_one_call_of_azure_is_one_however_often_it_is_told() -> None:
    trail = read(sample("activity.json"), "x")
    ours, theirs = trail.calls
    assert (ours.operation, ours.target) == ("Microsoft.Network/networkSecurityGroups/write", GROUP)
    assert ours.ids == {"c1", "9a1c0f2e-0000-0000-0000-000000000001"}
    assert theirs.principal == "ann@example.com"
    assert read(json.dumps({"value": json.loads(sample("activity.json"))}), "x") == trail


def test_what_a_real_api_server_wrote_is_read() -> None:
    trail = read(sample("kubernetes.jsonl"), "x")
    assert [call.operation for call in trail.calls] == [
        "create pods", "create networkpolicies.networking.k8s.io", "patch pods", "patch pods",
        "delete networkpolicies.networking.k8s.io",
    ]  # fmt: skip
    assert {call.case for call in trail.calls[1:]} == {"c-0754b5924e6f"}
    assert trail.calls[2].target == "shop-e9f29862/web-65c3248b"
    assert {call.principal for call in trail.calls[1:]} == {"system:serviceaccount:quarantine:quarantine"}


OUT_OF_TIME = '[{"auditID": 1, "requestReceivedTimestamp": "0001-01-01T00:00:00+23:59"}]'
NO_TRAILS = ["", "[]", "{}", "no JSON", '{"Events":[]}', "[1]", '[{"auditID":1}]', "[" * 99_999, OUT_OF_TIME]


@pytest.mark.parametrize("text", NO_TRAILS)
def test_what_is_no_trail_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match=r"audit\.json: "):
        read(text, "audit.json")


# -- joining -----------------------------------------------------------------------------------------------------------


def test_they_agree() -> None:
    found = joined(history("R1"), sample("cloudtrail.json"))
    assert found.agrees and found.principals == (ROLE,)
    assert found.sentence == "1 call of ours, each of them intended and recorded"
    assert joined(history("C1", resource=FIREWALL), sample("activity.json")).agrees
    audited = [call for call in read(sample("kubernetes.jsonl"), "x").calls if call.case]
    receipts = [item for call in audited for item in call.ids]
    at = datetime(2026, 11, 25, 17, 18, tzinfo=UTC)
    real = joined(history(*receipts, resource=POD, at=at, case=str(audited[0].case)), sample("kubernetes.jsonl"))
    assert (real.agrees, real.calls) == (True, 4)


def test_a_call_by_our_principal_that_nobody_intended_is_an_alarm() -> None:
    """Its credentials were stolen, or somebody used them by hand: the case it claims did nothing of the kind then."""
    stolen = cloudtrail(requestID="R2", userAgent="aws-cli/2.31", eventName="DeleteBucketPolicy")
    found = joined(history("R1"), stolen, principals=(f"{ROLE}/another-session",))
    assert [call.operation for call in found.unintended] == ["s3:DeleteBucketPolicy"]
    assert not found.agrees and "1 call in our name that nobody intended" in found.sentence


def test_whoever_made_a_call_of_ours_is_us_in_every_trail() -> None:
    stolen = cloudtrail(requestID="R2", userAgent="aws-cli/2.31", eventTime="2026-03-01T12:30:00Z")
    found = joined(history("R1"), sample("cloudtrail.json"), stolen)
    assert [call.ids for call in found.unintended] == [{"R2"}]


def test_who_only_says_to_be_us_is_an_alarm_too() -> None:
    claimed = cloudtrail(requestID="R2", userIdentity={"type": "IAMUser", "arn": "arn:aws:iam::123456789012:user/eve"})
    found = joined(history("R1", case="c-ffffffffffff"), claimed)
    assert [call.principal for call in found.unintended] == ["arn:aws:iam::123456789012:user/eve"]


@pytest.mark.parametrize(
    ("minutes", "alarm"), [(-10, True), (0, False), (10, True)], ids=["before the intent", "meanwhile", "afterwards"]
)
def test_a_call_without_an_answer_needs_an_open_intent(minutes: int, alarm: bool) -> None:
    at = (NOW + timedelta(seconds=7, minutes=minutes)).isoformat()
    found = joined(history(), cloudtrail(eventTime=at), principals=(ROLE,))
    assert (bool(found.unintended), bool(found.unanswered)) == (alarm, not alarm)


def test_where_a_trail_does_not_name_the_case_the_resource_must_be_that_of_the_intent() -> None:
    lost = joined(history(resource=FIREWALL), sample("activity.json"), principals=(APPLICATION,))
    assert (len(lost.unanswered), lost.agrees) == (1, True)
    other = FIREWALL.model_copy(update={"id": GROUP.replace("/web", "/database")})
    found = joined(history(resource=other), sample("activity.json"), principals=(APPLICATION,))
    assert len(found.unintended) == 1


def test_an_intent_that_was_never_ended_is_open_and_a_closed_one_is_not() -> None:
    late = cloudtrail(requestID="R2", eventTime="2026-03-01T13:00:00Z")
    unfinished = history("R1")[:-1]
    assert joined(unfinished, late).unanswered
    closed = history("R1", last=ClosedEvent(outcome=Outcome.HANDLED_OUTSIDE))
    assert joined(closed, late).unintended


def test_a_call_that_was_refused_counts_as_well() -> None:
    found = joined(
        history("R1"), cloudtrail(requestID="R2", userAgent="x", errorCode="AccessDenied"), principals=(ROLE,)
    )
    assert str(found.unintended[0]).endswith(", refused")


def test_what_we_recorded_and_nobody_saw_is_told() -> None:
    wide = [cloudtrail(), cloudtrail(eventTime="2026-03-01T11:00:00Z", readOnly=True),
            cloudtrail(eventTime="2026-03-01T13:00:00Z", readOnly=True)]  # fmt: skip
    records = [json.loads(event["CloudTrailEvent"]) for text in wide for event in json.loads(text)["Events"]]
    found = joined(history("R1", "R-never"), json.dumps({"Records": records}))
    assert [told.receipt for told in found.unseen] == ["R-never"]
    assert found.sentence == "1 call of ours that no trail knows of"


def test_of_a_time_that_no_trail_covers_nothing_is_said() -> None:
    assert joined(history("R1", "R-never", at=NOW - timedelta(hours=1)), sample("cloudtrail.json")).unseen == ()
    assert joined(history("R1", "R-never", resource=POD), sample("cloudtrail.json")).unseen == (), "another provider"


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_says_what_differs_with_a_code(line: CommandLine, tmp_path: Path) -> None:
    line.case("close")
    trail = tmp_path / "trail.json.gz"
    trail.write_bytes(gzip.compress(sample("cloudtrail.json").encode()))
    found = line("audit", "reconcile", str(trail))
    assert found.exit_code == 28
    assert "nobody intended  s3:PutBucketPublicAccessBlock on shop-assets at 2026-03-01 12:00:07 UTC by" in found.stdout
    quiet = cloudtrail(userAgent="x")
    (tmp_path / "quiet.json").write_text(quiet)
    assert line("audit", "reconcile", str(tmp_path / "quiet.json")).exit_code == 0
    assert line("audit", "reconcile", str(tmp_path / "quiet.json"), "--principal", ROLE).exit_code == 28
    assert line("audit", "export", str(tmp_path / "b.zip")).exit_code == 0
    offline = line("audit", "reconcile", str(trail), "--bundle", str(tmp_path / "b.zip"), "-o", "json")
    assert json.loads(offline.stdout)["code"] == 28
    (tmp_path / "bad.json").write_text("{}")
    assert "this is no trail that is known" in line("audit", "reconcile", str(tmp_path / "bad.json")).stderr


def test_trails_of_a_type() -> None:
    assert isinstance(read(sample("kubernetes.jsonl"), "x"), Trail)
