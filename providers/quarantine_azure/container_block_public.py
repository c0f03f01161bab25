"""Closes one blob container to anonymous readers, and no other of its account."""

from datetime import timedelta
from typing import Annotated, Any, ClassVar

from quarantine.action import Action, Caveat, Fact, Refusal, State
from quarantine.model import Resource
from quarantine_azure.cloud import UNCONDITIONAL_LATE, AzureCloud
from quarantine_azure.locks import LOCK, locks_over, refused_by
from quarantine_azure.storage_account import CONTAINER, CONTAINER_KIND, PROPAGATION, container_id, get_container

CLOSED = "None"
"""What a container says that nobody may read without signing (Azure SDK, PublicAccess: None, Blob, Container)."""


class ContainerAccess(State):
    """Who may read without signing: nobody, who knows a blob's name, or who lists the container too."""

    level: str
    read_only: Annotated[tuple[str, ...], Fact] = ()


class ContainerBlockPublic(Action[AzureCloud, ContainerAccess]):
    """A PATCH carries no condition: a container's ETag changes with every write of data. The durations are ours."""

    name: ClassVar[str] = "azure:container-block-public"
    resource: ClassVar[str] = CONTAINER_KIND
    state: ClassVar[type[State]] = ContainerAccess
    settles_within: ClassVar[timedelta] = timedelta(seconds=30)
    consistent_within: ClassVar[timedelta] = timedelta(seconds=5)
    late_within: ClassVar[timedelta] = UNCONDITIONAL_LATE

    def permissions(self) -> tuple[str, ...]:
        return (f"{CONTAINER}/read", f"{CONTAINER}/write", f"{LOCK}/read")

    def observe(self, cloud: AzureCloud, resource: Resource) -> ContainerAccess:
        level = get_container(cloud, resource)["properties"].get("publicAccess") or CLOSED
        locked = () if level == CLOSED else locks_over(cloud, container_id(resource))["ReadOnly"]
        return ContainerAccess(level=level, read_only=locked)

    def contained(self, before: ContainerAccess) -> ContainerAccess:
        return before.model_copy(update={"level": CLOSED})

    def apply(self, cloud: AzureCloud, resource: Resource, now: ContainerAccess, target: Any) -> None:
        if now.level != target.level:
            body = {"properties": {"publicAccess": target.level}}
            cloud.change(f"{CONTAINER}/write", f"patch {CONTAINER}", id=container_id(resource), body=body)

    def refusal(self, before: ContainerAccess) -> Refusal | None:
        return refused_by(before.read_only)

    def caveats(self, before: ContainerAccess) -> tuple[Caveat, ...]:
        signed = "Who holds a key of the account or a shared access signature reads on: see block-storage-keys."
        opened = "Who may write the container's settings can open it again; close-public-storage forbids that too."
        return (
            PROPAGATION,
            Caveat(id="signed-access", text=signed),
            Caveat(id="reopening", text=opened),
            Caveat(id="copies", text="What was read while it was open is not called back."),
        )
