"""The only module that builds an Azure client, and only when the first call needs one.

The pipeline is ours: no redirects, no registration of resource providers behind our back, and no retries. The SDK's
default sends a POST again after one 500, and whatever was answered with Retry-After (azure-core 1.41, RetryPolicy).
"""

import base64
import json
import os
from pathlib import Path
from threading import Lock
from typing import Any, Final

from pydantic import Field

from quarantine.action import sdk
from quarantine.errors import Unreachable
from quarantine.model import Value

CONNECT_SECONDS: Final = 3.0
READ_SECONDS: Final = 15.0


class Place(Value):
    """One Azure: where its resource manager answers, and for whom tokens are asked."""

    endpoint: str = "https://management.azure.com"
    scope: str = "https://management.azure.com/.default"
    authority: str | None = None
    """Host that gives the tokens; AZURE_AUTHORITY_HOST, then the public one, if left out."""
    token: str | None = Field(default=None, repr=False)
    """A reference to a fixed bearer token: env:NAME or file:/path."""


# azure.mgmt.core.tools.get_arm_endpoints and azure.identity.AzureAuthorityHosts. The scope of a cloud does not follow
# from its host: that of the United States Government says `core`.
PLACES: Final = {
    "public": Place(),
    "china": Place(
        endpoint="https://management.chinacloudapi.cn",
        scope="https://management.chinacloudapi.cn/.default",
        authority="login.chinacloudapi.cn",
    ),
    "us-government": Place(
        endpoint="https://management.usgovcloudapi.net",
        scope="https://management.core.usgovcloudapi.net/.default",
        authority="login.microsoftonline.us",
    ),
}


class Session:
    """The pipeline to one subscription. Threads may share it."""

    def __init__(self, subscription: str, place: Place, read_seconds: float = READ_SECONDS) -> None:
        self.endpoint = place.endpoint.rstrip("/")
        self._subscription = subscription
        self._place = place
        self._read_seconds = read_seconds
        self._lock = Lock()
        self._made: tuple[Any, Any] | None = None

    def get_virtual_machine(self, group: str, name: str, headers: dict[str, str]) -> Any:
        """The answer as it came, through the SDK's own operation: raw, so that nothing it does not know is lost."""
        client, _ = self._client()
        return client.virtual_machines.get(
            group, name, headers=headers, cls=lambda response, *_: response.http_response, **self._options()
        )

    def send(self, method: str, url: str, body: Any, headers: dict[str, str]) -> Any:
        """One try. Raises the SDK's errors, also for an answer that is not a success."""
        client, _ = self._client()
        request = sdk("azure.core.rest").HttpRequest(method, url, json=body, headers=headers)
        response = client.send_request(request, **self._options())
        if response.status_code >= 300:
            raise sdk("azure.core.exceptions").HttpResponseError(response=response)
        return response

    def claims(self) -> dict[str, Any]:
        """What our own token says about us; nothing if it is opaque. It is not checked: ARM does that."""
        _, credential = self._client()
        parts = credential.get_token(self._place.scope).token.split(".")
        try:
            found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        except (IndexError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _options(self) -> dict[str, Any]:
        """Only a loopback endpoint may be plain HTTP; the settings see to that."""
        return {} if self.endpoint.startswith("https://") else {"enforce_https": False}

    def _client(self) -> tuple[Any, Any]:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> tuple[Any, Any]:
        credential = self._credential()
        core, arm = sdk("azure.core.pipeline.policies"), sdk("azure.mgmt.core.policies")
        client = sdk("azure.mgmt.compute").ComputeManagementClient(
            credential,
            self._subscription,
            base_url=self.endpoint,
            credential_scopes=[self._place.scope],
            policies=[
                core.RequestIdPolicy(),
                core.HeadersPolicy(),
                core.ProxyPolicy(),
                arm.ARMChallengeAuthenticationPolicy(credential, self._place.scope),
            ],
            connection_timeout=CONNECT_SECONDS,
            read_timeout=self._read_seconds,
        )
        return client, credential

    def _credential(self) -> Any:
        if self._place.token is not None:
            return _FixedToken(_secret(self._place.token))
        settings = {} if self._place.authority is None else {"authority": self._place.authority}
        return sdk("azure.identity", "azure").DefaultAzureCredential(
            connection_timeout=CONNECT_SECONDS, read_timeout=self._read_seconds, retry_total=1, **settings
        )


class _FixedToken:
    """A credential for emulators and gateways."""

    def __init__(self, token: str) -> None:
        self._token = token

    def get_token(self, *_: str, **__: Any) -> Any:
        """It never runs out; the SDK asks for a date."""
        return sdk("azure.core.credentials").AccessToken(self._token, 4_102_444_800)


def _secret(reference: str) -> str:
    scheme, _, name = reference.partition(":")
    try:
        text = os.environ[name] if scheme == "env" else Path(name).read_text()
    except (KeyError, OSError) as error:
        raise Unreachable(f"the token of providers.azure, {reference}, is not there: {error}") from error
    return text.strip()
