"""AWS: accounts, regions, and everything that can be done there."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from quarantine.action import Action, Capture, Check, Identity, Parser, Poll, Provider, Verdict
from quarantine.errors import Denied, NotFound, ProviderError, QuarantineError, Unsupported
from quarantine.model import Resource, Value
from quarantine_aws import ecs_task, polls, s3_bucket
from quarantine_aws.asff import asff
from quarantine_aws.clients import Access, Clients
from quarantine_aws.cloud import AwsCloud
from quarantine_aws.ecs_stop_task import EcsStopTask
from quarantine_aws.ecs_task_capture import EcsTaskCapture
from quarantine_aws.guardduty import guardduty
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
    """The adapter for AWS."""

    name: ClassVar[str] = "aws"
    settings: ClassVar[type[BaseModel]] = AwsSettings
    actions: ClassVar[tuple[type[Action[Any, Any]], ...]] = (S3BlockPublicAccess, EcsStopTask)
    captures: ClassVar[tuple[type[Capture[Any]], ...]] = (EcsTaskCapture,)
    parsers: ClassVar[Mapping[str, Parser]] = {"aws:asff": asff, "aws:guardduty": guardduty}
    polls: ClassVar[tuple[Poll, ...]] = (polls.PUBLIC_BUCKETS, polls.SECURITY_HUB)

    def __init__(self, settings: AwsSettings) -> None:
        self._settings = settings
        self._clients = Clients(settings.accounts, settings.endpoint_url)

    def scopes(self) -> tuple[str, ...]:
        return tuple(
            f"{account}/{region}" for account, access in self._settings.accounts.items() for region in access.regions
        )

    def connect(self, scope: str) -> AwsCloud:
        """Opens nothing yet: clients are made when the first call needs them. Raises NotFound for other scopes."""
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
            return resource.model_copy(update={"uid": resource.id}), ecs_task.tags_of(
                ecs_task.describe(cloud, resource)
            )
        raise Unsupported(f"nothing is known about {resource.kind} yet: aws:s3-bucket, aws:ecs-task are")

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
            check = _check_identity(cloud)
            yield check
            if check.verdict is Verdict.OK:
                yield from _check_permissions(cloud)


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


def _check_identity(cloud: AwsCloud) -> Check:
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


def _check_permissions(cloud: AwsCloud) -> Iterator[Check]:
    """Reads that need no resource. Whether changes are allowed cannot be asked without making one."""
    reads: dict[str, Callable[[], object]] = {
        "s3:ListAllMyBuckets": lambda: cloud.read("s3:ListAllMyBuckets", "s3.list_buckets", MaxBuckets=1),
        "s3:GetAccountPublicAccessBlock": lambda: s3_bucket.account_settings(cloud),
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
                fix="look at the network path to S3 and S3 Control",
            )
        else:
            yield Check(subject=subject, verdict=Verdict.OK, message="allowed")
