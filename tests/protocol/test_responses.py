"""Success responses become plain values: responses of many servers, and arbitrary ones."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given

from imagesdk._protocol.json_values import is_object
from imagesdk._protocol.missing_images import NoImageError
from imagesdk._protocol.responses import ParsedImage, parse_event, parse_response
from imagesdk._protocol.scanner import ImageRef, ScanError
from imagesdk.models import DALL_E_2, GPT_IMAGE_2
from imagesdk.types import SvgUsage, Usage
from tests.support.odd_documents import documents

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CREATED = datetime(2020, 5, 14, 17, 46, 18, tzinfo=UTC)  # 1589478378


def test_a_url_of_a_2023_model_expires_after_an_hour() -> None:
    body = {"created": 1589478378, "data": [{"url": "https://x.test/1"}, {"url": "https://x.test/2"}]}
    parsed = parse_response(body, DALL_E_2)
    assert parsed.created == CREATED
    assert [image.url for image in parsed.images] == ["https://x.test/1", "https://x.test/2"]
    assert [image.expires_at for image in parsed.images] == [CREATED + timedelta(hours=1)] * 2
    assert parsed.usage is None
    assert parsed.extra == {}


@pytest.mark.parametrize("profile", [None, GPT_IMAGE_2])
def test_a_url_of_another_model_has_no_known_expiry(profile: Any) -> None:
    parsed = parse_response({"created": 1589478378, "data": [{"url": "https://x.test/1"}]}, profile)
    assert parsed.images[0].expires_at is None


@pytest.mark.parametrize(("stated", "moment"), [
    ("2026-11-23T13%3A00%3A00Z", NOW + timedelta(hours=1)), ("2026-11-23T13:00:00", NOW + timedelta(hours=1)),
    ("2026-11-23T14:00:00%2B01:00", NOW + timedelta(hours=1)), ("someday", None),
])  # fmt: skip
def test_a_signed_url_states_its_expiry(stated: str, moment: datetime | None) -> None:
    for profile in (None, DALL_E_2):
        body = {"created": 1, "data": [{"url": f"https://x.test/1?st=0&se={stated}&sig=2"}]}
        assert parse_response(body, profile).images[0].expires_at == moment


def test_a_response_has_images_usage_and_settings() -> None:
    settings = {"background": "opaque", "output_format": "png", "quality": "low", "size": "1024x1024"}
    usage = {
        "input_tokens": 60, "input_tokens_details": {"text_tokens": 20, "image_tokens": 40},
        "output_tokens": 196, "output_tokens_details": {"text_tokens": 0, "image_tokens": 196}, "total_tokens": 256,
    }  # fmt: skip
    data = [{"b64_json": ImageRef(0)}, {"b64_json": ImageRef(1), "revised_prompt": "a cat"}]
    body = {"created": 1763900000, "data": data, **settings, "usage": usage}
    parsed = parse_response(body, GPT_IMAGE_2)
    assert parsed.images == (ParsedImage(image_ref=0), ParsedImage(image_ref=1, revised_prompt="a cat"))
    assert {name: getattr(parsed, name) for name in settings} == settings
    assert parsed.usage == Usage(60, 196, 256, 20, 40, 0, 196)


def test_unknown_fields_are_kept_in_extra() -> None:
    body = {
        "id": "x",
        "peak_memory_mb": 1.5,
        "data": [{"b64_json": ImageRef(0), "generation_id": "g", "seed": 7, "embedding": None}],
        "usage": {"total_tokens": 1, "image_count": 2, "input_tokens_details": {"cached_tokens": 3}},
    }
    parsed = parse_response(body, None)
    assert parsed.extra == {"id": "x", "peak_memory_mb": 1.5}
    assert parsed.images[0].extra == {"generation_id": "g", "seed": 7, "embedding": None}
    assert parsed.usage is not None
    assert parsed.usage.extra == {"image_count": 2, "input_tokens_details": {"cached_tokens": 3}}


def test_extra_contains_no_images() -> None:
    body = {"data": [{"b64_json": ImageRef(0), "thumbs": [{"b64_json": ImageRef(1)}]}], "x": ImageRef(2)}
    parsed = parse_response(body, None)
    assert parsed.images[0].extra == {"thumbs": [{"b64_json": None}]}
    assert parsed.extra == {"x": None}


@pytest.mark.parametrize("body", [
    {"images": [{"b64_json": ImageRef(0)}, {"b64_json": ImageRef(1)}]},
    {"data": [{"url": ImageRef(0)}, {"b64_json": None, "url": ImageRef(1)}]},
    {"data": {"items": [{"b64_json": ImageRef(0)}, {"url": ImageRef(1)}]}},
    {"data": [{"image": {"b64_json": ImageRef(0)}}, {"images": [{"b64_json": ImageRef(1)}]}]},
    {"output": {"first": {"b64_json": ImageRef(0), "next": {"b64_json": ImageRef(1)}}}},
    {"images": [ImageRef(0), ImageRef(1)], "parameters": {"init_images": [ImageRef(2)]}},
    {"data": [ImageRef(0), {"image": ImageRef(1)}], "input": {"image": ImageRef(2)}},
    {"result": {"image": ImageRef(0), "next": {"image": ImageRef(1)}}, "success": True, "errors": []},
])  # fmt: skip
def test_images_are_found_in_unexpected_places(body: dict[str, Any]) -> None:
    assert [image.image_ref for image in parse_response(body, None).images] == [0, 1]


@pytest.mark.parametrize("entry", [{}, {"b64_json": None}, {"b64_json": "", "url": ""}, {"url": None}, None])
def test_an_entry_without_an_image_is_left_out_and_counted(entry: Any) -> None:
    parsed = parse_response({"data": [entry, {"b64_json": ImageRef(0)}]}, DALL_E_2)
    assert (parsed.images, parsed.missing) == ((ParsedImage(image_ref=0),), ("",))
    with pytest.raises(NoImageError, match="no image in it"):
        parse_response({"data": [entry]}, DALL_E_2)


def test_an_image_of_the_request_is_no_answer() -> None:
    with pytest.raises(NoImageError):
        parse_response({"status": "queued", "input": {"image": ImageRef(0)}, "request": [ImageRef(1)]}, None)


def test_a_missing_image_has_the_reason_of_its_entry() -> None:
    entries = [{"url": "https://x.test/1"}, {"error": {"message": "no room", "url": "https://help.test"}}]
    parsed = parse_response({"data": entries}, None)
    assert ([image.url for image in parsed.images], parsed.missing) == (["https://x.test/1"], ("no room",))


@pytest.mark.parametrize("body", [
    {"images": [{"url": "https://x.test/1"}, {"url": "https://x.test/2"}], "timings": {"inference": 1.5}},
    {"data": [], "images": [{"url": "https://x.test/1"}, {"url": "https://x.test/2"}]},
    {"output": ["https://x.test/1", "https://x.test/2"], "input": {"image": "https://x.test/in"}},
    {"output": {"results": [{"url": "https://x.test/1"}, {"url": "https://x.test/2"}]}},
    {"output": {"choices": [{"message": {"content": [{"image": "https://x.test/1"}, {"image": "https://x.test/2"}]}}]}},
    {"output_images": ["https://x.test/1", "https://x.test/2"], "task_status": "SUCCEED"},
    {"result": {"images": [{"image_url": "https://x.test/1"}, {"image_url": {"url": "https://x.test/2"}}]}},
    {"data": ["https://x.test/1", {"image": {"url": "https://x.test/2"}}]},
    {"success": True, "errors": [{"url": "https://help.test"}], "result": ["https://x.test/1", "https://x.test/2"]},
])  # fmt: skip
def test_urls_are_found_in_the_shapes_of_other_servers(body: dict[str, Any]) -> None:
    found = [image.url for image in parse_response(body, None).images]
    assert found == ["https://x.test/1", "https://x.test/2"]


def test_one_url_may_be_the_whole_output() -> None:
    assert parse_response({"output": "https://x.test/1"}, None).images[0].url == "https://x.test/1"


ODD_TIMES: list[Any] = [None, "soon", [], {}, 1e300, 10**400, float("nan"), float("inf"), ImageRef(0)]


@pytest.mark.parametrize(("created", "moment"), [
    *((odd, None) for odd in ODD_TIMES),
    ("1589478378", CREATED),
    (253402300799, datetime.max.replace(microsecond=0, tzinfo=UTC)),
])  # fmt: skip
def test_a_creation_time_that_cannot_be_read_is_unknown_and_so_is_an_expiry_beyond_the_last_date(
    created: Any, moment: datetime | None
) -> None:
    parsed = parse_response({"created": created, "data": [{"url": "https://x.test/1"}]}, DALL_E_2)
    assert parsed.created == moment
    assert parsed.images[0].expires_at == (CREATED + timedelta(hours=1) if moment == CREATED else None)


@pytest.mark.parametrize(("usage", "expected"), [
    (None, None), ([], None), ("much", None), ({}, Usage()),
    ({"input_tokens": "5", "output_tokens": True, "total_tokens": 1.0}, Usage()),
    ({"input_tokens_details": None, "output_tokens_details": []}, Usage()),
    ({"input_tokens": 0, "prompt_tokens": 0}, Usage(input_tokens=0, extra={"prompt_tokens": 0})),
    ({"output_tokens_details": {"image_tokens": 5}}, Usage(output_image_tokens=5)),
])  # fmt: skip
def test_only_plausible_token_counts_are_read(usage: Any, expected: Usage | None) -> None:
    body = {"data": [{"b64_json": ImageRef(0)}], "usage": usage}
    assert parse_response(body, None).usage == expected


ODD: list[Any] = [None, [], "text", 5, {}, ImageRef(0), ["x" * 10_000]]


@pytest.mark.parametrize(
    "body",
    [*ODD, {"created": 1}, {"data": None}, {"data": {"url": "x"}}, {"data": "x"}],
    ids=lambda body: str(body)[:9],
)
def test_a_response_without_a_list_of_images_cannot_be_read_and_is_quoted_in_part(body: Any) -> None:
    with pytest.raises(ScanError, match=r"^the response (is|has)") as caught:
        parse_response(body, None)
    assert len(str(caught.value)) < 400


def test_a_partial_image_has_its_number_and_settings() -> None:
    settings = {"background": "opaque", "output_format": "png", "quality": "low", "size": "1024x1024"}
    fields = {"type": "image_generation.partial_image", "partial_image_index": 1, "created_at": 1589478378}
    event = parse_event({**fields, "b64_json": ImageRef(0), **settings, "trace": "t"})
    assert (event.type, event.partial_image_index) == ("image_generation.partial_image", 1)
    assert event.created == CREATED
    assert {name: getattr(event, name) for name in settings} == settings
    assert event.images == (ParsedImage(image_ref=0),)
    assert event.usage is None
    assert event.extra == {"trace": "t"}


def test_a_completed_image_has_usage_and_no_number() -> None:
    usage = {"usage": {"output_tokens": 5}, "svg_usage": {"model": "m", "reasoning_tokens": 2}}
    fields = {"type": "image_edit.completed", "safety_identifier": "user-1", "revised_prompt": "a cat"}
    event = parse_event({**fields, "b64_json": ImageRef(0), **usage})
    assert (event.type, event.partial_image_index) == ("image_edit.completed", None)
    assert event.usage == Usage(output_tokens=5)
    assert event.svg_usage == SvgUsage(model="m", reasoning_tokens=2)
    assert event.safety_identifier == "user-1"
    assert event.images == (ParsedImage(image_ref=0, revised_prompt="a cat"),)


@pytest.mark.parametrize(("document", "images"), [
    ({"url": "https://x.test/1"}, (ParsedImage(url="https://x.test/1"),)),
    ({"data": [{"b64_json": ImageRef(0)}, {"b64_json": ImageRef(1)}]}, (0, 1)),
    ({"image": {"b64_json": ImageRef(0)}}, (0,)), ({"data": {"b64_json": ImageRef(0)}}, (0,)),
    ({"data": None}, (ParsedImage(),)), ({}, (ParsedImage(),)),
])  # fmt: skip
def test_an_event_may_contain_its_image_like_a_response(document: dict[str, Any], images: Any) -> None:
    expected = tuple(ParsedImage(image_ref=item) if isinstance(item, int) else item for item in images)
    assert parse_event(document).images == expected


def test_an_event_may_have_its_type_in_its_name() -> None:
    event = parse_event({"created": 1589478378, "b64_json": ImageRef(0)}, name="image_edit.completed")
    assert event.type == "image_edit.completed"
    assert event.created == CREATED


@pytest.mark.parametrize("document", [None, [], "text", 5, ImageRef(0)])
def test_an_event_that_is_not_an_object_cannot_be_read(document: Any) -> None:
    with pytest.raises(ScanError, match="an event of the stream is"):
        parse_event(document)


@given(documents)
def test_any_document_is_parsed_or_a_scan_error(document: Any) -> None:
    with suppress(ScanError):
        parsed = parse_response(document, DALL_E_2)
        assert is_object(document)
        assert len(parsed.images) <= len(document["data"])
        assert all(image.image_ref is None for image in parsed.images)
