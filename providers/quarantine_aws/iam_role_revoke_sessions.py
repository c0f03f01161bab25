"""Denies everything to the sessions of a role that were begun until now, wherever their credentials are."""

from datetime import timedelta
from typing import Any, ClassVar

from pydantic import Field

from quarantine.action import Action, Caveat, Refusal, State
from quarantine.model import Resource
from quarantine_aws import iam_role, inline_policy, role_revocation
from quarantine_aws.cloud import SIGNATURE, AwsCloud
from quarantine_aws.deny_policy import Policy
from quarantine_aws.role_revocation import Revocation, Sessions


class IamRoleRevokeSessions(Action[AwsCloud, Revocation]):
    """An inline policy beside the role's own, which all stay, as does its trust policy.

    IAM is eventually consistent and AWS gives no number: the two durations are ours.
    """

    name: ClassVar[str] = "aws:iam-role-revoke-sessions"
    resource: ClassVar[str] = iam_role.KIND
    state: ClassVar[type[State]] = Revocation
    settles_within: ClassVar[timedelta] = timedelta(seconds=20)
    consistent_within: ClassVar[timedelta] = timedelta(seconds=10)
    late_within: ClassVar[timedelta] = SIGNATURE

    sessions: Sessions = Field(default=Sessions.OLDER, description="Which are denied: the older ones, or all.")

    def permissions(self) -> tuple[str, ...]:
        return ("sts:GetCallerIdentity", "iam:GetRole", *inline_policy.permissions("Role"))

    def observe(self, cloud: AwsCloud, resource: Resource) -> Revocation:
        own = iam_role.role_of(cloud.identity().principal) == resource.id
        answer = iam_role.describe(cloud, resource.id)
        iam_role.the_one_meant(resource, answer["Role"]["RoleId"])
        found = inline_policy.read(cloud, role_revocation.place(resource.id, self.sessions))
        policy, since = role_revocation.read(found, self.sessions, cloud.installation)
        return Revocation(
            policy=policy,
            role=resource.id,
            path=answer["Role"]["Path"],
            own=own,
            asked_at=role_revocation.asked_at(answer),
            since=since,
        )

    def contained(self, before: Revocation) -> Revocation:
        return before.model_copy(update={"policy": Policy.QUARANTINE})

    def apply(self, cloud: AwsCloud, resource: Resource, now: Revocation, target: Any) -> None:
        place = role_revocation.place(resource.id, self.sessions)
        if target.policy is None:
            inline_policy.delete(cloud, place, now.policy)
        elif target.policy is not now.policy and now.asked_at is not None:
            document = role_revocation.document(self.sessions, now.asked_at, cloud.mark.installation)
            inline_policy.put(cloud, place, now.policy, document)

    def refusal(self, before: Revocation) -> Refusal | None:
        return role_revocation.refusal(before)

    def caveats(self, before: Revocation) -> tuple[Caveat, ...]:
        return role_revocation.caveats(before, self.sessions)
