"""Starts a trail that somebody has stopped. What it records, and where, stays as it is."""

from datetime import timedelta
from typing import Any, ClassVar

from quarantine.action import Action, Caveat, Refusal, State
from quarantine.model import Resource
from quarantine_aws import cloudtrail_trail
from quarantine_aws.cloud import SIGNATURE, AwsCloud
from quarantine_aws.cloudtrail_trail import Recording


class CloudtrailRestart(Action[AwsCloud, Recording]):
    """A release stops it again, for that is how it was: what shall go on is kept (`case keep`), not released.

    AWS gives no number for how soon the status shows it: the two durations are ours.
    """

    name: ClassVar[str] = "aws:cloudtrail-restart"
    resource: ClassVar[str] = cloudtrail_trail.KIND
    state: ClassVar[type[State]] = Recording
    settles_within: ClassVar[timedelta] = timedelta(seconds=20)
    consistent_within: ClassVar[timedelta] = timedelta(seconds=10)
    late_within: ClassVar[timedelta] = SIGNATURE

    def permissions(self) -> tuple[str, ...]:
        reads = ("cloudtrail:DescribeTrails", "cloudtrail:GetTrailStatus")
        return (*reads, "cloudtrail:StartLogging", "cloudtrail:StopLogging")

    def observe(self, cloud: AwsCloud, resource: Resource) -> Recording:
        trail = cloudtrail_trail.describe(cloud, resource.id)
        status = cloudtrail_trail.status(cloud, trail["TrailARN"])
        return Recording(
            logging=status["IsLogging"],
            arn=trail["TrailARN"],
            home=trail["HomeRegion"],
            region=cloud.region,
            account=cloud.account,
            delivery_error=status.get("LatestDeliveryError", ""),
        )

    def contained(self, before: Recording) -> Recording:
        return before.model_copy(update={"logging": True})

    def apply(self, cloud: AwsCloud, resource: Resource, now: Recording, target: Any) -> None:
        if target.logging and not now.logging:
            cloud.change("cloudtrail:StartLogging", "cloudtrail.start_logging", Name=now.arn)
        if now.logging and not target.logging:
            cloud.change("cloudtrail:StopLogging", "cloudtrail.stop_logging", Name=now.arn)

    def refusal(self, before: Recording) -> Refusal | None:
        return cloudtrail_trail.refusal(before)

    def caveats(self, before: Recording) -> tuple[Caveat, ...]:
        return cloudtrail_trail.caveats(before)
