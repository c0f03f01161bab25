"""What a role needs that runs this program on PostgreSQL and does not own its tables: to add to the record and read it.

So whoever has the credentials of a server cannot change what is recorded, nor switch off the triggers. Whoever owns the
tables can: keep that role for upgrades.
"""

import re

from quarantine.errors import Misconfigured
from quarantine.store.schema import RECORDS


def grants(role: str) -> str:
    """SQL for whoever owns the tables, to be run after each upgrade. Raises Misconfigured."""
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", role):
        raise Misconfigured(f"'{role}' is no role: small letters, digits and underscores, as CREATE ROLE makes it")
    return f"""\
-- Run as the owner of the tables, once they are there and after each upgrade:
--   quarantine permissions --provider postgresql --principal {role} | psql DATABASE
-- The role itself: CREATE ROLE {role} LOGIN PASSWORD '...';
GRANT USAGE ON SCHEMA public TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role};
REVOKE UPDATE, DELETE, TRUNCATE ON {", ".join(RECORDS)} FROM {role};
REVOKE UPDATE, TRUNCATE ON disclosures FROM {role};
REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {role};
"""  # noqa: S608 - the role is checked above
