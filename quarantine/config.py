"""The settings: one tree, one YAML file, secrets only by reference.

`config.example.yaml` shows every setting with its default; a test loads it and compares.
"""

import os
import re
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator

from quarantine.document import Document, read
from quarantine.errors import Misconfigured
from quarantine.model import Value
from quarantine.note import COSIGNATURE, Unsigned, Verifier

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    found = re.fullmatch(r"(\d+)(s|m|h|d)", value) if isinstance(value, str) else None
    if not found:
        raise ValueError("write a number and a unit: 30s, 5m, 24h, 7d")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


Duration = Annotated[timedelta, BeforeValidator(_duration)]


_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+")


class Secret(Value):
    """Where a secret is kept; never the secret. `env:NAME` or `file:/path`."""

    reference: str

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if isinstance(value, str):
            if not _REFERENCE.fullmatch(value):
                # The value is not repeated: it may be the secret itself.
                raise ValueError("a secret is a reference: env:NAME or file:/path, never the value itself")
            return {"reference": value}
        return value

    def reveal(self) -> bytes:
        """The secret's bytes. Raises Misconfigured naming the reference."""
        scheme, _, name = self.reference.partition(":")
        if scheme == "env":
            value = os.environ.get(name)
            if not value:
                raise Misconfigured(f"secret {self.reference}: the environment variable {name} is not set")
            return value.encode()
        try:
            value_read = Path(name).read_bytes().strip()
        except OSError as error:
            raise Misconfigured(f"secret {self.reference}: {error.strerror}") from error
        if not value_read:
            raise Misconfigured(f"secret {self.reference}: the file is empty")
        return value_read


class Mode(StrEnum):
    """How far a playbook may go by itself. The order is from careful to bold."""

    OBSERVE = "observe"
    ASK = "ask"
    AUTO = "auto"


class OnDrift(StrEnum):
    """What happens when a contained resource no longer shows the target."""

    ASK = "ask"
    REAPPLY = "reapply"


class Budget(Value):
    """How many automatic containments may start. Zero means none; only a person goes past it."""

    per_account_10m: int = Field(default=3, ge=0)
    per_account_24h: int = Field(default=10, ge=0)
    global_24h: int = Field(default=20, ge=0)
    group_percent: int = Field(default=5, ge=0, le=100)


class Storm(Value):
    """More new cases than this from one source, and each waits for a person. Zero: every case does."""

    cases: int = Field(default=20, ge=0)
    within: Duration = timedelta(minutes=5)


class Breaker(Value):
    """So many bad runs among the last ones of a playbook, and it asks before every further one. Zero: always."""

    of_last: int = Field(default=5, ge=1, le=100)
    failures: int = Field(default=2, ge=0)
    false_positives: int = Field(default=1, ge=0)


class Waves(Value):
    """Scheduled runs contain a few at first, and more only when those have held for a while."""

    sizes: tuple[Annotated[int, Field(ge=1)], ...] = (1, 2, 5)
    bake: Duration = timedelta(minutes=5)


class Guards(Value):
    """What stands between a plan and a provider."""

    mode: Mode = Mode.OBSERVE
    playbooks: dict[str, Mode] = Field(default_factory=dict)
    scopes: dict[str, Mode] = Field(default_factory=dict)
    fresh_within: Duration = timedelta(minutes=60)
    protected: tuple[str, ...] = ()
    budget: Budget = Budget()
    storm: Storm = Storm()
    breaker: Breaker = Breaker()
    waves: Waves = Waves()
    same_resource_24h: int = Field(default=2, ge=0)

    def mode_for(self, playbook: str, scope: str) -> Mode:
        """The most careful of what is set for this playbook and this scope; the general mode where neither is."""
        order = list(Mode)
        set_for = [self.playbooks[playbook]] if playbook in self.playbooks else []
        set_for += [mode for part, mode in self.scopes.items() if scope == part or scope.startswith(f"{part}/")]
        return min(set_for or [self.mode], key=order.index)


class Approvals(Value):
    """Who may say yes, and for how long it counts."""

    valid_for: Duration = timedelta(minutes=30)
    second_person: bool = True
    break_glass: tuple[str, ...] = ()
    """Who may open the glass: `local:<os user>`, or `person:<name>` with a token. Empty: nobody."""
    without_token: bool = True
    """May whoever has this configuration say everything without a token, as `local:<os user>`?"""


