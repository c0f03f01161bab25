"""The sessions of a role that one instance gets, and the policy that denies them everything. Pure."""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

from quarantine.action import Caveat, Fact, Refusal, State
from quarantine.errors import Unsupported
from quarantine.model import Resource

KIND: Final = "aws:iam-role-session"


class Policy(StrEnum):
    """What stands at the role under the name of our policy."""

    QUARANTINE = "quarantine"
    ALTERED = "altered"
    """Ours by its Sid, but somebody has changed what it says."""
    FOREIGN = "foreign"


class RoleSession(State):
    """The role may be gone: then it has no sessions, and there is nothing to deny and nothing to give back."""

    policy: Policy | None = None
    role: Annotated[str, Fact] = ""
    role_exists: Annotated[bool, Fact] = True
    path: Annotated[str, Fact] = "/"
    own: Annotated[bool, Fact] = False
    """It is the role that we act with ourselves."""


def parts(resource: Resource) -> tuple[str, str]:
    """Role and instance. Raises Unsupported for an id that is not `ROLE/INSTANCE`."""
    role, _, instance = resource.id.partition("/")
    if not role or not instance.startswith("i-"):
        raise Unsupported(f"'{resource.id}' does not name a role's sessions: ROLE/i-0123456789abcdef0")
    return role, instance


def uid(role: Mapping[str, Any], instance: str) -> str:
    """What `aws:userid` is in these sessions. A role that is made again under the same name has another id."""
    return f"{role['RoleId']}:{instance}"


def policy_name(instance: str) -> str:
    return f"cloud-quarantine-{instance}"


def sid(installation: str) -> str:
    """Whose policy it is. An inline policy has no tags, and a Sid has letters and digits only."""
    return f"CloudQuarantine{hashlib.sha256(installation.encode()).hexdigest()[:16]}"


def deny_all(instance: str, installation: str) -> dict[str, Any]:
    """Denies whatever the role's sessions of that instance ask for, wherever from. `aws:userid` of a role on an
    instance is ROLE-ID:INSTANCE-ID (IAM User Guide, "AWS global condition context keys", aws:userid), in every session
    that the instance gets, now and later."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": sid(installation),
                "Effect": "Deny",
                "Action": "*",
                "Resource": "*",
                "Condition": {"StringLike": {"aws:userid": f"*:{instance}"}},
            }
        ],
    }


def standing(document: Any, instance: str, installation: str) -> Policy:
    if document == deny_all(instance, installation):
        return Policy.QUARANTINE
    statements = document.get("Statement") if isinstance(document, dict) else None
    listed = statements if isinstance(statements, list) else [statements]
    ours = any(isinstance(item, dict) and item.get("Sid") == sid(installation) for item in listed)
    return Policy.ALTERED if ours else Policy.FOREIGN


def role_of(principal: str) -> str:
    """The role's name in the ARN of an assumed role's session; empty for a user or root."""
    kind, _, rest = principal.rpartition(":")[2].partition("/")
    return rest.partition("/")[0] if kind == "assumed-role" else ""


def refusal(before: RoleSession) -> Refusal | None:
    role, isolate = before.role, "isolate the instance's network interfaces"
    if not before.role_exists:
        return Refusal(reason=f"role {role} is not there any more, so it has no sessions", alternatives=(isolate,))
    if before.path.startswith("/aws-service-role/"):
        reason = f"role {role} is a service-linked role, which only its service can change"
        return Refusal(reason=reason, alternatives=(isolate,))
    if role.startswith("AWSReservedSSO_"):
        reason = f"role {role} belongs to IAM Identity Center, which does not let IAM change it"
        return Refusal(reason=reason, alternatives=("change its permission set in Identity Center", isolate))
    if before.own:
        reason = f"role {role} is the one that this program acts with"
        return Refusal(reason=reason, alternatives=("give this program a role of its own", isolate))
    if before.policy in (Policy.FOREIGN, Policy.ALTERED):
        whose = "somebody else's" if before.policy is Policy.FOREIGN else "an earlier one of ours, changed since"
        reason = f"role {role} has a policy under the name that ours would have already, and it is {whose}"
        return Refusal(reason=reason, alternatives=("look at it, and delete it", isolate))
    return None


# IAM User Guide, "Changes that I make are not always immediately visible" and "Roles terms and concepts", role chaining
# (one hour at most); EC2 User Guide, "Instance metadata". The seconds: OFFENSAI, "AWS IAM eventual consistency" (2025).
_CAVEATS: Final = {
    "propagation": "A new policy takes effect within seconds (3 to 4 were measured), sometimes minutes.",
    "iam-rights": "Whoever may change this role's policies from elsewhere can remove the denial; it is seen as drift.",
    "chained-sessions": "Sessions of other roles that were begun with these credentials go on, an hour at most.",
    "metadata-reachable": "The instance goes on getting credentials from its metadata service; they are denied"
    " everything. User data stays readable there.",
}


def caveats() -> tuple[Caveat, ...]:
    return tuple(Caveat(id=key, text=text) for key, text in _CAVEATS.items())
