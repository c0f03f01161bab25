"""The only module that imports the Kubernetes client, and only when a connection is opened: that takes a second.

Of the client, the configuration is used (kubeconfig, exec plug-ins, token renewal) and the pool of connections that it
sets up for it (proxies, client certificates, the cluster's certificate authority).
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from quarantine.action import sdk
from quarantine.errors import Unreachable

CONNECT_SECONDS: Final = 3.0
READ_SECONDS: Final = 10.0
CHUNK: Final = 65536
ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_SECONDS: Final = 2.0


class Session:
    """The connections to one API server and the credentials for them. Threads may share it."""

    def __init__(
        self, configuration: Any, read_seconds: float = READ_SECONDS, bearer: Callable[[], str] | None = None
    ) -> None:
        """`bearer` is what to authorize each request with, where the configuration does not know."""
        from kubernetes.client import ApiClient
        from urllib3 import Timeout

        self._configuration = configuration
        self._prefix = str(configuration.host)
        self._pool: Any = ApiClient(configuration).rest_client.pool_manager
        if not configuration.proxy:
            # Straight to the pool of this server: to look for it takes a fifth of a request. Proxies want whole URLs.
            self._pool = self._pool.connection_from_url(self._prefix)
            self._prefix = urlsplit(self._prefix).path.rstrip("/")
        self._known: tuple[float, str] = (float("-inf"), "")
        self._timeout = Timeout(connect=CONNECT_SECONDS, read=read_seconds)
        self._bearer = bearer or self._configured

    def request(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Any:
        """One try. Raises urllib3's errors, and Unreachable if there are no credentials to send."""
        return self._send(method, path, body, headers, preload_content=True)

    def follow(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Any:
        """The same, for an answer that is read while it comes. Close it."""
        return self._send(method, path, body, headers, preload_content=False)

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str], preload_content: bool) -> Any:
        return self._pool.urlopen(
            method,
            f"{self._prefix}{path}",
            body=body,
            headers={**headers, **self._authorization()},
            timeout=self._timeout,
            retries=False,
            preload_content=preload_content,
        )

    def _authorization(self) -> dict[str, str]:
        from kubernetes.config import ConfigException

        try:
            bearer = self._bearer()
        except (ConfigException, OSError, ValueError) as error:
            raise Unreachable(f"the credentials could not be renewed: {error}") from error
        return {"Authorization": bearer} if bearer else {}

    def _configured(self) -> str:
        """Asked for again after a moment: the client sets its whole configuration anew each time."""
        asked, known = self._known
        if time.monotonic() - asked >= TOKEN_SECONDS:
            asked = time.monotonic()
            token = self._configuration.auth_settings().get("BearerToken")  # renewed if expired
            known = str(token["value"]) if token else ""
            self._known = asked, known
        return known


def events(response: Any) -> Iterator[dict[str, Any]]:
    """What an API server says of changes, a line of JSON each, until it ends or breaks off: either way what came is
    whole, and whoever follows asks for the rest next time."""
    from urllib3.exceptions import HTTPError

    rest = b""
    try:
        for chunk in response.stream(CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in filter(None, lines):
                yield json.loads(line)
    except HTTPError:
        return
    finally:
        response.close()
        response.release_conn()


def from_kubeconfig(path: Path | None, context: str | None = None, read_seconds: float = READ_SECONDS) -> Session:
    """Without a path: what `kubectl` would take. Raises Unreachable."""
    sdk("kubernetes")
    import yaml
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException, load_kube_config

    configuration = Configuration()
    try:
        load_kube_config(  # type: ignore[no-untyped-call]
            str(path) if path else None, context, configuration, persist_config=False
        )
    except (ConfigException, OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise Unreachable(
            f"no connection settings in {path or 'the default kubeconfig'}: {error}; `kubectl config view` shows them"
        ) from error
    return Session(configuration, read_seconds)


def in_cluster(folder: Path = ACCOUNT, environment: Mapping[str, str] = os.environ) -> Session:
    """As the service account of the pod that we run in. Raises Unreachable.

    Its token is read from the file for each request, as the kubelet puts a new one there before the old one ends
    (kubernetes.io, Managing Service Accounts, Bound service account tokens).
    """
    sdk("kubernetes")
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException
    from kubernetes.config.incluster_config import InClusterConfigLoader

    configuration = Configuration()
    try:
        loader = InClusterConfigLoader(  # type: ignore[no-untyped-call]
            token_filename=folder / "token",
            cert_filename=folder / "ca.crt",
            try_refresh_token=False,
            environ=environment,
        )
        loader.load_and_set(configuration)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError) as error:
        raise Unreachable(f"not in a pod with a service account token: {error}") from error
    return Session(configuration, bearer=partial(_token, folder / "token"))


def _token(file: Path) -> str:
    token = file.read_text().strip()
    if not token:
        raise ValueError(f"{file} is empty")
    return f"Bearer {token}"
