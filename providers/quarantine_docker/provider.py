"""Docker as a provider: the hosts of the configuration, and what stands behind each."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final

from pydantic import BaseModel, Field

from quarantine.action import Action, Check, Identity, Parser, Provider, Verdict
from quarantine.errors import Missing, ProviderError, Unreachable, Unsupported
from quarantine.model import Resource, Value
from quarantine_docker.cloud import INFO, LIST, VERSION, DockerCloud
from quarantine_docker.container import get_container, name_of
from quarantine_docker.container_isolate import ContainerIsolate
from quarantine_docker.findings import falco
from quarantine_docker.session import FIRST_API, Host, open_client

HostName = Annotated[str, Field(pattern=r"^[^/\s\x00-\x1f]{1,253}$")]


class DockerSettings(Value):
    """The `docker:` part of `providers:`."""

    hosts: dict[HostName, Host] = Field(
        default_factory=dict, description="The Docker hosts by the name that findings and scopes have for them."
    )


class Docker(Provider):
    """A scope is the name of a host."""

    name: ClassVar[str] = "docker"
    settings: ClassVar[type[BaseModel]] = DockerSettings
    actions: ClassVar[tuple[type[Action[Any, Any]], ...]] = (ContainerIsolate,)
    parsers: ClassVar[Mapping[str, Parser]] = {"docker:falco": falco}

    def __init__(self, settings: DockerSettings) -> None:
        self._hosts = settings.hosts
        self._clouds: dict[str, DockerCloud] = {}

    def scopes(self) -> tuple[str, ...]:
        return tuple(self._hosts)

    def connect(self, scope: str) -> DockerCloud:
        """One connection per host, for all threads; it asks nothing yet."""
        if scope not in self._hosts:
            raise Unreachable(f"Docker host {scope!r} is not configured: add it to `hosts` of provider 'docker'")
        if scope not in self._clouds:
            self._clouds[scope] = DockerCloud(scope, open_client(scope, self._hosts[scope]))
        return self._clouds[scope]

    def identity(self, cloud: DockerCloud) -> Identity:
        """The account is the host's name if its daemon has the pinned id, or if there is no pin."""
        host = self._hosts[cloud.host]
        actual = str(cloud.read(INFO, INFO)["ID"])
        account = cloud.host if host.id in (None, actual) else f"unknown Docker host {actual}"
        return Identity(account=account, principal=_principal(host))

    def resolve(self, cloud: DockerCloud, resource: Resource) -> tuple[Resource, Mapping[str, str]]:
        """By its name, so that the protected set and people know it, and its whole id."""
        if resource.kind != ContainerIsolate.resource:
            raise Unsupported(f"nothing is known about {resource.kind}: docker:container is")
        container = get_container(cloud, resource)
        found = resource.model_copy(update={"id": name_of(container), "uid": container["Id"]})
        return found, container["Config"].get("Labels") or {}

    def doctor(self) -> Iterable[Check]:
        if not self._hosts:
            fix = "add providers.docker.hosts"
            yield Check(subject="docker", verdict=Verdict.WARN, message="no host is configured", fix=fix)
        for name, host in self._hosts.items():
            try:
                yield from self._examine(name, host)
            except (ProviderError, Missing) as error:
                yield Check(subject=f"docker {name}", verdict=Verdict.FAIL, message=str(error), fix=_LOOK)
            except (LookupError, TypeError, AttributeError) as error:
                message = f"what answers there is no Docker daemon ({error!r})"
                yield Check(subject=f"docker {name}", verdict=Verdict.FAIL, message=message, fix=_LOOK)

    def _examine(self, name: str, host: Host) -> Iterator[Check]:
        cloud, subject = self.connect(name), f"docker {name}"
        version, info = cloud.read(VERSION, VERSION), cloud.read(INFO, INFO)
        rootless = "name=rootless" in (info.get("SecurityOptions") or ())
        message = f"Docker {version['Version']}, API {version['ApiVersion']}" + (", rootless" if rootless else "")
        yield Check(subject=subject, verdict=Verdict.OK, message=f"{message}, {_principal(host)}")
        if cloud.api < tuple(int(part) for part in FIRST_API.split(".")):
            message = f"older than API {FIRST_API}, the first that this was tried on"
            yield Check(subject=f"{subject}: version", verdict=Verdict.WARN, message=message, fix="update Docker there")
        yield _pinned(f"{subject}: pin", host, str(info["ID"]))
        if host.exposed:
            message = "no TLS: anybody on the way to this daemon can be root on its host"
            fix = "dockerd --tlsverify and `tls` here, or forward the socket over ssh"
            yield Check(subject=f"{subject}: transport", verdict=Verdict.WARN, message=message, fix=fix)
        cloud.read(LIST, LIST, query={"limit": "1"})
        for plugin in (info.get("Plugins") or {}).get("Authorization") or ():
            message = f"authorization plugin {plugin} may refuse calls; it cannot be asked beforehand"
            fix = "allow there: " + ", ".join(ContainerIsolate().permissions())
            yield Check(subject=f"{subject}: rights", verdict=Verdict.WARN, message=message, fix=fix)


_LOOK: Final = "look at `hosts` of provider 'docker', and at the daemon: docker --host URL info"


def _principal(host: Host) -> str:
    return f"whoever reaches {host.url}" + (f" with {host.tls.cert}" if host.tls else "")


def _pinned(subject: str, host: Host, actual: str) -> Check:
    if host.id is None:
        message = "no pin: whatever daemon answers at this URL is acted on"
        return Check(subject=subject, verdict=Verdict.WARN, message=message, fix=f"set its id: {actual}")
    if host.id != actual:
        message = f"this is daemon {actual}, and the configuration pins {host.id}: nothing is done here"
        return Check(subject=subject, verdict=Verdict.FAIL, message=message, fix="correct url or id")
    return Check(subject=subject, verdict=Verdict.OK, message=f"it is daemon {actual}")
