"""The AWS of the acceptance tests, and the databases of the core's."""

from tests.acceptance.conftest import aws
from tests.core.conftest import database

__all__ = ["aws", "database"]
