"""Revokes the rules of a security group that let the world in, one by one, and no others."""

from contextlib import suppress
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import Field

from quarantine.action import Action, Caveat, State
from quarantine.errors import Conflict, Denied, Gone
from quarantine.model import Resource
from quarantine_aws import ingress, security_group
from quarantine_aws.cloud import SIGNATURE, AwsCloud
from quarantine_aws.ingress import OpenRules


class SgRevokeOpenIngress(Action[AwsCloud, OpenRules]):
    """A release makes them again with their descriptions and tags; they get other ids. The two durations are as in
    aws:ec2-isolate-interfaces."""

    name: ClassVar[str] = "aws:sg-revoke-open-ingress"
    resource: ClassVar[str] = security_group.KIND
    state: ClassVar[type[State]] = OpenRules
    settles_within: ClassVar[timedelta] = timedelta(seconds=20)
    consistent_within: ClassVar[timedelta] = timedelta(seconds=10)
    late_within: ClassVar[timedelta] = SIGNATURE

    ports: tuple[int, ...] = Field(default=(), description="Only rules that open one of these ports; all if empty.")

    def permissions(self) -> tuple[str, ...]:
        return (*security_group.READS, "ec2:RevokeSecurityGroupIngress", "ec2:AuthorizeSecurityGroupIngress",
                "ec2:CreateTags")  # fmt: skip

    def observe(self, cloud: AwsCloud, resource: Resource) -> OpenRules:
        security_group.describe(cloud, resource)
        rules = security_group.rules(cloud, resource.id)
        lists: dict[str, tuple[str, ...]] = {}
        unread: dict[str, str] = {}
        for name in ingress.prefix_lists(rules):
            try:
                lists[name] = security_group.entries(cloud, name)
            except Denied as error:
                unread[name] = str(error)
        found, left, ids = ingress.read_open(rules, lists, self.ports)
        elsewhere = security_group.other_groups(cloud, resource.id)
        return OpenRules(rules=found, left_open=left, ids=ids, unread=unread, elsewhere=elsewhere)

    def contained(self, before: OpenRules) -> OpenRules:
        return before.model_copy(update={"rules": {}})

    def apply(self, cloud: AwsCloud, resource: Resource, now: OpenRules, target: Any) -> None:
        """A rule that is not there any more, or is there already, is what was wanted; the next look tells."""
        group = {"GroupId": resource.id}
        for key in now.rules.keys() - target.rules.keys():
            with suppress(Gone):
                call, rule = "ec2.revoke_security_group_ingress", [now.ids[key]]
                cloud.change("ec2:RevokeSecurityGroupIngress", call, **group, SecurityGroupRuleIds=rule)
        for key in target.rules.keys() - now.rules.keys():
            with suppress(Conflict):
                call, rule = "ec2.authorize_security_group_ingress", target.rules[key]
                request = {"IpPermissions": [ingress.permission(rule)], **ingress.tagging(rule)}
                cloud.change("ec2:AuthorizeSecurityGroupIngress", call, **group, **request)

    def caveats(self, before: OpenRules) -> tuple[Caveat, ...]:
        return ingress.caveats(before)
