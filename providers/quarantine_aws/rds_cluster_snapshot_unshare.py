"""Takes back that everybody can restore a cluster of databases from a snapshot."""

from typing import ClassVar

from quarantine_aws import rds_snapshot
from quarantine_aws.rds_snapshot import Sort
from quarantine_aws.rds_snapshot_unshare import RdsSnapshotUnshare


class RdsClusterSnapshotUnshare(RdsSnapshotUnshare):
    name: ClassVar[str] = "aws:rds-cluster-snapshot-unshare"
    resource: ClassVar[str] = rds_snapshot.OF_CLUSTER.kind
    sort: ClassVar[Sort] = rds_snapshot.OF_CLUSTER
