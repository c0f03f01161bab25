"""Azure as a provider: the subscriptions of the configuration, and who we are there."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import Annotated, Any, ClassVar, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, model_validator

from quarantine.action import Action, Capture, Check, Identity, Needs, Parser, Poll, Provider, Reread, Verdict
from quarantine.errors import NotFound, ProviderError, QuarantineError, Unsupported
from quarantine.model import Resource, Value
from quarantine_azure import role
from quarantine_azure.arm_id import segment
from quarantine_azure.cloud import AzureCloud
from quarantine_azure.container_block_public import ContainerBlockPublic
from quarantine_azure.findings import assessment, common_alert, defender_alert
from quarantine_azure.nsg_close_rule import NsgCloseRule
from quarantine_azure.permissions import allowed
from quarantine_azure.polls import POLLS
from quarantine_azure.readers import READERS
from quarantine_azure.rereads import REREADS
from quarantine_azure.session import PLACES, Place, Session
from quarantine_azure.storage_block_public import StorageBlockPublic
from quarantine_azure.storage_credentials import StorageCredentials
from quarantine_azure.vm_capture import VmCapture
from quarantine_azure.vm_isolate import VmIsolate
from quarantine_azure.vm_stop import VmStop

PERMISSION: Final = "Microsoft.Authorization/permissions"


def _subscription(value: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", value):
        raise ValueError("a subscription id is a GUID: 11111111-2222-3333-4444-555555555555")
    return value.lower()


def _group(value: str) -> str:
    if not segment(value):
        raise ValueError("that is no name of a resource group")
    return value.lower()


def _endpoint(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"\s", value):
        raise ValueError("an endpoint is a URL with scheme and host: https://management.local.azurestack.external")
    return value.rstrip("/")


class Subscription(Value):
    """One subscription that we may act in."""

    resource_groups: tuple[Annotated[str, AfterValidator(_group)], ...] = Field(
        default=(), description="Resource groups that we look at and act in; all of the subscription if left out."
    )


class AzureSettings(Value):
    """The `azure:` part of `providers:`."""

    subscriptions: dict[Annotated[str, AfterValidator(_subscription)], Subscription] = Field(
        default_factory=dict, description="By subscription id: the subscriptions we act in; no others."
    )
    cloud: Literal["public", "china", "us-government"] = Field(
        default="public", description="Which Azure it is; endpoints and tokens follow from it."
    )
    endpoint_url: Annotated[str, AfterValidator(_endpoint)] | None = Field(
        default=None, description="URL that all calls go to instead of the cloud's: an emulator or a gateway."
    )
    token: str | None = Field(
        default=None,
        pattern=r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:/.+)$",
        description="Only with endpoint_url: a fixed bearer token for it, as env:NAME or file:/path.",
    )

    @model_validator(mode="after")
    def _sends_credentials_only_where_they_are_safe(self) -> Self:
        if self.endpoint_url is None:
            if self.token is not None:
                raise ValueError("token is only used with endpoint_url: set that too, or leave both out")
        elif self.endpoint_url.startswith("http://"):
            if not _loopback(self.endpoint_url):
                raise ValueError("endpoint_url may be plain http on this machine only: a token goes along")
            if self.token is None:
                raise ValueError("a plain http endpoint_url needs `token`: real credentials are not sent there")
        return self

    @property
    def place(self) -> Place:
        place = PLACES[self.cloud]
        if self.endpoint_url is None:
            return place
        return place.model_copy(update={"endpoint": self.endpoint_url, "token": self.token})


def _loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Azure(Provider):
    """A scope is `subscription/resource group`, in lower case: ARM does not tell cases apart, and we must."""

    name: ClassVar[str] = "azure"
    settings: ClassVar[type[BaseModel]] = AzureSettings
    actions: ClassVar[tuple[type[Action[Any, Any]], ...]] = (
        VmIsolate,
        StorageBlockPublic,
        ContainerBlockPublic,
        StorageCredentials,
        NsgCloseRule,
        VmStop,
    )
    captures: ClassVar[tuple[type[Capture[Any]], ...]] = (VmCapture,)
    polls: ClassVar[tuple[Poll, ...]] = POLLS
    parsers: ClassVar[Mapping[str, Parser]] = {
        "azure:defender-alert": defender_alert,
        "azure:defender-assessment": assessment,
        "azure:common-alert": common_alert,
    }
    rereads: ClassVar[Mapping[str, Reread]] = REREADS

    def __init__(self, settings: AzureSettings) -> None:
        self._settings = settings
        self._clouds = {id_: AzureCloud(id_, Session(id_, settings.place)) for id_ in settings.subscriptions}

    def scopes(self) -> tuple[str, ...]:
        """A subscription without groups stands for all of its groups."""
        return tuple(
            scope
            for id_, subscription in self._settings.subscriptions.items()
            for scope in [f"{id_}/{group}" for group in subscription.resource_groups] or [id_]
        )

    def connect(self, scope: str) -> AzureCloud:
        """Opens nothing yet. One connection per subscription. Raises NotFound for scopes that are not configured."""
        id_, _, group = scope.lower().partition("/")
        subscription = self._settings.subscriptions.get(id_)
        groups = subscription.resource_groups if subscription else ()
        if subscription is None or (group and groups and group not in groups):
            raise NotFound(
                f"Azure scope '{scope}' is not configured: providers.azure.subscriptions has "
                f"{', '.join(self.scopes()) or 'nothing'}"
            )
        return self._clouds[id_]

    def identity(self, cloud: AzureCloud) -> Identity:
        return cloud.identity()

    def resolve(self, cloud: AzureCloud, resource: Resource) -> tuple[Resource, Mapping[str, str]]:
        """Names in lower case: Azure does not tell cases apart."""
        if resource.kind not in READERS:
            raise Unsupported(f"nothing is known about {resource.kind} yet: {', '.join(sorted(READERS))} are")
        uid, tags = READERS[resource.kind](cloud, resource)
        names = {"id": resource.id.lower(), "scope": resource.scope.lower(), "uid": uid}
        return resource.model_copy(update=names), tags

    def permissions_document(self, needs: Needs) -> str:
        """A custom role."""
        return role.document(needs, self.scopes())

    def doctor(self) -> Iterator[Check]:
        if not self._settings.subscriptions:
            fix = "add providers.azure.subscriptions"
            yield Check(subject="azure", verdict=Verdict.WARN, message="no subscription is configured", fix=fix)
        elif self._settings.token is None:
            yield _check_credentials()
        for id_, subscription in self._settings.subscriptions.items():
            subject = f"azure {id_}"
            try:
                yield _check_identity(subject, self._clouds[id_])
                for group in subscription.resource_groups or ("",):
                    yield from self._check_permissions(self._clouds[id_], group)
            except QuarantineError as error:
                fix = "set credentials that lead into this subscription, and allow HTTPS to its resource manager"
                yield Check(subject=subject, verdict=Verdict.FAIL, message=str(error), fix=fix)
            except (LookupError, TypeError, AttributeError) as error:
                message = f"what answers there is no Azure Resource Manager ({error!r})"
                yield Check(subject=subject, verdict=Verdict.FAIL, message=message, fix="look at endpoint_url")

    def _check_permissions(self, cloud: AzureCloud, group: str) -> Iterable[Check]:
        scope = f"/subscriptions/{cloud.subscription}" + (f"/resourcegroups/{group}" if group else "")
        subject = f"azure {cloud.subscription}" + (f"/{group}" if group else "")
        try:
            granted = cloud.read(f"{PERMISSION}/read", f"list {PERMISSION}", id=scope)
        except ProviderError as error:
            fix = "grant the role Reader too, so that this can be asked"
            return [Check(subject=f"{subject} permissions", verdict=Verdict.WARN, message=str(error), fix=fix)]
        needed = {permission: action.name for action in self.actions for permission in action().permissions()}
        missing = [permission for permission in needed if not allowed(granted, permission)]
        if not missing:
            message = f"everything is allowed that {', '.join(sorted(set(needed.values())))} may need"
            return [Check(subject=f"{subject} permissions", verdict=Verdict.OK, message=message)]
        return [
            Check(
                subject=f"{subject} {permission}",
                verdict=Verdict.WARN,
                message=f"not granted for all of it; {needed[permission]} needs it",
                fix=f"a role with {permission}, on this scope or on each resource group that playbooks may act in",
            )
            for permission in missing
        ]


def _check_credentials() -> Check:
    """The open chain takes what it finds first, also a developer's own login (azure-identity, "Credential chains")."""
    chosen = os.environ.get("AZURE_TOKEN_CREDENTIALS", "")
    if chosen:
        return Check(subject="azure credentials", verdict=Verdict.OK, message=f"AZURE_TOKEN_CREDENTIALS is {chosen}")
    return Check(
        subject="azure credentials",
        verdict=Verdict.WARN,
        message="every kind of credential on this machine is tried, in turn",
        fix="set AZURE_TOKEN_CREDENTIALS to `prod`, or to one kind: ManagedIdentityCredential",
    )


def _check_identity(subject: str, cloud: AzureCloud) -> Check:
    identity = cloud.identity()
    if identity.account != cloud.subscription:
        message = f"configured as {cloud.subscription}, but subscription {identity.account} answers"
        return Check(subject=subject, verdict=Verdict.FAIL, message=message, fix="look at endpoint_url")
    return Check(subject=subject, verdict=Verdict.OK, message=f"we are {identity.principal}")
