"""The nouns that come in from outside: a finding, and the resource that it names."""

import hashlib
import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

KIND = r"^[a-z0-9]+:[a-z0-9-]+$"


class Value(BaseModel):
    """A frozen value: unknown fields are errors, a change is a new value."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Sensitive:
    """Marks a field of an event whose value may have to be erased: a text or an object that others wrote freely.

    It stands in the record as a commitment only: see commitment.py.
    """


Moment = Annotated[AwareDatetime, AfterValidator(lambda moment: moment.astimezone(UTC))]
"""A point in time, always aware and in UTC."""


class Severity(StrEnum):
    """How bad the detector says it is. The order of the members is the order of gravity."""

    INFORMATIONAL = "informational"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    def at_least(self, other: "Severity") -> bool:
        return _GRAVITY[self] >= _GRAVITY[other]


_GRAVITY = {severity: gravity for gravity, severity in enumerate(Severity)}


class Resource(Value):
    """One thing at one provider.

    `scope` is the provider's own address, most general part first: `account/region`, `cluster/namespace`. Its first
    part is what the account pin compares. `uid` is the provider's identity where it has one beside the name: a pod
    that was deleted and made again under the same name is another resource.
    """

    kind: str = Field(pattern=KIND, max_length=64)
    id: str = Field(min_length=1, max_length=1024)
    scope: str = Field(min_length=1, max_length=512)
    uid: str | None = Field(default=None, max_length=256)

    def __str__(self) -> str:
        return f"{self.kind}/{self.id} in {self.scope}"

    @property
    def provider(self) -> str:
        return self.kind.partition(":")[0]

    @property
    def account(self) -> str:
        """The first part of the scope: account, subscription, cluster, vCenter or host."""
        return self.scope.partition("/")[0]

    @property
    def area(self) -> str:
        """The rest of the scope: region, namespace; empty where the platform has none."""
        return self.scope.partition("/")[2]

    @property
    def identity(self) -> str:
        """What makes two resources the same one, whatever name a finding gives it."""
        return f"{self.kind}|{self.scope}|{self.uid or self.id}"


class Finding(Value):
    """One detection, normalised. Its shape follows OCSF Detection Finding (class 2004); `record` is what came in."""

    source: str = Field(max_length=64)
    """The name of the source in the configuration, never a name that the payload claims."""
    id: str = Field(min_length=1, max_length=1024)
    title: Annotated[str, Sensitive()] = Field(default="", max_length=4096)
    type: str = Field(default="", max_length=1024)
    """The detector's rule or finding type: `Terminal shell in container`, `UnauthorizedAccess:EC2/SSHBruteForce`."""
    severity: Severity = Severity.INFORMATIONAL
    resource: Resource
    seen_at: Moment
    """When the detector last saw it; what freshness is counted from."""
    first_seen_at: Moment | None = None
    """When the detector first saw it, where it says so."""
    link: str = Field(default="", max_length=2048)
    """Where its source shows it to people. Never followed by us."""
    sample: bool = False
    """A test or sample finding. It never acts."""
    posture: bool = False
    """It says how something is set up, and not what happens there. Only a playbook that names its type answers it."""
    active: bool = True
    """False for a finding that its source has resolved, archived or suppressed. It never acts."""
    record: Annotated[dict[str, JsonValue], Sensitive()] = Field(default_factory=dict)
    reader: str = Field(default="", max_length=64)
    """The parser or poll that it came through, `aws:guardduty`: by it its source is asked again. Empty by hand."""
    read_at: Moment | None = None
    """When we asked its source for it; None for one that was sent to us."""

    @property
    def key(self) -> str:
        """The same finding on the same resource, however often it is sent."""
        return f"{self.source}|{self.id}|{self.resource.identity}"


class Standing(StrEnum):
    """What the source of a finding says of it when it is asked again."""

    ACTIVE = "active"
    RESOLVED = "resolved"
    SUPPRESSED = "suppressed"
    FALSE_POSITIVE = "false_positive"
    UNKNOWN = "unknown"
    """The source has no such finding, or has it about something else."""
    UNREAD = "unread"
    """The source could not be asked."""


class Sighting(Value):
    """A finding was asked for again at its source: what was said, and when the question was put."""

    reader: str
    standing: Standing
    at: Moment
    trouble: str = Field(default="", max_length=4096)
    """Why it could not be asked."""


def now() -> datetime:
    """The wall clock, aware and in UTC: the only place that asks the machine for the time of day."""
    return datetime.now(UTC)


def canonical(value: Any) -> bytes:
    """JSON values as RFC 8785 bytes: the same value always gives the same bytes.

    Raises ValueError for what JSON cannot carry exactly: NaN, integers above 2^53, lone surrogates.
    """
    quickly = _quickly(value)
    if quickly is not None:
        return quickly
    import rfc8785

    return rfc8785.dumps(value)


def _quickly(value: Any) -> bytes | None:
    """The same bytes from the standard library, twenty times as fast, where the two agree; see `read_canonical`.

    It is read back: what JSON would change (a key that is no text, a fraction) is left to the slow way.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return None
    try:
        return text.encode() if text.isascii() and _PLAIN.decode(text) == value else None
    except _NotPlain:
        return None


def read_canonical(content: bytes) -> tuple[Any, bool]:
    """The value in these bytes, and whether they are its canonical ones. Raises ValueError if it is not JSON.

    ASCII without fractions and large numbers is written alike by the standard library, six times as fast: RFC 8785
    sorts keys by UTF-16 units, has a way of its own with fractions and no place for large numbers, and else the two
    agree.
    """
    if content.isascii():
        text = content.decode()
        try:
            value, end = _PLAIN.raw_decode(text)
        except _NotPlain:
            pass
        else:
            if end == len(text) and _SORTED.encode(value) == text:
                return value, True
    value = json.loads(content, parse_constant=_no_json)
    return value, canonical(value) == content


class _NotPlain(Exception):
    """A number that the standard library and RFC 8785 may write differently."""


def _integer(digits: str) -> int:
    if len(digits) > 15:
        raise _NotPlain
    return int(digits)


def _fraction(_: str) -> float:
    raise _NotPlain


def _no_json(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


_PLAIN = json.JSONDecoder(parse_int=_integer, parse_float=_fraction, parse_constant=_no_json)
_SORTED = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, check_circular=False)


def digest(value: Any) -> str:
    """SHA-256 of the canonical bytes, in hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()
