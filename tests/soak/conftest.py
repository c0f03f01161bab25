"""The AWS of the acceptance tests."""

from tests.acceptance.conftest import aws

__all__ = ["aws"]
