"""Switches the keys of a storage account off, and with them every signature that they made. The keys stay as they are.

New keys would end the same signatures and could not be undone: who has a good key needs it again after a release.
"""

from datetime import timedelta
from typing import Any, ClassVar, Final

from quarantine.action import Action, Caveat, Refusal, State
from quarantine.model import Resource
from quarantine_azure.cloud import UNCONDITIONAL_LATE, AzureCloud
from quarantine_azure.locks import LOCK, refused_by
from quarantine_azure.storage_account import ACCOUNT, KIND, NEVER_SAID, Switch, see_switch, set_switch

SWITCH: Final = "allowSharedKeyAccess"


class StorageCredentials(Action[AzureCloud, Switch]):
    """Never said is as good as true (Azure SDK, StorageAccountProperties.allowSharedKeyAccess). Durations are ours."""

    name: ClassVar[str] = "azure:storage-credentials"
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
        texts = dict(_ALWAYS)
        if before.local_users:
            texts["local-users"] = "Local users of the account (SFTP) have passwords and keys of their own: they stay."
        if before.said is None:
            texts[NEVER_SAID.id] = NEVER_SAID.text
        return tuple(Caveat(id=name, text=text) for name, text in texts.items())


# Azure, "Prevent Shared Key authorization for a storage account".
_ALWAYS: Final = {
    "keys-come-back": "A release makes the same keys, and the signatures made with them, good again: rotate the leaked"
    " one before that.",
    "user-delegation": "A shared access signature that was signed with a directory identity (user delegation) works on,"
    " and so do directory tokens: take that identity's roles away, or revoke the account's user delegation keys.",
    "owners-break": "Everything that uses the account by key stops: applications with a connection string, SMB shares"
    " mounted by key, functions, diagnostic settings, the portal's own view where it signs by key.",
    "anonymous": "What is open to anonymous readers needs no key: see close-public-storage.",
}
