"""The policy that denies everything, and how what stands under its name compares with it. Pure."""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from quarantine.action import Refusal

NAME: Final = "cloud-quarantine"
"""What the names of all our inline policies begin with."""


class Policy(StrEnum):
    """What stands at a user or a role under the name of our policy."""

    QUARANTINE = "quarantine"
    ALTERED = "altered"
    """Ours by its Sid, but somebody has changed what it says."""
    FOREIGN = "foreign"


def sid(installation: str) -> str:
    """Whose policy it is. An inline policy has no tags, and a Sid has letters and digits only."""
    return f"CloudQuarantine{hashlib.sha256(installation.encode()).hexdigest()[:16]}"


def deny_all(whose: str, condition: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Denies whatever is asked for, wherever from, under the condition if there is one. An explicit denial outweighs
    every permission, also that of a resource's policy (IAM User Guide, "Policy evaluation logic"). `whose` is a Sid."""
    statement: dict[str, Any] = {"Sid": whose, "Effect": "Deny", "Action": "*", "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [statement | ({"Condition": dict(condition)} if condition else {})]}


def standing(document: Any, wanted: Mapping[str, Any], installation: str) -> Policy:
    """How a document that was found compares with the `wanted` one."""
    if document == wanted:
        return Policy.QUARANTINE
    ours = any(str(statement.get("Sid")).startswith(sid(installation)) for statement in statements(document))
    return Policy.ALTERED if ours else Policy.FOREIGN


def statements(document: Any) -> list[dict[str, Any]]:
    """A policy's statements; IAM takes a single one without a list."""
    found = document.get("Statement") if isinstance(document, dict) else None
    listed = found if isinstance(found, list) else [found]
    return [statement for statement in listed if isinstance(statement, dict)]


def refusal(policy: Policy | None, whose: str, alternatives: tuple[str, ...]) -> Refusal | None:
    """Where our policy's name is taken. `whose`: "role web"."""
    if policy not in (Policy.FOREIGN, Policy.ALTERED):
        return None
    by = "somebody else's" if policy is Policy.FOREIGN else "an earlier one of ours, changed since"
    reason = f"{whose} has a policy under the name that ours would have already, and it is {by}"
    return Refusal(reason=reason, alternatives=("look at it, and delete it", *alternatives))
