"""What of ours may be left at AWS when every case is closed."""

from datetime import datetime
from typing import Final

from quarantine.action import Leftover, Poll
from quarantine.errors import Unsupported
from quarantine.model import Finding, Resource, Severity
from quarantine_aws import quarantine_group, security_group
from quarantine_aws.cloud import AwsCloud


def unused(cloud: AwsCloud, scope: str, now: datetime, cursor: str | None) -> tuple[list[Finding], str | None]:
    """The quarantine groups of this installation that no interface is in."""
    if not cloud.installation:
        raise Unsupported("whose quarantine groups are meant is not known to this connection")
    found = [
        Finding(
            source=UNUSED_GROUPS.name,
            id=f"unused-quarantine-group:{group['GroupId']}",
            title=f"Quarantine group {group['GroupId']} in {group['VpcId']} is not used any more",
            type="unused-quarantine-group",
            severity=Severity.INFORMATIONAL,
            resource=Resource(kind=security_group.KIND, id=group["GroupId"], scope=scope, uid=group["GroupId"]),
            seen_at=now,
            record={"vpc": group["VpcId"], "name": group["GroupName"]},
        )
        for group in quarantine_group.all_ours(cloud)
        if not quarantine_group.users(cloud, group["GroupId"])
    ]
    return found, cursor


UNUSED_GROUPS: Final = Poll(
    name="aws:unused-quarantine-groups",
    permissions=("ec2:DescribeSecurityGroups", "ec2:DescribeNetworkInterfaces"),
    run=unused,
)
LEFTOVERS: Final = (Leftover(UNUSED_GROUPS, playbook="remove-quarantine-group"),)
