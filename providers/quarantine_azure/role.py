"""What to grant, as a custom role: the JSON that `az role definition create --role-definition` takes. Pure."""

import json
from collections.abc import Iterable
from typing import Final

from quarantine.action import Needs
from quarantine.errors import Misused

_IDENTITY: Final = "Microsoft.Resources/subscriptions/read"
"""What it takes to be told which subscription answers: the account pin asks each time."""


def document(needs: Needs, scopes: Iterable[str]) -> str:
    """One role, with exactly these actions, for the scopes of the configuration. Raises Misused."""
    if needs.namespaces or needs.principal:
        raise Misused("a role of Azure names neither namespace nor principal: az role assignment create gives it")
    places = [_path(scope) for scope in scopes]
    if not places:
        raise Misused("a role is made for subscriptions: name them under providers.azure.subscriptions")
    users = sorted({user for names in needs.permissions.values() for user in names})
    role = {
        "Name": "cloud-quarantine",
        "IsCustom": True,
        "Description": f"What cloud-quarantine needs for {', '.join(users)}."[:1024],
        "Actions": sorted({*needs.permissions, _IDENTITY}),
        "NotActions": [],
        "AssignableScopes": places,
    }
    return json.dumps(role, indent=2) + "\n"


def _path(scope: str) -> str:
    subscription, _, group = scope.partition("/")
    return f"/subscriptions/{subscription}" + (f"/resourceGroups/{group}" if group else "")
