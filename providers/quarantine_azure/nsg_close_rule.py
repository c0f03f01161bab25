"""Turns exactly one rule of a network security group from Allow to Deny. It keeps its place, and every other field.

A deny at a free place could stand behind an allow; to delete the rule could uncover a wider one. This can do neither.
"""

from datetime import timedelta
from typing import Any, ClassVar

from quarantine.action import Action, Caveat, Refusal, State
from quarantine.errors import Pending
from quarantine.model import Resource
from quarantine_azure import security_rule
from quarantine_azure.cloud import OPERATION_READ, RESULT_READ, AzureCloud
from quarantine_azure.locks import LOCK, locks_over
from quarantine_azure.security_rule import ASG_JOIN, KIND, RULE, OpenRule, get_group_of, is_open, joins, seen
from quarantine_azure.virtual_machine import GROUP, id_of


class NsgCloseRule(Action[AzureCloud, OpenRule]):
    """A put of the whole rule, under the group's ETag: what anybody changes meanwhile is not overwritten. The durations
    are ours.
    """

    name: ClassVar[str] = "azure:nsg-close-rule"
    resource: ClassVar[str] = KIND
    state: ClassVar[type[State]] = OpenRule
    settles_within: ClassVar[timedelta] = timedelta(minutes=2)
    appears_within: ClassVar[timedelta | None] = timedelta(seconds=15)
    consistent_within: ClassVar[timedelta] = timedelta(seconds=5)

    def permissions(self) -> tuple[str, ...]:
        return (f"{GROUP}/read", f"{LOCK}/read", f"{RULE}/write", ASG_JOIN, OPERATION_READ, RESULT_READ)

    def observe(self, cloud: AzureCloud, resource: Resource) -> OpenRule:
        group = get_group_of(cloud, resource)
        state = seen(group, resource.id.partition("/")[2])
        if not is_open(state.rule):
            return state  # locks are for the plan; from here on they would only cost a call each time
        return state.model_copy(update={"read_only": locks_over(cloud, group["id"])["ReadOnly"]})

    def contained(self, before: OpenRule) -> OpenRule:
        return before.model_copy(update={"rule": {**before.rule, "access": "Deny"}, "failed": False})

    def apply(self, cloud: AzureCloud, resource: Resource, now: OpenRule, target: Any) -> None:
        if now.busy:
            raise Pending(f"a change of {resource.id.partition('/')[0]} is under way at the provider")
        if now.rule == target.rule and (target.failed or not now.failed):
            return
        cloud.change(
            f"{RULE}/write",
            f"put {RULE}",
            joins=joins(target.rule),
            id=id_of(resource, RULE, resource.id),
            etag=now.etag,
            body={"name": now.name, "properties": target.rule},
        )

    def refusal(self, before: OpenRule) -> Refusal | None:
        return security_rule.refusal(before)

    def caveats(self, before: OpenRule) -> tuple[Caveat, ...]:
        return security_rule.caveats(before)
