"""The sessions of a role that one instance gets, and the policy that denies them everything."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from quarantine.action import Caveat, Fact, Refusal
from quarantine.errors import Unsupported
from quarantine.model import Resource
from quarantine_aws import deny_policy, iam_role
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.ec2_instance import tags_of
from quarantine_aws.iam_role import RoleDenial
from quarantine_aws.inline_policy import Place

KIND: Final = "aws:iam-role-session"


class RoleSession(RoleDenial):
    """The role may be gone: then it has no sessions, and there is nothing to deny and nothing to give back."""

    role_exists: Annotated[bool, Fact] = True


def parts(resource: Resource) -> tuple[str, str]:
    """Role and instance. Raises Unsupported for an id that is not `ROLE/INSTANCE`."""
    role, _, instance = resource.id.partition("/")
    if not role or not instance.startswith("i-"):
        raise Unsupported(f"'{resource.id}' does not name a role's sessions: ROLE/i-0123456789abcdef0")
    return role, instance


def uid(role: Mapping[str, Any], instance: str) -> str:
    """What `aws:userid` is in these sessions. A role that is made again under the same name has another id."""
    return f"{role['RoleId']}:{instance}"


def resolve(cloud: AwsCloud, resource: Resource) -> tuple[str, Mapping[str, str]]:
    role, instance = parts(resource)
    found = iam_role.describe(cloud, role)["Role"]
    return uid(found, instance), tags_of(found)


def place(role: str, instance: str) -> Place:
    return Place("Role", role, f"{deny_policy.NAME}-{instance}")


def deny_all(instance: str, installation: str) -> dict[str, Any]:
    """For the role's sessions of that instance alone. `aws:userid` of a role on an instance is ROLE-ID:INSTANCE-ID
    (IAM User Guide, "AWS global condition context keys", aws:userid), in every session that it gets, now and later."""
    return deny_policy.deny_all(deny_policy.sid(installation), {"StringLike": {"aws:userid": f"*:{instance}"}})


_ISOLATE: Final = "isolate the instance's network interfaces"


def refusal(before: RoleSession) -> Refusal | None:
    if not before.role_exists:
        reason = f"role {before.role} is not there any more, so it has no sessions"
        return Refusal(reason=reason, alternatives=(_ISOLATE,))
    return iam_role.refusal(before, _ISOLATE)


# EC2 User Guide, "Instance metadata".
_METADATA: Final = (
    "The instance goes on getting credentials from its metadata service; they are denied everything. User data stays"
    " readable there."
)


def caveats() -> tuple[Caveat, ...]:
    said = {**iam_role.CAVEATS, "metadata-reachable": _METADATA}
    return tuple(Caveat(id=key, text=text) for key, text in said.items())
