"""VMware vSphere as a provider: the vCenters of the configuration, and who we are there."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, model_validator

from quarantine.action import Action, Check, Identity, Parser, Poll, Provider, Verdict
from quarantine.config import Secret
from quarantine.errors import Gone, QuarantineError, Unreachable, Unsupported
from quarantine.model import Resource, Value
from quarantine_vmware import machine
from quarantine_vmware.alarms import ALARMS
from quarantine_vmware.calls import Vcenter
from quarantine_vmware.cloud import READ, VmwareCloud
from quarantine_vmware.findings import alarm
from quarantine_vmware.session import Address, Sessions
from quarantine_vmware.vm_disconnect_nics import VmDisconnectNics

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = bool(parts.hostname) and parts.port != 0 and not re.search(r"\s", value) and parts.username is None
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("a vCenter's address is a URL without a user in it: https://vcenter.example.com")
    if parts.scheme != "https" and (parts.scheme, parts.hostname in _LOOPBACK) != ("http", True):
        raise ValueError("a vCenter is reached by https; http only on this machine itself")
    return value


class Access(Value):
    """How one vCenter is reached."""

    url: Annotated[str, AfterValidator(_url)] = Field(description="Address of the vCenter: https://host[:port].")
    user: str = Field(min_length=1, description="The user we log in as: name@domain.")
    password: Secret = Field(description="Where its password is kept: env:NAME or file:/path.")
    ca_file: Path | None = Field(
        default=None, description="PEM file of the authority that signed the vCenter's certificate; this machine's own."
    )
    thumbprint: str | None = Field(
        default=None,
        pattern=r"^[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}$",
        description="SHA-256 of the vCenter's certificate: that one is trusted and no other. Instead of ca_file.",
    )
    instance_uuid: str | None = Field(
        default=None,
        pattern=r"^[0-9A-Fa-f-]{36}$",
        description="The vCenter's instance UUID. With it, no other vCenter is ever touched under this name.",
    )

    @model_validator(mode="after")
    def _trusts_in_one_way(self) -> Self:
        if self.ca_file is not None and self.thumbprint is not None:
            raise ValueError("give either ca_file or thumbprint")
        if self.url.startswith("http:") and (self.ca_file is not None or self.thumbprint is not None):
            raise ValueError("ca_file and thumbprint are for https")
        return self


class VmwareSettings(Value):
    """The `vmware:` part of `providers:`."""

    vcenters: dict[Annotated[str, Field(pattern=r"^[^/\s]+$")], Access] = Field(
        default_factory=dict, description="The vCenters by the name that findings and scopes have for them; no others."
    )


class Vmware(Provider):
    """A scope is `vcenter` or `vcenter/datacenter`."""

    name: ClassVar[str] = "vmware"
    settings: ClassVar[type[BaseModel]] = VmwareSettings
    actions: ClassVar[tuple[type[Action[Any, Any]], ...]] = (VmDisconnectNics,)
    parsers: ClassVar[Mapping[str, Parser]] = {"vmware:alarm": alarm}
    polls: ClassVar[tuple[Poll, ...]] = (ALARMS,)

    def __init__(self, settings: VmwareSettings) -> None:
        self._vcenters = settings.vcenters
        self._sessions = {
            name: Sessions(Address(access.url, access.user, access.password.reveal, access.ca_file, access.thumbprint))
            for name, access in settings.vcenters.items()
        }

    def scopes(self) -> tuple[str, ...]:
        return tuple(self._vcenters)

    def connect(self, scope: str) -> VmwareCloud:
        """Opens nothing yet. One pool of sessions per vCenter, for all of its datacenters and all threads."""
        name = scope.partition("/")[0]
        if name not in self._sessions:
            raise Unreachable(f"vCenter {name!r} is not configured: add it to `vcenters` of provider 'vmware'")
        return VmwareCloud(name, self._sessions[name])

    def close(self) -> None:
        """Logs out. A program that ends does so by itself."""
        for sessions in self._sessions.values():
            sessions.close()

    def identity(self, cloud: VmwareCloud) -> Identity:
        """The account is the vCenter's name if it is the pinned one, or if there is no pin."""
        found = _vcenter(cloud)
        pin = self._vcenters[cloud.vcenter].instance_uuid
        pinned = pin is None or pin.lower() == found.instance.lower()
        return Identity(account=cloud.vcenter if pinned else f"unknown vCenter {found.instance}", principal=found.user)

    def resolve(self, cloud: VmwareCloud, resource: Resource) -> tuple[Resource, Mapping[str, str]]:
        """With the instance UUID as uid, and the datacenter that it is in; its tags are its custom attributes."""
        moid = machine.find(cloud, resource)
        found = machine.read(cloud, moid, ("config.instanceUuid", "availableField", "customValue"))
        place = machine.datacenter(cloud, moid)
        if resource.area not in ("", place):
            raise Gone(f"{resource}: machine {moid} is in datacenter {place!r}")
        uid = found.get("config.instanceUuid")
        if not uid:
            raise Unsupported(f"{resource}: the vCenter does not know its configuration now: look at its host")
        names = {field.key: field.name for field in found.get("availableField") or ()}
        tags = {names.get(item.key, str(item.key)): item.value for item in found.get("customValue") or ()}
        scope = f"{cloud.vcenter}/{place}"
        return resource.model_copy(update={"uid": uid, "scope": scope}), tags

    def doctor(self) -> Iterable[Check]:
        if not self._vcenters:
            message = "no vCenter is configured"
            yield Check(subject="vmware", verdict=Verdict.WARN, message=message, fix="add providers.vmware.vcenters")
        for name in self._vcenters:
            try:
                yield from self._examine(name)
            except QuarantineError as error:
                yield Check(subject=f"vCenter {name}", verdict=Verdict.FAIL, message=str(error))

    def _examine(self, name: str) -> Iterator[Check]:
        cloud, access = self.connect(name), self._vcenters[name]
        found = _vcenter(cloud)
        subject = f"vCenter {name}"
        if found.kind != "VirtualCenter":
            message = f"{found.product} is a single host: it knows no instance UUIDs of machines in other places"
            yield Check(subject=subject, verdict=Verdict.FAIL, message=message, fix="set `url` to the vCenter's")
            return
        yield Check(subject=subject, verdict=Verdict.OK, message=f"{found.product}, logged in as {found.user}")
        yield _pinned(subject, found, access.instance_uuid)
        needed = {permission: action.name for action in self.actions for permission in action().permissions()}
        granted = cloud.read(
            READ, "AuthorizationManager.HasPrivilegeOnEntities", entity=("Folder", found.root), names=tuple(needed)
        )
        for permission in (permission for permission in needed if not granted.get(permission)):
            yield Check(
                subject=f"{subject}: {permission}",
                verdict=Verdict.WARN,
                message=f"not granted to {found.user} on the whole inventory; {needed[permission]} needs it",
                fix=f"grant a role with {permission} on each folder or datacenter that playbooks may act in",
            )


def _pinned(subject: str, found: Vcenter, pin: str | None) -> Check:
    subject = f"{subject}: pin"
    if pin is None:
        message = "no pin: whatever vCenter answers at this address is acted on"
        return Check(subject=subject, verdict=Verdict.WARN, message=message, fix=f"set instance_uuid: {found.instance}")
    if pin.lower() != found.instance.lower():
        message = f"this is vCenter {found.instance}, and the configuration pins {pin}: nothing is done here"
        return Check(subject=subject, verdict=Verdict.FAIL, message=message, fix="correct url or instance_uuid")
    return Check(subject=subject, verdict=Verdict.OK, message=f"it is vCenter {found.instance}")


def _vcenter(cloud: VmwareCloud) -> Vcenter:
    found: Vcenter = cloud.read(READ, "ServiceInstance.RetrieveServiceContent")
    return found
