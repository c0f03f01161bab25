"""What Microsoft Defender for Cloud says about resources, as findings. Pure.

One alert has several spellings: camelCase below `properties` (REST, continuous export), PascalCase at the top (Logic
Apps), PascalCase below `properties` (Resource Graph), and older names (`alertName`, `reportedSeverity`,
`associatedResource`). So names compare without regard to case.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import JsonValue

from quarantine.errors import Malformed
from quarantine.model import Finding, Severity, Standing
from quarantine.record import digest, finding, first_seen, link, objects, part, seen
from quarantine.scale import at_most, word
from quarantine_azure.arm_id import ArmId

_ENDED: Final = {"resolved": Standing.RESOLVED, "dismissed": Standing.SUPPRESSED}
"""Defender for Cloud REST API, Alerts: AlertStatus is Active, InProgress, Resolved or Dismissed."""
_KINDS: Final = {
    "microsoft.compute/virtualmachines": "azure:vm",
    "microsoft.storage/storageaccounts": "azure:storage-account",
}


def defender_alert(record: Mapping[str, JsonValue], source: str, received: datetime) -> list[Finding]:
    """One alert: a finding for each Azure resource that it names by id. A host's name alone names nothing."""
    alert = _flat(record)
    type_ = _text(alert, "alerttype", "alertname")
    id_ = _text(alert, "systemalertid", "instanceid", "name")
    if type_ is None or id_ is None:
        raise Malformed("a Defender for Cloud alert needs `alertType` and `systemAlertId`: is it another record?")
    title = _text(alert, "alertdisplayname") or type_
    told = {
        "source": source,
        "id": id_[:1024],
        "title": title,
        "type": type_,
        "severity": _severity(alert),
        "seen_at": _time(alert, received),
        "first_seen_at": first_seen(alert, "starttimeutc"),
        "link": link(alert, "alerturi"),
        # What `az security alert simulate` and the portal's "Create sample alerts" make.
        "sample": title.startswith("[SAMPLE ALERT]") or type_.startswith("SIMULATED_"),
        "active": standing(record) is Standing.ACTIVE,
        "record": dict(record),
    }
    return [finding(**told, resource=resource) for resource in _resources(alert)]


def assessment(record: Mapping[str, JsonValue], source: str, received: datetime) -> list[Finding]:
    """A recommendation about one resource. Its rule is the GUID that is its `name` (Defender for Cloud REST API,
    Assessments). It says what could happen: medium at most, and medium without metadata.
    """
    said = _flat(record)
    rule, about = _text(said, "name"), _lower(part(said, "resourcedetails"))
    name = _text(about, "id", "resourceid")
    if rule is None or name is None:
        raise Malformed("an assessment needs `name` and `properties.resourceDetails.id`: is it another record?")
    code = (_text(_lower(part(said, "status")), "code") or "").lower()
    if code not in ("healthy", "unhealthy", "notapplicable"):
        raise Malformed(f"`status.code` is none of Healthy, Unhealthy and NotApplicable: {code[:80]!r}")
    rated = _text(_lower(part(said, "metadata")), "severity") or Severity.MEDIUM
    resource = _resource(name)
    return [
        finding(
            source=source,
            id=digest(rule.lower(), resource["kind"], resource["scope"], resource["id"]),
            title=_text(said, "displayname") or rule,
            type=rule.lower(),
            severity=at_most(Severity.MEDIUM, word("defender", rated, "metadata.severity")),
            resource=resource,
            posture=True,
            seen_at=seen(_lower(part(said, "status")), ("statuschangedate",), received),
            first_seen_at=first_seen(_lower(part(said, "status")), "firstevaluationdate"),
            active=code == "unhealthy",
            record=dict(record),
        )
    ]


