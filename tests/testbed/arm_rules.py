"""Single rules of a network security group, and the list of the groups. A rule's change is its group's: one ETag, one
operation at a time (recorded sessions of kubernetes-sigs/cloud-provider-azure, securitygroupclient)."""

import copy
import re
from collections.abc import Iterable
from typing import Any

from tests.testbed.arm_network import GROUP_READ_ONLY, Refused, accept_group
from tests.testbed.arm_route import IN_GROUP, IN_SUBSCRIPTION, Reply, Route

GROUPS = "Microsoft.Network/networkSecurityGroups"
RULES = f"{GROUPS}/securityRules"
GROUP_PATH = f"{IN_GROUP}{GROUPS.lower()}/[^/]+"


def _put(arm: Any, request: Any, found: re.Match[str]) -> Reply:
    path, name = found[1], request.path.rpartition("/")[2]
    if path not in arm.resources:
        raise Refused(404, "ResourceNotFound", f"The Resource '{path}' was not found.")
    before = arm.resources[path]
    arm.must_rest(path)
    if request.headers.get("if-match") not in (None, "*", before["etag"]):
        raise Refused(412, "PreconditionFailed", "Precondition failed.", "PreconditionFailedEtagMismatch")
    group = copy.deepcopy(before)
    others = [rule for rule in group["properties"]["securityRules"] if rule["name"].lower() != name.lower()]
    rule = {"name": name, "properties": request.body["properties"]}
    written = {key: value for key, value in group["properties"].items() if key not in GROUP_READ_ONLY}
    body = {**group, "properties": {**written, "securityRules": [*others, rule]}}
    made = arm.update(request, path, accept_group(body, before))
    (shown,) = [each for each in arm.show(made)["properties"]["securityRules"] if each["name"] == name]
    return 200, shown, arm.begin(request, path, arm.put_style, before)


def _list(arm: Any, request: Any, found: re.Match[str]) -> Reply:
    where = found[0].partition("/providers/")[0]
    groups = [it for id_, it in arm.resources.items() if it["type"] == GROUPS and id_.startswith(f"{where}/")]
    return 200, arm.page(request, [arm.show(group) for group in groups]), {}


def _links(body: Any) -> Iterable[str]:
    said = (body or {}).get("properties") or {}
    linked = said.get("sourceApplicationSecurityGroups") or said.get("destinationApplicationSecurityGroups")
    return ("Microsoft.Network/applicationSecurityGroups/joinNetworkSecurityRule/action",) if linked else ()


ROUTES = (
    Route(
        "PUT",
        f"({GROUP_PATH})/securityrules/[^/]+",
        f"{RULES}/write",
        _put,
        "azure.mgmt.network.models:SecurityRule",
        "azure.mgmt.network.models:SecurityRule",
        links=_links,
    ),
    Route(
        "GET",
        f"({IN_GROUP}|{IN_SUBSCRIPTION}){GROUPS.lower()}",
        f"{GROUPS}/read",
        _list,
        "azure.mgmt.network.models:NetworkSecurityGroup",
        many=True,
    ),
)
