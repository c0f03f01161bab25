"""What the storage resource provider of Azure answers: accounts and blob containers.

An account's PATCH is answered 200 at once, without an ETag, and looks at no If-Match (recorded sessions of
kubernetes-sigs/cloud-provider-azure, accountclient/testdata).
"""

import copy
import re
from typing import Any

from tests.testbed.arm_network import Body, Refused
from tests.testbed.arm_route import IN_GROUP, IN_SUBSCRIPTION, Reply, Route

ACCOUNTS = "Microsoft.Storage/storageAccounts"
CONTAINERS = f"{ACCOUNTS}/blobServices/containers"
MODELS = "azure.mgmt.storage.models"
ACCOUNT_PATH = f"{IN_GROUP}{ACCOUNTS.lower()}/[^/]+"
CONTAINERS_PATH = f"({ACCOUNT_PATH})/blobservices/default/containers"
LEVELS = ("None", "Blob", "Container")


def _get(arm: Any, request: Any, found: re.Match[str]) -> Reply:
    reply: Reply = arm.get(found[0])
    return reply


def _patch_account(arm: Any, request: Any, found: re.Match[str]) -> Reply:
    body = _existing(arm, found[0])
    for name, value in (request.body or {}).get("properties", {}).items():
        if value is not None:
            body["properties"][name] = value
        elif arm.nulls_remove:
            body["properties"].pop(name, None)
    return 200, arm.store(body), {}


def _patch_container(arm: Any, request: Any, found: re.Match[str]) -> Reply:
    body = _existing(arm, found[0])
    level = (request.body or {}).get("properties", {}).get("publicAccess")
    if level not in (None, *LEVELS):
        raise Refused(400, "InvalidPublicAccess", f"{level!r} is none of {', '.join(LEVELS)}.")
    account = arm.resources[found[1]]
    if level in ("Blob", "Container") and account["properties"].get("allowBlobPublicAccess") is False:
        raise Refused(409, "PublicAccessNotPermitted", "Public access is not permitted on this storage account.")
    if level is not None:
        body["properties"]["publicAccess"] = level
    shown = copy.deepcopy(arm.store(body))
    return 200, shown, {}


def _accounts(arm: Any, request: Any, found: re.Match[str]) -> Reply:
    where = found[0].partition("/providers/")[0]
    accounts = [it for id_, it in arm.resources.items() if it["type"] == ACCOUNTS and id_.startswith(f"{where}/")]
    return 200, arm.page(request, accounts), {}


def _containers(arm: Any, request: Any, found: re.Match[str]) -> Reply:
    _existing(arm, found[1])
    inside = f"{found[1]}/blobservices/default/containers/"
    return 200, arm.page(request, [it for id_, it in arm.resources.items() if id_.startswith(inside)]), {}


def _existing(arm: Any, path: str) -> Body:
    if path not in arm.resources:
        raise Refused(404, "ResourceNotFound", f"The Resource '{path}' was not found.")
    return copy.deepcopy(arm.resources[path])


ROUTES = (
    Route("GET", ACCOUNT_PATH, f"{ACCOUNTS}/read", _get, f"{MODELS}:StorageAccount"),
    Route(
        "PATCH",
        ACCOUNT_PATH,
        f"{ACCOUNTS}/write",
        _patch_account,
        f"{MODELS}:StorageAccount",
        f"{MODELS}:StorageAccountUpdateParameters",
    ),
    Route(
        "GET",
        f"({IN_GROUP}|{IN_SUBSCRIPTION}){ACCOUNTS.lower()}",
        f"{ACCOUNTS}/read",
        _accounts,
        f"{MODELS}:StorageAccount",
        many=True,
    ),
    Route("GET", CONTAINERS_PATH, f"{CONTAINERS}/read", _containers, f"{MODELS}:ListContainerItem", many=True),
    Route("GET", f"{CONTAINERS_PATH}/[^/]+", f"{CONTAINERS}/read", _get, f"{MODELS}:BlobContainer"),
    Route(
        "PATCH",
        f"{CONTAINERS_PATH}/[^/]+",
        f"{CONTAINERS}/write",
        _patch_container,
        f"{MODELS}:BlobContainer",
        f"{MODELS}:BlobContainer",
    ),
)
