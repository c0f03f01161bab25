"""Everything this program knows about Docker hosts."""

from quarantine_docker.provider import Docker

__all__ = ["Docker"]
