"""moto's server, with those of its answers put right that would make a true program look wrong, or a wrong one true.

Measured on moto 5.2.5. The product never sees this file: it is a program of its own, which `aws.py` starts.

    moto                                            AWS (EC2 API Reference)
    an interface shows its groups and those of      its own: "the new set of groups replaces the current set"
      its instance together                         (ModifyNetworkInterfaceAttribute)
    it can be put into groups that do not exist,    InvalidGroup.NotFound; InvalidParameterValue; "you must specify at
      are in another VPC, or into none              least one group" (same page, and its common error codes)
    a group that an interface is in is deleted      DependencyViolation (DeleteSecurityGroup)
    Security Hub gives every finding, whatever      the filters (Security Hub API Reference, GetFindings): those that
      the filters say                                 compare texts with EQUALS
    GuardDuty has no findings                       GetFindings; a detector of somebody else is a BadRequestException
                                                      (GuardDuty API Reference). POST /moto-api/guardduty puts one
                                                      in, or in place of what it said before, as GuardDuty would
    snapshots are listed whoever may restore them   RestorableByUserIds picks some (DescribeSnapshots)
    an image that is not there breaks the server    InvalidAMIID.NotFound (DescribeImageAttribute)
    a rule whose source is a group or a prefix      it keeps it (PrefixListId, UserIdGroupPair: Description)
      list loses its description
    what a shutdown does cannot be changed, and     one attribute is, and nothing else is (ModifyInstanceAttribute)
      the instance loses its groups instead
    a target that is none cannot be deregistered    "the action completes successfully" (Elastic Load Balancing API
                                                      Reference, DeregisterTargets)
    standby changes nothing in target groups        the group takes it out of those that are attached to it, and puts
                                                      it back (Amazon EC2 Auto Scaling User Guide, "Temporarily remove
                                                      instances from your Auto Scaling group")
"""

import inspect
import json
from typing import Any

from moto.autoscaling.models import AutoScalingBackend
from moto.core.exceptions import JsonRESTError
from moto.core.responses import ActionResult
from moto.ec2.exceptions import (
    DependencyViolationError,
    InvalidAMIIdError,
    InvalidParameterValueError,
    InvalidSecurityGroupNotFoundError,
)
from moto.ec2.models.amis import AmiBackend
from moto.ec2.models.elastic_network_interfaces import NetworkInterface, NetworkInterfaceBackend
from moto.ec2.models.security_groups import SecurityGroupBackend, SecurityGroupRule
from moto.ec2.responses.elastic_block_store import ElasticBlockStore
from moto.ec2.responses.instances import InstanceResponse
from moto.elbv2.models import ELBv2Backend
from moto.guardduty import responses as guardduty
from moto.guardduty import urls as guardduty_urls
from moto.guardduty.models import guardduty_backends
from moto.moto_api._internal import urls as moto_api_urls
from moto.securityhub.models import SecurityHubBackend
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


_modify_by_value = InstanceResponse._dot_value_instance_attribute_handler


def _modify_by_value_what_a_shutdown_does(response: Any) -> bool:
    value = response._get_param("InstanceInitiatedShutdownBehavior.Value")
    if value is None:
        return bool(_modify_by_value(response))
    response.error_on_dryrun()
    name = "instance_initiated_shutdown_behavior"
    response.ec2_backend.modify_instance_attribute(response._get_param("InstanceId"), name, value)
    return True


_deregister = ELBv2Backend.deregister_targets


def _deregister_those_that_are(backend: Any, target_group_arn: str, instances: list[Any]) -> None:
    group = backend.target_groups.get(target_group_arn)
    there = [one for one in instances if group is None or one["Id"] in group.targets]
    if there or group is None:
        _deregister(backend, target_group_arn, there)


_enter_standby = AutoScalingBackend.enter_standby_instances
_exit_standby = AutoScalingBackend.exit_standby_instances


def _enter_standby_out_of_targets(backend: Any, group_name: str, instance_ids: list[str], decrement: bool) -> Any:
    done = _enter_standby(backend, group_name, instance_ids, decrement)
    for arn in backend.autoscaling_groups[group_name].target_group_arns:
        backend.elbv2_backend.deregister_targets(arn, [{"Id": name} for name in instance_ids])
    return done


def _exit_standby_into_targets(backend: Any, group_name: str, instance_ids: list[str]) -> Any:
    done = _exit_standby(backend, group_name, instance_ids)
    for arn in backend.autoscaling_groups[group_name].target_group_arns:
        port = backend.elbv2_backend.target_groups[arn].port
        backend.elbv2_backend.register_targets(arn, [{"Id": name, "Port": port} for name in instance_ids])
    return done


