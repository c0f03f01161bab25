"""Asks for a finding again where it came from: Security Hub, GuardDuty, or the bucket itself."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from pydantic import JsonValue

from quarantine.action import Reread
from quarantine.errors import Unsupported
from quarantine.model import Finding, Resource, Standing
from quarantine_aws import s3_bucket
from quarantine_aws.asff import asff, standing
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.findings import ACCOUNT, REGION, get, part, text
from quarantine_aws.guardduty import guardduty
from quarantine_aws.polls import PUBLIC_BUCKETS, SECURITY_HUB, judge

NO_DETECTOR: Final = "0" * 32


def _in_security_hub(cloud: AwsCloud, finding: Finding, now: datetime) -> Standing:
    """An id is unique within its product (Security Hub API Reference, AwsSecurityFinding)."""
    wanted = {"Id": finding.id}
    product = finding.record.get("ProductArn")
    if isinstance(product, str):
        wanted["ProductArn"] = product
    filters = {name: [{"Value": value, "Comparison": "EQUALS"}] for name, value in wanted.items()}
    answer = cloud.read("securityhub:GetFindings", "securityhub.get_findings", Filters=filters, MaxResults=100)
    for raw in answer.get("Findings", ()):
        if all(raw.get(name) == value for name, value in wanted.items()) and _names(asff(raw, "", now), finding):
            return standing(raw)
    return Standing.UNKNOWN


def _in_guardduty(cloud: AwsCloud, finding: Finding, now: datetime) -> Standing:
    """GuardDuty API Reference, GetFindings: by the detector, and the id within it."""
    detector = text(part(finding.record, "service"), "detectorId", where="service")
    answer = cloud.read("guardduty:GetFindings", "guardduty.get_findings", DetectorId=detector, FindingIds=[finding.id])
    for raw in answer.get("Findings", ()):
        if get(raw, "id") == finding.id and _names(guardduty(raw, "", now), finding):
            archived = get(part(raw, "service"), "archived") is True
            return Standing.SUPPRESSED if archived else Standing.ACTIVE
    return Standing.UNKNOWN


def _still_public(cloud: AwsCloud, finding: Finding, now: datetime) -> Standing:
    """The condition itself, by the judgement of the poll."""
    account = s3_bucket.account_settings(cloud)
    public = judge(cloud, finding.resource.scope, finding.resource.id, account, now)
    return Standing.RESOLVED if public is None else Standing.ACTIVE


def _names(found: list[Finding], finding: Finding) -> bool:
    """Is it still about the same resource? One of the findings in what the source gave is."""
    return any(_place(item.resource) == _place(finding.resource) for item in found)


def _place(resource: Resource) -> tuple[str, str, str]:
    return resource.kind, resource.scope, resource.id


def _home(finding: Finding) -> str:
    """Where Security Hub keeps a finding: in its own account and region, whatever resource it is about."""
    record: Mapping[str, JsonValue] = finding.record
    return f"{text(record, 'AwsAccountId', ACCOUNT)}/{text(record, 'Region', REGION)}"


def _probe_guardduty(cloud: AwsCloud) -> None:
    """Whoever may ask learns that this detector is not theirs; whoever may not, that they may not."""
    try:
        cloud.read("guardduty:GetFindings", "guardduty.get_findings", DetectorId=NO_DETECTOR, FindingIds=[NO_DETECTOR])
    except Unsupported:
        return


def _detectors(finding: Finding) -> str:
    """Where GuardDuty keeps a finding: a user or a role that it is about is in no region."""
    record: Mapping[str, JsonValue] = finding.record
    return f"{text(record, 'accountId', ACCOUNT)}/{text(record, 'region', REGION)}"


def _there(finding: Finding) -> str:
    return finding.resource.scope


_SECURITY_HUB: Final = Reread(
    permissions=("securityhub:GetFindings",),
    scope=_home,
    ask=_in_security_hub,
    probe=lambda cloud: cloud.read("securityhub:GetFindings", "securityhub.get_findings", MaxResults=1),
)
REREADS: Final[Mapping[str, Reread]] = {
    "aws:asff": _SECURITY_HUB,
    SECURITY_HUB.name: _SECURITY_HUB,
    "aws:guardduty": Reread(
        permissions=("guardduty:GetFindings",), scope=_detectors, ask=_in_guardduty, probe=_probe_guardduty
    ),
    PUBLIC_BUCKETS.name: Reread(
        permissions=tuple(item for item in PUBLIC_BUCKETS.permissions if item != "s3:ListAllMyBuckets"),
        scope=_there,
        ask=_still_public,
        probe=s3_bucket.account_settings,
    ),
}
