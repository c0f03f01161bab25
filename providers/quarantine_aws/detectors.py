"""What AWS's further detectors say: Security Hub's OCSF, Inspector, Macie, IAM Access Analyzer and Config. Pure.

Each takes an EventBridge event, one finding as the API gives it, or a list of them.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import JsonValue

from quarantine.action import Parser
from quarantine.errors import Malformed
from quarantine.model import Finding, Resource, Severity
from quarantine.plain import ocsf_findings
from quarantine.record import digest, epoch, finding, first_seen, needed, objects, part
from quarantine.scale import at_most, word
from quarantine_aws import arn, named
from quarantine_aws.findings import ACCOUNT, REGION, each, last_seen, text, titled_sample

SEEN: Final = ("lastObservedAt", "updatedAt", "createdAt")
_INSPECTOR_TIME: Final = "%b %d, %Y, %I:%M:%S %p"
"""`Jan 19, 2022, 10:46:15 PM` (Inspector User Guide, "Amazon EventBridge event schema")."""
_UNIQUE: Final = ("AwsIamUser", "AwsIamRole", "AwsIamGroup", "AwsIamPolicy")


def security_hub_ocsf(record: Mapping[str, JsonValue], source: str, received: datetime) -> list[Finding]:
    """Security Hub User Guide, "OCSF findings in Security Hub"; the event is `Findings Imported V2`."""
    return each(record, lambda said: ocsf_findings(said, source, received, _ocsf_resource))


def inspector(record: Mapping[str, JsonValue], source: str, received: datetime) -> list[Finding]:
    """Inspector API Reference, Finding. What could be used counts as medium at most."""
    return each(record, lambda said: _inspector(said, source, received))


def macie(record: Mapping[str, JsonValue], source: str, received: datetime) -> list[Finding]:
    """Macie User Guide, "EventBridge event schema for Macie findings". An object means its bucket."""
    return each(record, lambda said: _macie(said, source, received))


def access_analyzer(record: Mapping[str, JsonValue], source: str, received: datetime) -> list[Finding]:
    """External and unused access. IAM User Guide, "Monitoring IAM Access Analyzer with EventBridge".

    It has no severity: what everybody may use counts as high, what another account may as medium, what nobody uses as
    low. That is ours.
    """
    return each(record, lambda said: _access_analyzer(said, source, received))


def config(record: Mapping[str, JsonValue], source: str, received: datetime) -> list[Finding]:
    """A rule's verdict that changed. Config Developer Guide, "Monitoring Config with EventBridge".

    It has no severity either: medium. An IAM resource is named by its unique id and not by its name, so that it is
    shown under a kind of its own, that nothing acts on.
    """
    return each(record, lambda said: _config(said, source, received))


PARSERS: Final[Mapping[str, Parser]] = {
    "aws:ocsf": security_hub_ocsf,
    "aws:inspector": inspector,
    "aws:macie": macie,
    "aws:access-analyzer": access_analyzer,
    "aws:config": config,
}


def _ocsf_resource(place: Mapping[str, Any], record: Mapping[str, Any], where: str) -> Resource:
    platform = part(record, "cloud")
    account = text(part(platform, "account"), "uid", ACCOUNT, "cloud.account")
    region = text({"region": place.get("region") or platform.get("region")}, "region", REGION, where)
    return named.any_of(
        needed(place, "type", where), needed(place, "uid", where), f"{account}/{region}", f"{where}.uid"
    )


def _inspector(said: dict[str, Any], source: str, received: datetime) -> list[Finding]:
    name, account = text(said, "findingArn"), text(said, "awsAccountId", ACCOUNT)
    resources = list(objects(said, "resources"))
    parsed = arn.parse(name)
    if parsed is None or not resources:
        raise Malformed("'findingArn' is no ARN" if parsed is None else "'resources' is missing")
    read = {key: _inspector_time(said.get(key)) for key in ("firstObservedAt", *SEEN)}
    told = {
        "source": source,
        "id": name,
        "title": said.get("title"),
        "type": said.get("type"),
        "severity": at_most(Severity.MEDIUM, word("inspector", said.get("severity"))),
        "seen_at": last_seen(read, SEEN, received),
        "first_seen_at": first_seen(read, "firstObservedAt"),
        "sample": titled_sample(said.get("title")),
        "active": said.get("status", "ACTIVE") == "ACTIVE",
        "record": said,
    }
    return [finding(**told, resource=_of(place, account, parsed.region, at)) for at, place in enumerate(resources)]


def _of(place: Mapping[str, Any], account: str, region: str, at: int) -> Resource:
    where = f"resources[{at}]"
    return named.any_of(
        needed(place, "type", where),
        needed(place, "id", where),
        f"{account}/{text({'region': place.get('region') or region}, 'region', REGION, where)}",
        f"{where}.id",
    )


def _inspector_time(said: object) -> str | None:
    """Its events have a way of their own, its API has seconds."""
    if isinstance(said, int | float) and not isinstance(said, bool):
        found = epoch(said * 1000)
        return found.isoformat() if found else None
    if not isinstance(said, str):
        return None
    try:
        return datetime.strptime(said.replace("\u202f", " "), _INSPECTOR_TIME).replace(tzinfo=UTC).isoformat()
    except ValueError:
        return said


def _macie(said: dict[str, Any], source: str, received: datetime) -> list[Finding]:
    scope = f"{text(said, 'accountId', ACCOUNT)}/{text(said, 'region', REGION)}"
    bucket = part(said, "resourcesAffected", "s3Bucket")
    where = "resourcesAffected.s3Bucket"
    return [
        _told(said, source, received, text(said, "id"))(
            severity=word("macie", part(said, "severity").get("description"), "severity.description"),
            resource=named.any_of("AwsS3Bucket", text(bucket, "name", where=where), scope, f"{where}.name"),
            sample=said.get("sample") is True,
            posture=said.get("category") == "POLICY",
            active=said.get("archived") is not True,
        )
    ]


def _access_analyzer(said: dict[str, Any], source: str, received: datetime) -> list[Finding]:
    scope = f"{text(said, 'accountId', ACCOUNT)}/{text(said, 'region', REGION)}"
    kind = said.get("findingType")
    unused = isinstance(kind, str) and kind.startswith("Unused")
    public = said.get("isPublic") is True
    whose = kind if unused else "PublicAccess" if public else "ExternalAccess"
    return [
        _told(
            {"title": f"{whose} to {said.get('resource')}", **said, "type": whose}, source, received, text(said, "id")
        )(
            severity=Severity.LOW if unused else Severity.HIGH if public else Severity.MEDIUM,
            resource=named.any_of(text(said, "resourceType"), text(said, "resource"), scope, "resource"),
            posture=True,
            active=said.get("status") == "ACTIVE" and said.get("isDeleted") is not True,
            record=said,
        )
    ]


def _config(said: dict[str, Any], source: str, received: datetime) -> list[Finding]:
    account, region = text(said, "awsAccountId", ACCOUNT), text(said, "awsRegion", REGION)
    verdict, rule = part(said, "newEvaluationResult"), text(said, "configRuleName")
    type_, name = text(said, "resourceType"), text(said, "resourceId")
    kind = named.asff_type(type_)
    known = kind not in _UNIQUE
    scope = f"{account}/{region}"
    times = {"updatedAt": verdict.get("resultRecordedTime") or said.get("notificationCreationTime")}
    return [
        _told({**times, "title": f"{rule}: {type_} {name}", "type": rule}, source, received, digest(rule, type_, name))(
            severity=Severity.MEDIUM,
            resource=named.any_of(type_, name, scope, "resourceId") if known else _unnamed(kind, name, scope),
            posture=True,
            active=text(verdict, "complianceType", where="newEvaluationResult") == "NON_COMPLIANT",
            record=said,
        )
    ]


def _unnamed(kind: str, unique: str, scope: str) -> Resource:
    return Resource(kind=f"aws:{kind.removeprefix('AwsIam').lower()}-unique-id", id=unique, scope=scope)


def _told(said: dict[str, Any], source: str, received: datetime, identifier: str) -> Callable[..., Finding]:
    """The finding without what each detector says in its own way."""

    def of(**own: Any) -> Finding:
        return finding(
            **{
                "source": source,
                "id": identifier,
                "title": said.get("title"),
                "type": said.get("type"),
                "seen_at": last_seen(said, SEEN, received),
                "first_seen_at": first_seen(said, "createdAt"),
                "record": said,
                **own,
            }
        )

    return of
