"""Webhooks are verified: who sent one, and when. Nothing else makes an event."""

import base64
import hashlib
import hmac
import json
import pickle
from collections.abc import Mapping
from datetime import UTC, datetime
from email import message_from_string
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk import (
    ConfigurationError,
    Remedy,
    WebhookError,
    WebhookSignatureError,
    WebhookTimestampError,
    webhooks,
)

KEY = b"a key of thirty-two bytes, no less"
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
NOW = 1_795_000_000
BODY = json.dumps(
    {
        "id": "evt_1",
        "object": "event",
        "created_at": NOW - 5,
        "type": "batch.completed",
        "data": {"id": "batch_1"},
    }
).encode()


def signature(body: bytes = BODY, key: bytes = KEY, name: str = "wh_1", timestamp: object = NOW) -> str:
    content = f"{name}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


def headers(body: bytes = BODY, timestamp: object = NOW, **changed: str) -> dict[str, str]:
    signed = signature(body, timestamp=timestamp)
    given = {"webhook-id": "wh_1", "webhook-timestamp": str(timestamp), "webhook-signature": signed}
    return given | {f"webhook-{name}": value for name, value in changed.items()}


def verify(
    body: Any = BODY, given: Any = None, secret: Any = SECRET, **options: Any
) -> webhooks.WebhookEvent:
    return webhooks.verify(body, headers() if given is None else given, secret, **{"now": NOW, **options})


@pytest.mark.parametrize("status", ["completed", "failed", "expired", "cancelled"])
def test_an_event_names_the_batch_and_how_it_ended(status: str) -> None:
    body = BODY.replace(b"completed", status.encode())

    event = verify(body, headers(body))

    assert (event.id, event.type, event.batch_id, event.status) == (
        "evt_1",
        f"batch.{status}",
        "batch_1",
        status,
    )
    assert event.created_at == datetime.fromtimestamp(NOW - 5, UTC)
    assert pickle.loads(pickle.dumps(event)) == event


def test_an_event_about_something_else_has_no_batch() -> None:
    body = BODY.replace(b"batch.completed", b"response.completed")

    event = verify(body, headers(body))

    assert (event.type, event.batch_id, event.status, event.data) == (
        "response.completed",
        None,
        None,
        {"id": "batch_1"},
    )


@pytest.mark.parametrize(
    "given",
    [
        {name.title(): value for name, value in headers().items()},
        list(headers().items()),
        [(name.encode(), value.encode()) for name, value in headers().items()],
        iter(headers().items()),
        message_from_string("".join(f"{name}: {value}\n" for name, value in headers().items())),
        headers(signature=f"v1a,abc {signature(key=b'other')} {signature()} v1,=="),
    ],
    ids=["title case", "pairs", "bytes", "iterator", "message", "several signatures"],
)
def test_headers_come_in_any_form_and_one_right_signature_of_several_is_enough(given: Any) -> None:
    assert verify(given=given).id == "evt_1"


def test_one_of_several_secrets_is_enough_and_a_secret_without_a_prefix_is_its_own_key() -> None:
    assert verify(secret=[f"whsec_{base64.b64encode(b'old').decode()}", f" {SECRET}\n"]).id == "evt_1"
    assert verify(given=headers(signature=signature(key=b"plain")), secret="plain").id == "evt_1"
    assert verify(body=BODY.decode()).id == "evt_1"


@pytest.mark.parametrize(
    ("body", "given"),
    [
        (BODY + b" ", headers()),
        (BODY, headers(id="wh_2")),
        (BODY, headers() | {"webhook-timestamp": str(NOW + 1)}),
        (BODY, headers(signature=signature(key=b"other"))),
        (BODY, headers(signature=signature().replace("v1,", "v2,"))),
        (BODY, headers(signature=signature().removeprefix("v1,"))),
        (BODY, headers(signature="v1,")),
        (BODY, headers(signature="\ud800")),
        (BODY, {}),
        (BODY, headers(id="")),
    ],
)
def test_whatever_is_not_signed_with_the_secret_is_refused(body: bytes, given: Mapping[str, str]) -> None:
    with pytest.raises(WebhookSignatureError) as caught:
        verify(body, given)

    assert SECRET not in repr(caught.value) + str(caught.value)
    assert caught.value.remedies


@pytest.mark.parametrize("age", [-300, 300])
def test_a_webhook_within_five_minutes_is_accepted(age: int) -> None:
    assert verify(now=NOW + age).id == "evt_1"


@pytest.mark.parametrize(("age", "words"), [(301, "301 seconds old"), (-301, "301 seconds in the future")])
def test_a_copy_of_an_earlier_webhook_is_refused(age: int, words: str) -> None:
    with pytest.raises(WebhookTimestampError, match=words) as caught:
        verify(now=NOW + age)

    assert (caught.value.age, caught.value.remedies) == (age, (Remedy.CHECK_SYSTEM_CLOCK,))
    assert verify(now=NOW + age, tolerance=400).id == "evt_1"


@pytest.mark.parametrize("timestamp", ["", "now", "1e9", "-5", "٣٣", "9" * 400])
def test_a_time_that_is_no_number_is_refused_even_if_it_is_signed(timestamp: str) -> None:
    with pytest.raises(WebhookError):
        verify(given=headers(timestamp=timestamp))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        BODY.replace(b'{"id": "batch_1"}', b"7"),
        BODY.replace(b'{"id": "batch_1"}', b'{"id": 7}'),
        BODY.replace(b'"evt_1"', b"null"),
        BODY.replace(str(NOW - 5).encode(), b'"now"'),
        BODY.replace(str(NOW - 5).encode(), b"1e300"),
    ],
)
def test_a_signed_body_that_is_no_event_is_an_error_of_its_own(body: bytes) -> None:
    with pytest.raises(WebhookError, match="is signed") as caught:
        verify(body, headers(body))

    assert type(caught.value) is WebhookError


@pytest.mark.parametrize("secret", [None, "", [], [""], "whsec_", "whsec_!!!", "whsec_\u00e9"])
def test_an_unusable_secret_is_an_error_of_the_set_up(secret: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        verify(secret=secret)

    assert caught.value.param == "secret"
    assert "!!!" not in str(caught.value)


def test_a_parsed_body_is_an_error_of_the_set_up() -> None:
    with pytest.raises(ConfigurationError, match="not dict") as caught:
        verify(body=json.loads(BODY))

    assert caught.value.remedies == (Remedy.PASS_RAW_BODY,)


@given(st.binary(max_size=40), st.text(max_size=20), st.text(max_size=20), st.text(max_size=60))
def test_no_forged_webhook_raises_anything_but_a_webhook_error(
    body: bytes, name: str, timestamp: str, signatures: str
) -> None:
    forged = {"webhook-id": name, "webhook-timestamp": timestamp, "webhook-signature": signatures}
    with pytest.raises(WebhookError):
        verify(body, forged)


def test_the_official_client_and_this_one_accept_the_same_webhook() -> None:
    now = int(datetime.now(UTC).timestamp())
    given = headers(timestamp=now)
    theirs: Any = openai.OpenAI(api_key="x").webhooks.unwrap(BODY, given, secret=SECRET)
    ours = webhooks.verify(BODY, given, SECRET)

    assert (theirs.id, theirs.type, theirs.data.id) == (ours.id, ours.type, ours.batch_id)
