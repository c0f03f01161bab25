"""Is a request from whom it claims to be? Pure: bytes in, the delivery's id out, or one kind of refusal."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta

from quarantine.config import Scheme, Source
from quarantine.errors import QuarantineError

_UNKNOWN = b"no source has this secret, but checking one costs the same"


class NotAuthentic(QuarantineError):
    """The reason is for our log; the sender is told only that it was not accepted."""


def authentic(source: Source | None, headers: Mapping[str, str], body: bytes, now: datetime, skew: timedelta) -> str:
    """The id of a delivery that is authentic. Raises NotAuthentic; Misconfigured if a secret cannot be read.

    Standard Webhooks 1.0 signs `id.timestamp.body` with HMAC-SHA256; several signatures may be given, for rotation.
    A bearer's delivery is known by the digest of its body, and so is one that GitHub's scheme signs: the id in its
    header is not signed, so that a captured one could be sent again under another.
    """
    if source is None:
        _signed(_UNKNOWN, b"", b"")
        raise NotAuthentic("unknown source")
    secrets = [source.secret.reveal()]
    if source.previous_secret is not None:
        secrets.append(source.previous_secret.reveal())
    if source.scheme is Scheme.BEARER:
        return _bearer(secrets, headers, body)
    if source.scheme is Scheme.GITHUB:
        return _github(secrets, headers, body)
    return _standard_webhooks(secrets, headers, body, now, skew)


def sign(secret: bytes, delivery: str, timestamp: int, body: bytes) -> str:
    """The value of the `webhook-signature` header, for a sender and for tests."""
    return "v1," + base64.b64encode(_signed(_key(secret), f"{delivery}.{timestamp}.".encode(), body)).decode()


def _bearer(secrets: list[bytes], headers: Mapping[str, str], body: bytes) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    matches = [hmac.compare_digest(token.strip().encode(), secret) for secret in secrets]
    if scheme.lower() != "bearer" or not any(matches):
        raise NotAuthentic("wrong bearer token")
    return _known_by(body)


def _github(secrets: list[bytes], headers: Mapping[str, str], body: bytes) -> str:
    """GitHub Docs, "Validating webhook deliveries"."""
    offered = headers.get("x-hub-signature-256", "")[:128].encode()
    matches = [
        hmac.compare_digest(offered, b"sha256=" + _signed(secret, b"", body).hex().encode()) for secret in secrets
    ]
    if not any(matches):
        raise NotAuthentic("wrong signature")
    return _known_by(body)


def _known_by(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def _standard_webhooks(
    secrets: list[bytes], headers: Mapping[str, str], body: bytes, now: datetime, skew: timedelta
) -> str:
    delivery, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not 0 < len(delivery) <= 256 or not delivery.isascii() or not delivery.isprintable() or "." in delivery:
        raise NotAuthentic("webhook-id is missing or malformed")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise NotAuthentic("webhook-timestamp is missing or malformed")
    signed = f"{delivery}.{timestamp}.".encode()
    offered = [item[3:] for item in headers.get("webhook-signature", "")[:2048].split(" ") if item.startswith("v1,")]
    expected = [base64.b64encode(_signed(_key(secret), signed, body)).decode() for secret in secrets]
    matches = [hmac.compare_digest(a.encode(), b.encode()) for a in offered for b in expected]
    if not any(matches):
        raise NotAuthentic("wrong signature")
    if abs(now.timestamp() - int(timestamp)) > skew.total_seconds():
        raise NotAuthentic(f"the timestamp is more than {skew.total_seconds():.0f} s off: a wrong clock, or a replay")
    return delivery


def _key(secret: bytes) -> bytes:
    """`whsec_` and base64, as the specification writes secrets; anything else is taken as it is."""
    if secret.startswith(b"whsec_"):
        try:
            return base64.b64decode(secret[6:], validate=True)
        except binascii.Error:
            return secret
    return secret


def _signed(key: bytes, head: bytes, body: bytes) -> bytes:
    return hmac.new(key, head + body, hashlib.sha256).digest()
