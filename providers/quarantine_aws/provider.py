"""AWS: accounts, regions, and everything that can be done there."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from quarantine.action import (
    Action,
    Capture,
    Check,
    Identity,
    Leftover,
    Parser,
    Poll,
    Provider,
    Relation,
    Reread,
    Verdict,
)
from quarantine.errors import NotFound, Unsupported
from quarantine.model import Resource, Value
from quarantine_aws import ec2_image, instance_role, polls
from quarantine_aws.asff import asff
from quarantine_aws.checks import check_identity, check_permissions
from quarantine_aws.clients import Access, Clients
from quarantine_aws.cloud import GLOBAL, AwsCloud
from quarantine_aws.cloudtrail_restart import CloudtrailRestart
from quarantine_aws.cloudtrail_trail import STOPPED_TRAILS
from quarantine_aws.detectors import PARSERS as DETECTORS
from quarantine_aws.ebs_snapshot_unshare import EbsSnapshotUnshare
from quarantine_aws.ec2_image_unshare import Ec2ImageUnshare
from quarantine_aws.ec2_isolate_interfaces import Ec2IsolateInterfaces
from quarantine_aws.ec2_leave_group import Ec2LeaveGroup
from quarantine_aws.ec2_protect_evidence import Ec2ProtectEvidence
from quarantine_aws.ec2_remove_quarantine_group import Ec2RemoveQuarantineGroup
from quarantine_aws.ecs_stop_task import EcsStopTask
from quarantine_aws.ecs_task_capture import EcsTaskCapture
from quarantine_aws.guardduty import guardduty
from quarantine_aws.iam_deny_role_session import IamDenyRoleSession
from quarantine_aws.iam_role_revoke_sessions import IamRoleRevokeSessions
from quarantine_aws.iam_user_disable_keys import IamUserDisableKeys
from quarantine_aws.lambda_freeze import LambdaFreeze
from quarantine_aws.leftovers import LEFTOVERS
from quarantine_aws.public_copies import PUBLIC_COPIES
from quarantine_aws.rds_cluster_snapshot_unshare import RdsClusterSnapshotUnshare
from quarantine_aws.rds_snapshot_unshare import RdsSnapshotUnshare
from quarantine_aws.rereads import REREADS
from quarantine_aws.resolvers import RESOLVERS
from quarantine_aws.s3_block_public_access import S3BlockPublicAccess
from quarantine_aws.sg_revoke_open_ingress import SgRevokeOpenIngress


def _account_id(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(r"\d{12}", value):
        # YAML reads an unquoted id as a number, and one that starts with 0 as another number.
        raise ValueError('an account id is 12 digits in quotes: "123456789012"')
    return value


def _endpoint(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"\s", value):
        raise ValueError("an endpoint is a URL with scheme and host: http://127.0.0.1:5000")
    return value


class AwsAccount(Access):
    """One account that we may act in."""

    regions: tuple[Annotated[str, Field(pattern=r"^[a-z0-9-]+$")], ...] = Field(
        min_length=1, description="Regions of the account that we look at and act in; no others are touched."
    )


class AwsSettings(Value):
    """The `aws:` part of `providers:`."""

    accounts: dict[Annotated[str, BeforeValidator(_account_id)], AwsAccount] = Field(
        default_factory=dict, description="By account id, 12 digits in quotes: the accounts we act in; no others."
    )
    endpoint_url: Annotated[str, AfterValidator(_endpoint)] | None = Field(
        default=None,
        description="URL that all calls go to instead of AWS: an emulator or a gateway; AWS itself if left out.",
    )


class Aws(Provider):
    """A scope is `account/region`, or `account/aws-global` for what is in no region. The latter needs no setting: it
    is reached from the account's first region."""

    name: ClassVar[str] = "aws"
    settings: ClassVar[type[BaseModel]] = AwsSettings
    actions: ClassVar[tuple[type[Action[Any, Any]], ...]] = (
        S3BlockPublicAccess,
        EcsStopTask,
        Ec2ProtectEvidence,
        Ec2LeaveGroup,
        Ec2IsolateInterfaces,
        IamDenyRoleSession,
        IamRoleRevokeSessions,
        IamUserDisableKeys,
        Ec2RemoveQuarantineGroup,
        SgRevokeOpenIngress,
        EbsSnapshotUnshare,
        Ec2ImageUnshare,
        RdsSnapshotUnshare,
        RdsClusterSnapshotUnshare,
        LambdaFreeze,
        CloudtrailRestart,
    )
    captures: ClassVar[tuple[type[Capture[Any]], ...]] = (EcsTaskCapture,)
    parsers: ClassVar[Mapping[str, Parser]] = {"aws:asff": asff, "aws:guardduty": guardduty, **DETECTORS}
    polls: ClassVar[tuple[Poll, ...]] = (polls.PUBLIC_BUCKETS, polls.SECURITY_HUB, PUBLIC_COPIES, STOPPED_TRAILS)
    relations: ClassVar[Mapping[str, Relation]] = {
        "role-sessions": instance_role.ROLE_SESSIONS,
        "snapshots": ec2_image.SNAPSHOTS,
    }
    rereads: ClassVar[Mapping[str, Reread]] = REREADS
    leftovers: ClassVar[tuple[Leftover, ...]] = LEFTOVERS

    def __init__(self, settings: AwsSettings) -> None:
        self._settings = settings
        self._clients = Clients(settings.accounts, settings.endpoint_url)

    def scopes(self) -> tuple[str, ...]:
        return tuple(
            f"{account}/{region}" for account, access in self._settings.accounts.items() for region in access.regions
        )

    def connect(self, scope: str) -> AwsCloud:
        """Opens nothing yet: clients are made when the first call needs them. Raises NotFound for other scopes."""
        account, _, area = scope.partition("/")
        if area == GLOBAL and account in self._settings.accounts:
            return AwsCloud(scope, self._clients, region=self._settings.accounts[account].regions[0])
        if scope not in self.scopes():
            raise NotFound(
                f"AWS scope '{scope}' is not configured: providers.aws.accounts has "
                f"{', '.join(self.scopes()) or 'nothing'}"
            )
        return AwsCloud(scope, self._clients)

    def identity(self, cloud: AwsCloud) -> Identity:
        return cloud.identity()

    def resolve(self, cloud: AwsCloud, resource: Resource) -> tuple[Resource, Mapping[str, str]]:
        if resource.kind not in RESOLVERS:
            raise Unsupported(f"nothing is known about {resource.kind} yet: {', '.join(sorted(RESOLVERS))} are")
        uid, tags = RESOLVERS[resource.kind](cloud, resource)
        return resource.model_copy(update={"uid": uid}), tags

    def doctor(self) -> Iterator[Check]:
        if not self._settings.accounts:
            yield Check(
                subject="aws",
                verdict=Verdict.WARN,
                message="no account is configured",
                fix="add providers.aws.accounts",
            )
        for account, access in self._settings.accounts.items():
            cloud = self.connect(f"{account}/{access.regions[0]}")
            check = check_identity(cloud)
            yield check
            if check.verdict is Verdict.OK:
                yield from check_permissions(cloud)
