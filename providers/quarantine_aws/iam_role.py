"""A role that sessions are denied everything of: what is known of it, and which roles must not be touched."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from quarantine.action import Fact, Refusal, State
from quarantine.errors import Gone
from quarantine.model import Resource
from quarantine_aws import deny_policy
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.deny_policy import Policy
from quarantine_aws.ec2_instance import tags_of

KIND: Final = "aws:iam-role"


class RoleDenial(State):
    policy: Policy | None = None
    role: Annotated[str, Fact] = ""
    path: Annotated[str, Fact] = "/"
    own: Annotated[bool, Fact] = False
    """It is the role that we act with ourselves."""


def describe(cloud: AwsCloud, name: str) -> dict[str, Any]:
    """The raw answer about a role. Raises Gone."""
    answer: dict[str, Any] = cloud.read("iam:GetRole", "iam.get_role", RoleName=name)
    return answer


def resolve(cloud: AwsCloud, resource: Resource) -> tuple[str, Mapping[str, str]]:
    """A role that is made again under the same name has another id."""
    role = describe(cloud, resource.id)["Role"]
    return role["RoleId"], tags_of(role)


def the_one_meant(resource: Resource, identifier: str) -> None:
    """Raises Gone where another one has its name by now."""
    if resource.uid not in (None, identifier):
        raise Gone(f"{resource}: another one has its name now, {identifier}")


def role_of(principal: str) -> str:
    """The role's name in the ARN of an assumed role's session; empty for a user or root."""
    kind, _, rest = principal.rpartition(":")[2].partition("/")
    return rest.partition("/")[0] if kind == "assumed-role" else ""


def refusal(before: RoleDenial, instead: str) -> Refusal | None:
    """`instead` is what can be done about the workload."""
    role = before.role
    if before.path.startswith("/aws-service-role/"):
        reason = f"role {role} is a service-linked role, which only its service can change"
        return Refusal(reason=reason, alternatives=(instead,))
    if role.startswith("AWSReservedSSO_"):
        reason = f"role {role} belongs to IAM Identity Center, which does not let IAM change it"
        return Refusal(reason=reason, alternatives=("change its permission set in Identity Center", instead))
    if before.own:
        reason = f"role {role} is the one that this program acts with"
        return Refusal(reason=reason, alternatives=("give this program a role of its own", instead))
    if role == "OrganizationAccountAccessRole":
        reason = f"role {role} is how the organisation's management account gets into this one"
        return Refusal(reason=reason, alternatives=("revoke what assumed it, in the management account", instead))
    return deny_policy.refusal(before.policy, f"role {role}", (instead,))


# IAM User Guide, "Changes that I make are not always immediately visible" and "Roles terms and concepts", role chaining
# (one hour at most). The seconds: OFFENSAI, "AWS IAM eventual consistency" (2025).
CAVEATS: Final = {
    "propagation": "A new policy takes effect within seconds (3 to 4 were measured), sometimes minutes.",
    "iam-rights": "Whoever may change this role's policies from elsewhere can remove the denial; it is seen as drift.",
    "chained-sessions": "Sessions of other roles that were begun with these credentials go on, an hour at most.",
}
