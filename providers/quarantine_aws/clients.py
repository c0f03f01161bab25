"""boto3 clients: made late, made once, shared by all threads.

A session of its own costs 24 MB and half a second, a further client 1 MB: so all sessions share one data loader, and
a client is kept per (account, region, service). Clients are thread-safe, making one is not: that happens under a lock.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from ipaddress import ip_address
from threading import RLock
from types import MappingProxyType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from quarantine.action import sdk
from quarantine.errors import NotFound
from quarantine.model import Value

NAME: Final = "cloud-quarantine"
MOST_KEPT: Final = 256

_agent: ContextVar[str] = ContextVar("agent", default="")


class Access(Value):
    """How we get into one account."""

    profile: str | None = Field(
        default=None, description="Name of a profile in the AWS configuration files; the default chain if left out."
    )
    role_arn: str | None = Field(
        default=None,
        pattern=r"^arn:[a-z-]+:iam::\d{12}:role/.+$",
        description="ARN of a role in that account that we assume; the profile's own identity if left out.",
    )
    external_id: str | None = Field(
        default=None, description="ExternalId that the trust policy of role_arn asks for; none if left out."
    )

    @model_validator(mode="after")
    def _has_a_role_for_the_external_id(self) -> Self:
        if self.external_id is not None and self.role_arn is None:
            raise ValueError("external_id is only used with role_arn: set that too, or leave both out")
        return self


class Patience(Value):
    """Seconds until a connection, or an answer, counts as not coming."""

    connect: float = 3
    read: float = 15


class Clients:
    """All clients of one configuration."""

    def __init__(
        self, accounts: Mapping[str, Access], endpoint_url: str | None = None, patience: Patience | None = None
    ) -> None:
        self._accounts = accounts
        self._endpoint_url = endpoint_url
        self._patience = patience or Patience()
        self._sessions: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._clients: OrderedDict[tuple[str, str, str, str, int], Any] = OrderedDict()
        self._lock = RLock()
        self.principals: dict[str, str] = {}
        """Who we are in an account, once that was asked: for messages."""

    def reading(self, account: str, region: str, service: str) -> Any:
        """A client for reads: three attempts in all, in botocore's standard mode."""
        return self._client(account, region, service, attempts=3)

    def changing(self, account: str, region: str, service: str, case: str) -> Any:
        """A client for changes: one attempt. Where a role is assumed, its session is named after the case."""
        return self._client(account, region, service, attempts=1, case=case)

    def _client(self, account: str, region: str, service: str, attempts: int, case: str = "") -> Any:
        if account not in self._accounts:
            raise NotFound(f"AWS account {account} is not configured: add it under providers.aws.accounts")
        session = case if self._accounts[account].role_arn else ""
        with self._lock:
            return _kept(
                self._clients,
                (account, session, region, service, attempts),
                lambda: self._make_client(self._session(account, session, region), region, service, attempts),
            )

    def _session(self, account: str, name: str, region: str) -> Any:
        return _kept(self._sessions, (account, name), lambda: self._make_session(self._accounts[account], name, region))

    def _make_session(self, access: Access, name: str, region: str) -> Any:
        core = _core_session(access.profile)
        if access.role_arn is None:
            return core
        from botocore.credentials import AssumeRoleCredentialFetcher, CredentialResolver
        from botocore.exceptions import NoCredentialsError

        source = core.get_credentials()
        if source is None:
            raise NoCredentialsError

        def creator(service: str, **credentials: Any) -> Any:
            with self._lock:  # called in the middle of somebody's request, when credentials must be renewed
                return self._make_client(core, region, service, 3, credentials)

        extra = {"RoleSessionName": re.sub(r"[^A-Za-z0-9_+=,.@-]", "-", name or NAME)[:64]}
        if access.external_id is not None:
            extra["ExternalId"] = access.external_id
        fetcher = AssumeRoleCredentialFetcher(
            client_creator=creator,
            source_credentials=source,
            role_arn=access.role_arn,
            extra_args=extra,
        )
        assumed = _core_session(None)
        assumed.register_component("credential_provider", CredentialResolver([_AssumedRole(fetcher)]))
        return assumed

    def _make_client(
        self, core: Any, region: str, service: str, attempts: int, credentials: Mapping[str, Any] = MappingProxyType({})
    ) -> Any:
        from botocore.config import Config

        single_host = self._endpoint_url is not None and _has_no_subdomains(self._endpoint_url)
        config = Config(
            connect_timeout=self._patience.connect,
            read_timeout=self._patience.read,
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=64,
            user_agent_appid=NAME,
            s3={"addressing_style": "path"} if single_host else None,
        )
        client = core.create_client(
            service,
            region_name=region,
            endpoint_url=self._endpoint_url,
            config=config,
            **credentials,
        )
        client.meta.events.register_last("request-created", _sign_our_name)
        if service == "s3control" and _has_no_subdomains(client.meta.endpoint_url):
            client.meta.events.register("before-call", _keep_the_host)
        return client


@contextmanager
def as_case(case: str) -> Iterator[None]:
    """Within, requests of this thread say in their user agent for which case they are; CloudTrail records it."""
    token = _agent.set(f"{NAME} case/{re.sub(r'[^A-Za-z0-9._-]', '-', case)}" if case else "")
    try:
        yield
    finally:
        _agent.reset(token)


def _sign_our_name(request: Any, **_: Any) -> None:
    """Runs after botocore has written its own user agent, and after signing, which leaves this header out."""
    if agent := _agent.get():
        request.headers.replace_header("User-Agent", f"{request.headers.get('User-Agent', '')} {agent}")


def _keep_the_host(params: dict[str, Any], **_: Any) -> None:
    """S3 Control's endpoint rules put the account id in front of the host, also of one that has no subdomains.

    `inject_host_prefix=False` does not help: the prefix comes from the rule set, not from the host trait.
    The account goes along in the header x-amz-account-id in any case.
    """
    account = params["headers"].get("x-amz-account-id", "")
    params["url"] = params["url"].replace(f"://{account}.", "://", 1)


def _has_no_subdomains(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        ip_address(host)
    except ValueError:
        return "." not in host
    return True


class _AssumedRole:
    """A botocore credential provider that knows one role and renews its credentials."""

    METHOD = CANONICAL_NAME = "assume-role"

    def __init__(self, fetcher: Any) -> None:
        self._fetcher = fetcher

    def load(self) -> Any:
        from botocore.credentials import DeferredRefreshableCredentials

        return DeferredRefreshableCredentials(method=self.METHOD, refresh_using=self._fetcher.fetch_credentials)


def _core_session(profile: str | None) -> Any:
    core = sdk("botocore.session").Session(profile=profile)
    core.register_component("data_loader", _loader())
    return core


@cache
def _loader() -> Any:
    from botocore.loaders import create_loader

    return create_loader()


def _kept(cache: OrderedDict[Any, Any], key: Any, make: Callable[[], Any]) -> Any:
    """The value of the key, made if need be; the one that was not used for longest goes when there are too many."""
    if key not in cache:
        cache[key] = make()
        if len(cache) > MOST_KEPT:
            cache.popitem(last=False)
    cache.move_to_end(key)
    return cache[key]