class Watch(Value):
    """What happens while a containment holds."""

    every: Duration = timedelta(minutes=5)
    overstay: Duration = timedelta(hours=24)
    on_drift: OnDrift = OnDrift.ASK
    playbooks: dict[str, OnDrift] = Field(default_factory=dict)
    reapply_most: int = Field(default=1, ge=0)

    def on_drift_of(self, playbook: str) -> OnDrift:
        """What is set for this playbook; what is set for all where nothing is."""
        return self.playbooks.get(playbook, self.on_drift)


class Scheme(StrEnum):
    """How a sender proves who it is."""

    STANDARD_WEBHOOKS = "standard-webhooks"
    BEARER = "bearer"
    GITHUB = "github"
    """HMAC-SHA256 over the body alone, in `X-Hub-Signature-256`, as GitHub and many others sign."""


class Source(Value):
    """One sender of findings: POST /v1/findings/<its name>."""

    parser: str
    scheme: Scheme = Scheme.STANDARD_WEBHOOKS
    secret: Secret
    previous_secret: Secret | None = None
    cluster: str | None = None


class NoticeKind(StrEnum):
    """What a person is told of."""

    NEEDS_HUMAN = "needs_human"
    APPROVAL_ASKED = "approval_asked"
    OVERSTAYED = "overstayed"
    """What nobody else will remove has been contained for long."""
    HELD = "held"
    """A guard holds cases back until a person says something: once an hour for each guard and source."""
    STORM = "storm"
    BREAKER = "breaker"
    BREAK_GLASS = "break_glass"


class Webhook(Value):
    """One receiver of notices. `url` may itself be a secret: then it is a reference, as `secret` is."""

    url: str = Field(repr=False)
    secret: Secret | None = None
    """Signs each notice as Standard Webhooks 1.0 says; without, they are not signed."""
    events: tuple[NoticeKind, ...] = tuple(NoticeKind)

    @field_validator("url")
    @classmethod
    def _only_there(cls, value: str) -> str:
        return value if _REFERENCE.fullmatch(value) else _address(value)

    def address(self) -> str:
        """Where notices go. Raises Misconfigured, and never says the address, which may hold a token."""
        if not _REFERENCE.fullmatch(self.url):
            return self.url
        try:
            return _address(Secret.model_validate(self.url).reveal().decode("ascii"))
        except ValueError as error:
            raise Misconfigured(f"the address in {self.url} cannot be used: {error}") from None


def _address(value: str) -> str:
    """The value, if it is an URL that notices may go to. Never repeats it: it may hold a token."""
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("write https://HOST/PATH, or a reference to one: env:NAME or file:/path") from None
    if not host or parts.username is not None or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("write https://HOST/PATH, or a reference to one: env:NAME or file:/path")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in ("127.0.0.1", "::1", "localhost")):
        raise ValueError("https only; http is for this machine itself")
    return value


class Schedule(Value):
    """One poll that runs by the clock. With `playbook`, that one answers all it finds; else matching decides."""

    poll: str
    scope: str
    every: Duration | None = None
    cron: str | None = None
    playbook: str | None = None

    @model_validator(mode="after")
    def _one_clock(self) -> "Schedule":
        if (self.every is None) == (self.cron is None):
            raise ValueError("give either 'every' (5m) or 'cron' (\"0 3 * * *\")")
        if self.every is not None and self.every < timedelta(seconds=1):
            raise ValueError("'every' must be at least 1s")
        return self


class Server(Value):
    """Where the webhook door listens, and what it takes."""

    host: str = "127.0.0.1"
    port: int = Field(default=8686, ge=0, le=65535)
    largest_body: int = Field(default=262144, ge=1024)
    longest_queue: int = Field(default=20000, ge=1)
    clock_skew: Duration = timedelta(minutes=5)
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    @model_validator(mode="after")
    def _whole_pair(self) -> "Server":
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("give tls_certificate and tls_key together")
        return self


class Worker(Value):
    """The claim loop that carries cases on."""

    threads: int = Field(default=4, ge=1, le=64)
    lease: Duration = timedelta(seconds=60)
    poll: Duration = timedelta(seconds=1)

    @field_validator("lease")
    @classmethod
    def _longer_than_a_call(cls, value: timedelta) -> timedelta:
        if value < timedelta(seconds=30):
            raise ValueError(
                "at least 30s: a provider's call may take 15 s, and no call is sent with less than 20 s left"
            )
        return value


