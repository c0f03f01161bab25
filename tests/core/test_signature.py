"""Who may send: the specification's own vector, and everything that must be refused with one answer."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarantine.config import Scheme, Secret, Source
from quarantine.errors import Misconfigured
from quarantine.signature import NotAuthentic, authentic, sign

SKEW = timedelta(minutes=5)
# From the Standard Webhooks specification's reference libraries: secret, id, timestamp, payload, signature.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
DELIVERY = "msg_p5jXN8AQM9LWM0D4loKWxJek"
AT = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
NOW = datetime.fromtimestamp(AT, UTC)


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    monkeypatch.setenv("THE_SECRET", SECRET)
    return Source(parser="aws:asff", secret=Secret(reference="env:THE_SECRET"))


def headers(**changes: str) -> dict[str, str]:
    found = {"webhook-id": DELIVERY, "webhook-timestamp": str(AT), "webhook-signature": SIGNATURE}
    return {**found, **{name.replace("_", "-"): value for name, value in changes.items()}}


def test_the_vector_of_the_specification_is_authentic(source: Source) -> None:
    assert authentic(source, headers(), BODY, NOW, SKEW) == DELIVERY


def test_our_own_signature_is_the_one_of_the_vector() -> None:
    assert sign(SECRET.encode(), DELIVERY, AT, BODY) == SIGNATURE


def test_one_right_signature_among_several_is_enough(source: Source) -> None:
    several = f"v1a,abc v1,AAAA {SIGNATURE}"
    assert authentic(source, headers(webhook_signature=several), BODY, NOW, SKEW) == DELIVERY


def test_the_previous_secret_still_counts(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_NEW_SECRET", "whsec_bmV3LXNlY3JldA==")
    rotated = source.model_copy(
        update={"secret": Secret(reference="env:THE_NEW_SECRET"), "previous_secret": source.secret}
    )
    assert authentic(rotated, headers(), BODY, NOW, SKEW) == DELIVERY


@pytest.mark.parametrize(
    "changes",
    [
        {"webhook_signature": "v1,AAAA"},
        {"webhook_signature": ""},
        {"webhook_signature": SIGNATURE.removeprefix("v1,")},
        {"webhook_signature": SIGNATURE.replace("v1,", "v2,")},
        {"webhook_id": ""},
        {"webhook_id": "msg.with.dots"},
        {"webhook_id": "x" * 257},
        {"webhook_id": "another"},
        {"webhook_id": "esc\x1b[31m"},
        {"webhook_timestamp": ""},
        {"webhook_timestamp": "-1"},
        {"webhook_timestamp": f" {AT}"},
        {"webhook_timestamp": f"{AT}.0"},
        {"webhook_timestamp": "١٦١٤٢٦٥٣٣٠"},
        {"webhook_timestamp": "9" * 400},
    ],
)
def test_a_changed_header_is_refused(source: Source, changes: dict[str, str]) -> None:
    with pytest.raises(NotAuthentic):
        authentic(source, headers(**changes), BODY, NOW, SKEW)


@pytest.mark.parametrize("off", [timedelta(minutes=5, seconds=1), -timedelta(minutes=5, seconds=1)])
def test_an_old_or_a_future_timestamp_is_refused(source: Source, off: timedelta) -> None:
    with pytest.raises(NotAuthentic, match="timestamp"):
        authentic(source, headers(), BODY, NOW + off, SKEW)


@given(body=st.binary(max_size=200))
def test_another_body_is_refused(body: bytes) -> None:
    source = Source(parser="p", secret=Secret(reference="env:HOME"))
    if body != BODY:
        with pytest.raises(NotAuthentic):
            authentic(source, headers(), body, NOW, SKEW)


@given(value=st.text(max_size=60), name=st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]))
def test_no_header_makes_it_fail_in_another_way(value: str, name: str) -> None:
    source = Source(parser="p", secret=Secret(reference="env:HOME"))
    with pytest.raises(NotAuthentic):
        authentic(source, {**headers(), name: value}, BODY, NOW, SKEW)


def test_an_unknown_source_is_refused_in_the_same_way() -> None:
    with pytest.raises(NotAuthentic, match="unknown source"):
        authentic(None, headers(), BODY, NOW, SKEW)


def test_a_bearer_is_known_by_its_token_and_its_delivery_by_its_body(source: Source) -> None:
    bearer = source.model_copy(update={"scheme": Scheme.BEARER})
    first = authentic(bearer, {"authorization": f"Bearer {SECRET}"}, BODY, NOW, SKEW)
    assert first == authentic(bearer, {"authorization": f"bearer  {SECRET}"}, BODY, NOW, SKEW)
    assert first != authentic(bearer, {"authorization": f"Bearer {SECRET}"}, BODY + b" ", NOW, SKEW)


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {SECRET}", SECRET, f"Bearer {SECRET}é"]
)
def test_a_wrong_token_is_refused(source: Source, value: str) -> None:
    bearer = source.model_copy(update={"scheme": Scheme.BEARER})
    with pytest.raises(NotAuthentic):
        authentic(bearer, {"authorization": value}, BODY, NOW, SKEW)


def test_an_empty_file_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("\n")
    source = Source(parser="p", scheme=Scheme.BEARER, secret=Secret(reference=f"file:{tmp_path}/secret"))
    with pytest.raises(Misconfigured, match="is empty"):
        authentic(source, {"authorization": "Bearer "}, BODY, NOW, SKEW)


def test_an_empty_secret_never_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPTY", "")
    source = Source(parser="p", scheme=Scheme.BEARER, secret=Secret(reference="env:EMPTY"))
    with pytest.raises(Misconfigured, match="EMPTY is not set"):
        authentic(source, {"authorization": "Bearer "}, BODY, NOW, SKEW)


# GitHub Docs, "Validating webhook deliveries", "Testing the webhook payload validation".
HUB_SECRET, HUB_BODY = "It's a Secret to Everybody", b"Hello, World!"
HUB_SIGNATURE = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Source:
    monkeypatch.setenv("THE_SECRET", HUB_SECRET)
    return Source(parser="plain", scheme=Scheme.GITHUB, secret=Secret(reference="env:THE_SECRET"))


def test_the_vector_of_github_is_authentic_and_known_by_its_body(hub: Source) -> None:
    first = {"x-hub-signature-256": HUB_SIGNATURE, "x-github-delivery": "a"}
    again = {"x-hub-signature-256": HUB_SIGNATURE, "x-github-delivery": "b"}
    known = authentic(hub, first, HUB_BODY, NOW, SKEW)
    assert known == authentic(hub, again, HUB_BODY, NOW, SKEW)
    assert known.startswith("sha256:")


def test_githubs_previous_secret_still_counts(hub: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_NEW_SECRET", "another")
    rotated = hub.model_copy(update={"secret": Secret(reference="env:THE_NEW_SECRET"), "previous_secret": hub.secret})
    assert authentic(rotated, {"x-hub-signature-256": HUB_SIGNATURE}, HUB_BODY, NOW, SKEW)


@pytest.mark.parametrize(
    "signature", ["", "sha256=", HUB_SIGNATURE[7:], HUB_SIGNATURE.upper(), HUB_SIGNATURE[:-1], "sha1=abc", "é" * 200]
)
def test_a_wrong_signature_of_github_is_refused(hub: Source, signature: str) -> None:
    with pytest.raises(NotAuthentic, match="wrong signature"):
        authentic(hub, {"x-hub-signature-256": signature}, HUB_BODY, NOW, SKEW)


def test_another_body_than_github_signed_is_refused(hub: Source) -> None:
    with pytest.raises(NotAuthentic, match="wrong signature"):
        authentic(hub, {"x-hub-signature-256": HUB_SIGNATURE}, HUB_BODY + b" ", NOW, SKEW)
