"""What AWS says about how open a bucket is. Reads only; shared by the action and the posture poll."""

from collections.abc import Mapping
from typing import Any, Final

from quarantine.errors import Unsupported
from quarantine.model import Resource
from quarantine_aws.cloud import AwsCloud

Settings = dict[str, bool]

SETTINGS: Final = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")

_PUBLIC_GROUPS: Final = {
    "http://acs.amazonaws.com/groups/global/AllUsers": "AllUsers",
    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers": "AuthenticatedUsers",
}


def own_settings(cloud: AwsCloud, bucket: str) -> Settings | None:
    """The bucket's own Block Public Access settings, always all four. None if absent, which is not four times no."""
    answer = cloud.read_or_absent("s3:GetBucketPublicAccessBlock", "s3.get_public_access_block", Bucket=bucket)
    return _settings(answer)


def account_settings(cloud: AwsCloud) -> Settings | None:
    """The account's settings, which hold for all of its buckets."""
    return _settings(cloud.read_or_absent("s3:GetAccountPublicAccessBlock", "s3control.get_public_access_block"))


def resolve(cloud: AwsCloud, resource: Resource) -> tuple[None, Mapping[str, str]]:
    """A bucket has no id but its name. Raises Unsupported for one in another region than the cloud."""
    answer = cloud.read("s3:GetBucketLocation", "s3.get_bucket_location", Bucket=resource.id)
    # Amazon S3 API Reference, GetBucketLocation: null is us-east-1, EU is eu-west-1.
    region = {None: "us-east-1", "": "us-east-1", "EU": "eu-west-1"}.get(
        answer.get("LocationConstraint"), answer.get("LocationConstraint")
    )
    if region != cloud.region:
        raise Unsupported(f"bucket {resource.id} is in {region}: use the scope {cloud.account}/{region}")
    tags = cloud.read_or_absent("s3:GetBucketTagging", "s3.get_bucket_tagging", Bucket=resource.id)
    return None, {tag["Key"]: tag["Value"] for tag in (tags or {}).get("TagSet", ())}


def policy_is_public(cloud: AwsCloud, bucket: str) -> bool:
    answer = cloud.read_or_absent("s3:GetBucketPolicyStatus", "s3.get_bucket_policy_status", Bucket=bucket)
    return bool(answer and answer.get("PolicyStatus", {}).get("IsPublic"))


def public_grants(cloud: AwsCloud, bucket: str) -> tuple[str, ...]:
    """`AllUsers:READ` and the like. While IgnorePublicAcls is on, S3 answers with the effective ACL: read it before."""
    answer = cloud.read("s3:GetBucketAcl", "s3.get_bucket_acl", Bucket=bucket)
    grants = {
        f"{_PUBLIC_GROUPS[grant['Grantee']['URI']]}:{grant.get('Permission', '')}"
        for grant in answer.get("Grants", ())
        if grant.get("Grantee", {}).get("URI") in _PUBLIC_GROUPS
    }
    return tuple(sorted(grants))


def is_website(cloud: AwsCloud, bucket: str) -> bool:
    return cloud.read_or_absent("s3:GetBucketWebsite", "s3.get_bucket_website", Bucket=bucket) is not None


def access_points(cloud: AwsCloud, bucket: str) -> tuple[str, ...]:
    names: list[str] = []
    page: dict[str, Any] = {}
    while True:
        answer = cloud.read("s3:ListAccessPoints", "s3control.list_access_points", Bucket=bucket, **page)
        names += [point["Name"] for point in answer.get("AccessPointList", ())]
        if not answer.get("NextToken"):
            return tuple(sorted(names))
        page = {"NextToken": answer["NextToken"]}


def _settings(answer: Any) -> Settings | None:
    if answer is None:
        return None
    raw = answer.get("PublicAccessBlockConfiguration", {})
    return {name: bool(raw.get(name, False)) for name in SETTINGS}
