"""Power of virtual machines: POST is answered 202 with both headers; the instance view tells how far it is (recorded
sessions in the source distribution of azure-mgmt-compute 30.0.0)."""

import re
from typing import Any

from tests.testbed.arm_network import Refused
from tests.testbed.arm_route import IN_GROUP, Reply, Route

VMS = "Microsoft.Compute/virtualMachines"
VM_PATH = f"({IN_GROUP}{VMS.lower()}/[^/]+)"
WAYS = {"deallocate": ("deallocating", "deallocated"), "poweroff": ("stopping", "stopped")}


def _post(arm: Any, request: Any, found: re.Match[str]) -> Reply:
    path = found[1]
    if path not in arm.resources:
        raise Refused(404, "ResourceNotFound", f"The Resource '{path}' was not found.")
    properties = arm.resources[path]["properties"]
    disk = properties.get("storageProfile", {}).get("osDisk", {})
    way = path_end(found[0])
    if way == "deallocate" and disk.get("diffDiskSettings"):
        raise Refused(409, "OperationNotAllowed", "This operation is not supported for VMs with ephemeral OS disks.")
    if properties["provisioningState"] == "Updating":
        raise Refused(409, "Conflict", "The request failed due to conflict with a concurrent request.")
    arm.power[path] = (arm.power.get(path, ("", "running"))[1], *WAYS[way])
    arm.set_state(path, "Updating")
    return 202, None, arm.begin(request, path, arm.post_style, None)


def _view(arm: Any, request: Any, found: re.Match[str]) -> Reply:
    arm.get(found[1])
    before, going, after = arm.power.get(found[1], ("running", "running", "running"))
    state = arm.resources[found[1]]["properties"]["provisioningState"]
    power = {"Updating": going, "Failed": before}.get(state, after)
    codes = [f"ProvisioningState/{state.lower()}"]
    if arm.power_unsaid > 0:  # it can be missing (Azure, "States and billing of VMs")
        arm.power_unsaid -= 1
    else:
        codes.append(f"PowerState/{power}")
    return 200, {"statuses": [{"code": code, "level": "Info", "displayStatus": code} for code in codes]}, {}


def path_end(path: str) -> str:
    return path.rpartition("/")[2]


ROUTES = (
    Route(
        "GET",
        f"{VM_PATH}/instanceview",
        f"{VMS}/instanceView/read",
        _view,
        "azure.mgmt.compute.models:VirtualMachineInstanceView",
    ),
    Route("POST", f"{VM_PATH}/deallocate", f"{VMS}/deallocate/action", _post),
    Route("POST", f"{VM_PATH}/poweroff", f"{VMS}/powerOff/action", _post),
)
