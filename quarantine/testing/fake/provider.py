"""The platform `fake` as a provider: accounts, findings, one poll, one relation."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from quarantine.action import (
    Action,
    Capture,
    Check,
    Group,
    Grouping,
    Identity,
    Parser,
    Poll,
    Provider,
    Relation,
    Reread,
    Standing,
    Verdict,
)
from quarantine.errors import Malformed, ProviderError, Unreachable
from quarantine.model import Finding, Moment, Resource, Severity
from quarantine.testing.fake.cloud import FakeCloud
from quarantine.testing.fake.machine_capture import MachineCapture
from quarantine.testing.fake.machine_close import MachineClose
from quarantine.testing.fake.machine_delete import MachineDelete
from quarantine.testing.fake.machine_fence import MachineFence
from quarantine.testing.fake.machine_isolate import MachineIsolate
from quarantine.testing.fake.machine_stop import MachineStop
from quarantine.testing.fake.world import EVERYONE, KIND, FakeWorld


class FakeSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    accounts: tuple[str, ...] = ("local",)
    """The accounts that may be touched."""


class FakeFinding(BaseModel):
    """What a detector on the platform sends."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    title: str = ""
    type: str = ""
    severity: Severity = Severity.HIGH
    machine: str
    uid: str | None = None
    account: str = "local"
    seen_at: Moment | None = None
    """The time of receipt, if it is left out."""
    sample: bool = False
    active: bool = True


def fake_finding(record: Mapping[str, JsonValue], source: str, received: datetime) -> list[Finding]:
    """One finding, or all in a list under `findings`. Pure; raises Malformed."""
    listed = record.get("findings")
    try:
        sent = [FakeFinding.model_validate(item) for item in (listed if isinstance(listed, list) else [record])]
        return [
            Finding(
                source=source,
                id=item.id,
                title=item.title,
                type=item.type,
                severity=item.severity,
                resource=Resource(kind=KIND, id=item.machine, scope=item.account, uid=item.uid),
                seen_at=item.seen_at or received,
                sample=item.sample,
                active=item.active,
                record=dict(record),
            )
            for item in sent
        ]
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise Malformed(f"not a finding of the fake platform: {where}: {problem['msg']}") from error


def open_machines(cloud: FakeCloud, scope: str, now: datetime, cursor: str | None) -> tuple[list[Finding], str | None]:
    """Every machine of a scope that has a port open to the world."""
    findings = [
        Finding(
            source="fake:open-machines",
            id=f"open/{machine.id}",
            title=f"{machine.id} is open to the world",
            type="open-to-the-world",
            severity=Severity.HIGH,
            resource=Resource(kind=KIND, id=machine.id, scope=scope, uid=machine.uid),
            seen_at=now,
        )
        for machine in cloud.read("machine.list", "machine.list")
        if EVERYONE in machine.ports.values()
    ]
    return findings, None


def still_detected(cloud: FakeCloud, finding: Finding, now: datetime) -> Standing:
    """What the platform's detector says of a finding of its own."""
    detected = cloud.read("finding.get", "finding.get", id=finding.id)
    standing: Standing = detected.standing if detected.machine == finding.resource.id else Standing.UNKNOWN
    return standing


def still_open(cloud: FakeCloud, finding: Finding, now: datetime) -> Standing:
    machine = cloud.read("machine.get", "machine.get", id=finding.resource.id)
    return Standing.ACTIVE if EVERYONE in machine.ports.values() else Standing.RESOLVED


def peers(cloud: FakeCloud, resource: Resource) -> Iterable[Resource]:
    """The machines that work for the same thing."""
    for name in cloud.read("machine.get", "machine.get", id=resource.id).peers:
        peer = cloud.read("machine.get", "machine.get", id=name)
        yield Resource(kind=KIND, id=name, scope=resource.scope, uid=peer.uid)


def group(cloud: FakeCloud, resource: Resource) -> Group | None:
    """A machine and its peers; None for one that works alone."""
    machine = cloud.read("machine.get", "machine.get", id=resource.id)
    if not machine.peers:
        return None
    members = [machine, *(cloud.read("machine.get", "machine.get", id=name) for name in machine.peers)]
    return Group(
        key="/".join([cloud.scope, *sorted(member.id for member in members)]),
        size=len(members),
        healthy=sum(member.power == "running" for member in members),
    )


class FakeProvider(Provider):
    """A scope is an account, or `account/zone`."""

    name: ClassVar[str] = "fake"
    settings: ClassVar[type[BaseModel]] = FakeSettings
    actions: ClassVar[tuple[type[Action[Any, Any]], ...]] = (
        MachineIsolate,
        MachineClose,
        MachineFence,
        MachineStop,
        MachineDelete,
    )
    captures: ClassVar[tuple[type[Capture[Any]], ...]] = (MachineCapture,)
    parsers: ClassVar[Mapping[str, Parser]] = {"fake:finding": fake_finding, "fake:detection": fake_finding}
    """Of these two formats, which are the same, only the second is that of a detector which can be asked."""
    polls: ClassVar[tuple[Poll, ...]] = (Poll("fake:open-machines", ("machine.list",), open_machines),)
    rereads: ClassVar[Mapping[str, Reread]] = {
        "fake:detection": Reread(
            permissions=("finding.get",),
            scope=lambda finding: finding.resource.scope,
            ask=still_detected,
            probe=lambda cloud: cloud.read("finding.get", "finding.get", id="asked-by-doctor"),
        ),
        "fake:open-machines": Reread(
            permissions=("machine.get",),
            scope=lambda finding: finding.resource.scope,
            ask=still_open,
            probe=lambda cloud: cloud.read("machine.list", "machine.list"),
        ),
    }
    relations: ClassVar[Mapping[str, Relation]] = {"peers": Relation(KIND, KIND, ("machine.get",), peers)}
    groups: ClassVar[Mapping[str, Grouping]] = {KIND: Grouping(("machine.get",), group)}

    def __init__(self, settings: FakeSettings, world: FakeWorld | None = None) -> None:
        """Without a `world`, one of its own, that only this provider sees."""
        self._accounts = settings.accounts
        self.world = world or FakeWorld()

    def scopes(self) -> tuple[str, ...]:
        return self._accounts

    def connect(self, scope: str) -> FakeCloud:
        if scope.partition("/")[0] not in self._accounts:
            raise Unreachable(f"account {scope!r} is not configured: add it to `accounts` of provider 'fake'")
        return FakeCloud(self.world, scope)

    def identity(self, cloud: FakeCloud) -> Identity:
        return Identity(account=cloud.read("identity.get", "identity.get"), principal="fake-principal")

    def resolve(self, cloud: FakeCloud, resource: Resource) -> tuple[Resource, Mapping[str, str]]:
        machine = cloud.read("machine.get", "machine.get", id=resource.id)
        return resource.model_copy(update={"uid": machine.uid}), machine.tags

    def doctor(self) -> Iterable[Check]:
        for account in self._accounts:
            subject = f"account {account}"
            try:
                lands_in = self.identity(self.connect(account)).account
            except ProviderError as error:
                yield Check(subject=subject, verdict=Verdict.FAIL, message=str(error))
                continue
            verdict = Verdict.OK if lands_in == account else Verdict.FAIL
            yield Check(subject=subject, verdict=verdict, message=f"the credentials lead to {lands_in}")
