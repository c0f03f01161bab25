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
from quarantine_aws import ec2_instance, ecs_task, instance_role, polls, role_session, security_group
from quarantine_aws.asff import asff
from quarantine_aws.checks import check_identity, check_permissions
from quarantine_aws.clients import Access, Clients
from quarantine_aws.cloud import GLOBAL, AwsCloud
from quarantine_aws.ec2_isolate_interfaces import Ec2IsolateInterfaces
from quarantine_aws.ec2_remove_quarantine_group import Ec2RemoveQuarantineGroup
from quarantine_aws.ecs_stop_task import EcsStopTask
from quarantine_aws.ecs_task_capture import EcsTaskCapture
from quarantine_aws.guardduty import guardduty
from quarantine_aws.iam_deny_role_session import IamDenyRoleSession
from quarantine_aws.leftovers import LEFTOVERS
from quarantine_aws.rereads import REREADS
from quarantine_aws.s3_block_public_access import S3BlockPublicAccess


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
        Ec2IsolateInterfaces,
        IamDenyRoleSession,
        Ec2RemoveQuarantineGroup,
    )
    captures: ClassVar[tuple[type[Capture[Any]], ...]] = (EcsTaskCapture,)
    parsers: ClassVar[Mapping[str, Parser]] = {"aws:asff": asff, "aws:guardduty": guardduty}
    polls: ClassVar[tuple[Poll, ...]] = (polls.PUBLIC_BUCKETS, polls.SECURITY_HUB)
    rereads: ClassVar[Mapping[str, Reread]] = REREADS
    relations: ClassVar[Mapping[str, Relation]] = {"role-sessions": instance_role.ROLE_SESSIONS}
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
        if resource.kind == "aws:s3-bucket":
            return resource, _bucket_tags(cloud, resource)
        if resource.kind == "aws:ecs-task":
            return _known(resource, resource.id), ecs_task.tags_of(ecs_task.describe(cloud, resource))
        if resource.kind == "aws:ec2-instance":
            return _known(resource, resource.id), ec2_instance.tags_of(ec2_instance.describe(cloud, resource))
        if resource.kind == security_group.KIND:
            return _known(resource, resource.id), ec2_instance.tags_of(security_group.describe(cloud, resource))
        if resource.kind == role_session.KIND:
            role, instance = role_session.parts(resource)
            found = cloud.read("iam:GetRole", "iam.get_role", RoleName=role)["Role"]
            return _known(resource, role_session.uid(found, instance)), ec2_instance.tags_of(found)
        known = sorted({step.resource for step in (*self.actions, *self.captures)})
        raise Unsupported(f"nothing is known about {resource.kind} yet: {', '.join(known)} are")

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


def _known(resource: Resource, uid: str) -> Resource:
    return resource.model_copy(update={"uid": uid})


def _bucket_tags(cloud: AwsCloud, resource: Resource) -> Mapping[str, str]:
    answer = cloud.read("s3:GetBucketLocation", "s3.get_bucket_location", Bucket=resource.id)
    # Amazon S3 API Reference, GetBucketLocation: null is us-east-1, EU is eu-west-1.
    region = {None: "us-east-1", "": "us-east-1", "EU": "eu-west-1"}.get(
        answer.get("LocationConstraint"), answer.get("LocationConstraint")
    )
    if region != cloud.region:
        raise Unsupported(f"bucket {resource.id} is in {region}: use the scope {cloud.account}/{region}")
    tags = cloud.read_or_absent("s3:GetBucketTagging", "s3.get_bucket_tagging", Bucket=resource.id)
    return {tag["Key"]: tag["Value"] for tag in (tags or {}).get("TagSet", ())}
