"""Lets no version of a function run any more, and stops what brings events to it. Its code and settings stay."""

from contextlib import suppress
from datetime import timedelta
from enum import StrEnum
from typing import Any, ClassVar

from pydantic import Field

from quarantine.action import Action, Caveat, State
from quarantine.errors import Gone, Pending
from quarantine.model import Resource
from quarantine_aws import freeze, lambda_function
from quarantine_aws.cloud import SIGNATURE, AwsCloud
from quarantine_aws.freeze import Freeze


class Mappings(StrEnum):
    DISABLE = "disable"
    KEEP = "keep"


class LambdaFreeze(Action[AwsCloud, Freeze]):
    """With nothing reserved for it, a function is throttled (Lambda API Reference, PutFunctionConcurrency). A mapping
    takes up to some minutes to stop; AWS gives no number, the durations are ours."""

    name: ClassVar[str] = "aws:lambda-freeze"
    resource: ClassVar[str] = lambda_function.KIND
    state: ClassVar[type[State]] = Freeze
    settles_within: ClassVar[timedelta] = timedelta(minutes=5)
    consistent_within: ClassVar[timedelta] = timedelta(seconds=10)
    appears_within: ClassVar[timedelta | None] = timedelta(seconds=20)
    late_within: ClassVar[timedelta] = SIGNATURE

    mappings: Mappings = Field(default=Mappings.DISABLE, description="What of its event source mappings.")

    def permissions(self) -> tuple[str, ...]:
        changes = ("lambda:PutFunctionConcurrency", "lambda:DeleteFunctionConcurrency")
        more = ("lambda:UpdateEventSourceMapping",) if self.mappings is Mappings.DISABLE else ()
        return (*lambda_function.READS, *changes, *more)

    def observe(self, cloud: AwsCloud, resource: Resource) -> Freeze:
        reserved = lambda_function.concurrency(cloud, resource.id)
        found = {item["UUID"]: item for item in lambda_function.mappings(cloud, resource.id)}
        return Freeze(
            concurrency=reserved,
            mappings={key: lambda_function.enabled(found[key]) for key in sorted(found)},
            moving=tuple(key for key in sorted(found) if lambda_function.moving(found[key])),
            url=lambda_function.url(cloud, resource.id),
        )

    def contained(self, before: Freeze) -> Freeze:
        if self.mappings is Mappings.KEEP:
            return before.model_copy(update={"concurrency": 0})
        off = dict.fromkeys(before.mappings, False)
        return before.model_copy(update={"concurrency": 0, "mappings": off, "moving": ()})

    def apply(self, cloud: AwsCloud, resource: Resource, now: Freeze, target: Any) -> None:
        name = {"FunctionName": resource.id}
        if target.concurrency is None and now.concurrency is not None:
            cloud.change("lambda:DeleteFunctionConcurrency", "lambda.delete_function_concurrency", **name)
        elif target.concurrency != now.concurrency:
            call, reserved = "lambda.put_function_concurrency", target.concurrency
            cloud.change("lambda:PutFunctionConcurrency", call, **name, ReservedConcurrentExecutions=reserved)
        wrong = [key for key, on in target.mappings.items() if now.mappings.get(key, on) is not on]
        for key in wrong:
            if key not in now.moving:
                with suppress(Gone):  # somebody deleted it just now
                    call, on = "lambda.update_event_source_mapping", target.mappings[key]
                    cloud.change("lambda:UpdateEventSourceMapping", call, UUID=key, Enabled=on)
        if waits := sorted(set(wrong) & set(now.moving)):
            raise Pending(f"event source mapping {', '.join(waits)} is on its way to another state")

    def caveats(self, before: Freeze) -> tuple[Caveat, ...]:
        return freeze.caveats(before, self.mappings is Mappings.DISABLE)
