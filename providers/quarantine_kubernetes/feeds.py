"""The reports that other programs leave in a cluster, as polls; and how one of their findings is asked for again."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Final

from quarantine.action import Poll, Reread
from quarantine.errors import Gone
from quarantine.model import Finding, Standing
from quarantine_kubernetes import kubescape, policy_report, trivy
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.feed import Report, follow, unfinished

_FEEDS: Final = {
    "kubernetes:trivy-reports": trivy.REPORTS,
    "kubernetes:policy-reports": policy_report.REPORTS,
    "kubernetes:kubescape-scans": kubescape.REPORTS,
}


def _permissions(reports: tuple[Report, ...]) -> tuple[str, ...]:
    return tuple(
        each.kind.permission(verb) for each in reports for verb in (("list", "watch") if each.watched else ("list",))
    )


def _ask(reports: tuple[Report, ...], cloud: KubernetesCloud, finding: Finding, now: datetime) -> Standing:
    """What its report says now. Where there are two of that name, of different kinds, either may say it."""
    place, resource = finding.record.get("report"), finding.resource
    if not isinstance(place, Mapping):
        return Standing.UNKNOWN
    for each in reports:
        if bool(place["namespace"]) is not each.kind.namespaced:
            continue
        try:
            report = cloud.read(each.kind.permission("get"), f"get {each.kind.path}", **place)
        except Gone:
            continue
        about = [item.resource for item in each.read(report, finding.resource.account, now) if item.id == finding.id]
        same = [it for it in about if (it.kind, it.scope, it.id) == (resource.kind, resource.scope, resource.id)]
        if same:
            known = any(None in (it.uid, resource.uid) or it.uid == resource.uid for it in same)
            return Standing.ACTIVE if known else Standing.UNKNOWN
    return Standing.RESOLVED


def _probe(reports: tuple[Report, ...], cloud: KubernetesCloud) -> object:
    """Whoever may not ask is told so even about what is not there."""
    kind = reports[0].kind
    try:
        return cloud.read(kind.permission("get"), f"get {kind.path}", namespace="default", name="any")
    except Gone:
        return None


FEEDS: Final = tuple(
    Poll(name, _permissions(reports), partial(follow, reports), unfinished) for name, reports in _FEEDS.items()
)
FEED_REREADS: Final[Mapping[str, Reread]] = {
    name: Reread(
        tuple(each.kind.permission("get") for each in reports),
        lambda finding: finding.resource.scope,
        partial(_ask, reports),
        partial(_probe, reports),
    )
    for name, reports in _FEEDS.items()
}
