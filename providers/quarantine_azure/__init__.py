"""Azure. The SDK is imported when a connection is opened, not before."""

from quarantine_azure.provider import Azure

__all__ = ["Azure"]
