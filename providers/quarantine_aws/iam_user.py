"""A user with its access keys, and what taking them out of use leaves."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from pydantic import Field

from quarantine.action import Caveat, Fact, Refusal, State
from quarantine.errors import Denied, Gone, Unreachable
from quarantine.model import Resource
from quarantine_aws import deny_policy
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.deny_policy import Policy
from quarantine_aws.ec2_instance import tags_of
from quarantine_aws.inline_policy import Place

KIND: Final = "aws:iam-user"
ACTIVE: Final = "Active"
INACTIVE: Final = "Inactive"

FACTS: Final = ("iam:GetAccessKeyLastUsed", "iam:GetLoginProfile", "iam:ListMFADevices", "iam:ListGroupsForUser")
"""Permissions that are only used to tell more: without one, the rest is done all the same."""


class UserKeys(State):
    policy: Policy | None = None
    keys: dict[str, str]
    """Access key id -> its status: Active, Inactive, or Expired, which nothing leads back from."""
    user: Annotated[str, Fact] = ""
    own: Annotated[bool, Fact] = False
    """It is the user that we act as ourselves."""
    last_used: Annotated[dict[str, str], Fact] = Field(default_factory=dict)
    """Access key id -> when, and at which service and region, where it ever was. Read, like all below, while nothing
    is denied yet."""
    console: Annotated[bool, Fact] = False
    mfa_devices: Annotated[tuple[str, ...], Fact] = ()
    groups: Annotated[tuple[str, ...], Fact] = ()
    unread: Annotated[dict[str, str], Fact] = Field(default_factory=dict)
    """Fact -> why it could not be read."""


def place(user: str) -> Place:
    return Place("User", user, deny_policy.NAME)


def describe(cloud: AwsCloud, name: str) -> dict[str, Any]:
    """Raises Gone."""
    user: dict[str, Any] = cloud.read("iam:GetUser", "iam.get_user", UserName=name)["User"]
    return user


def resolve(cloud: AwsCloud, resource: Resource) -> tuple[str, Mapping[str, str]]:
    """A user that is made again under the same name has another id."""
    user = describe(cloud, resource.id)
    return user["UserId"], tags_of(user)


def keys(cloud: AwsCloud, name: str) -> dict[str, str]:
    """All of them: a user has two at most (IAM User Guide, "IAM and AWS STS quotas")."""
    found = cloud.read("iam:ListAccessKeys", "iam.list_access_keys", UserName=name)["AccessKeyMetadata"]
    return {key["AccessKeyId"]: key["Status"] for key in sorted(found, key=lambda key: str(key["AccessKeyId"]))}


def user_of(principal: str) -> str:
    """The user's name in its ARN; empty for others."""
    kind, _, rest = principal.rpartition(":")[2].partition("/")
    return rest.rpartition("/")[2] if kind == "user" else ""


def facts(cloud: AwsCloud, name: str, keys: Mapping[str, str]) -> dict[str, Any]:
    """What the user can do besides. A fact that cannot be read is no reason to leave its keys in use."""
    reads: dict[str, Callable[[], Any]] = {
        "last_used": lambda: {key: used for key in keys if (used := _last_used(cloud, key))},
        "console": lambda: _has_password(cloud, name),
        "mfa_devices": lambda: _mfa_devices(cloud, name),
        "groups": lambda: _groups(cloud, name),
    }
    found: dict[str, Any] = {"unread": {}}
    for fact, read in reads.items():
        try:
            found[fact] = read()
        except (Denied, Unreachable) as error:
            found["unread"][fact] = str(error)
    return found


def _last_used(cloud: AwsCloud, key: str) -> str:
    """Empty where it never was, as far as IAM knows (IAM API Reference, AccessKeyLastUsed: then it has no date)."""
    call = "iam.get_access_key_last_used"
    used = cloud.read("iam:GetAccessKeyLastUsed", call, AccessKeyId=key)["AccessKeyLastUsed"]
    if "LastUsedDate" not in used:
        return ""
    return f"{used['LastUsedDate']:%Y-%m-%d %H:%M} UTC, {used['ServiceName']} in {used['Region']}"


def _has_password(cloud: AwsCloud, name: str) -> bool:
    try:
        cloud.read("iam:GetLoginProfile", "iam.get_login_profile", UserName=name)
    except Gone:
        return False
    return True


def _mfa_devices(cloud: AwsCloud, name: str) -> tuple[str, ...]:
    """From the first page, which has more than anybody may have; so it is with the groups (IAM User Guide, quotas)."""
    found = cloud.read("iam:ListMFADevices", "iam.list_mfa_devices", UserName=name)["MFADevices"]
    return tuple(sorted(device["SerialNumber"] for device in found))


def _groups(cloud: AwsCloud, name: str) -> tuple[str, ...]:
    found = cloud.read("iam:ListGroupsForUser", "iam.list_groups_for_user", UserName=name)["Groups"]
    return tuple(sorted(group["GroupName"] for group in found))


def refusal(before: UserKeys) -> Refusal | None:
    if before.own:
        reason = f"user {before.user} is the one that this program acts as"
        return Refusal(
            reason=reason, alternatives=("give this program a role of its own, then disable the user's keys",)
        )
    return deny_policy.refusal(before.policy, f"user {before.user}", ())


# IAM User Guide, "Disabling permissions for temporary security credentials" (sessions of GetSessionToken and
# GetFederationToken have the user's permissions, so the denial reaches them), "Changes that I make are not always
# immediately visible", "Roles terms and concepts". The seconds: OFFENSAI, "AWS IAM eventual consistency" (2025).
_ALWAYS: Final = {
    "propagation": "A new policy takes effect within seconds (3 to 4 were measured), sometimes minutes.",
    "iam-rights": "Whoever may change this user's policies from elsewhere can remove the denial; it is seen as drift.",
    "assumed-roles": "Sessions of roles that this user has assumed go on, up to 12 hours: revoke those too.",
    "what-was-made": "Users, keys, roles and policies that it made stay: look for them in CloudTrail.",
}
_FACTS: Final = {
    "last_used": "when its keys were used last",
    "console": "whether it has a password",
    "mfa_devices": "its MFA devices",
    "groups": "its groups",
}


def caveats(before: UserKeys) -> tuple[Caveat, ...]:
    said = {f"unread-{fact}": f"Could not read {_FACTS[fact]}: {why}" for fact, why in before.unread.items()}
    said |= _ALWAYS
    if before.console:
        said["console"] = "It has a password, which stays: who signs in with it may do nothing, as long as this holds."
    if before.mfa_devices:
        said["mfa-devices"] = f"Its MFA devices stay; is each one its owner's? {', '.join(before.mfa_devices)}."
    for key, status in before.keys.items():
        if "last_used" not in before.unread:  # to the day: a plan that changes with every use could never be approved
            used = before.last_used.get(key, "")
            said[f"last-used-{key}"] = (
                f"Key {key} is {status}. It was used last on {used[:10]}."
                if used
                else (f"Key {key} is {status}. It was never used.")
            )
    return tuple(Caveat(id=key, text=text) for key, text in said.items())
