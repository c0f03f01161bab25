"""Switches on all four Block Public Access settings of a bucket. Policies, ACLs and objects stay as they are."""

from datetime import timedelta
from typing import Annotated, Any, ClassVar

from quarantine.action import Action, Caveat, Fact, State
from quarantine.model import Resource
from quarantine_aws import s3_bucket
from quarantine_aws.cloud import S3_SIGNATURE, AwsCloud
from quarantine_aws.s3_exposure import CLOSED, Exposure, caveats, expose


class BlockedAccess(State):
    """The bucket's own settings, None if it has none. The exposure is only read while they are not all on."""

    settings: dict[str, bool] | None
    exposure: Annotated[Exposure | None, Fact] = None


class S3BlockPublicAccess(Action[AwsCloud, BlockedAccess]):
    """Closes a bucket to the public, and to other accounts if its policy is public.

    Bucket configurations are eventually consistent (Amazon S3 User Guide, "Amazon S3 data consistency model"). AWS
    gives no number: the two durations are ours.
    """

    name: ClassVar[str] = "aws:s3-block-public-access"
    resource: ClassVar[str] = "aws:s3-bucket"
    state: ClassVar[type[State]] = BlockedAccess
    settles_within: ClassVar[timedelta] = timedelta(seconds=10)
    consistent_within: ClassVar[timedelta] = timedelta(seconds=10)
    late_within: ClassVar[timedelta] = S3_SIGNATURE

    def permissions(self) -> tuple[str, ...]:
        return (
            "s3:GetBucketPublicAccessBlock",
            "s3:GetAccountPublicAccessBlock",
            "s3:GetBucketAcl",
            "s3:GetBucketPolicyStatus",
            "s3:GetBucketWebsite",
            "s3:ListAccessPoints",
            "s3:PutBucketPublicAccessBlock",  # deleting the settings needs it too
        )

    def observe(self, cloud: AwsCloud, resource: Resource) -> BlockedAccess:
        settings = s3_bucket.own_settings(cloud, resource.id)
        return BlockedAccess(settings=settings, exposure=None if settings == CLOSED else expose(cloud, resource.id))

    def contained(self, before: BlockedAccess) -> BlockedAccess:
        return before.model_copy(update={"settings": dict(CLOSED)})

    def apply(self, cloud: AwsCloud, resource: Resource, now: BlockedAccess, target: Any) -> None:
        if now.settings == target.settings:
            return
        permission, bucket = "s3:PutBucketPublicAccessBlock", resource.id
        if target.settings is None:
            cloud.change(permission, "s3.delete_public_access_block", Bucket=bucket)
            return
        cloud.change(
            permission, "s3.put_public_access_block", Bucket=bucket, PublicAccessBlockConfiguration=target.settings
        )

    def caveats(self, before: BlockedAccess) -> tuple[Caveat, ...]:
        return () if before.exposure is None else caveats(before.exposure)
