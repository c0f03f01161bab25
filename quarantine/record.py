"""What all parsers need to read what others wrote: strict about what identifies, tolerant of the rest. Pure."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from quarantine.errors import Malformed
from quarantine.model import Finding

LONGEST_TITLE: Final = 4096
LONGEST_LINK: Final = 2048
EMPTY: Final = ("", "<NA>")
"""What detectors write when they do not know: Falco `<NA>` while its container runtime has not answered (issue 865)."""


def text(place: Mapping[str, Any], *keys: str) -> str | None:
    """The first of these that is a text and says something."""
    found = (place.get(key) for key in keys)
    return next((value for value in found if isinstance(value, str) and value not in EMPTY), None)


def needed(place: Mapping[str, Any], key: str, where: str = "") -> str:
    """A text that must be there. Raises Malformed with the name of what is missing."""
    value = text(place, key)
    if value is None:
        raise Malformed(f"`{f'{where}.{key}' if where else key}` is missing: it must be a text")
    return value


def part(place: Mapping[str, Any], *path: str) -> dict[str, Any]:
    """The object down this path; empty where there is none."""
    found: Any = place
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


def objects(place: Mapping[str, Any], key: str) -> Iterator[dict[str, Any]]:
    """The objects in a list; nothing where there is no list. Raises Malformed for another value."""
    items = place.get(key)
    if items is not None and not isinstance(items, list):
        raise Malformed(f"`{key}` is not a list")
    return (dict(item) for item in items or [] if isinstance(item, Mapping))


def moment(said: str, where: str = "time") -> datetime:
    """ISO 8601, in UTC. Raises Malformed."""
    try:
        found = datetime.fromisoformat(said)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Malformed(f"`{where}` is not a time: {said[:80]!r}") from error


def seen(place: Mapping[str, Any], keys: tuple[str, ...], received: datetime) -> datetime:
    """When it was last seen; the receipt stands in. Nothing was seen after we received it: that would stay fresh."""
    said = text(place, *keys)
    return received if said is None else min(moment(said, keys[0]), received)


def first_seen(place: Mapping[str, Any], *keys: str) -> datetime | None:
    """For people only, so that a strange one is left out instead of refusing the finding."""
    said = text(place, *keys)
    try:
        return None if said is None else moment(said)
    except Malformed:
        return None


def link(place: Mapping[str, Any], *keys: str) -> str:
    """Where the source shows it, for people: it is never followed by us. Empty for what is no web address."""
    said = text(place, *keys)
    if said is None or len(said) > LONGEST_LINK or not said.isascii() or not said.isprintable() or " " in said:
        return ""
    try:
        parts = urlsplit(said)
    except ValueError:
        return ""
    return said if parts.scheme in ("https", "http") and parts.hostname and parts.username is None else ""


def unwrapped(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """What an envelope carries: CloudEvents 1.0 in structured mode, or Event Grid's own schema. Else the record itself.

    CloudEvents 1.0.2, JSON format, 3.1; Azure Event Grid, "Event schema".
    """
    cloud_event = record.get("specversion") in ("1.0", "1.0.2") and "type" in record and "source" in record
    event_grid = "eventType" in record and "eventTime" in record and "subject" in record
    data = record.get("data")
    if not (cloud_event or event_grid):
        return record
    if not isinstance(data, Mapping):
        raise Malformed("the event carries no JSON object in `data`")
    return {**data, **({"cluster": record["cluster"]} if "cluster" in record else {})}


def epoch(said: object) -> datetime | None:
    """Milliseconds since 1970, as OCSF counts (timestamp_t). None for what is none."""
    if not isinstance(said, int | float) or isinstance(said, bool) or not 0 <= said < 10**14:
        return None
    return datetime.fromtimestamp(said / 1000, UTC)


def finding(**fields: Any) -> Finding:
    """The finding with these fields, long words cut. Raises Malformed and never repeats a value."""
    fields["title"] = str(fields.get("title") or "")[:LONGEST_TITLE]
    fields["type"] = str(fields.get("type") or "")[:1024]
    try:
        return Finding.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise Malformed(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from error


def digest(*parts: str | None) -> str:
    """An id for what has none of its own: the same for a repetition."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
