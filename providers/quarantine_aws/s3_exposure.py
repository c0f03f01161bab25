"""Why a bucket may be open, and what closing it does not reach."""

from collections.abc import Callable
from typing import Any, Final

from pydantic import Field

from quarantine.action import Caveat
from quarantine.errors import Denied, Unreachable, Unsupported
from quarantine.model import Value
from quarantine_aws import s3_bucket
from quarantine_aws.cloud import AwsCloud

CLOSED: Final = dict.fromkeys(s3_bucket.SETTINGS, True)


class Exposure(Value):
    """Read while the bucket was not closed. What could not be read stands in `unread`, with the reason."""

    account: dict[str, bool] | None = None
    policy_public: bool = False
    public_grants: tuple[str, ...] = ()
    website: bool = False
    access_points: tuple[str, ...] = ()
    unread: dict[str, str] = Field(default_factory=dict)


def expose(cloud: AwsCloud, bucket: str) -> Exposure:
    """A fact that cannot be read is no reason to leave a bucket open, so it is noted instead."""
    reads: dict[str, Callable[[], Any]] = {
        "account": lambda: s3_bucket.account_settings(cloud),
        "public_grants": lambda: s3_bucket.public_grants(cloud, bucket),
        "policy_public": lambda: s3_bucket.policy_is_public(cloud, bucket),
        "website": lambda: s3_bucket.is_website(cloud, bucket),
        "access_points": lambda: s3_bucket.access_points(cloud, bucket),
    }
    facts: dict[str, Any] = {"unread": {}}
    for fact, read in reads.items():
        try:
            facts[fact] = read()
        except (Denied, Unreachable, Unsupported) as error:
            facts["unread"][fact] = str(error)
    return Exposure(**facts)


_FACTS: Final = {
    "account": "the account-level Block Public Access settings",
    "public_grants": "the bucket's ACL",
    "policy_public": "whether the bucket policy is public",
    "website": "whether the bucket is a static website",
    "access_points": "the bucket's access points",
}


def caveats(found: Exposure) -> tuple[Caveat, ...]:
    """Amazon S3 User Guide, "Blocking public access to your Amazon S3 storage"."""
    said = {f"unread-{fact}": f"Could not read {_FACTS[fact]}: {why}" for fact, why in found.unread.items()}
    said["authorized-access"] = (
        "What IAM allows, presigned URLs and caches of a CDN stay usable; copies made earlier stay outside."
    )
    if found.account == CLOSED:
        said["account-block-on"] = "The account-level block is on and closes this bucket already."
    elif "account" not in found.unread:
        said["account-block-off"] = "The account-level block is not fully on: other buckets can be opened."
    if found.access_points:
        said["access-points"] = (
            f"Access points have settings and policies of their own, which stay: {', '.join(found.access_points)}."
        )
    if found.website:
        said["website"] = "The bucket is a static website: its visitors will get 403."
    if found.policy_public:
        said["cross-account"] = (
            "The bucket policy is public, so RestrictPublicBuckets also cuts off the other accounts that it names."
        )
    return tuple(Caveat(id=key, text=text) for key, text in said.items())
