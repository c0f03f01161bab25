"""One storage account and its containers, read, and one of its switches set. Raw JSON, in and out.

The storage provider takes no If-Match and gives no ETag for an account (recorded sessions of
kubernetes-sigs/cloud-provider-azure): a change here carries no condition.
"""

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final

from quarantine.action import Action, Caveat, Fact, Refusal, State
from quarantine.errors import Gone, Transient
from quarantine.model import Resource
from quarantine_azure.cloud import UNCONDITIONAL_LATE, AzureCloud
from quarantine_azure.locks import LOCK, locks_over, refused_by
from quarantine_azure.virtual_machine import id_of

KIND: Final = "azure:storage-account"
CONTAINER_KIND: Final = "azure:blob-container"
ACCOUNT: Final = "Microsoft.Storage/storageAccounts"
CONTAINER: Final = f"{ACCOUNT}/blobServices/containers"


class Switch(State):
    """One switch of an account. None: it was never said, and what holds then is Azure's default."""

    said: bool | None
    uid: Annotated[str, Fact]
    public_network: Annotated[bool, Fact] = True
    """Does its endpoint answer the internet?"""
    local_users: Annotated[bool, Fact] = False
    read_only: Annotated[tuple[str, ...], Fact] = ()


def get_account(cloud: AzureCloud, resource: Resource) -> dict[str, Any]:
    """Raises Gone, also when another account has the name now."""
    account: dict[str, Any] = cloud.read(f"{ACCOUNT}/read", f"get {ACCOUNT}", id=id_of(resource, ACCOUNT, resource.id))
    if resource.uid not in (None, uid_of(account)):
        raise Gone(f"{resource}: another account has this name now, made {uid_of(account)}; {resource.uid} was meant")
    return account


def uid_of(account: dict[str, Any]) -> str:
    """An account has no id beside its name, which is free again after a deletion; the time it was made tells the two
    apart."""
    return str(account["properties"]["creationTime"])


class SwitchingOff(Action[AzureCloud, Switch]):
    """One switch of an account goes off. The durations are ours."""

    switch: ClassVar[str]
    """Its name among the account's properties."""
    resource: ClassVar[str] = KIND
    state: ClassVar[type[State]] = Switch
    settles_within: ClassVar[timedelta] = timedelta(seconds=30)
    consistent_within: ClassVar[timedelta] = timedelta(seconds=5)
    late_within: ClassVar[timedelta] = UNCONDITIONAL_LATE

    def permissions(self) -> tuple[str, ...]:
        return (f"{ACCOUNT}/read", f"{ACCOUNT}/write", f"{LOCK}/read")

    def observe(self, cloud: AzureCloud, resource: Resource) -> Switch:
        account = get_account(cloud, resource)
        properties = account["properties"]
        said = properties.get(self.switch)
        if said not in (None, True, False):
            raise Transient(f"{resource} says {self.switch}: {said!r}, which is neither true nor false: look again")
        acls = properties.get("networkAcls") or {}
        return Switch(
            said=said,
            uid=uid_of(account),
            public_network=properties.get("publicNetworkAccess") != "Disabled" and acls.get("defaultAction") != "Deny",
            local_users=bool(properties.get("isLocalUserEnabled")),
            # Once it is off the locks have been looked at; from here on they would only cost a call each time.
            read_only=() if said is False else locks_over(cloud, account["id"])["ReadOnly"],
        )

    def contained(self, before: Switch) -> Switch:
        return before.model_copy(update={"said": False})

    def apply(self, cloud: AzureCloud, resource: Resource, now: Switch, target: Any) -> None:
        """None takes the switch away again: null in a PATCH removes (RFC 7396, as the ARM resource provider contract
        asks for). Whether it did is read back, not assumed."""
        if now.said is not target.said:
            body = {"properties": {self.switch: target.said}}
            cloud.change(f"{ACCOUNT}/write", f"patch {ACCOUNT}", id=id_of(resource, ACCOUNT, resource.id), body=body)

    def refusal(self, before: Switch) -> Refusal | None:
        return refused_by(before.read_only)


def get_container(cloud: AzureCloud, resource: Resource) -> dict[str, Any]:
    """A container is named `account/container`. Raises Gone."""
    container: dict[str, Any] = cloud.read(f"{CONTAINER}/read", f"get {CONTAINER}", id=container_id(resource))
    return container


def container_id(resource: Resource) -> str:
    account, _, name = resource.id.partition("/")
    return id_of(resource, CONTAINER, f"{account}/default/{name}")


NEVER_SAID: Final = Caveat(
    id="never-said",
    text="The account never said this switch. A release takes it away again; if Azure keeps it, the case says so and"
    " waits for a person.",
)
PROPAGATION: Final = Caveat(
    id="propagation", text="It takes effect at the data endpoint after the switch shows it: up to 30 seconds."
)
