"""Switches the keys of a storage account off, and with them every signature that they made. The keys stay as they are.

New keys would end the same signatures and could not be undone: who has a good key needs it again after a release.
"""

from typing import ClassVar, Final

from quarantine.action import Caveat
from quarantine_azure.storage_account import NEVER_SAID, Switch, SwitchingOff


class StorageCredentials(SwitchingOff):
    """Never said is as good as true (Azure SDK, StorageAccountProperties.allowSharedKeyAccess)."""

    name: ClassVar[str] = "azure:storage-credentials"
    switch: ClassVar[str] = "allowSharedKeyAccess"

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
