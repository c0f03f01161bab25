"""Security Hub's findings: the AWS Security Finding Format (ASFF). Pure."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import JsonValue

from quarantine.errors import Malformed
from quarantine.model import Finding, Resource, Severity, Standing
from quarantine.record import first_seen, link
from quarantine.scale import WORDS, number
from quarantine_aws import arn, named
from quarantine_aws.findings import (
    ACCOUNT,
    REGION,
    each,
    free_text,
    last_seen,
    moment,
    part,
    text,
    titled_sample,
    type_name,
)

WRITTEN_BY: Final = "cloud-quarantine"
"""`Note.UpdatedBy` of what we write back to Security Hub."""

_CONTROL: Final = re.compile(r"[A-Z][A-Za-z0-9]*\.[0-9]+")


def asff(record: Mapping[str, JsonValue], source: str, received: datetime) -> list[Finding]:
    """An EventBridge event, one finding, or several of them: one Finding for each resource of each."""
    return each(record, lambda finding: _asff(finding, source, received))


def _asff(finding: dict[str, Any], source: str, received: datetime) -> list[Finding]:
    """Security Hub User Guide, "AWS Security Finding Format (ASFF) syntax"."""
    identifier = text(finding, "Id")
    account = text(finding, "AwsAccountId", ACCOUNT)
    resources = finding.get("Resources")
    if not isinstance(resources, list) or not resources:
        raise Malformed("'Resources' is missing: the finding names no resource")
    seen_at = last_seen(finding, ("LastObservedAt", "UpdatedAt", "CreatedAt"), received)
    return [
        Finding(
            source=source,
            id=identifier,
            title=free_text(finding.get("Title")),
            type=_asff_type(finding)[:1024],
            severity=_asff_severity(finding),
            resource=_asff_resource(resource, account, finding, f"Resources[{at}]"),
            seen_at=seen_at,
            first_seen_at=first_seen(finding, "FirstObservedAt", "CreatedAt"),
            link=link(finding, "SourceUrl"),
            sample=_asff_sample(finding),
            posture=bool(part(finding, "Compliance")),
            active=_asff_active(finding),
            record=finding,
        )
        for at, resource in enumerate(resources)
    ]


def _asff_type(finding: dict[str, Any]) -> str:
    """The control (S3.8) where there is one, else the first type, else who generated it."""
    control = part(finding, "Compliance").get("SecurityControlId")
    if isinstance(control, str) and control:
        return control
    generator = free_text(finding.get("GeneratorId"))
    last = generator.rpartition("/")[2]  # aws-foundational-security-best-practices/v/1.0.0/S3.8
    if _CONTROL.fullmatch(last):
        return last
    types = finding.get("Types")
    first = types[0] if isinstance(types, list) and types else None
    return first if isinstance(first, str) else generator


def _asff_severity(finding: dict[str, Any]) -> Severity:
    """Security Hub API Reference, Severity: one of Label and Normalized must be there, Label is preferred."""
    for place in (finding, part(finding, "FindingProviderFields")):
        severity = part(place, "Severity")
        label, normalized = severity.get("Label"), severity.get("Normalized")
        if isinstance(label, str) and label.lower() in WORDS["asff"]:
            return WORDS["asff"][label.lower()]
        if isinstance(normalized, int | float) and not isinstance(normalized, bool):
            return number("asff", normalized)
    raise Malformed("'Severity' is missing: it needs a Label or Normalized")


def _asff_resource(resource: Any, account: str, finding: dict[str, Any], where: str) -> Resource:
    if not isinstance(resource, dict):
        raise Malformed(f"'{where}' must be an object, it is {type_name(resource)}")
    kind, identifier = text(resource, "Type", where=where), text(resource, "Id", where=where)
    parsed = arn.parse(identifier)
    region = (parsed and parsed.region) or resource.get("Region") or finding.get("Region")
    if not isinstance(region, str) or not REGION.fullmatch(region):
        raise Malformed(f"'Region' is missing: neither the finding nor {where} says a region")
    if kind == "AwsIamAccessKey":
        account = parsed.account if parsed and ACCOUNT.fullmatch(parsed.account) else account
        key = part(part(resource, "Details"), kind)
        whose = named.principal(
            key.get("PrincipalType"), key.get("PrincipalName"), key.get("PrincipalId"), f"{account}/{region}"
        )
        return whose or Resource(kind="aws:iam-access-key", id=identifier, scope=f"{account}/{region}")
    return named.any_of(kind, identifier, f"{account}/{region}", f"{where}.Id")


def _asff_sample(finding: dict[str, Any]) -> bool:
    forwarded = part(finding, "ProductFields").get("aws/guardduty/service/additionalInfo/sample")
    return finding.get("Sample") is True or forwarded in (True, "true") or titled_sample(finding.get("Title"))


def standing(finding: Mapping[str, Any]) -> Standing:
    """What Security Hub says of it. Security Hub API Reference, AwsSecurityFinding: RecordState is the provider's (it
    archives what is over), Workflow and VerificationState are the customer's."""
    if finding.get("VerificationState") == "FALSE_POSITIVE":
        return Standing.FALSE_POSITIVE
    workflow = part(finding, "Workflow").get("Status")
    if workflow == "SUPPRESSED" or finding.get("VerificationState") == "BENIGN_POSITIVE":
        return Standing.SUPPRESSED
    passed = part(finding, "Compliance").get("Status") == "PASSED"
    over = finding.get("RecordState") == "ARCHIVED" or workflow == "RESOLVED" or passed
    return Standing.RESOLVED if over else Standing.ACTIVE


def _asff_active(finding: dict[str, Any]) -> bool:
    """Security Hub sends our own notes back to us as if they were news: BatchUpdateFindings leaves UpdatedAt alone."""
    if standing(finding) is not Standing.ACTIVE:
        return False
    note = part(finding, "Note")
    if not free_text(note.get("UpdatedBy")).startswith(WRITTEN_BY):
        return True
    noted, updated = moment(note.get("UpdatedAt")), moment(finding.get("UpdatedAt"))
    return noted is not None and updated is not None and updated > noted  # the provider spoke again, after our note
