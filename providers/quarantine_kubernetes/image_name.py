"""What the name of an image means, and every way in which a pod may write the same one. Pure.

As runtimes read them (distribution/reference, normalize.go): `nginx` is `docker.io/library/nginx:latest`. A digest
decides alone, whatever repository and tag stand before it (kubernetes.io, "Images", Image names).
"""

import hashlib
import re
from typing import Final

from quarantine.errors import Unsupported
from quarantine.model import Value

HUB: Final = "docker.io"
LATEST: Final = "latest"

_ALGORITHMS: Final = ("sha256", "sha512")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_LABEL: Final = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST: Final = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH: Final = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG: Final = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_NO_KEY: Final = re.compile(r"[^-._a-zA-Z0-9]")


class ImageName(Value):
    canonical: str
    """`docker.io/library/nginx:1.2`; for what is named by its content, `sha256:...` alone."""
    spellings: tuple[str, ...]
    """Every way to write it, the canonical one first; the host in lower case."""

    @property
    def by_digest(self) -> bool:
        return _DIGEST.fullmatch(self.canonical) is not None

    @property
    def key(self) -> str:
        """Of its entry in a ConfigMap: readable, and no other image's (Kubernetes API, ConfigMap, `data`: at most 253
        of letters, digits, `-`, `_` and `.`)."""
        readable = _NO_KEY.sub("_", self.canonical)[:200]
        return f"{readable}.{hashlib.sha256(self.canonical.encode()).hexdigest()[:12]}"


def image_name(written: str) -> ImageName:
    """Raises Unsupported for what is the name of no image."""
    name, at, digest = written.rpartition("@")
    if at or _DIGEST.fullmatch(written):
        if not _DIGEST.fullmatch(digest):
            raise _no_image(written)
        if name:
            _host_and_path(name, written)
        return ImageName(canonical=digest, spellings=(digest,))
    host, path, tag = _host_and_path(written, written)
    tags = (f":{tag}", "") if tag == LATEST else (f":{tag}",)
    spellings = tuple(f"{place}{tag}" for place in _places(host, path) for tag in tags)
    return ImageName(canonical=spellings[0], spellings=spellings)


def _host_and_path(name: str, written: str) -> tuple[str, str, str]:
    host, slash, path = name.partition("/")
    # `shop/web` is a path, `localhost/web` and `reg:5000/web` are not; nor is what has a capital letter in it.
    if not slash or not (set(host) & set(".:") or host == "localhost" or host != host.lower()):
        host, path = HUB, name
    repository, _, tag = path.partition(":")
    host, tag = host.lower(), tag if ":" in path else LATEST
    if not (_HOST.fullmatch(host) and _PATH.fullmatch(repository) and _TAG.fullmatch(tag)):
        raise _no_image(written)
    if host == HUB and repository in _ALGORITHMS:  # a digest that is cut short would be another image
        raise _no_image(written)
    if host in (HUB, f"index.{HUB}"):
        return HUB, repository if "/" in repository else f"library/{repository}", tag
    return host.removesuffix(":443"), repository, tag


def _places(host: str, path: str) -> tuple[str, ...]:
    """Where the same repository is; HTTPS has a port that need not be said."""
    if host != HUB:
        return (f"{host}/{path}",) if ":" in host else (f"{host}/{path}", f"{host}:443/{path}")
    paths = dict.fromkeys((path, path.removeprefix("library/") if path.count("/") == 1 else path))
    hosts = (f"{HUB}/", f"index.{HUB}/", "")
    return tuple(f"{place}{each}" for place in hosts for each in paths)


def _no_image(written: str) -> Unsupported:
    forms = "nginx, shop/web:1.2, registry.example.com/web:1.2, sha256:64-HEX-DIGITS or NAME@sha256:..."
    return Unsupported(f"{written[:200]!r} is the name of no image: write it like {forms}")
