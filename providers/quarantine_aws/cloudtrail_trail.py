"""A trail of CloudTrail: whether it records, and our own look for those that do not."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from quarantine.action import Caveat, Fact, Poll, Refusal, State
from quarantine.errors import Gone
from quarantine.model import Finding, Resource, Severity
from quarantine_aws.cloud import AwsCloud

KIND: Final = "aws:cloudtrail-trail"


class Recording(State):
    logging: bool
    arn: Annotated[str, Fact] = ""
    home: Annotated[str, Fact] = ""
    """The region that the trail was made in: only there can it be started (CloudTrail API Reference, StartLogging)."""
    region: Annotated[str, Fact] = ""
    """The region that we asked in."""
    account: Annotated[str, Fact] = ""
    delivery_error: Annotated[str, Fact] = ""
    """Why the last delivery to its bucket failed."""


def describe(cloud: AwsCloud, name: str) -> dict[str, Any]:
    """Raises Gone: a name that is not there is no error to CloudTrail, and not in its answer (DescribeTrails)."""
    call = "cloudtrail.describe_trails"
    for trail in cloud.read("cloudtrail:DescribeTrails", call, trailNameList=[name])["trailList"]:
        if name in (trail["Name"], trail["TrailARN"]):
            described: dict[str, Any] = trail
            return described
    raise Gone(f"CloudTrail knows no trail {name} in {cloud.account}/{cloud.region}")


def resolve(cloud: AwsCloud, resource: Resource) -> tuple[str, Mapping[str, str]]:
    """Its tags are a call of their own, and protect nothing here: what records is only ever switched on."""
    return describe(cloud, resource.id)["TrailARN"], {}


def status(cloud: AwsCloud, arn: str) -> dict[str, Any]:
    found: dict[str, Any] = cloud.read("cloudtrail:GetTrailStatus", "cloudtrail.get_trail_status", Name=arn)
    return found


def refusal(before: Recording) -> Refusal | None:
    owner = before.arn.split(":")[4] if before.arn.count(":") >= 5 else before.account
    if owner != before.account:
        reason = f"the trail belongs to the organisation, and is started in its account {owner} alone"
        return Refusal(reason=reason, alternatives=(f"the same in the scope {owner}/{before.home}",))
    if before.home != before.region:
        reason = f"the trail was made in {before.home}, and is started there alone"
        return Refusal(reason=reason, alternatives=(f"the same in the scope {before.account}/{before.home}",))
    return None


# CloudTrail User Guide, "CloudTrail concepts" and "Working with CloudTrail event history".
_ALWAYS: Final = {
    "gap": "What happened meanwhile is not in the trail; the event history has management events of 90 days.",
    "whoever-stopped-it": "Whoever stopped it may stop it again, which is seen as drift: look who that was.",
    "event-selectors": "What it records is not judged: event selectors, its bucket and its key stay as they are.",
}


def caveats(before: Recording) -> tuple[Caveat, ...]:
    said = dict(_ALWAYS)
    if before.delivery_error:
        said["delivery-fails"] = f"It cannot write to its bucket ({before.delivery_error}): started, it keeps nothing."
    return tuple(Caveat(id=key, text=text) for key, text in said.items())


def stopped_trails(cloud: AwsCloud, scope: str, now: datetime, cursor: str | None) -> tuple[list[Finding], str | None]:
    """The account's own trails of this region that do not record. One call, and one for each trail."""
    listed = cloud.read("cloudtrail:DescribeTrails", "cloudtrail.describe_trails", includeShadowTrails=False)
    return [
        Finding(
            source=STOPPED_TRAILS.name,
            id=f"stopped-trail:{trail['TrailARN']}",
            title=f"Trail {trail['Name']} does not record",
            type="stopped-trail",
            severity=Severity.HIGH,
            resource=Resource(kind=KIND, id=trail["Name"], scope=scope, uid=trail["TrailARN"]),
            seen_at=now,
        )
        for trail in listed["trailList"]
        if trail["TrailARN"].split(":")[4] == cloud.account and not status(cloud, trail["TrailARN"])["IsLogging"]
    ], cursor


STOPPED_TRAILS: Final = Poll(
    name="aws:stopped-trails",
    permissions=("cloudtrail:DescribeTrails", "cloudtrail:GetTrailStatus"),
    run=stopped_trails,
)