class LedgerWitness(Value):
    """Another host that watches over the record: where it listens, and the public key of its cosignatures."""

    url: str
    key: str

    @field_validator("url")
    @classmethod
    def _a_place(cls, value: str) -> str:
        """Plain http is no harm: what is sent is signed and holds no secret, and so is the answer."""
        try:
            parts = urlsplit(value)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.username is None and parts.port != 0
        except ValueError:
            good = False
        if not good or not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError("write http://HOST:PORT or https://HOST")
        return value

    @field_validator("key")
    @classmethod
    def _a_cosigner(cls, value: str) -> str:
        try:
            if Verifier.parse(value).algorithm == COSIGNATURE:
                return value
        except Unsigned as error:
            raise ValueError(str(error)) from None
        raise ValueError("this is the key of a log; that of a witness is what 'quarantine witness' says")


class Ledger(Value):
    """Who signs the record, and where its state is told outside of this installation."""

    key: Path = Path("ledger.key")
    """The key's file; a relative path is taken from the data folder."""
    anchor: Path | None = None
    """A file, best on another machine, that every checkpoint is appended to; at most one in `anchor_every`."""
    anchor_every: Duration = timedelta(seconds=60)
    witnesses: dict[str, LedgerWitness] = Field(default_factory=dict)
    """Each checkpoint is shown to them; at most one in `witness_every`."""
    witness_every: Duration = timedelta(seconds=10)


class Evidence(Value):
    """How much of what is captured is kept, in bytes. What is larger is cut, and the record says so."""

    largest_bytes: int = Field(default=64 << 20, ge=1024)
    step_bytes: int = Field(default=256 << 20, ge=1024)
    """Of everything that one step captures."""


class Settings(Value):
    """Everything that can be set."""

    installation: str = Field(default="cloud-quarantine", pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")
    data: Path = Path("quarantine-data")
    database: str | None = None
    playbooks: tuple[Path, ...] = ()
    guards: Guards = Guards()
    approvals: Approvals = Approvals()
    watch: Watch = Watch()
    server: Server = Server()
    worker: Worker = Worker()
    ledger: Ledger = Ledger()
    evidence: Evidence = Evidence()
    sources: dict[str, Source] = Field(default_factory=dict)
    schedules: dict[str, Schedule] = Field(default_factory=dict)
    notify: dict[str, Webhook] = Field(default_factory=dict)
    providers: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @field_validator("sources", "schedules", "notify")
    @classmethod
    def _plain_names(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", name):
                raise ValueError("a name has small letters, digits and dashes only, at most 63")
        return value

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.data / 'quarantine.db'}"

    @property
    def readers(self) -> dict[str, str]:
        """By source and by schedule: the parser or poll that its findings come through."""
        sources = {name: source.parser for name, source in self.sources.items()}
        return {**sources, **{name: schedule.poll for name, schedule in self.schedules.items()}}

    @property
    def distributed(self) -> bool:
        """May several processes work on it? On PostgreSQL."""
        return self.database_url.startswith("postgresql")


def load_place(path: Path) -> tuple[Settings, Document]:
    """Of the settings in `path` only where the data is, however wrong the rest of it. Raises Misconfigured."""
    document = read(path)
    known = document.content if isinstance(document.content, dict) else {}
    only = Document(document.name, {name: known[name] for name in ("data", "database") if name in known}, {})
    settings = only.parse(Settings)
    return settings.model_copy(update={"data": path.absolute().parent / settings.data}), only


def load(path: Path) -> tuple[Settings, Document]:
    """The settings in `path`, with relative paths taken from the folder of that file. Raises Misconfigured."""
    document = read(path)
    settings = document.parse(Settings)
    folder = path.absolute().parent
    rooted = settings.model_copy(
        update={
            "data": folder / settings.data,
            "ledger": settings.ledger.model_copy(
                update={"anchor": folder / settings.ledger.anchor if settings.ledger.anchor else None}
            ),
            "playbooks": tuple(folder / playbook for playbook in settings.playbooks),
        }
    )
    return rooted, document
