"""How each kind of resource is told from another that has its name by now: its uid, and its tags beside it."""

from collections.abc import Callable, Mapping
from typing import Final

from quarantine.model import Resource
from quarantine_aws import (
    cloudtrail_trail,
    ebs_snapshot,
    ec2_image,
    ec2_instance,
    ecs_task,
    iam_role,
    iam_user,
    lambda_function,
    rds_snapshot,
    role_session,
    s3_bucket,
    security_group,
)
from quarantine_aws.cloud import AwsCloud

Resolver = Callable[[AwsCloud, Resource], tuple[str | None, Mapping[str, str]]]
"""(cloud, resource) -> (its uid or None where AWS has none, its tags). Only reads. Raises Gone."""

RESOLVERS: Final[Mapping[str, Resolver]] = {
    "aws:s3-bucket": s3_bucket.resolve,
    "aws:ecs-task": ecs_task.resolve,
    "aws:ec2-instance": ec2_instance.resolve,
    security_group.KIND: security_group.resolve,
    role_session.KIND: role_session.resolve,
    iam_role.KIND: iam_role.resolve,
    iam_user.KIND: iam_user.resolve,
    lambda_function.KIND: lambda_function.resolve,
    cloudtrail_trail.KIND: cloudtrail_trail.resolve,
    ebs_snapshot.KIND: ebs_snapshot.resolve,
    ec2_image.KIND: ec2_image.resolve,
    rds_snapshot.OF_INSTANCE.kind: rds_snapshot.resolve,
    rds_snapshot.OF_CLUSTER.kind: rds_snapshot.resolve,
}
