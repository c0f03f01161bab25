"""With whom a snapshot or an image is shared, and taking that back: the same for all kinds of them."""

from abc import abstractmethod
from datetime import timedelta
from enum import StrEnum
from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from quarantine.action import Action, Caveat, State
from quarantine.model import Resource
from quarantine_aws.cloud import SIGNATURE, AwsCloud

EVERYBODY: Final = "all"


class Sharing(State):
    shared_with: dict[str, Literal[True]]
    """`all`, account ids, and for images the ARNs of organisations and their units."""


class Accounts(StrEnum):
    KEEP = "keep"
    REVOKE = "revoke"


class Unsharing(Action[AwsCloud, Sharing]):
    """What the public can copy is not shared with it any more. The two durations are as in
    aws:ec2-isolate-interfaces."""

    state: ClassVar[type[State]] = Sharing
    settles_within: ClassVar[timedelta] = timedelta(seconds=20)
    consistent_within: ClassVar[timedelta] = timedelta(seconds=10)
    late_within: ClassVar[timedelta] = SIGNATURE

    accounts: Accounts = Field(
        default=Accounts.KEEP, description="What of single accounts and organisations that it is shared with."
    )

    @abstractmethod
    def share(self, cloud: AwsCloud, resource: Resource, add: list[str], remove: list[str]) -> None:
        """One of the lists may be empty."""

    def contained(self, before: Sharing) -> Sharing:
        stay = () if self.accounts is Accounts.REVOKE else before.shared_with.keys() - {EVERYBODY}
        return before.model_copy(update={"shared_with": _with(stay)})

    def apply(self, cloud: AwsCloud, resource: Resource, now: Sharing, target: Any) -> None:
        add, remove = (
            target.shared_with.keys() - now.shared_with.keys(),
            now.shared_with.keys() - target.shared_with.keys(),
        )
        if add or remove:
            self.share(cloud, resource, sorted(add), sorted(remove))

    def caveats(self, before: Sharing) -> tuple[Caveat, ...]:
        return caveats(before, self.accounts)


def sharing(names: Any) -> Sharing:
    """From the names of all that it is shared with."""
    return Sharing(shared_with=_with(names))


def _with(names: Any) -> dict[str, Literal[True]]:
    return dict.fromkeys(sorted(names), True)


# Amazon EBS User Guide, "Share an Amazon EBS snapshot"; EC2 User Guide, "Share an AMI with specific AWS accounts".
_ALWAYS: Final = {
    "copies": "Copies, volumes, databases and instances that others made of it meanwhile are theirs and stay.",
    "account-guard": "Others of the account can be shared with everybody too, unless its block public access is on.",
}


def caveats(before: Sharing, accounts: Accounts) -> tuple[Caveat, ...]:
    said = dict(_ALWAYS)
    others = ", ".join(sorted(before.shared_with.keys() - {EVERYBODY}))
    if others and accounts is Accounts.KEEP:
        said["shared-accounts"] = f"It stays shared with {others}."
    return tuple(Caveat(id=key, text=text) for key, text in said.items())
