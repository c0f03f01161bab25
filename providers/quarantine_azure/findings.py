"""What Microsoft Defender for Cloud says about resources, as findings. Pure.

One alert has several spellings: camelCase below `properties` (REST, continuous export), PascalCase at the top (Logic
Apps), PascalCase below `properties` (Resource Graph), and older names (`alertName`, `reportedSeverity`,
`associatedResource`). So names compare without regard to case.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import JsonValue, ValidationError

from quarantine.errors import Malformed
from quarantine.model import Finding, Severity, Standing
from quarantine_azure.arm_id import ArmId

_SEVERITIES: Final = {severity.value: severity for severity in Severity}
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
    finding = {
        "source": source,
        "id": id_[:1024],
        "title": title[:4096],
        "type": type_[:1024],
        "severity": _severity(alert),
        "seen_at": _time(alert, received),
        # What `az security alert simulate` and the portal's "Create sample alerts" make.
        "sample": title.startswith("[SAMPLE ALERT]") or type_.startswith("SIMULATED_"),
        "active": standing(record) is Standing.ACTIVE,
        "record": dict(record),
    }
    try:
        return [Finding.model_validate({**finding, "resource": resource}) for resource in _resources(alert)]
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise Malformed(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from error


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
    for item in _objects(alert, "resourceidentifiers"):
        id_ = _text(item, "azureresourceid")
        if id_ is not None and (_text(item, "type") or "AzureResource").lower() == "azureresource":
            yield id_


def _others(alert: Mapping[str, Any]) -> Iterator[str]:
    id_ = _text(alert, "azureresourceid", "associatedresource")
    if id_ is not None:
        yield id_


def _entities(alert: Mapping[str, Any]) -> Iterator[str]:
    """Strong identifiers only (Microsoft Sentinel, "Entity types reference"): AzureID of a host, ResourceId."""
    for item in _objects(alert, "entities"):
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
    severity = _text(alert, "severity", "reportedseverity") or ""
    if severity.lower() not in _SEVERITIES:
        raise Malformed(f"`severity` is none of Defender's: {severity[:80]!r}")
    return _SEVERITIES[severity.lower()]


def _time(alert: Mapping[str, Any], received: datetime) -> datetime:
    """The end of what was seen, or when it was reported. Azure writes seven digits of a second."""
    time = _text(alert, "endtimeutc", "timegeneratedutc", "timegenerated", "reportedtimeutc", "starttimeutc")
    if time is None:
        return received
    try:
        moment = datetime.fromisoformat(time)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Malformed(f"that is not a time: {time[:80]!r}") from error


def _objects(alert: Mapping[str, Any], key: str) -> Iterator[dict[str, Any]]:
    items = alert.get(key)
    if items is not None and not isinstance(items, list):
        raise Malformed(f"`{key}` is not a list")
    return (_lower(item) for item in items or [] if isinstance(item, Mapping))


def _text(fields: Mapping[str, Any], *keys: str) -> str | None:
    return next((fields[key] for key in keys if isinstance(fields.get(key), str) and fields[key]), None)


def _lower(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key.lower(): value for key, value in record.items()}
