"""Everything this program knows about AWS."""

from quarantine_aws.provider import Aws

__all__ = ["Aws"]
