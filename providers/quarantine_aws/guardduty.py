"""GuardDuty's findings, as EventBridge delivers them (camelCase) or as its API gives them (PascalCase). Pure."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import JsonValue

from quarantine.errors import Malformed
from quarantine.model import Finding, Resource, Severity
from quarantine.record import first_seen
from quarantine.scale import number
from quarantine_aws import named
from quarantine_aws.findings import (
    ACCOUNT,
    REGION,
    bucket_resource,
    each,
    free_text,
    get,
    instance_resource,
    kind_of,
    last_seen,
    part,
    task_resource,
    text,
    titled_sample,
    type_name,
)

# (details, their id, the type in ASFF)
_DETAILS: Final = (
    ("eksClusterDetails", "arn", "AwsEksCluster"),
    ("lambdaDetails", "functionArn", "AwsLambdaFunction"),
    ("rdsDbInstanceDetails", "dbInstanceArn", "AwsRdsDbInstance"),
)


def guardduty(record: Mapping[str, JsonValue], source: str, received: datetime) -> list[Finding]:
    """An EventBridge event, one finding, or several of them: one Finding for each resource of each."""
    return each(record, lambda finding: _guardduty(finding, source, received))


def _guardduty(finding: dict[str, Any], source: str, received: datetime) -> list[Finding]:
    """GuardDuty User Guide, "Processing GuardDuty findings with Amazon EventBridge"; API Reference, Finding."""
    identifier = text(finding, "id")
    scope = f"{text(finding, 'accountId', ACCOUNT)}/{text(finding, 'region', REGION)}"
    service = part(finding, "service")
    seen_at = last_seen({**finding, **service}, ("eventLastSeen", "updatedAt", "createdAt"), received)
    return [
        Finding(
            source=source,
            id=identifier,
            title=free_text(get(finding, "title")),
            type=free_text(get(finding, "type"), 1024),
            severity=_guardduty_severity(finding),
            resource=resource,
            seen_at=seen_at,
            first_seen_at=first_seen(
                {**finding, **service}, "eventFirstSeen", "EventFirstSeen", "createdAt", "CreatedAt"
            ),
            sample=_guardduty_sample(finding, service),
            active=get(service, "archived") is not True,
            record=finding,
        )
        for resource in _guardduty_resources(finding, scope)
    ]


def _guardduty_severity(finding: dict[str, Any]) -> Severity:
    """GuardDuty User Guide, "Severity levels of GuardDuty findings": critical from 9, high 7, medium 4, low 1."""
    return number("guardduty", get(finding, "severity"))


def _guardduty_resources(finding: dict[str, Any], scope: str) -> list[Resource]:
    details = part(finding, "resource")
    if not details:
        raise Malformed("'resource' is missing: the finding names no resource")
    found = [
        resource
        for find in (_guardduty_instances, _guardduty_buckets, _guardduty_tasks, _guardduty_keys)
        for resource in find(details, scope)
    ]
    for name, key, kind in _DETAILS:
        identifier = get(part(details, name), key)
        if isinstance(identifier, str) and identifier:
            known = named.resource(kind, identifier, scope, f"resource.{name}.{key}")
            found.append(known or Resource(kind=kind_of(kind), id=identifier, scope=scope))
    if found:
        return found
    # Something new: it becomes visible as a finding that no playbook answers.
    kind = text(details, "resourceType", where="resource")
    return [Resource(kind=kind_of(kind), id=text(finding, "id"), scope=scope)]


def _guardduty_instances(details: dict[str, Any], scope: str) -> list[Resource]:
    """EC2 findings, and those of Runtime Monitoring on the host of a task or a pod."""
    identifier = get(part(details, "instanceDetails"), "instanceId")
    if identifier is None or identifier == "":
        return []
    where = "resource.instanceDetails.instanceId"
    if not isinstance(identifier, str):
        raise Malformed(f"'{where}' must be text, it is {type_name(identifier)}")
    return [instance_resource(identifier, scope, where)]


def _guardduty_buckets(details: dict[str, Any], scope: str) -> list[Resource]:
    buckets = get(details, "s3BucketDetails")
    if not isinstance(buckets, list):
        return []
    found = []
    for at, bucket in enumerate(buckets):
        where = f"resource.s3BucketDetails[{at}]"
        if not isinstance(bucket, dict):
            raise Malformed(f"'{where}' must be an object, it is {type_name(bucket)}")
        found.append(bucket_resource(text(bucket, "name", where=where), scope, f"{where}.name"))
    return found


def _guardduty_tasks(details: dict[str, Any], scope: str) -> list[Resource]:
    cluster = part(details, "ecsClusterDetails")
    if not cluster:
        return []
    if task := part(cluster, "taskDetails"):
        where = "resource.ecsClusterDetails.taskDetails"
        return [task_resource(text(task, "arn", where=where), scope, f"{where}.arn")]
    identifier = text(cluster, "arn", where="resource.ecsClusterDetails")
    return [Resource(kind="aws:ecs-cluster", id=identifier, scope=scope)]


def _guardduty_keys(details: dict[str, Any], scope: str) -> list[Resource]:
    """The user or the role whose key it is: that is what can be contained. Else the key, so that it becomes visible."""
    key = part(details, "accessKeyDetails")
    identifier = get(key, "accessKeyId")
    if not isinstance(identifier, str) or not identifier:
        return []
    whose = named.principal(get(key, "userType"), get(key, "userName"), get(key, "principalId"), scope)
    return [whose or Resource(kind="aws:iam-access-key", id=identifier, scope=scope)]


def _guardduty_sample(finding: dict[str, Any], service: dict[str, Any]) -> bool:
    """Events carry `additionalInfo.sample`, the API the same as JSON text in `AdditionalInfo.Value`."""
    more = part(service, "additionalInfo")
    value = get(more, "value")
    try:
        told = json.loads(value) if isinstance(value, str) and value else {}
    except (ValueError, RecursionError):
        told = {}
    flagged = isinstance(told, dict) and told.get("sample") is True
    return flagged or get(more, "sample") in (True, "true") or titled_sample(get(finding, "title"))
