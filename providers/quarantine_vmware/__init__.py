"""Everything this program knows about VMware vSphere."""

from quarantine_vmware.provider import Vmware

__all__ = ["Vmware"]
