"""How one Docker host is reached, and the client that reaches it."""

from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from quarantine.action import sdk
from quarantine.errors import Unreachable
from quarantine.model import Value

FIRST_API = "1.41"
"""Of Docker 20.10, the oldest that this is tried on. The connection asks the daemon which one it speaks."""


class Tls(Value):
    """PEM files."""

    ca: Path = Field(description="Certificates of the authority that signed the daemon's certificate.")
    cert: Path = Field(description="Our certificate: the daemon lets nobody in without one (dockerd --tlsverify).")
    key: Path = Field(description="The private key of our certificate.")


class Host(Value):
    """How one host is reached. Whoever reaches a Docker daemon is root on its host (Docker Engine, Security)."""

    url: str = Field(
        default="unix:///var/run/docker.sock",
        description="unix:///path of the daemon's socket, or tcp://host:port with `tls`.",
    )
    tls: Tls | None = Field(default=None, description="Certificates for tcp; without them anybody on the way is root.")
    id: str | None = Field(
        default=None,
        description="The daemon's own id (docker info --format '{{.ID}}'). With it, no other is ever touched.",
    )

    @field_validator("url")
    @classmethod
    def _reachable(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            usable = parts.path.startswith("/") and not parts.netloc if parts.scheme == "unix" else bool(parts.port)
        except ValueError:
            usable = False
        if value.startswith("ssh:"):
            raise ValueError(
                "ssh is not spoken here: forward the socket, as in"
                " `ssh -nNT -L /run/web-1.sock:/var/run/docker.sock web-1`, and give unix:///run/web-1.sock"
            )
        if not usable or parts.scheme not in ("unix", "tcp"):
            raise ValueError("a Docker host is unix:///var/run/docker.sock or tcp://10.0.0.5:2376")
        return value

    @model_validator(mode="after")
    def _secure(self) -> Self:
        if self.tls is not None and not self.url.startswith("tcp:"):
            raise ValueError("`tls` is for tcp:// only: a unix socket has file permissions instead")
        return self

    @property
    def exposed(self) -> bool:
        """Does it travel over a network without TLS?"""
        name = urlsplit(self.url).hostname
        return self.url.startswith("tcp:") and self.tls is None and name not in ("localhost", "127.0.0.1", "::1")


def open_client(name: str, host: Host) -> Any:
    """The SDK's low-level client, whose answers are raw JSON. Asks nothing yet. Raises Unreachable."""
    docker = sdk("docker", "docker")
    try:
        files = host.tls and {
            "ca_cert": str(host.tls.ca),
            "client_cert": (str(host.tls.cert), str(host.tls.key)),
            "verify": True,
        }
        tls = docker.tls.TLSConfig(**files) if files else False
        return docker.APIClient(base_url=host.url, version=FIRST_API, tls=tls)
    except docker.errors.DockerException as error:
        raise Unreachable(f"Docker host {name!r}: {error}. Look at `hosts` of provider 'docker'") from error
