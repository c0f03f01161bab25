"""How each kind of resource is found as Azure knows it now: its uid, where it has one beside its name, and its tags."""

from collections.abc import Callable, Mapping
from typing import Final

from quarantine.model import Resource
from quarantine_azure import security_rule, storage_account, virtual_machine
from quarantine_azure.cloud import AzureCloud

Reader = Callable[[AzureCloud, Resource], tuple[str | None, Mapping[str, str]]]
"""Raises errors.Gone if it is not there, or another one has its name now."""


def _machine(cloud: AzureCloud, resource: Resource) -> tuple[str | None, Mapping[str, str]]:
    vm = virtual_machine.get_machine(cloud, resource)
    return vm["properties"]["vmId"], vm.get("tags") or {}


def _account(cloud: AzureCloud, resource: Resource) -> tuple[str | None, Mapping[str, str]]:
    account = storage_account.get_account(cloud, resource)
    return storage_account.uid_of(account), account.get("tags") or {}


def _container(cloud: AzureCloud, resource: Resource) -> tuple[str | None, Mapping[str, str]]:
    """It has neither; what it says of itself (metadata) is not for us to be more careful by."""
    storage_account.get_container(cloud, resource)
    return None, {}


def _rule(cloud: AzureCloud, resource: Resource) -> tuple[str | None, Mapping[str, str]]:
    """It has no id beside its name; the tags are its group's."""
    return None, security_rule.get_group_of(cloud, resource).get("tags") or {}


READERS: Final[Mapping[str, Reader]] = {
    "azure:vm": _machine,
    storage_account.KIND: _account,
    storage_account.CONTAINER_KIND: _container,
    security_rule.KIND: _rule,
}
