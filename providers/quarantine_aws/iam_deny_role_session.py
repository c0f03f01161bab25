"""Denies everything to the sessions of a role that one instance gets, copies of their credentials included."""

import json
from contextlib import suppress
from datetime import timedelta
from typing import Any, ClassVar

from quarantine.action import Action, Caveat, Refusal, State
from quarantine.errors import Conflict, Gone
from quarantine.model import Resource
from quarantine_aws import role_session
from quarantine_aws.cloud import SIGNATURE, AwsCloud
from quarantine_aws.role_session import Policy, RoleSession


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
        own = ("iam:GetRolePolicy", "iam:PutRolePolicy", "iam:DeleteRolePolicy")
        return ("sts:GetCallerIdentity", "iam:GetRole", *own)

    def observe(self, cloud: AwsCloud, resource: Resource) -> RoleSession:
        role, instance = role_session.parts(resource)
        own = role_session.role_of(cloud.identity().principal) == role
        try:
            found = cloud.read("iam:GetRole", "iam.get_role", RoleName=role)["Role"]
        except Gone:
            return RoleSession(role=role, role_exists=False)
        if resource.uid not in (None, role_session.uid(found, instance)):
            return RoleSession(role=role, role_exists=False)  # another one has its name now
        policy = self._policy(cloud, role, instance)
        return RoleSession(policy=policy, role=role, path=found["Path"], own=own)

    def _policy(self, cloud: AwsCloud, role: str, instance: str) -> Policy | None:
        where = {"RoleName": role, "PolicyName": role_session.policy_name(instance)}
        try:
            found = cloud.read("iam:GetRolePolicy", "iam.get_role_policy", **where)
        except Gone:
            return None
        return role_session.standing(found["PolicyDocument"], instance, cloud.installation)

    def contained(self, before: RoleSession) -> RoleSession:
        return before.model_copy(update={"policy": Policy.QUARANTINE})

    def apply(self, cloud: AwsCloud, resource: Resource, now: RoleSession, target: Any) -> None:
        if now.policy is target.policy:
            return
        role, instance = role_session.parts(resource)
        where = {"RoleName": role, "PolicyName": role_session.policy_name(instance)}
        if now.policy is Policy.FOREIGN:
            raise Conflict(f"policy {where['PolicyName']} of role {role} is not ours: look at it, and delete it")
        if target.policy is None:
            with suppress(Gone):  # already gone is what was wanted
                cloud.change("iam:DeleteRolePolicy", "iam.delete_role_policy", **where)
            return
        document = json.dumps(role_session.deny_all(instance, cloud.mark.installation))
        try:
            cloud.change("iam:PutRolePolicy", "iam.put_role_policy", **where, PolicyDocument=document)
        except Gone as error:  # the role, not the instance that the case is about
            raise Conflict(str(error)) from error

    def refusal(self, before: RoleSession) -> Refusal | None:
        return role_session.refusal(before)

    def caveats(self, before: RoleSession) -> tuple[Caveat, ...]:
        return role_session.caveats()
