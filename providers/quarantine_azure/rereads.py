"""Asks Defender for Cloud for an alert again."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from quarantine.action import Reread
from quarantine.model import Finding, Standing
from quarantine_azure.arm_id import ArmId
from quarantine_azure.cloud import AzureCloud
from quarantine_azure.findings import defender_alert, standing

ALERTS: Final = "Microsoft.Security/alerts"
READ: Final = "Microsoft.Security/alerts/read"
"""Azure resource provider operations, Microsoft.Security: "Gets all available security alerts"."""


def _in_defender(cloud: AzureCloud, finding: Finding, now: datetime) -> Standing:
    for alert in _found(cloud, finding):
        if any(_same(item, finding) for item in defender_alert(alert, "", now)):
            return standing(alert)
    return Standing.UNKNOWN


def _found(cloud: AzureCloud, finding: Finding) -> Iterator[Mapping[str, Any]]:
    """By the id that the alert carries; where a sender dropped that, among all alerts of the subscription."""
    name = ArmId.parse(str(finding.record.get("id", "")))
    if name is not None and name.type == "microsoft.security/locations" and name.subscription == cloud.subscription:
        alert = cloud.read_or_absent(READ, f"get {ALERTS}", id=name.text)
        if alert is not None:
            yield alert
        return
    yield from cloud.read(READ, f"list {ALERTS}", id=f"/subscriptions/{cloud.subscription}")


def _same(found: Finding, finding: Finding) -> bool:
    ours, theirs = finding.resource, found.resource
    place = (ours.kind, ours.id.lower(), ours.scope.lower())
    return found.id == finding.id and (theirs.kind, theirs.id.lower(), theirs.scope.lower()) == place


def _probe(cloud: AzureCloud) -> object:
    """An alert that there is not: Gone tells that we may ask."""
    nothing = f"/subscriptions/{cloud.subscription}/providers/Microsoft.Security/locations/centralus/alerts/none"
    return cloud.read(READ, f"get {ALERTS}", id=nothing)


REREADS: Final[Mapping[str, Reread]] = {
    "azure:defender-alert": Reread(
        permissions=(READ,), scope=lambda finding: finding.resource.scope, ask=_in_defender, probe=_probe
    ),
}
