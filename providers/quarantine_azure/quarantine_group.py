"""The changes that isolating a machine consists of. Each may begin an operation; the next one waits for its end."""

from collections.abc import Mapping, Sequence
from typing import Any

from quarantine.action import Receipt
from quarantine.errors import Conflict, Gone, Pending
from quarantine.model import Resource
from quarantine_azure.cloud import AzureCloud
from quarantine_azure.isolation import OURS, Group, VmIsolation, group_body, group_name, installation_of, settled
from quarantine_azure.network_interface import joins, with_group
from quarantine_azure.virtual_machine import GROUP, NIC, get_group, id_of


def must_rest(now: VmIsolation) -> None:
    """Raises Pending while something is under way: another change would be answered 429."""
    if now.busy:
        raise Pending(f"a change is under way at the provider: {', '.join(now.busy)}")


def put_group(
    cloud: AzureCloud, resource: Resource, now: VmIsolation, deny: Sequence[Mapping[str, Any]], flush: bool
) -> None:
    """Raises Conflict if somebody else has the name, or has deleted what was ours meanwhile."""
    name = group_name(now.uid)
    standing = get_group(cloud, resource, name)
    if standing is not None and installation_of(standing) != cloud.mark.installation:
        raise Conflict(f"network security group {name!r} was made by somebody else: ask there, or delete it")
    if standing is None and now.group is not None and OURS in now.nics.values():
        raise Conflict(f"network security group {name!r} is gone, although interfaces have it: look again")
    condition: dict[str, Any] = {"only_new": True} if standing is None else {"etag": standing["etag"]}
    body = group_body(now.location, cloud.mark, deny, flush, standing)
    id_ = id_of(resource, GROUP, name)
    receipt = _change(cloud, f"{GROUP}/write", f"put {GROUP}", id=id_, body=body, **condition)
    if not flush:  # to flush is the last change: nothing waits for it but the verification
        _must_end(receipt)


def put_nic(cloud: AzureCloud, resource: Resource, now: VmIsolation, id_: str, group: str | None) -> None:
    """The whole interface, as it is this moment, with another group. Raises Conflict if it is not as it was seen."""
    nic = cloud.read_or_absent(f"{NIC}/read", f"get {NIC}", id=id_)
    if nic is None or nic["etag"] != now.etags.get(id_):
        raise Conflict(f"somebody else changed {id_} meanwhile: look again")
    own = id_of(resource, GROUP, group_name(now.uid))
    body = with_group(nic, own if group == OURS else group)
    permission, call = f"{NIC}/write", f"put {NIC}"
    _must_end(_change(cloud, permission, call, joins=joins(body), id=nic["id"], etag=nic["etag"], body=body))


def delete_group(cloud: AzureCloud, resource: Resource, now: VmIsolation) -> None:
    """Ours only; that it is gone already is what was wanted."""
    name = group_name(now.uid)
    standing = get_group(cloud, resource, name)
    if standing is None:
        return
    if now.group is Group.FOREIGN or installation_of(standing) != cloud.mark.installation:
        raise Conflict(f"network security group {name!r} was made by somebody else: ask there, or delete it")
    _change(cloud, f"{GROUP}/delete", f"delete {GROUP}", id=id_of(resource, GROUP, name))


def _change(cloud: AzureCloud, permission: str, call: str, **arguments: Any) -> Receipt:
    try:
        return cloud.change(permission, call, **arguments)
    except Gone as error:  # the interface or the group, not the machine
        raise Conflict(str(error)) from error


def _must_end(receipt: Receipt) -> None:
    if not settled(receipt.answer):
        raise Pending(f"an operation has to end first: {receipt.operation or 'it has no address'}")
