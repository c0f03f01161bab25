"""A plan in a file, so that exactly what was looked at is done.

The digest in it is no signature: whoever can write the file can write another digest. It need not be one, because
`apply` makes the plan anew from the playbook and the resource, and the file can only say which plan it must be.
"""

import os
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from quarantine.errors import Malformed, Misconfigured
from quarantine.model import Moment, Value
from quarantine.plan import Plan
from quarantine.text import moment

VALID_FOR = timedelta(minutes=30)
LARGEST = 16 << 20  # bytes


class PlanFile(Value):
    """What `plan --out` writes."""

    plan: Plan
    digest: str
    made_at: Moment
    expires_at: Moment


def save(path: Path, plan: Plan, now: datetime) -> PlanFile:
    """Write it, readable by its owner: a before-image may say more than everybody should know."""
    content = PlanFile(plan=plan, digest=plan.digest, made_at=now, expires_at=now + VALID_FOR)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(file, "w", encoding="utf-8") as stream:
            stream.write(content.model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise Misconfigured(f"{path}: cannot be written ({error.strerror})") from error
    return content


def load(path: Path, now: datetime) -> PlanFile:
    """Raises Malformed if it is no plan file, was changed after it was saved, or has expired."""
    again = "make a new one with: quarantine plan ... --out"
    try:
        if path.stat().st_size > LARGEST:
            raise Malformed(f"{path}: too large for a plan file")
        content = PlanFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise Misconfigured(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Malformed(f"{path}: not a plan file ({where or 'content'}: {first['msg']}); {again}") from None
    if content.plan.digest != content.digest:
        raise Malformed(f"{path}: the plan was changed after it was saved; {again}")
    if now >= content.expires_at:
        raise Malformed(f"{path}: the plan expired at {moment(content.expires_at)}; {again}")
    return content
