"""Denies a user everything, and sets its access keys inactive. Nothing of the user is deleted."""

from contextlib import suppress
from datetime import timedelta
from typing import Any, ClassVar

from quarantine.action import Action, Caveat, Refusal, State
from quarantine.errors import Gone
from quarantine.model import Resource
from quarantine_aws import deny_policy, iam_role, iam_user, inline_policy
from quarantine_aws.cloud import SIGNATURE, AwsCloud
from quarantine_aws.deny_policy import Policy
from quarantine_aws.iam_user import ACTIVE, INACTIVE, UserKeys


class IamUserDisableKeys(Action[AwsCloud, UserKeys]):
    """The denial comes first and goes last: an inactive key does not end the sessions that were begun with it, and who
    still has rights at IAM could make a new key meanwhile.

    IAM is eventually consistent and AWS gives no number: the two durations are ours.
    """

    name: ClassVar[str] = "aws:iam-user-disable-keys"
    resource: ClassVar[str] = iam_user.KIND
    state: ClassVar[type[State]] = UserKeys
    settles_within: ClassVar[timedelta] = timedelta(seconds=20)
    consistent_within: ClassVar[timedelta] = timedelta(seconds=10)
    late_within: ClassVar[timedelta] = SIGNATURE

    def permissions(self) -> tuple[str, ...]:
        keys = ("iam:GetUser", "iam:ListAccessKeys", "iam:UpdateAccessKey")
        return ("sts:GetCallerIdentity", *keys, *inline_policy.permissions("User"), *iam_user.FACTS)

    def observe(self, cloud: AwsCloud, resource: Resource) -> UserKeys:
        own = iam_user.user_of(cloud.identity().principal) == resource.id
        iam_role.the_one_meant(resource, iam_user.describe(cloud, resource.id)["UserId"])
        keys = iam_user.keys(cloud, resource.id)
        document = inline_policy.read(cloud, iam_user.place(resource.id))
        wanted = deny_policy.deny_all(deny_policy.sid(cloud.installation))
        policy = None if document is None else deny_policy.standing(document, wanted, cloud.installation)
        facts = {} if policy is Policy.QUARANTINE else iam_user.facts(cloud, resource.id, keys)
        return UserKeys(policy=policy, keys=keys, user=resource.id, own=own, **facts)

    def contained(self, before: UserKeys) -> UserKeys:
        keys = {key: INACTIVE if status == ACTIVE else status for key, status in before.keys.items()}
        return before.model_copy(update={"policy": Policy.QUARANTINE, "keys": keys})

    def apply(self, cloud: AwsCloud, resource: Resource, now: UserKeys, target: Any) -> None:
        """A key that was made or deleted by others meanwhile is left as it is, and seen as drift."""
        place = iam_user.place(resource.id)
        if target.policy is Policy.QUARANTINE:
            document = deny_policy.deny_all(deny_policy.sid(cloud.mark.installation))
            inline_policy.put(cloud, place, now.policy, document)
        for key, status in target.keys.items():
            if key in now.keys and now.keys[key] != status:
                with suppress(Gone):  # somebody deleted it just now
                    names = {"UserName": resource.id, "AccessKeyId": key, "Status": status}
                    cloud.change("iam:UpdateAccessKey", "iam.update_access_key", **names)
        if target.policy is None:
            inline_policy.delete(cloud, place, now.policy)

    def refusal(self, before: UserKeys) -> Refusal | None:
        return iam_user.refusal(before)

    def caveats(self, before: UserKeys) -> tuple[Caveat, ...]:
        return iam_user.caveats(before)
