"""What Falco says about containers on Docker hosts, as findings. Pure."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from pydantic import JsonValue

from quarantine.errors import Malformed
from quarantine.falco import HOST, Alert
from quarantine.model import Finding, Resource
from quarantine.record import text

_SHORT_ID: Final = re.compile(r"[0-9a-f]{12}([0-9a-f]{52})?")
_FULL_ID: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")
"""moby daemon/names, RestrictedNameChars."""
_HOST: Final = re.compile(r"[^/\s\x00-\x1f]{1,253}")


def falco(record: Mapping[str, JsonValue], source: str, received: datetime) -> list[Finding]:
    """An alert of Falco, or of falcosidekick's webhook. The host itself and pods of Kubernetes have no finding here."""
    alert = Alert.read(record)
    if _about_something_else(alert):
        return []
    host, container = _host(alert), _container(alert)
    resource = Resource(kind="docker:container", id=container, scope=host, uid=_uid(alert))
    return [alert.finding(source, resource, (host, container), received)]


def _about_something_else(alert: Alert) -> bool:
    """Certainly no container of a Docker host. Where Falco does not know it (yet), the finding must not disappear."""
    if alert.audited or alert.field("k8s.pod.name") is not None:
        return True
    return alert.field("container.id") == HOST


def _container(alert: Alert) -> str:
    """Its id: names are given anew. It goes into a path of the API, so it must be what one can be called."""
    for key, form in (("container.id", _SHORT_ID), ("container.name", _NAME)):
        value = alert.field(key)
        if value is None:
            continue
        if not form.fullmatch(value):
            raise Malformed(f"`{key}` is not what a Docker container can have: {value[:80]!r}")
        return value
    raise Malformed(
        "the alert does not say which container it is about: `container.id` is missing, null or <NA>;"
        " Falco adds it with `append_output: [{suggested_output: true}]` in falco.yaml, once its runtime lookup is done"
    )


def _uid(alert: Alert) -> str | None:
    """The whole id, where Falco's container plugin gives it (`container.full_id`)."""
    uid = alert.field("container.full_id") or ""
    short = alert.field("container.id") or ""
    return uid if _FULL_ID.fullmatch(uid) and uid.startswith(short) else None


def _host(alert: Alert) -> str:
    """A custom field `host` before what Falco takes the machine's name for: in a container that is the container's."""
    names = (alert.field("host"), alert.field("evt.hostname"), text(alert.record, "hostname"))
    name = next((name for name in names if name is not None), None)
    if name is None:
        raise Malformed(
            "the alert does not say which Docker host it comes from: `hostname` is missing. Set FALCO_HOSTNAME for"
            " Falco, or a custom field `host` in falcosidekick"
        )
    if not _HOST.fullmatch(name):
        raise Malformed(f"`hostname` is not a name of a host: {name[:80]!r}")
    return name
