"""Closes a storage account to anonymous readers. Containers keep what they say; the account's word is above theirs."""

from datetime import timedelta
from typing import Any, ClassVar, Final

from quarantine.action import Action, Caveat, Refusal, State
from quarantine.model import Resource
from quarantine_azure.cloud import UNCONDITIONAL_LATE, AzureCloud
from quarantine_azure.locks import LOCK, refused_by
from quarantine_azure.storage_account import ACCOUNT, KIND, NEVER_SAID, PROPAGATION, Switch, see_switch, set_switch

SWITCH: Final = "allowBlobPublicAccess"


class StorageBlockPublic(Action[AzureCloud, Switch]):
    """One switch for all containers, so that a release needs no memory of each (Azure, "Remediate anonymous read
    access to blob data"). The durations are ours.
    """

    name: ClassVar[str] = "azure:storage-block-public"
    resource: ClassVar[str] = KIND
    state: ClassVar[type[State]] = Switch
    settles_within: ClassVar[timedelta] = timedelta(seconds=30)
    consistent_within: ClassVar[timedelta] = timedelta(seconds=5)
    late_within: ClassVar[timedelta] = UNCONDITIONAL_LATE

    def permissions(self) -> tuple[str, ...]:
        return (f"{ACCOUNT}/read", f"{ACCOUNT}/write", f"{LOCK}/read")

    def observe(self, cloud: AzureCloud, resource: Resource) -> Switch:
        return see_switch(cloud, resource, SWITCH)

    def contained(self, before: Switch) -> Switch:
        return before.model_copy(update={"said": False})

    def apply(self, cloud: AzureCloud, resource: Resource, now: Switch, target: Any) -> None:
        if now.said is not target.said:
            set_switch(cloud, resource, SWITCH, target.said)

    def refusal(self, before: Switch) -> Refusal | None:
        return refused_by(before.read_only)

    def caveats(self, before: Switch) -> tuple[Caveat, ...]:
        return (PROPAGATION, *_ALWAYS, *((NEVER_SAID,) if before.said is None else ()))


# Azure, "Remediate anonymous read access to blob data", on static websites; the rest follows from what the switch is.
_ALWAYS: Final = (
    Caveat(
        id="static-website",
        text="A static website of the account (the container $web) is served as before, by its own endpoint.",
    ),
    Caveat(
        id="signed-access",
        text="Who holds a key of the account or a shared access signature reads on: see block-storage-keys.",
    ),
    Caveat(id="copies", text="What was read while it was open is not called back."),
)
