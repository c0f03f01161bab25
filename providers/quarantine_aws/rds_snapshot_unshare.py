"""Takes back that everybody can restore a database from a snapshot."""

from typing import ClassVar

from quarantine.model import Resource
from quarantine_aws import rds_snapshot
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.rds_snapshot import Sort
from quarantine_aws.sharing import Sharing, Unsharing, sharing


class RdsSnapshotUnshare(Unsharing):
    name: ClassVar[str] = "aws:rds-snapshot-unshare"
    resource: ClassVar[str] = rds_snapshot.OF_INSTANCE.kind
    sort: ClassVar[Sort] = rds_snapshot.OF_INSTANCE

    def permissions(self) -> tuple[str, ...]:
        return (f"rds:Describe{self.sort.word}Attributes", f"rds:Modify{self.sort.word}Attribute")

    def observe(self, cloud: AwsCloud, resource: Resource) -> Sharing:
        return sharing(rds_snapshot.shared_with(cloud, self.sort, resource))

    def share(self, cloud: AwsCloud, resource: Resource, add: list[str], remove: list[str]) -> None:
        lists = {"ValuesToAdd": add, "ValuesToRemove": remove}
        cloud.change(
            f"rds:Modify{self.sort.word}Attribute",
            f"rds.modify_{self.sort.call}_attribute",
            AttributeName="restore",
            **self.sort.identifier(resource),
            **{name: values for name, values in lists.items() if values},
        )
