"""Input images in JSON bodies, and the texts that name images."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk._media.source_text import decode_data_url, is_url
from imagesdk._protocol.bodies import Base64Segment, json_body
from imagesdk._protocol.inputs import InputImage, InputImages, RemoteImage
from imagesdk.errors import InvalidRequestError
from imagesdk.types import Upload


def sent(fields: dict[str, Any], inputs: InputImages, *without: str) -> Any:
    body = json_body(json.dumps(fields).encode(), inputs, without=frozenset(without))
    text = b""
    for part in body.segments():
        if isinstance(part, Base64Segment):
            assert isinstance(part.upload.source, bytes)
            text += base64.b64encode(part.upload.source)
        else:
            text += part
    assert len(text) == body.length
    assert list(body.segments()) == list(body.segments())
    return json.loads(text)


@given(
    fields=st.dictionaries(st.sampled_from("abcdef"), st.text() | st.integers()),
    images=st.lists(st.binary(max_size=9) | st.text(), min_size=1, max_size=3),
    mask=st.none() | st.binary(max_size=9),
)
def test_json_contains_the_fields_and_the_images(
    fields: dict[str, Any], images: list[bytes | str], mask: bytes | None
) -> None:
    def one(data: bytes | str) -> InputImage:
        if isinstance(data, str):
            return RemoteImage(url=data)
        return Upload("a.png", "image/png", len(data), source=data)

    def entry(data: bytes | str) -> dict[str, str]:
        url = data if isinstance(data, str) else f"data:image/png;base64,{base64.b64encode(data).decode()}"
        return {"image_url": url}

    inputs = InputImages(tuple(map(one, images)), None if mask is None else one(mask))
    expected = {**fields, "images": list(map(entry, images))}
    if mask is not None:
        expected["mask"] = entry(mask)
    assert sent(fields, inputs) == expected
    assert sent(fields, inputs, "images", "mask") == fields


@given(st.text())
def test_a_data_url_is_decoded_or_refused(text: str) -> None:
    data: bytes | None = None
    with suppress(InvalidRequestError):
        data = decode_data_url("image", f"data:{text}")
    assert data is not None or "," not in text or "base64" in text.lower()


@pytest.mark.parametrize("text", ["https://a.test/b.png", "HTTP://a", "data:,"])
def test_a_url_is_recognized_by_its_scheme(text: str) -> None:
    assert is_url(text)
    assert not is_url(text[1:])
    assert not is_url("datas/a.png")
