"""Reads, writes and deletes one inline policy of a role or a user, beside those that they have."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from quarantine.errors import Conflict, Gone
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.deny_policy import Policy


class Place(NamedTuple):
    """Where a policy of ours stands."""

    kind: str
    """`Role` or `User`."""
    holder: str
    policy: str

    @property
    def arguments(self) -> dict[str, str]:
        return {f"{self.kind}Name": self.holder, "PolicyName": self.policy}

    def __str__(self) -> str:
        return f"policy {self.policy} of {self.kind.lower()} {self.holder}"


def permissions(kind: str) -> tuple[str, ...]:
    return tuple(f"iam:{verb}{kind}Policy" for verb in ("Get", "Put", "Delete"))


def read(cloud: AwsCloud, place: Place) -> Any | None:
    """The policy's document; None if there is none of that name."""
    call = f"iam.get_{place.kind.lower()}_policy"
    try:
        return cloud.read(f"iam:Get{place.kind}Policy", call, **place.arguments)["PolicyDocument"]
    except Gone:
        return None


def put(cloud: AwsCloud, place: Place, now: Policy | None, document: Mapping[str, Any]) -> None:
    """Writes it where it does not stand yet. What is not ours is not overwritten: raises Conflict."""
    if now is Policy.QUARANTINE:
        return
    _ours_alone(place, now)
    call, told = f"iam.put_{place.kind.lower()}_policy", json.dumps(document)
    try:
        cloud.change(f"iam:Put{place.kind}Policy", call, **place.arguments, PolicyDocument=told)
    except Gone as error:  # its holder; whether the case's own resource is gone, the next look will tell
        raise Conflict(str(error)) from error


def delete(cloud: AwsCloud, place: Place, now: Policy | None) -> None:
    """Takes it away, if it is ours. Raises Conflict."""
    if now is None:
        return
    _ours_alone(place, now)
    with suppress(Gone):  # already gone is what was wanted
        cloud.change(f"iam:Delete{place.kind}Policy", f"iam.delete_{place.kind.lower()}_policy", **place.arguments)


def _ours_alone(place: Place, now: Policy | None) -> None:
    if now is Policy.FOREIGN:
        raise Conflict(f"{place} is not ours: look at it, and delete it")
