"""Closes a storage account to anonymous readers. Containers keep what they say; the account's word is above theirs."""

from typing import ClassVar, Final

from quarantine.action import Caveat
from quarantine_azure.storage_account import NEVER_SAID, PROPAGATION, Switch, SwitchingOff


class StorageBlockPublic(SwitchingOff):
    """One switch for all containers, so that a release needs no memory of each (Azure, "Remediate anonymous read
    access to blob data").
    """

    name: ClassVar[str] = "azure:storage-block-public"
    switch: ClassVar[str] = "allowBlobPublicAccess"

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
