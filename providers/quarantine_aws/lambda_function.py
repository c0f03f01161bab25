"""A function, as Lambda describes what runs it: its reserved concurrency and its event source mappings. Reads only."""

from collections.abc import Mapping
from typing import Any, Final

from quarantine.errors import Gone
from quarantine.model import Resource
from quarantine_aws.cloud import AwsCloud

KIND: Final = "aws:lambda-function"
READS: Final = ("lambda:GetFunctionConcurrency", "lambda:ListEventSourceMappings", "lambda:GetFunctionUrlConfig")
_ON: Final = ("Enabled", "Enabling", "Creating", "Updating")
_STILL: Final = ("Enabled", "Disabled")


def resolve(cloud: AwsCloud, resource: Resource) -> tuple[str, Mapping[str, str]]:
    """Lambda gives a function no id but its ARN."""
    found = cloud.read("lambda:GetFunction", "lambda.get_function", FunctionName=resource.id)
    return found["Configuration"]["FunctionArn"], found.get("Tags") or {}


def concurrency(cloud: AwsCloud, name: str) -> int | None:
    """None where nothing is reserved: that is not 0, which stops it. Raises Gone."""
    call = "lambda.get_function_concurrency"
    answer = cloud.read("lambda:GetFunctionConcurrency", call, FunctionName=name)
    reserved: int | None = answer.get("ReservedConcurrentExecutions")
    return reserved


def mappings(cloud: AwsCloud, name: str) -> list[dict[str, Any]]:
    """Those of the function, of its versions and aliases. All are listed: asked for by a name, AWS does not say whether
    it means those as well (Lambda API Reference, ListEventSourceMappings)."""
    found: list[dict[str, Any]] = []
    page: dict[str, str] = {}
    while True:
        answer = cloud.read("lambda:ListEventSourceMappings", "lambda.list_event_source_mappings", **page)
        found += answer.get("EventSourceMappings", ())
        if not answer.get("NextMarker"):
            return [item for item in found if _function(item) == name]
        page = {"Marker": answer["NextMarker"]}


def _function(mapping: Mapping[str, Any]) -> str:
    """arn:aws:lambda:REGION:ACCOUNT:function:NAME, and perhaps :VERSION."""
    return str(mapping.get("FunctionArn", "")).partition(":function:")[2].partition(":")[0]


def enabled(mapping: Mapping[str, Any]) -> bool:
    """Or on its way there (Lambda API Reference, EventSourceMappingConfiguration, State)."""
    return mapping.get("State") in _ON


def moving(mapping: Mapping[str, Any]) -> bool:
    """Lambda does not take a change of it meanwhile: ResourceInUseException (UpdateEventSourceMapping)."""
    return mapping.get("State") not in _STILL


def url(cloud: AwsCloud, name: str) -> str:
    """How callers of its own URL are authenticated, AWS_IAM or NONE; empty if it has none."""
    call = "lambda.get_function_url_config"
    try:
        return str(cloud.read("lambda:GetFunctionUrlConfig", call, FunctionName=name)["AuthType"])
    except Gone:
        return ""
