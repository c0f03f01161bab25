"""What `quarantine doctor` asks AWS about one account: who we are there, and what we may do."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from quarantine.action import Check, Verdict
from quarantine.errors import Denied, ProviderError, QuarantineError
from quarantine_aws import s3_bucket
from quarantine_aws.cloud import AwsCloud

_DRY_RUNS: Final = {
    "ec2:DescribeInstances": "ec2.describe_instances?dry-run",
    "ec2:DescribeNetworkInterfaces": "ec2.describe_network_interfaces?dry-run",
    "ec2:DescribeSecurityGroups": "ec2.describe_security_groups?dry-run",
    "ec2:DescribeSecurityGroupRules": "ec2.describe_security_group_rules?dry-run",
}


def check_identity(cloud: AwsCloud) -> Check:
    subject = f"aws {cloud.account}"
    try:
        identity = cloud.identity()
    except QuarantineError as error:
        return Check(
            subject=subject,
            verdict=Verdict.FAIL,
            message=f"AWS does not say who we are: {error}",
            fix="set credentials (profile, role_arn or the environment), and allow HTTPS to sts in this region",
        )
    if identity.account != cloud.account:
        return Check(
            subject=subject,
            verdict=Verdict.FAIL,
            message=f"configured as {cloud.account}, but the credentials belong to {identity.account}",
            fix=f"set 'profile' or 'role_arn' of account {cloud.account} to one that leads into it",
        )
    return Check(subject=subject, verdict=Verdict.OK, message=f"we are {identity.principal}")


def check_permissions(cloud: AwsCloud) -> Iterator[Check]:
    """What can be asked without naming a resource. Of changes, only EC2 says beforehand whether it would allow them."""
    reads: dict[str, Callable[[], object]] = {
        "s3:ListAllMyBuckets": lambda: cloud.read("s3:ListAllMyBuckets", "s3.list_buckets", MaxBuckets=1),
        "s3:GetAccountPublicAccessBlock": lambda: s3_bucket.account_settings(cloud),
        **{permission: partial(cloud.read, permission, call) for permission, call in _DRY_RUNS.items()},
        "ec2:CreateSecurityGroup": partial(
            cloud.read,
            "ec2:CreateSecurityGroup",
            "ec2.create_security_group?dry-run",
            GroupName="cloud-quarantine-doctor",
            Description="asked by quarantine doctor, never made",
        ),
    }
    for permission, read in reads.items():
        subject = f"aws {cloud.account} {permission}"
        try:
            read()
        except Denied as error:
            yield Check(subject=subject, verdict=Verdict.WARN, message=str(error), fix=f"allow {permission}")
        except ProviderError as error:
            yield Check(
                subject=subject,
                verdict=Verdict.WARN,
                message=f"could not be asked: {error}",
                fix=f"look at the network path to {permission.partition(':')[0]}",
            )
        else:
            yield Check(subject=subject, verdict=Verdict.OK, message="allowed")
