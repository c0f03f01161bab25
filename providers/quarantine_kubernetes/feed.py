"""Objects that others write and we read: a list in pages first, then what has changed since, from where we left off.

    nothing known ──> one page ──> ... ──> last page ──> changes since the list ──> changes since those ──> ...
         ^                                                        │
         └────────────── 410: the API server has forgotten that place ───────────────┘

Each arrow is one run of a poll: its findings are durable before the next one, and a restart goes on from there. Twice
the same object is the same finding. Decision 0021.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from quarantine.errors import Gone, Malformed, Transient, Unsupported
from quarantine.model import Finding, Value
from quarantine_kubernetes.cloud import Expired, KubernetesCloud
from quarantine_kubernetes.objects import Kind

log = logging.getLogger(__name__)

SECONDS: Final = 1
"""For how long changes are followed. Those that were before come at once, and what comes later is for the next run."""
MOST: Final = 500
"""Changes of one run; the rest comes in the next one."""
QUIET: Final = 0.1
"""Seconds without a change, at the end of a run, that say that there are no more. Large reports take longer than a run
to read, and the API server ends it in the middle of them."""


@dataclass(frozen=True)
class Report:
    """One kind of object, and what it says: (object, account, now) -> findings. `page` of them are read at once."""

    kind: Kind
    says: Callable[[Mapping[str, Any], str, datetime], Iterable[Finding]]
    page: int = 100
    watched: bool = True
    """Its API server can say what has changed since. Else the whole list is read each time."""
    query: tuple[tuple[str, str], ...] = ()
    """What its API server wants to be asked besides."""

    @property
    def name(self) -> str:
        return f"{self.kind.plural}.{self.kind.group}/{self.kind.version}"

    def read(self, found: Mapping[str, Any], account: str, now: datetime) -> list[Finding]:
        """Raises Malformed."""
        try:
            return list(self.says(found, account, now))
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise Malformed(f"{self.name} {found['metadata'].get('name')}: {error!r}") from error


class Place(Value):
    """How far one kind was read: on a `page` of the list (the first one is empty), `at` a version, which is all until
    then, or not at all, where the cluster does not serve it."""

    page: str | None = None
    at: str | None = None
    more: bool = False
    """There are changes after `at` already."""


class Cursor(Value):
    """How far all kinds of one scope were read."""

    scope: str
    places: dict[str, Place]


BEGINNING: Final = Place(page="")
METADATA: Final = "application/json;g=meta.k8s.io;v=v1;as=PartialObjectMetadataList"
LISTED: Final = "listed"
"""Instead of a version, where there are no changes to be asked for."""


def unfinished(cursor: str | None) -> bool:
    places = Cursor.model_validate_json(cursor).places.values() if cursor else ()
    return any(place.more or place.page is not None for place in places)


def follow(
    reports: tuple[Report, ...], cloud: KubernetesCloud, scope: str, now: datetime, cursor: str | None
) -> tuple[list[Finding], str | None]:
    """The next page of the first list that is not read to its end; the changes of all kinds, if there is none.

    Raises Unsupported where the cluster serves none of them: whoever asks for them believes that they are there.
    """
    known = Cursor.model_validate_json(cursor) if cursor else None
    area = scope.partition("/")[2]
    placed = [report for report in reports if report.kind.namespaced or not area]
    before = known.places if known and known.scope == scope else {}  # a schedule may be pointed elsewhere
    places = {report.name: before.get(report.name, BEGINNING) for report in placed}
    chosen = [report for report in placed if places[report.name].page is not None][:1] or placed
    read = partial(_read, cloud, scope, now)
    with ThreadPoolExecutor(len(chosen)) as threads:  # all wait for changes at once
        parts = list(threads.map(read, chosen, [places[report.name] for report in chosen]))
    places |= {report.name: place for report, (_, place) in zip(chosen, parts, strict=True)}
    if not any(place.page is not None or place.at for place in places.values()):
        names = ", ".join(places)
        raise Unsupported(f"cluster {cloud.cluster!r} serves none of {names}: is what writes them installed there?")
    findings = [finding for found, _ in parts for finding in found]
    return findings, Cursor(scope=scope, places=places).model_dump_json(exclude_defaults=True)


def _read(
    cloud: KubernetesCloud, scope: str, now: datetime, report: Report, place: Place
) -> tuple[list[Finding], Place]:
    """What comes next from `place`, and the place after it."""
    area = scope.partition("/")[2]
    say = partial(_said, report, scope.partition("/")[0], now)
    try:
        if place.at is None or not report.watched:
            return _page(cloud, area, report, place, say)
        return _changes(cloud, area, report, place.at, say)
    except Gone:
        return [], Place()
    except Expired:  # the list is read anew: what it says again is known, and what went is not said any more
        log.info("feed_begins_anew", extra={"cluster": cloud.cluster, "kind": report.name})
        return [], BEGINNING


def _page(
    cloud: KubernetesCloud, area: str, report: Report, place: Place, say: Callable[[Mapping[str, Any]], list[Finding]]
) -> tuple[list[Finding], Place]:
    query = {**dict(report.query), "limit": report.page, **({"continue": place.page} if place.page else {})}
    answer = cloud.read(report.kind.permission("list"), _call("get", report.kind, area), namespace=area, query=query)
    findings = [finding for found in answer["items"] for finding in say(found)]
    following = answer["metadata"].get("continue")
    if following:
        return findings, Place(page=following)
    return findings, Place(at=answer["metadata"]["resourceVersion"] if report.watched else LISTED)


def _changes(
    cloud: KubernetesCloud, area: str, report: Report, at: str, say: Callable[[Mapping[str, Any]], list[Finding]]
) -> tuple[list[Finding], Place]:
    """For a moment, or until the connection ends: the rest comes next time. An object that went says nothing."""
    _refuse_past(cloud, area, report, at)
    query = {"resourceVersion": at, "timeoutSeconds": SECONDS, "allowWatchBookmarks": "true"}
    call = _call("watch", report.kind, area)
    findings: list[Finding] = []
    latest = float("-inf")
    with closing(cloud.read(report.kind.permission("watch"), call, namespace=area, query=query)) as events:
        for count, event in enumerate(events, 1):
            found = event["object"]
            if event["type"] == "ERROR":
                raise _failure(found)
            at = found["metadata"]["resourceVersion"]
            if event["type"] in ("ADDED", "MODIFIED"):  # a bookmark says only how far this is
                findings += say(found)
                latest = time.monotonic()
            if count == MOST:
                return findings, Place(at=at, more=True)
    return findings, Place(at=at, more=time.monotonic() - latest < QUIET)


def _refuse_past(cloud: KubernetesCloud, area: str, report: Report, at: str) -> None:
    """A cluster that was restored from a backup counts from there again, and would say nothing until it is beyond `at`
    (versions can be compared: kubernetes.io, API Concepts, Resource versions). Raises Expired."""
    where = {"namespace": area, "query": {"limit": 1}, "accept": METADATA}
    answer = cloud.read(report.kind.permission("list"), _call("get", report.kind, area), **where)
    newest = answer["metadata"]["resourceVersion"]
    if int(newest) < int(at):
        raise Expired(f"{report.name} of cluster {cloud.cluster!r} went back from version {at} to {newest}")


def _failure(status: Mapping[str, Any]) -> Transient:
    """A watch says in its stream what other requests say by their status."""
    said = f"{status.get('code')} {status.get('reason')}: {status.get('message')}"
    return Expired(said) if status.get("code") == 410 else Transient(said)


def _call(method: str, kind: Kind, area: str) -> str:
    return f"{method} {kind.collection if area and kind.namespaced else kind.everywhere}"


def _said(report: Report, account: str, now: datetime, found: Mapping[str, Any]) -> list[Finding]:
    """One that cannot be read hides no other."""
    try:
        return report.read(found, account, now)
    except Malformed as error:
        log.warning("report_unreadable", extra={"cluster": account, "why": str(error)})
        return []
