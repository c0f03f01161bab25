"""What detectors say about pods, as findings. Pure."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from pydantic import JsonValue, ValidationError

from quarantine.errors import Malformed
from quarantine.falco import HOST, Alert
from quarantine.model import Finding, Resource
from quarantine.record import text

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
"""A DNS subdomain (Kubernetes, Object Names and IDs)."""
_CLUSTER: Final = re.compile(r"[^/\s\x00-\x1f]{1,253}")


def falco(record: Mapping[str, JsonValue], source: str, received: datetime) -> list[Finding]:
    """An alert of Falco, or of falcosidekick's webhook. A host or an audited object that is no pod has no finding."""
    alert = Alert.read(record)
    if _about_something_else(alert):
        return []
    audited = alert.field("ka.target.resource") == "pods"
    where = (
        ("k8s.ns.name", "ka.target.namespace"),
        ("k8s.pod.name", "ka.target.name" if audited else "ka.target.pod.name"),
    )
    namespace, name = (_named(alert, *keys) for keys in where)
    resource = pod(cluster(alert.record, alert.fields), namespace, name, alert.field("k8s.pod.uid"), "k8s.pod.uid")
    known_by = (namespace, name, resource.uid, alert.field("container.id"))
    return [alert.finding(source, resource, known_by, received)]


def _about_something_else(alert: Alert) -> bool:
    """Certainly no pod. Where Falco does not know the pod (yet), the finding must not disappear like this."""
    if alert.audited:
        return alert.field("ka.target.resource") not in (None, "pods")
    return alert.field("container.id") == HOST and alert.field("k8s.pod.name") is None


def _named(alert: Alert, *keys: str) -> str:
    """The first that is there; it goes into a path of the API, so it must be a name that an object can have."""
    for key in keys:
        name = alert.field(key)
        if name is not None:
            return proper(name, key)
    raise Malformed(
        f"the alert does not say which pod it is about: `{keys[0]}` is missing, null or <NA>;"
        " Falco adds it with `append_output: [{suggested_output: true}]` in falco.yaml, once its runtime lookup is done"
    )


def pod(account: str, namespace: str, name: str, uid: str | None, where: str) -> Resource:
    """The pod of that name. `where` is what the source calls its uid. Raises Malformed."""
    if uid is not None and not _NAME.fullmatch(uid):
        raise Malformed(f"`{where}` is not a uid: {uid[:80]!r}")
    try:
        return Resource(kind="kubernetes:pod", id=name, scope=f"{account}/{namespace}", uid=uid)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise Malformed(f"resource.{first['loc'][0]}: {first['msg']}") from error


def proper(name: str, where: str) -> str:
    """A name that goes into a path of the API. Raises Malformed for one that no object can have."""
    if not _NAME.fullmatch(name):
        raise Malformed(f"`{where}` is not a name that a Kubernetes object can have: {name[:80]!r}")
    return name


def cluster(*places: Mapping[str, JsonValue]) -> str:
    """The name of the cluster: that of the configuration goes first, in the first place. Raises Malformed."""
    said = (text(place, *(_CLUSTERS if number else ("cluster",))) for number, place in enumerate(places))
    name = next((name for name in said if name is not None), None)
    if name is None:
        raise Malformed(
            "the alert does not say which cluster it comes from: set `cluster:` on this source in the configuration,"
            " or a custom field `cluster` in falcosidekick"
        )
    if not _CLUSTER.fullmatch(name):
        raise Malformed(f"`cluster` is not a name of a cluster: {name[:80]!r}")
    return name


_CLUSTERS: Final = ("cluster", "k8s.cluster.name", "ka.cluster.name", "clusterName", "k8s_cluster_name")
"""What Falco, its plug-in for audit logs, Kubescape and falcosidekick's labels call it."""
