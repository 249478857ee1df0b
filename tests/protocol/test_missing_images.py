"""Success responses without an image: what other servers give as the reason, and what becomes of it."""

from typing import Any

import pytest
from hypothesis import given

from imagesdk import errors
from imagesdk._protocol.api_errors import unreadable_failure
from imagesdk._protocol.missing_images import NoImageError, Task, reasons_of, task_of, text_of
from imagesdk._protocol.responses import parse_response
from imagesdk._protocol.scanner import ImageRef, ScanError
from imagesdk.remedies import Remedy
from tests.support.odd_documents import documents


def failed(document: Any, status: int = 200) -> errors.APIError:
    """Return the error of a response that has no image."""
    with pytest.raises(ScanError) as caught:
        parse_response(document, None)
    failure = unreadable_failure(caught.value, status=status, request_id="req_1")
    assert (failure.kind, failure.should_retry) == ("unreadable", False)
    assert (failure.error.maybe_billed, failure.error.request_id) == (True, "req_1")
    return failure.error


@pytest.mark.parametrize("document", [
    {"created": 1, "data": []}, {"data": [{"b64_json": None, "url": None}]}, {"data": [{"url": ""}, {}]},
    {"data": None}, {"output": [], "status": "succeeded"}, {"data": [{"finish_reason": "stop"}]},
    {"data": [{"revised_prompt": "a safety helmet"}]}, {"data": [], "usage": {"message": "unsafe"}},
])  # fmt: skip
def test_a_response_without_an_image_and_without_a_reason_cannot_be_read(document: Any) -> None:
    error = failed(document)
    assert type(error) is errors.APIResponseError
    assert "The server answered with success, but the response has no" in error.summary


@pytest.mark.parametrize(("document", "reason"), [
    ({"data": [{"error": {"message": "The model is overloaded.", "code": "busy"}}]}, "The model is overloaded."),
    ({"data": [{"b64_json": None, "error": "out of memory"}]}, "out of memory."),
    ({"success": False, "errors": [{"code": 7, "message": "no such account"}], "result": None}, "no such account."),
    ({"data": [], "message": "try later"}, "try later."),
    ({"choices": [{"message": {"content": "I drew nothing"}}]}, "I drew nothing."),
    ({"data": [{"b64_json": ImageRef(0, "<html>\n<h1>502</h1>")}]}, "the image is the text '<html> <h1>502</h1>'."),
    ({"data": [{"error": "one"}, {"error": "two"}, {"error": "one"}]}, "one; two."),
])  # fmt: skip
def test_the_reason_of_the_server_is_part_of_the_error(document: Any, reason: str) -> None:
    error = failed(document)
    assert type(error) is errors.APIResponseError
    assert error.summary == f"The server answered with success but without an image: {reason}"


@pytest.mark.parametrize(("document", "reason"), [
    ({"data": [{"b64_json": None, "finish_reason": "content_filter"}]}, "content_filter"),
    ({"data": [{"finish_reason": "IMAGE_SAFETY"}]}, "IMAGE_SAFETY"),
    ({"candidates": [{"finishReason": "PROHIBITED_CONTENT"}]}, "PROHIBITED_CONTENT"),
    ({"promptFeedback": {"blockReason": "OTHER"}}, "OTHER"),
    ({"data": [{"url": None, "block_reason": "people"}]}, "people"),
    ({"predictions": [{"raiFilteredReason": "Support code 39322892"}]}, "Support code 39322892"),
    ({"data": [], "status": "Content Moderated"}, "Content Moderated"),
    ({"output": {"results": [{"code": "DataInspectionFailed", "message": "Unsuitable input."}]}}, "DataInspectionFailed"),
    ({"images": [], "has_nsfw_concepts": [True]}, "has_nsfw_concepts"),
    ({"data": [{"error": {"code": "content_policy_violation", "message": "no"}}]}, "content_policy_violation"),
    ({"data": [{"error": "This request violates our usage policies."}]}, "This request violates our usage policies."),
    ({"data": [{"b64_json": ImageRef(0, "Blocked by our safety system")}]}, "Blocked by our safety system"),
])  # fmt: skip
def test_a_refusal_of_a_content_filter_is_a_moderation_error(document: Any, reason: str) -> None:
    error = failed(document)
    assert isinstance(error, errors.ModerationError)
    assert reason in error.summary
    assert error.status_code == 200
    assert error.remedies == (Remedy.CHANGE_CONTENT,)


def test_the_categories_of_a_filter_are_named() -> None:
    filtered = {"hate": {"filtered": True, "severity": "high"}, "violence": {"filtered": False}}
    error = failed({"data": [{"url": None, "content_filter_results": filtered}]})
    assert isinstance(error, errors.ModerationError)
    assert error.categories == ("hate",)
    assert "hate was filtered" in error.summary
    assert error.body == {"data": [{"url": None, "content_filter_results": filtered}]}


@pytest.mark.parametrize(("status", "document", "task_id"), [
    (202, {"task_id": "t-1"}, "t-1"), (202, {"id": "r-1", "status": "queued"}, "r-1"), (202, {}, None),
    (202, {"message": "accepted"}, None), (200, {"task_id": 7, "task_status": "PENDING"}, "7"),
    (200, {"output": {"task_id": "t-1", "task_status": "RUNNING"}, "request_id": "r"}, "t-1"),
    (201, {"id": "p-1", "status": "starting", "output": None}, "p-1"),
    (200, {"data": [{"task_id": "t-1", "status": "submitted"}], "code": 200}, "t-1"),
])  # fmt: skip
def test_a_task_in_place_of_images_is_an_error_of_its_own(
    status: int, document: Any, task_id: str | None
) -> None:
    error = failed(document, status)
    assert isinstance(error, errors.PendingTaskError)
    assert error.task_id == task_id
    assert f"answered {status} with a task" in error.summary
    assert error.remedies == (Remedy.FETCH_TASK,)


def test_an_accepted_request_without_a_body_is_a_task() -> None:
    error = unreadable_failure(ScanError("the response is empty"), status=202, request_id=None).error
    assert type(error) is errors.PendingTaskError


def test_a_task_that_has_failed_is_no_pending_one() -> None:
    document = {"output": {"task_id": "t-1", "task_status": "FAILED", "message": "no GPU"}}
    assert type(failed(document)) is errors.APIResponseError
    assert task_of(document) is None
    assert task_of({"status": "Processing", "id": "a"}) == Task("a", "Processing")


@given(documents)
def test_any_document_has_a_short_printable_reason(document: Any) -> None:
    reasons = reasons_of(document)
    assert len(text_of(reasons)) <= 300
    assert text_of(reasons).isprintable()
    error = unreadable_failure(
        NoImageError("the response has no image in it", document), request_id=None
    ).error
    assert error.maybe_billed
    assert len(error.summary) < 700
