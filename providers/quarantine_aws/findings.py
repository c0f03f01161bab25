"""What the formats of AWS's detectors have in common. Pure.

Strict about identity (a finding without id, account, region or resource is Malformed, and says what is missing),
tolerant of everything else: AWS adds fields whenever it likes.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from quarantine.errors import Malformed
from quarantine.model import Finding, Resource
from quarantine.record import moment as moment_of
from quarantine_aws import arn

ACCOUNT: Final = re.compile(r"[0-9]{12}")
REGION: Final = re.compile(r"[a-z0-9-]{1,40}")
_INSTANCE: Final = re.compile(r"i-[0-9a-f]{8}([0-9a-f]{9})?")
"""8 digits before 2016, 17 since (EC2 User Guide, "Resource IDs")."""
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


def each(record: Any, parse: Callable[[dict[str, Any]], list[Finding]]) -> list[Finding]:
    """What `parse` makes of each finding in a record. Raises Malformed for the first that is not one."""
    parsed: list[Finding] = []
    for finding in _unwrapped(record):
        if not isinstance(finding, dict):
            raise Malformed(f"a finding must be an object, this one is {type_name(finding)}")
        try:
            parsed += parse(finding)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            raise Malformed(f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}") from error
        except RecursionError as error:
            raise Malformed("the finding is nested too deeply") from error
    return parsed


def _unwrapped(record: Any) -> list[Any]:
    """The bare findings in a list, in {"Findings": [...]}, in an EventBridge envelope, or alone."""
    if isinstance(record, dict) and "detail" in record and ("detail-type" in record or "source" in record):
        record = record["detail"]
    if isinstance(record, dict) and (inner := get(record, "findings")) is not None:
        record = inner
    if isinstance(record, list):
        if not record:
            raise Malformed("the list of findings is empty")
        return record
    if isinstance(record, dict):
        return [record]
    raise Malformed(f"expected a finding, an event or a list of findings; found {type_name(record)}")


def bucket_resource(identifier: str, scope: str, where: str) -> Resource:
    parsed = arn.parse(identifier)
    name = parsed.resource if parsed and parsed.service in ("s3", "s3express") else identifier
    if not _BUCKET.fullmatch(name):
        raise Malformed(f"'{where}' does not name a bucket")
    return Resource(kind="aws:s3-bucket", id=name, scope=scope)


def task_resource(identifier: str, scope: str, where: str) -> Resource:
    parsed = arn.parse(identifier)
    if parsed is None or parsed.service != "ecs" or not parsed.resource.startswith("task/"):
        raise Malformed(f"'{where}' is not the ARN of an ECS task")
    return Resource(kind="aws:ecs-task", id=identifier, scope=scope, uid=identifier if len(identifier) <= 256 else None)


def instance_resource(identifier: str, scope: str, where: str) -> Resource:
    """`identifier` is the ARN of an instance, or its id alone."""
    parsed = arn.parse(identifier)
    name = parsed.resource.removeprefix("instance/") if parsed and parsed.service == "ec2" else identifier
    if not _INSTANCE.fullmatch(name):
        raise Malformed(f"'{where}' does not name an EC2 instance")
    return Resource(kind="aws:ec2-instance", id=name, scope=scope, uid=name)


def get(place: Mapping[str, Any], name: str) -> Any:
    """The value under its camelCase or its PascalCase name."""
    return place.get(name, place.get(name[:1].upper() + name[1:]))


def part(place: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object of that name; empty where there is none."""
    found = get(place, name)
    return found if isinstance(found, dict) else {}


def text(place: Mapping[str, Any], name: str, pattern: re.Pattern[str] | None = None, where: str = "") -> str:
    """A text that must be there. Raises Malformed with its name and `where` it should stand."""
    value = get(place, name)
    full = f"{where}.{name}" if where else name
    if value is None or value == "":
        raise Malformed(f"'{full}' is missing")
    if not isinstance(value, str) or (pattern and not pattern.fullmatch(value)):
        raise Malformed(f"'{full}' is not what it should be: {type_name(value)} {str(value)[:80]!r}")
    return value


def free_text(value: Any, longest: int = 4096) -> str:
    return value[:longest] if isinstance(value, str) else ""


def titled_sample(title: Any) -> bool:
    return isinstance(title, str) and title.startswith("[SAMPLE]")


def last_seen(place: Mapping[str, Any], names: tuple[str, ...], received: datetime) -> datetime:
    """The first of these times that is there. Nothing was seen after we received it: such a finding is never fresh."""
    for name in names:
        seen = moment(get(place, name))
        if seen is not None:
            return min(seen, received)
    raise Malformed(f"'{names[1]}' is missing: no time says when this was seen")


def moment(value: Any) -> datetime | None:
    """A time as AWS writes it, in UTC; None if it is not one."""
    try:
        return moment_of(value) if isinstance(value, str) else None
    except Malformed:
        return None


def kind_of(name: str) -> str:
    """AwsEc2Instance -> aws:ec2-instance."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name.removeprefix("Aws"))
    kebab = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:56]
    return f"aws:{kebab or 'other'}"


def type_name(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")