def common_alert(record: Mapping[str, JsonValue], source: str, received: datetime) -> list[Finding]:
    """Azure Monitor, "Common alert schema". Of a log alert the target is the workspace; what it is about is among
    the configuration items. `Resolved` follows `Fired` and never acts.
    """
    if _text(_lower(record), "schemaid") != "azureMonitorCommonAlertSchema":
        raise Malformed("`schemaId` is not azureMonitorCommonAlertSchema: switch it on in the action group")
    said = _lower(part(_lower(part(_lower(record), "data")), "essentials"))
    name, condition = _text(said, "originalertid", "alertid"), _text(said, "monitorcondition")
    if name is None or condition not in ("Fired", "Resolved"):
        raise Malformed("`data.essentials` needs `alertId`, and `monitorCondition` Fired or Resolved")
    told = {
        "source": source,
        "id": name[:1024],
        "title": _text(said, "alertrule"),
        "type": _text(said, "alertrule"),
        "severity": word("azure-monitor", said.get("severity")),
        "seen_at": seen(said, ("resolveddatetime", "fireddatetime"), received),
        "first_seen_at": first_seen(said, "fireddatetime"),
        "active": condition == "Fired",
        "record": dict(record),
    }
    items = [item for key in _TARGETS for item in _ids(said.get(key))]
    found = {item.lower(): _resource(item) for item in items if not _is_workspace(item)}
    if not found:
        raise Malformed("the alert names no Azure resource: neither `alertTargetIDs` nor `configurationItems` does")
    return [finding(**told, resource=resource) for resource in found.values()]


_TARGETS: Final = ("alerttargetids", "configurationitems")


def _ids(items: object) -> list[str]:
    """Configuration items may be names of hosts: those name nothing."""
    return [item for item in (items if isinstance(items, list) else []) if isinstance(item, str) and ArmId.parse(item)]


def _is_workspace(item: str) -> bool:
    return "/providers/microsoft.operationalinsights/" in item.lower()


def standing(record: Mapping[str, Any]) -> Standing:
    """What Defender says of an alert."""
    alert = _flat(record)
    return _ENDED.get((_text(alert, "status", "state") or "").lower(), Standing.ACTIVE)


def _flat(record: Any) -> dict[str, Any]:
    """The alert with its properties beside its id."""
    if not isinstance(record, Mapping):
        raise Malformed("a Defender for Cloud alert is a JSON object")
    alert = _lower(record)
    if isinstance(alert.get("properties"), Mapping):
        alert = {**alert, **_lower(alert["properties"])}
    return alert


def _resources(alert: Mapping[str, Any]) -> list[dict[str, str]]:
    """By the identifiers that are made for it; else by what else carries an id."""
    for names in (_identifiers(alert), _others(alert), _entities(alert)):
        found = {name.lower(): _resource(name) for name in names}
        if found:
            return list(found.values())
    raise Malformed(
        "the alert names no Azure resource by its id: `resourceIdentifiers` has no item of type AzureResource;"
        " the name of a host is no identifier"
    )


def _identifiers(alert: Mapping[str, Any]) -> Iterator[str]:
    for item in map(_lower, objects(alert, "resourceidentifiers")):
        id_ = _text(item, "azureresourceid")
        if id_ is not None and (_text(item, "type") or "AzureResource").lower() == "azureresource":
            yield id_


def _others(alert: Mapping[str, Any]) -> Iterator[str]:
    id_ = _text(alert, "azureresourceid", "associatedresource")
    if id_ is not None:
        yield id_


def _entities(alert: Mapping[str, Any]) -> Iterator[str]:
    """Strong identifiers only (Microsoft Sentinel, "Entity types reference"): AzureID of a host, ResourceId."""
    for item in map(_lower, objects(alert, "entities")):
        kind = (_text(item, "type") or "").lower()
        id_ = _text(item, {"host": "azureid", "azure-resource": "resourceid"}.get(kind, ""))
        if id_ is not None:
            yield id_


def _resource(text: str) -> dict[str, str]:
    found = ArmId.parse(text)
    if found is None:
        raise Malformed(f"that is no id of an Azure resource: {text[:120]!r}")
    scope = f"{found.subscription}/{found.group}" if found.group else found.subscription
    if found.type in _KINDS and found.group and not found.below:
        return {"kind": _KINDS[found.type], "id": found.name, "scope": scope}
    return {"kind": "azure:resource", "id": found.text, "scope": scope}


def _severity(alert: Mapping[str, Any]) -> Severity:
    return word("defender", _text(alert, "severity", "reportedseverity"), "severity")


def _time(alert: Mapping[str, Any], received: datetime) -> datetime:
    """The end of what was seen, or when it was reported. Azure writes seven digits of a second."""
    times = ("endtimeutc", "timegeneratedutc", "timegenerated", "reportedtimeutc", "starttimeutc")
    return seen(alert, times, received)


def _text(fields: Mapping[str, Any], *keys: str) -> str | None:
    return next((fields[key] for key in keys if isinstance(fields.get(key), str) and fields[key]), None)


def _lower(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key.lower(): value for key, value in record.items()}