_every_finding = SecurityHubBackend.get_findings


def _filtered_findings(backend: Any, filters: Any = None, **more: Any) -> Any:
    """Without filters a page. With filters all that they say, of all there are, on one page: a page is cut after."""
    found, token = _every_finding(backend, filters=filters, **more)
    if not filters:
        return found, token
    while token:
        further, token = _every_finding(backend, filters=filters, **{**more, "next_token": token})
        found = [*found, *further]
    wanted = {
        name: {item["Value"] for item in values if item.get("Comparison") == "EQUALS"}
        for name, values in filters.items()
        if name in ("Id", "ProductArn")
    }
    return [item for item in found if all(item.get(name) in texts for name, texts in wanted.items())], None


def _findings_of_a_detector(response: Any) -> str:
    detector = response.path.split("/")[-3]
    backend = response.guardduty_backend
    if detector not in backend.detectors:
        raise JsonRESTError("BadRequestException", f"the detectorId {detector} is not owned by the current account")
    wanted = response._get_param("findingIds")
    kept = backend.__dict__.get("findings", {})
    found = [kept[name] for name in wanted if name in kept and kept[name]["service"]["detectorId"] == detector]
    return json.dumps({"findings": found})


def _take_finding(request: Any, _: Any, headers: Any) -> tuple[int, Any, str]:
    finding = json.loads(request.get_data())
    backend = guardduty_backends[finding["accountId"]][finding["region"]]
    backend.__dict__.setdefault("findings", {})[finding["id"]] = finding
    return 200, headers, "{}"


_make_rule = SecurityGroupRule.__init__


def _make_rule_with_description(rule: Any, *args: Any, **kwargs: Any) -> None:
    _make_rule(rule, *args, **kwargs)
    described = inspect.signature(_make_rule).bind(rule, *args, **kwargs).arguments
    sources = (described.get(name) or {} for name in ("ip_range", "source_group", "prefix_list_id"))
    rule._description = next((source["Description"] for source in sources if "Description" in source), None)


_describe_snapshots = ElasticBlockStore.describe_snapshots
_describe_image_attribute = AmiBackend.describe_image_attribute


def _snapshots_by_who_may_restore(response: Any) -> Any:
    if response._get_param("RestorableByUserIds", []) == ["all"]:
        public = [snap for snap in response.ec2_backend.snapshots.values() if snap.create_volume_permission_groups]
        return ActionResult({"Snapshots": public})
    return _describe_snapshots(response)


def _attribute_of_an_image_that_is_there(backend: Any, ami_id: str, attribute_name: str) -> Any:
    if ami_id not in backend.amis:
        raise InvalidAMIIdError(ami_id)
    return _describe_image_attribute(backend, ami_id, attribute_name)


def correct() -> None:
    corrections: tuple[tuple[type, str, Any], ...] = (
        (NetworkInterface, "group_set", property(_own_groups)),
        (NetworkInterfaceBackend, "modify_network_interface_attribute", _modify_with_checks),
        (SecurityGroupBackend, "delete_security_group", _delete_unless_used),
        (InstanceResponse, "_dot_value_instance_attribute_handler", _modify_by_value_what_a_shutdown_does),
        (ELBv2Backend, "deregister_targets", _deregister_those_that_are),
        (AutoScalingBackend, "enter_standby_instances", _enter_standby_out_of_targets),
        (AutoScalingBackend, "exit_standby_instances", _exit_standby_into_targets),
        (SecurityHubBackend, "get_findings", _filtered_findings),
        (ElasticBlockStore, "describe_snapshots", _snapshots_by_who_may_restore),
        (AmiBackend, "describe_image_attribute", _attribute_of_an_image_that_is_there),
        (SecurityGroupRule, "__init__", _make_rule_with_description),
        (SecurityGroupRule, "description", property(lambda rule: rule._description)),
    )
    for place, name, right in corrections:
        if not hasattr(place, name):
            raise AssertionError(f"moto has no {place.__name__}.{name} any more: look whether it is right by now")
        setattr(place, name, right)
    path = "{0}/detector/(?P<detector_id>[^/]+)/findings/get$"
    if path in guardduty_urls.url_paths:
        raise AssertionError("moto has GuardDuty's findings by now: look whether it is right")
    setattr(guardduty.GuardDutyResponse, "get_findings", _findings_of_a_detector)  # noqa: B010 - it has none
    guardduty_urls.url_paths[path] = guardduty.GuardDutyResponse.dispatch
    moto_api_urls.url_paths["{0}/moto-api/guardduty"] = _take_finding


if __name__ == "__main__":
    correct()
    main()
