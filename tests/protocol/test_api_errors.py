"""Error responses become exceptions: recorded bodies of many servers, and arbitrary ones."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import imagesdk
from imagesdk import errors
from imagesdk._protocol.api_errors import (
    is_error_document,
    status_failure,
    stream_failure,
    unreadable_failure,
)
from imagesdk._protocol.retry import Failure, decide
from imagesdk._protocol.scanner import ImageRef, ScanError, TooLargeError
from imagesdk._protocol.server_limits import parse_server_limits
from imagesdk.policies import RetryPolicy
from imagesdk.remedies import Remedy
from tests.support.odd_documents import documents

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SAMPLES = sorted((Path(__file__).parents[1] / "samples").glob("*.json"))


def failed(
    status: int, content: Any, headers: dict[str, str] | None = None, *, requested: int = 1, **asked: Any
) -> Failure:
    rest = content.encode() if isinstance(content, str) else json.dumps(content).encode()
    return status_failure(status, headers or {}, rest, now=NOW, requested=requested, **asked)


def status_error(failure: Failure) -> errors.APIStatusError:
    assert isinstance(failure.error, errors.APIStatusError)
    return failure.error


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_recorded_response_becomes_its_error(path: Path) -> None:
    sample = json.loads(path.read_text(encoding="utf-8"))
    expected = sample["expected"]
    asked = {name: sample[name] for name in ("model", "path") if name in sample}
    failure = failed(
        sample["status"], sample["body"], sample["headers"], requested=sample["requested"], **asked
    )
    error = status_error(failure)
    assert type(error) is getattr(imagesdk, expected["class"])
    assert (error.status_code, error.code) == (sample["status"], expected["code"])
    assert (error.type, error.param) == (expected.get("type"), expected.get("param"))
    assert error.request_id == expected.get("request_id")
    assert error.message.startswith(f"The server answered {sample['status']}")
    assert expected.get("says", "") in error.message
    remedies = [" ".join(filter(None, (each.kind, each.value))) for each in error.remedies]
    assert remedies == expected["remedies"]
    facts: dict[str, Any] = {"attempt": 1, "maybe_billed_retries": 0, "remaining": None, "chance": 0.5}
    decision = decide(failure, policy=RetryPolicy(), limited=True, **facts)
    assert type(decision).__name__ == expected["then"]
    assert "SECRET" not in error.message
    assert error.body == sample["body"] or error.body == json.loads(sample["body"])
    assert error.maybe_billed is expected.get("maybe_billed", False)
    assert failure.kind == expected.get("kind", "refused")
    assert failure.never_fits is expected.get("never_fits", False)
    wait = expected.get("retry_after")
    assert failure.retry_after == pytest.approx(expected.get("failure_retry_after", wait))
    if isinstance(error, errors.RateLimitError):
        assert error.retry_after == pytest.approx(wait)
    if isinstance(error, errors.ModerationError):
        assert error.stage == expected.get("stage")
        assert list(error.categories) == expected.get("categories", [])
    if isinstance(error, errors.RetiredError):
        assert error.replacement == expected["replacement"]


@pytest.mark.parametrize(("statuses", "cls"), [
    ((400,), errors.BadRequestError), ((401,), errors.AuthenticationError), ((403,), errors.PermissionDeniedError),
    ((404,), errors.NotFoundError), ((409,), errors.ConflictError), ((422,), errors.UnprocessableEntityError),
    ((429,), errors.RateLimitError), ((418,), errors.APIStatusError), ((500, 501, 524, 599), errors.InternalServerError),
])  # fmt: skip
def test_every_status_has_its_class(statuses: tuple[int, ...], cls: type[errors.APIStatusError]) -> None:
    assert {type(failed(status, "").error) for status in statuses} == {cls}


@pytest.mark.parametrize(("content", "expected"), [
    ({"error": {"message": "", "detail": "the detail"}}, "the detail"),
    ({"error": {"msg": "the msg"}}, "the msg"), ({"error": {"error_description": "described"}}, "described"),
    ({"message": "at the top"}, "at the top"),
    ({"detail": {"reason": "an object"}}, '{"reason": "an object"}'),
    ({"detail": ["first", {"msg": "second"}]}, "first; second"), ({"error": ["one", "two"]}, "one; two"),
    ({"error": {}}, '{"error": {}}'), ({"error": None}, '{"error": null}'), ({"error": 5}, "5"), ({}, "{}"),
    ([1, 2], "[1, 2]"), (None, "null"), ("plain words", "plain words"), ("\u00fcber", "\u00fcber"),
    ("<html></html>", "without a message"), ("  \n ", "without a message"),
    ({"error": {"message": "  "}}, "without a message"),
])  # fmt: skip
def test_a_message_is_found_in_any_shape(content: Any, expected: str) -> None:
    assert expected in failed(400, content).error.message


def test_a_message_is_shortened_and_a_body_is_kept() -> None:
    error = status_error(failed(400, {"error": {"message": "x" * 5000}}))
    assert len(error.message) < 500
    assert error.body == {"error": {"message": "x" * 5000}}
    text = status_error(failed(500, "y" * 5000))
    assert text.body == "y" * 2000
    assert len(text.message) < 500


def test_a_message_has_no_control_characters() -> None:
    text = "\x1b]0;owned\x07\x1b[2J\u202eevil\r\nnext\x9b31m"
    for failure in (failed(400, {"error": text}), failed(500, text), streamed("error", {"error": text})):
        assert failure.error.message.isprintable()
        assert "evil" in failure.error.message


def test_remedies_follow_a_complete_sentence() -> None:
    assert "wrong key. Check the key" in failed(401, {"error": {"message": "wrong key"}}).error.message
    assert "wrong key! Check the key" in failed(401, {"error": {"message": "wrong key!"}}).error.message
    assert "without a message. Check the key" in failed(401, "").error.message


@pytest.mark.parametrize(
    "details", [None, "input", [], {"categories": "violence"}, {"moderation_stage": None, "categories": [1]}]
)
def test_moderation_details_of_another_shape_are_ignored(details: Any) -> None:
    content = {"error": {"code": "moderation_blocked", "moderation_details": details}}
    error = failed(400, content).error
    assert isinstance(error, errors.ModerationError)
    assert error.stage is None
    assert all(isinstance(category, str) for category in error.categories)
    for status in (401, 429, 500):  # only a rejected request is a moderation error
        assert not isinstance(failed(status, content).error, errors.ModerationError)


def test_a_redirect_is_an_error_that_names_base_url() -> None:
    error = failed(308, "", {"location": "https://elsewhere.test/?sig=SECRET"}).error
    assert error.remedies == (Remedy.CORRECT_BASE_URL,)
    assert "SECRET" not in error.message
    assert "redirects" not in failed(400, "", {"location": "https://elsewhere.test"}).error.message


@pytest.mark.parametrize(
    ("value", "advice"), [("true", True), ("TRUE", True), ("false", False), ("maybe", None), (None, None)]
)
def test_x_should_retry_becomes_the_advice_of_the_failure(value: str | None, advice: bool | None) -> None:
    headers = {} if value is None else {"x-should-retry": value}
    assert failed(400, "", headers).should_retry is advice


def test_limits_and_delays_of_a_response_are_part_of_the_failure() -> None:
    headers = {"retry-after-ms": "534", "x-ratelimit-limit-requests": "500"}
    message = "images per minute. Limit: 5/1min. Current: 6/1min."
    failure = failed(429, {"error": {"message": message}}, headers)
    assert failure.server_limits == parse_server_limits(headers, message, NOW)
    assert failure.retry_after == 0.534
    assert isinstance(failure.error, errors.RateLimitError)
    assert failure.error.retry_after == 0.534
    assert failed(503, "", {"retry-after": "Mon, 23 Nov 2026 12:00:07 GMT"}).retry_after == 7


@pytest.mark.parametrize(("status", "code", "requested", "never"), [
    (429, None, 5, False), (429, None, 6, True), (400, None, 6, False), (429, "insufficient_quota", 6, False),
])  # fmt: skip
def test_only_a_rate_limit_below_the_request_never_fits(
    status: int, code: Any, requested: int, never: bool
) -> None:
    content = {"error": {"message": "images per minute. Limit: 5/1min. Current: 9/1min.", "code": code}}
    assert failed(status, content, requested=requested).never_fits is never


@pytest.mark.parametrize(("document", "is_error"), [
    ({"error": {"message": "x"}}, True), ({"error": "x"}, True), ({"error": "x", "data": []}, True),
    ({"error": "x", "data": None}, True), ({"error": None, "data": []}, False),
    ({"data": [{"url": "x"}], "error": {"message": "a warning"}}, False),
    ([], False), (None, False),
])  # fmt: skip
def test_an_error_inside_a_success_response_is_recognized(document: Any, is_error: bool) -> None:
    assert is_error_document(document) is is_error


def test_a_success_response_that_cannot_be_read_may_be_billed() -> None:
    failure = unreadable_failure(ScanError("the response is not JSON"), request_id="req_1")
    assert isinstance(failure.error, errors.APIResponseError)
    assert (failure.kind, failure.error.maybe_billed) == ("unreadable", True)
    assert failure.error.request_id == "req_1"
    assert failure.error.remedies == ()
    assert "the response is not JSON" in failure.error.message
    assert "billed" in failure.error.message
    too_large = unreadable_failure(TooLargeError("too large"), request_id=None).error
    assert too_large.remedies == (Remedy.RAISE_CAPS,)


VARIATIONS = "/openai/v1/images/variations"
ANOTHER = Remedy.USE_ANOTHER_MODEL
use = Remedy.USE_MODEL.of


@pytest.mark.parametrize(("status", "body", "model", "path", "says", "remedy"), [
    (404, "", "dall-e-3", "", "'dall-e-3' has been shut down on 2026-05-12.", use("gpt-image-2.5-sunburst")),
    (404, "", "gpt-image-1.5-2025-12-16", "", "has its end on 2026-12-01.", use("gpt-image-2.6-sunburst")),
    (410, "", "dall-e-2", "", "has been shut down", use("gpt-image-2.5-flare")),
    (400, {"error": {"code": "model_not_found"}}, "dall-e-2", "", "shut down", use("gpt-image-2.5-flare")),
    (404, "", None, VARIATIONS, "The variations have been shut down on 2026-05-12.", Remedy.USE_EDIT),
    (400, {"error": "This endpoint is no longer available"}, None, VARIATIONS, "shut down", Remedy.USE_EDIT),
    (403, {"error": "This model is deprecated"}, "unheard-of", "", "'unheard-of' has been shut down.", ANOTHER),
    (400, {"error": "The model `x` has been retired."}, None, "", "The model has been shut down.", ANOTHER),
])  # fmt: skip
def test_a_retired_model_or_endpoint_comes_with_its_replacement(
    status: int, body: Any, model: str | None, path: str, says: str, remedy: Remedy
) -> None:
    error = failed(status, body, model=model, path=path).error
    assert isinstance(error, errors.RetiredError)
    assert says in error.summary
    assert error.remedies == (remedy,)
    assert error.status_code == status
    assert (error.replacement is None) is (remedy == ANOTHER)


@pytest.mark.parametrize(("model", "message", "param", "remedy"), [
    ("gpt-image-2", "Invalid size '1920x1080'. Both edges must be multiples of 16.", "size", "1920x1088"),
    ("dall-e-2", "Invalid value: '500x500'. Supported values are: '256x256'.", "size", "512x512"),
    ("gpt-image-2", "Invalid size '1024x1024'.", "size", None),
    ("gpt-image-2", "Invalid value: '1920x1080'.", "quality", None),
    ("unheard-of", "Invalid size '1920x1080'.", "size", None),
    (None, "Invalid size '1920x1080'.", "size", None),
])  # fmt: skip
def test_a_refused_size_of_a_known_model_comes_with_the_nearest_valid_one(
    model: str | None, message: str, param: str, remedy: str | None
) -> None:
    body = {"error": {"message": message, "param": param, "code": "invalid_value"}}
    expected = Remedy.USE_SIZE.of(remedy) if remedy else Remedy.CHANGE_REQUEST
    assert failed(400, body, model=model).error.remedies == (expected,)


def test_an_unknown_parameter_is_named_in_the_remedy() -> None:
    body = {"error": {"message": "x", "code": "unknown_parameter", "param": "style"}}
    assert failed(400, body).error.remedies == (Remedy.LEAVE_OUT.of("style"),)
    assert str(failed(400, body).error).endswith("Leave style out.")
    assert str(failed(400, {"error": {"code": "unknown_parameter"}}).error).endswith("Leave it out.")


@pytest.mark.parametrize(("status", "body", "model", "path"), [
    (404, "", "gpt-image-2", ""), (404, {"error": "The model `x` does not exist"}, "x", ""),
    (400, {"error": {"message": "wrong size", "param": "size"}}, "dall-e-2", ""),
    (400, {"error": {"message": "The model says that user is deprecated", "param": "user"}}, "gpt-image-2", ""),
    (401, "", "dall-e-2", ""),
    (429, {"error": "the model is deprecated"}, "gpt-image-2", ""),
    (500, {"error": "the model was shut down"}, "gpt-image-2", ""),
    (400, "", "dall-e-2", VARIATIONS),
])  # fmt: skip
def test_another_rejection_is_not_a_retired_error(status: int, body: Any, model: str, path: str) -> None:
    assert not isinstance(failed(status, body, model=model, path=path).error, errors.RetiredError)


def test_a_model_is_retired_by_the_day_of_the_request() -> None:
    for day, cls in ((datetime(2026, 1, 1, tzinfo=UTC), errors.NotFoundError), (NOW, errors.RetiredError)):
        body = b'{"error":{"code":"model_not_found"}}'
        failure = status_failure(404, {}, body, now=day, requested=1, model="gpt-image-1.5")
        assert type(failure.error) is cls


@pytest.mark.parametrize(("status", "body", "model", "path"), [
    (404, "", "dall-e-3", ""), (404, "", "gpt-image-1.5", ""), (410, "", "dall-e-2", ""), (404, "", None, VARIATIONS),
    (404, {"error": {"code": "model_not_found"}}, "dall-e-2", ""),
    (400, {"error": {"message": "The model 'dall-e-3' does not exist.", "code": "invalid_value"}}, "dall-e-3", ""),
])  # fmt: skip
def test_another_server_retires_nothing_by_the_dates_of_openai(
    status: int, body: Any, model: str | None, path: str
) -> None:
    error = failed(status, body, model=model, path=path, is_openai=False).error
    assert not isinstance(error, errors.RetiredError)
    assert isinstance(error, errors.NotFoundError) is (status != 410)
    if not body and status == 404:
        assert error.remedies == (Remedy.CHECK_BASE_URL,)


def test_a_server_that_calls_its_model_retired_is_believed_without_a_date_of_openai() -> None:
    error = failed(400, {"error": "This model is deprecated"}, model="dall-e-3", is_openai=False).error
    assert isinstance(error, errors.RetiredError)
    assert "'dall-e-3' has been shut down." in error.summary


@pytest.mark.parametrize(("status", "body", "advised"), [
    (404, "", True), (405, "", True), (404, {"error": {"message": "Not Found", "code": 404}}, True),
    (404, {"detail": "Not Found"}, True), (405, {"error": {"message": "no", "code": "method_not_allowed"}}, True),
    (404, {"error": {"message": "x", "code": "model_not_found"}}, False), (400, "", False),
    (404, {"error": {"message": "The model `x` does not exist", "code": None}}, False),
])  # fmt: skip
def test_a_missing_route_below_a_base_url_without_a_version_names_the_one_to_try(
    status: int, body: Any, advised: bool
) -> None:
    advice = (Remedy.USE_BASE_URL.of("http://a/v1"),)
    assert (failed(status, body, better_base_url="http://a/v1").error.remedies == advice) is advised


def streamed(name: str, document: Any, *, seen: bool = False) -> Failure:
    failure = stream_failure(name, document, now=NOW, request_id="req_1", seen_images=seen)
    assert failure is not None
    assert failure.error.request_id == "req_1"
    return failure


@pytest.mark.parametrize(("name", "document", "expected", "says"), [
    ("message", {"error": {"code": "moderation_blocked", "message": "no"}}, "ModerationError", "no."),
    ("message", {"type": "error", "code": "rate_limit_exceeded", "message": "x"}, "RateLimitError", "x."),
    ("error", {"code": "insufficient_quota", "message": "x"}, "QuotaExceededError", "waiting does not"),
    ("error", {"type": "error", "error": {"type": "server_error", "message": "m"}}, "InternalServerError", "m."),
    ("message", {"error": {"type": "image_generation_user_error", "message": "m"}}, "BadRequestError", "m."),
    ("message", {"error": {"code": 429, "message": "m"}}, "RateLimitError", "m."),
    ("message", {"error": {"code": "503", "message": "m"}}, "InternalServerError", "m."),
    ("message", {"error": {"code": "model_not_found", "message": "m"}}, "NotFoundError", "name of the model"),
    ("message", {"error": "out of memory"}, "StreamError", "out of memory."),
    ("error", "Internal Server Error", "StreamError", "Internal Server Error."),
    ("error", {"detail": "gone"}, "StreamError", "gone."), ("error", None, "StreamError", "with an error"),
])  # fmt: skip
def test_an_error_in_a_stream_has_the_class_of_its_status(
    name: str, document: Any, expected: str, says: str
) -> None:
    error = streamed(name, document).error
    assert type(error).__name__ == expected
    assert error.message.startswith("The stream ended with an error")
    assert says in error.message


@pytest.mark.parametrize(("name", "document"), [
    ("image_generation.completed", {"type": "image_generation.completed", "b64_json": ImageRef(0)}),
    ("image_generation.partial_image", {"type": "image_generation.partial_image", "error": None}),
    ("message", {"created": 1}), ("message", "[DONE]"), ("message", None),
])  # fmt: skip
def test_an_event_without_an_error_is_no_failure(name: str, document: Any) -> None:
    assert stream_failure(name, document, now=NOW) is None


def test_a_stream_error_may_be_billed_by_its_class_or_after_an_image() -> None:
    rows = {
        ("moderation_blocked", False): (False, "refused"),
        ("moderation_blocked", True): (True, "refused"),
        ("rate_limit_exceeded", False): (False, "refused"),
        ("rate_limit_exceeded", True): (True, "unreadable"),
        ("server_error", False): (True, "unreadable"),
        ("server_error", True): (True, "unreadable"),
    }
    for (code, seen), facts in rows.items():
        failure = streamed("error", {"error": {"code": code, "message": "try again in 3s"}}, seen=seen)
        assert (failure.error.maybe_billed, failure.kind) == facts
        assert failure.retry_after == 3


header_names = st.sampled_from(
    ["retry-after", "retry-after-ms", "x-should-retry", "x-request-id", "location"]
)


@given(
    st.integers(200, 599),
    st.dictionaries(header_names, st.text(max_size=15), max_size=3),
    documents.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60),
    st.integers(1, 10),
)
def test_any_response_of_any_status_becomes_a_typed_error_with_a_message(
    status: int, headers: dict[str, str], rest: bytes, requested: int
) -> None:
    failure = status_failure(status, headers, rest, now=NOW, requested=requested)
    error = status_error(failure)
    assert error.status_code == status
    assert len(error.message) > 20
    assert failure.kind == ("unknown" if status >= 500 else "refused")
    assert error.maybe_billed is (status >= 500)
    assert all(value is None or isinstance(value, str) for value in (error.code, error.type, error.param))
    assert status != 200 or isinstance(error, (errors.BadRequestError, errors.QuotaExceededError))


@pytest.mark.parametrize("status", [400, 429, 500])
@pytest.mark.parametrize("depth", [90, 400, 700, 5000, 200_000])
def test_a_deeply_nested_error_does_not_exhaust_the_stack(status: int, depth: int) -> None:
    rest = b'{"error":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
    failure = status_failure(status, {}, rest, now=NOW, requested=1)
    assert '{"a":' in failure.error.message.replace(" ", "")


def test_a_page_of_tags_only_has_a_short_message() -> None:
    """Such a page is the slowest case of the search for a message."""
    for text in ("<title>" * 500_000, "<" * 3_000_000, "<html" * 500_000):
        error = status_error(failed(502, text))
        assert len(error.message) < 500
