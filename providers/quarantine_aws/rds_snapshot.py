"""Snapshots of databases and of clusters, as RDS describes them: the two are alike but for their names. Reads only."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from quarantine.errors import Gone
from quarantine.model import Resource
from quarantine_aws.cloud import AwsCloud


class Sort(NamedTuple):
    """What the calls for one of the two are named after."""

    kind: str
    word: str
    """`DBSnapshot`, as in DescribeDBSnapshots and DBSnapshotIdentifier."""
    call: str
    """`db_snapshot`"""

    def identifier(self, resource: Resource) -> dict[str, str]:
        return {f"{self.word}Identifier": resource.id}


OF_INSTANCE: Final = Sort("aws:rds-snapshot", "DBSnapshot", "db_snapshot")
OF_CLUSTER: Final = Sort("aws:rds-cluster-snapshot", "DBClusterSnapshot", "db_cluster_snapshot")
_SORTS: Final = {sort.kind: sort for sort in (OF_INSTANCE, OF_CLUSTER)}


def resolve(cloud: AwsCloud, resource: Resource) -> tuple[str, Mapping[str, str]]:
    """One that is made again under the same name was made at another time."""
    sort = _SORTS[resource.kind]
    call = f"rds.describe_{sort.call}s"
    for found in cloud.read(f"rds:Describe{sort.word}s", call, **sort.identifier(resource)).get(f"{sort.word}s", ()):
        if found[f"{sort.word}Identifier"] == resource.id:
            tags = {tag["Key"]: tag.get("Value", "") for tag in found.get("TagList", ())}
            return f"{resource.id}@{found['SnapshotCreateTime'].isoformat()}"[:256], tags
    raise Gone(f"RDS knows no snapshot {resource.id} in {resource.scope}")


def shared_with(cloud: AwsCloud, sort: Sort, resource: Resource) -> list[Any]:
    """RDS API Reference, DBSnapshotAttribute: who may restore a database from it."""
    call = f"rds.describe_{sort.call}_attributes"
    answer = cloud.read(f"rds:Describe{sort.word}Attributes", call, **sort.identifier(resource))
    attributes = answer[f"{sort.word}AttributesResult"].get(f"{sort.word}Attributes", ())
    return [
        value
        for attribute in attributes
        if attribute["AttributeName"] == "restore"
        for value in attribute.get("AttributeValues", ())
    ]
