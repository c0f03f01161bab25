"""Findings that we ask for: buckets that are public now, and what Security Hub holds."""

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from quarantine.action import Poll
from quarantine.errors import Denied, Gone, Malformed
from quarantine.model import Finding, Resource, Severity
from quarantine_aws import s3_bucket
from quarantine_aws.asff import asff
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.findings import moment

log = logging.getLogger(__name__)

THREADS: Final = 8
OVERLAP: Final = timedelta(minutes=10)
"""Security Hub shows an update minutes late: so far each poll looks behind the last one's start."""
FIRST_LOOK: Final = timedelta(hours=24)


def public_buckets(cloud: AwsCloud, scope: str, now: datetime, cursor: str | None) -> tuple[list[Finding], str | None]:
    """The region's buckets that anybody can get at now. One call for a closed one, three to judge an open one.

    A bucket that cannot be read is logged and left out; if none can be, raises Denied.
    """
    account = s3_bucket.account_settings(cloud)
    if account and account["IgnorePublicAcls"] and account["RestrictPublicBuckets"]:
        return [], cursor  # the account closes every bucket, whatever each one says
    buckets = list(_buckets(cloud))
    denied: list[Denied] = []

    def look(bucket: str) -> Finding | None:
        try:
            return judge(cloud, scope, bucket, account, now)
        except Gone:
            return None
        except Denied as error:
            log.warning("bucket_not_judged", extra={"bucket": bucket, "reason": str(error)})
            denied.append(error)
            return None

    with ThreadPoolExecutor(THREADS, thread_name_prefix="public-buckets") as pool:
        found = [finding for finding in pool.map(look, buckets) if finding is not None]
    if denied and len(denied) == len(buckets):
        raise denied[0]
    return found, cursor


def _buckets(cloud: AwsCloud) -> Iterator[str]:
    page: dict[str, Any] = {}
    while True:
        answer = cloud.read(
            "s3:ListAllMyBuckets", "s3.list_buckets", BucketRegion=cloud.region, MaxBuckets=1000, **page
        )
        for bucket in answer.get("Buckets", ()):
            if bucket.get("BucketRegion", cloud.region) == cloud.region:
                yield bucket["Name"]
        if not answer.get("ContinuationToken"):
            return
        page = {"ContinuationToken": answer["ContinuationToken"]}


def judge(
    cloud: AwsCloud, scope: str, bucket: str, account: s3_bucket.Settings | None, now: datetime
) -> Finding | None:
    """S3 applies the strictest combination of account and bucket (S3 User Guide, "Blocking public access")."""
    own = s3_bucket.own_settings(cloud, bucket)
    holds = {name: bool((account or {}).get(name) or (own or {}).get(name)) for name in s3_bucket.SETTINGS}
    grants = () if holds["IgnorePublicAcls"] else s3_bucket.public_grants(cloud, bucket)
    by_policy = not holds["RestrictPublicBuckets"] and s3_bucket.policy_is_public(cloud, bucket)
    ways = [*(["policy"] if by_policy else []), *(["acl"] if grants else [])]
    if not ways:
        return None
    return Finding(
        source="aws:public-buckets",
        id=f"public-bucket:{bucket}:{'+'.join(ways)}",
        title=f"Bucket {bucket} is public by its {' and its '.join(ways)}",
        type="public-bucket",
        severity=Severity.HIGH,
        resource=Resource(kind="aws:s3-bucket", id=bucket, scope=scope),
        seen_at=now,
        record={
            "settings": dict(own) if own is not None else None,
            "account_settings": dict(account) if account is not None else None,
            "policy_public": by_policy,
            "public_grants": list(grants),
        },
    )


def security_hub(cloud: AwsCloud, scope: str, now: datetime, cursor: str | None) -> tuple[list[Finding], str | None]:  # noqa: ARG001
    """New, active findings that were updated since the last poll. A finding that cannot be parsed is logged."""
    since = (datetime.fromisoformat(cursor) if cursor else now - FIRST_LOOK) - OVERLAP
    found: list[Finding] = []
    for raw in _security_hub_findings(cloud, since, now):
        try:
            if _asked_for(raw, since):
                found += asff(raw, "aws:security-hub", now)
        except Malformed as error:
            log.warning("finding_malformed", extra={"finding": str(raw.get("Id", ""))[:200], "reason": str(error)})
    return found, now.isoformat()


def _security_hub_findings(cloud: AwsCloud, since: datetime, now: datetime) -> Iterator[dict[str, Any]]:
    page: dict[str, Any] = {}
    while True:
        answer = cloud.read(
            "securityhub:GetFindings",
            "securityhub.get_findings",
            Filters={
                "WorkflowStatus": [{"Value": "NEW", "Comparison": "EQUALS"}],
                "RecordState": [{"Value": "ACTIVE", "Comparison": "EQUALS"}],
                "UpdatedAt": [{"Start": _stamp(since), "End": _stamp(now)}],
            },
            SortCriteria=[{"Field": "UpdatedAt", "SortOrder": "asc"}],
            MaxResults=100,
            **page,
        )
        yield from answer.get("Findings", ())
        if not answer.get("NextToken"):
            return
        page = {"NextToken": answer["NextToken"]}


def _asked_for(raw: Mapping[str, Any], since: datetime) -> bool:
    """The filters again: what answers in Security Hub's place may not know them."""
    updated = moment(raw.get("UpdatedAt"))
    workflow = (raw.get("Workflow") or {}).get("Status", "NEW")
    return (
        workflow == "NEW"
        and raw.get("RecordState", "ACTIVE") == "ACTIVE"
        and (updated is None or updated >= since)  # without a time, the parser says what is wrong
    )


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


PUBLIC_BUCKETS: Final = Poll(
    name="aws:public-buckets",
    permissions=(
        "s3:ListAllMyBuckets",
        "s3:GetAccountPublicAccessBlock",
        "s3:GetBucketPublicAccessBlock",
        "s3:GetBucketAcl",
        "s3:GetBucketPolicyStatus",
    ),
    run=public_buckets,
)
SECURITY_HUB: Final = Poll(name="aws:security-hub", permissions=("securityhub:GetFindings",), run=security_hub)
