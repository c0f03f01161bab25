"""The only module that knows how AWS says no. Its errors are translated here, by code, in one function."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

from quarantine.action import Call, Cloud, Identity, Mark, Receipt, sdk
from quarantine.errors import (
    Denied,
    ProviderError,
    Throttled,
    Transient,
    Unknown,
    Unreachable,
    Unsupported,
)
from quarantine_aws.clients import Clients, as_case
from quarantine_aws.codes import CODES, Absent

SIGNATURE: Final = timedelta(minutes=5, seconds=30)
"""How long after it was signed AWS may still take a request: five minutes (AWS General Reference, "Signature Version 4
signing process"), and some for the clocks. What is undone earlier could be done again by a worker that was frozen."""
S3_SIGNATURE: Final = timedelta(minutes=15, seconds=30)
"""The same for S3: fifteen minutes (Amazon S3 API Reference, "Error responses": RequestTimeTooSkewed)."""

_READS: Final = re.compile(r"[a-z0-9]+\.(get|describe|list|head)_[a-z0-9_]+|ec2\.[a-z0-9_]+\?dry-run")


GLOBAL: Final = "aws-global"
"""The area of what belongs to an account and to none of its regions, such as its roles."""


class AwsCloud(Cloud):
    """The connection to one account in one region. A call is `service.operation`: `s3.get_public_access_block`.

    EC2's operations can be asked `?dry-run`: whether we might, without doing it (EC2 API Reference, DryRun).
    """

    def __init__(self, scope: str, clients: Clients, mark: Mark | None = None, region: str | None = None) -> None:
        """`region` is where the clients are made for, if the scope is not in one: the SDK finds global services."""
        super().__init__(mark)
        self.account, _, area = scope.partition("/")
        self.region = region or area
        self._clients = clients

    def reads(self, call: str) -> bool:
        """Only what is named get, describe, list or head, or is a dry run; anything else is taken for a change."""
        return _READS.fullmatch(call) is not None

    def read(self, permission: str, call: str, **arguments: Any) -> Any:
        with self._naming(permission):
            return super().read(permission, call, **arguments)

    def read_or_absent(self, permission: str, call: str, **arguments: Any) -> Any | None:
        """The answer, or None where the resource is there and this was never configured. Raises Gone if it is not."""
        try:
            return self.read(permission, call, **arguments)
        except Absent:
            return None

    def pages(self, permission: str, call: str, key: str, **arguments: Any) -> list[dict[str, Any]]:
        """What stands under `key` in all pages of an answer of EC2."""
        found: list[dict[str, Any]] = []
        page: dict[str, str] = {}
        while True:
            answer = self.read(permission, call, **arguments, **page)
            found += answer.get(key, ())
            if not answer.get("NextToken"):
                return found
            page = {"NextToken": answer["NextToken"]}

    def change(self, permission: str, call: str, **arguments: Any) -> Receipt:
        if "TagSpecifications" in arguments:
            # EC2 asks for this one too (EC2 User Guide, "Grant permission to tag resources during creation").
            self._seen(Call(permission="ec2:CreateTags", call=call))
        with self._naming(permission):
            return super().change(permission, call, **arguments)

    def invoke(self, call: str, arguments: Mapping[str, Any]) -> Any:
        service, _, operation = call.partition(".")
        changes = not self.reads(call)
        operation, _, dry_run = operation.partition("?")
        if dry_run:
            arguments = {**arguments, "DryRun": True}
        case = self.mark.case if changes else ""
        client = self._client(service, changes, case)
        try:
            with as_case(case):
                return getattr(client, operation)(**self._owned(service, arguments))
        except _sdk_errors() as error:
            if dry_run and _would_have_happened(error):
                return {}
            raise translate(error, call, changes) from error

    def receipt(self, answer: Any) -> Receipt:
        return Receipt(id=str(answer.get("ResponseMetadata", {}).get("RequestId", "")), answer=answer)

    def identity(self) -> Identity:
        """Who we are, asked at STS. Raises ProviderError."""
        answer = self.read("sts:GetCallerIdentity", "sts.get_caller_identity")
        self._clients.principals[self.account] = answer["Arn"]
        return Identity(account=answer["Account"], principal=answer["Arn"])

    def _client(self, service: str, changes: bool, case: str) -> Any:
        try:
            if changes:
                return self._clients.changing(self.account, self.region, service, case)
            return self._clients.reading(self.account, self.region, service)
        except _setup_errors() as error:
            raise Unreachable(f"no AWS client for {self.account}/{self.region}: {error}. {_LOOK_AT_ACCESS}") from error

    def _owned(self, service: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """A bucket's name may belong to somebody else by now, so every request says whose it must be."""
        if service == "s3" and "Bucket" in arguments:
            return {**arguments, "ExpectedBucketOwner": self.account}
        if service == "s3control":
            return {**arguments, "AccountId": self.account}
        return arguments

    @contextmanager
    def _naming(self, permission: str) -> Iterator[None]:
        try:
            yield
        except Denied as error:
            principal = self._clients.principals.get(self.account, "our identity")
            raise Denied(
                f"{principal} may not use {permission} in account {self.account} ({error}): "
                f"allow {permission} in its policy, and look for a denial in resource and organisation policies"
            ) from error


_LOOK_AT_ACCESS: Final = "Look at providers.aws in the configuration and at the credentials; then: quarantine doctor"


def _sdk_errors() -> tuple[type[Exception], ...]:
    errors = sdk("botocore.exceptions")
    return (errors.ClientError, errors.BotoCoreError, sdk("botocore.parsers").ResponseParserError)


def _setup_errors() -> tuple[type[Exception], ...]:
    return (*_sdk_errors(), ValueError, OSError)


def _would_have_happened(error: Any) -> bool:
    """EC2's answer to a dry run that is allowed is an error, too (EC2 API Reference, "Common client error codes")."""
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", "")) == "DryRunOperation"


def translate(error: Exception, call: str, changes: bool) -> ProviderError:
    """One SDK error as one of ours, by its code or class. For a change, what is not certain is Unknown."""
    errors = sdk("botocore.exceptions")
    if isinstance(error, errors.ClientError):
        return _answered(error, call, changes)
    text = f"{call}: {error}"
    if isinstance(error, (errors.EndpointConnectionError, errors.ConnectTimeoutError, errors.ProxyConnectionError)):
        return Unreachable(f"{text}. Look at the network path and at providers.aws.endpoint_url")
    if isinstance(
        error,
        (
            errors.NoCredentialsError, errors.PartialCredentialsError, errors.CredentialRetrievalError,
            errors.TokenRetrievalError, errors.UnauthorizedSSOTokenError, errors.SSOTokenLoadError,
            errors.ProfileNotFound, errors.NoAuthTokenError,
        ),
    ):  # fmt: skip
        return Unreachable(f"{text}. {_LOOK_AT_ACCESS}")
    if isinstance(error, errors.ValidationError | errors.ParamValidationError):
        return Unsupported(text)
    if changes:
        return Unknown(text)
    return Transient(text) if isinstance(error, errors.HTTPClientError) else Unreachable(text)


def _answered(error: Any, call: str, changes: bool) -> ProviderError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    text = f"{call}: {code}: {str(error.response.get('Error', {}).get('Message', ''))[:500]}"
    if error.operation_name == "AssumeRole":
        # Asked for by the SDK before our own request, which was therefore never sent.
        return Unreachable(f"{text}. The role in providers.aws.accounts could not be assumed: look at its trust policy")
    ours = CODES.get(code)
    if ours is None and status == 429:
        ours = Throttled
    if ours is None and (status >= 500 or status < 300):  # S3 can answer 200 with an error in the body
        ours = Unknown
    if ours is Unknown and not changes:
        ours = Transient
    if ours is Unreachable:
        text = f"{text}. {_LOOK_AT_ACCESS}"
    return (ours or Unsupported)(text)
