"""moto's server, with those of its answers put right that would make a true program look wrong, or a wrong one true.

Measured on moto 5.2.5. The product never sees this file: it is a program of its own, which `aws.py` starts.

    moto                                            AWS (EC2 API Reference)
    an interface shows its groups and those of      its own: "the new set of groups replaces the current set"
      its instance together                         (ModifyNetworkInterfaceAttribute)
    it can be put into groups that do not exist,    InvalidGroup.NotFound; InvalidParameterValue; "you must specify at
      are in another VPC, or into none              least one group" (same page, and its common error codes)
    a group that an interface is in is deleted      DependencyViolation (DeleteSecurityGroup)
"""

from typing import Any

from moto.ec2.exceptions import DependencyViolationError, InvalidParameterValueError, InvalidSecurityGroupNotFoundError
from moto.ec2.models.elastic_network_interfaces import NetworkInterface, NetworkInterfaceBackend
from moto.ec2.models.security_groups import SecurityGroupBackend
from moto.server import main


def _own_groups(interface: Any) -> list[Any]:
    return list(interface._group_set)


_modify = NetworkInterfaceBackend.modify_network_interface_attribute
_delete = SecurityGroupBackend.delete_security_group


def _modify_with_checks(
    backend: Any, eni_id: str, group_ids: list[str], source_dest_check: Any = None, description: Any = None
) -> None:
    interface = backend.get_network_interface(eni_id)
    if not group_ids and source_dest_check is None and not description:
        raise InvalidParameterValueError("You must specify at least one group")
    for group_id in group_ids:
        group = backend.get_security_group_from_id(group_id)
        if group is None:
            raise InvalidSecurityGroupNotFoundError(group_id)
        if group.vpc_id != interface.vpc_id:
            raise InvalidParameterValueError(f"{group_id} and {eni_id} belong to different networks")
    _modify(backend, eni_id, group_ids, source_dest_check, description)


def _delete_unless_used(backend: Any, name: str | None = None, group_id: str | None = None) -> None:
    users = [interface.id for interface in backend.enis.values() if group_id in {g.id for g in interface._group_set}]
    if users:
        raise DependencyViolationError(f"resource {group_id} has a dependent object")
    _delete(backend, name, group_id)


def correct() -> None:
    corrections: tuple[tuple[type, str, Any], ...] = (
        (NetworkInterface, "group_set", property(_own_groups)),
        (NetworkInterfaceBackend, "modify_network_interface_attribute", _modify_with_checks),
        (SecurityGroupBackend, "delete_security_group", _delete_unless_used),
    )
    for place, name, right in corrections:
        if not hasattr(place, name):
            raise AssertionError(f"moto has no {place.__name__}.{name} any more: look whether it is right by now")
        setattr(place, name, right)


if __name__ == "__main__":
    correct()
    main()
