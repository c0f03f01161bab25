"""Denies everything to the sessions of a role that one instance gets, copies of their credentials included."""

from datetime import timedelta
from typing import Any, ClassVar

from quarantine.action import Action, Caveat, Refusal, State
from quarantine.errors import Gone
from quarantine.model import Resource
from quarantine_aws import iam_role, inline_policy, role_session
from quarantine_aws.cloud import SIGNATURE, AwsCloud
from quarantine_aws.deny_policy import Policy, standing
from quarantine_aws.role_session import RoleSession


class IamDenyRoleSession(Action[AwsCloud, RoleSession]):
    """An inline policy beside the role's own, which all stay; other instances with the same role go on working.

    IAM is eventually consistent and AWS gives no number: the two durations are ours.
    """

    name: ClassVar[str] = "aws:iam-deny-role-session"
    resource: ClassVar[str] = role_session.KIND
    state: ClassVar[type[State]] = RoleSession
    settles_within: ClassVar[timedelta] = timedelta(seconds=20)
    consistent_within: ClassVar[timedelta] = timedelta(seconds=10)
    late_within: ClassVar[timedelta] = SIGNATURE

    def permissions(self) -> tuple[str, ...]:
        return ("sts:GetCallerIdentity", "iam:GetRole", *inline_policy.permissions("Role"))

    def observe(self, cloud: AwsCloud, resource: Resource) -> RoleSession:
        role, instance = role_session.parts(resource)
        own = iam_role.role_of(cloud.identity().principal) == role
        try:
            found = iam_role.describe(cloud, role)["Role"]
        except Gone:
            return RoleSession(role=role, role_exists=False)
        if resource.uid not in (None, role_session.uid(found, instance)):
            return RoleSession(role=role, role_exists=False)  # another one has its name now
        document = inline_policy.read(cloud, role_session.place(role, instance))
        wanted = role_session.deny_all(instance, cloud.installation)
        policy = None if document is None else standing(document, wanted, cloud.installation)
        return RoleSession(policy=policy, role=role, path=found["Path"], own=own)

    def contained(self, before: RoleSession) -> RoleSession:
        return before.model_copy(update={"policy": Policy.QUARANTINE})

    def apply(self, cloud: AwsCloud, resource: Resource, now: RoleSession, target: Any) -> None:
        role, instance = role_session.parts(resource)
        place = role_session.place(role, instance)
        if target.policy is None:
            inline_policy.delete(cloud, place, now.policy)
        elif target.policy is not now.policy:
            inline_policy.put(cloud, place, now.policy, role_session.deny_all(instance, cloud.mark.installation))

    def refusal(self, before: RoleSession) -> Refusal | None:
        return role_session.refusal(before)

    def caveats(self, before: RoleSession) -> tuple[Caveat, ...]:
        return role_session.caveats()
