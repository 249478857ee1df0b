"""The curl commands of the 2023 reference, byte for byte, against the API of that day."""

from collections.abc import Callable
from datetime import date
from io import BytesIO

import httpx
import pytest
from PIL import Image

pytestmark = pytest.mark.anyio

DAY = date(2023, 6, 1)

CAT = b"""{
    "prompt": "a white siamese cat",
    "n": 1,
    "size": "1024x1024"
  }"""
OTTER = b"""{
    "prompt": "A cute baby sea otter",
    "n": 2,
    "size": "1024x1024"
  }"""

BOUNDARY = b"------------------------8f6a2b1c9d3e4f50"
CURL = {"user-agent": "curl/7.88.1", "accept": "*/*", "authorization": "Bearer sk-seed"}


def curl_form(*parts: tuple[str, str | tuple[str, bytes]]) -> tuple[bytes, dict[str, str]]:
    """Return body and headers as ``curl -F`` writes them."""
    body = b""
    for name, value in parts:
        body += b"--" + BOUNDARY + b"\r\n"
        disposition = f'Content-Disposition: form-data; name="{name}"'
        if isinstance(value, str):
            body += f"{disposition}\r\n\r\n{value}\r\n".encode()
        else:
            body += f'{disposition}; filename="{value[0]}"\r\nContent-Type: image/png\r\n\r\n'.encode()
            body += value[1] + b"\r\n"
    body += b"--" + BOUNDARY + b"--\r\n"
    return body, {**CURL, "content-type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}


async def images_behind(api: httpx.AsyncClient, answer: httpx.Response) -> list[Image.Image]:
    """Check the answer of the 2023 API and fetch what its URLs point to."""
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"created", "data"}
    images: list[Image.Image] = []
    for item in answer.json()["data"]:
        assert set(item) == {"url"}
        found = await api.get(item["url"])
        assert found.headers["content-type"] == "image/png"
        images.append(Image.open(BytesIO(found.content)))
    return images


@pytest.mark.parametrize(("body", "n"), [(CAT, 1), (OTTER, 2)])
async def test_the_generation_requests_of_2023_give_images(
    connect: Callable[..., httpx.AsyncClient], body: bytes, n: int
) -> None:
    api = connect(as_of=DAY)

    answer = await api.post(
        "/images/generations", content=body, headers={**CURL, "content-type": "application/json"}
    )

    images = await images_behind(api, answer)
    assert [(drawn.format, drawn.size) for drawn in images] == [("PNG", (1024, 1024))] * n


@pytest.mark.parametrize(
    ("image", "prompt", "n"),
    [
        ("sunlit_lounge.png", "A sunlit indoor lounge area with a pool containing a flamingo", 1),
        ("otter.png", "A cute baby sea otter wearing a beret", 2),
    ],
)
async def test_the_edit_requests_of_2023_repaint_the_transparent_part_of_the_mask(
    connect: Callable[..., httpx.AsyncClient], encoded: Callable[..., bytes], image: str, prompt: str, n: int
) -> None:
    api = connect(as_of=DAY)
    lounge = Image.new("RGB", (1024, 1024), (10, 200, 30))
    mask = Image.new("RGBA", (1024, 1024), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (200, 300, 800, 700))
    body, headers = curl_form(
        ("image", (image, encoded(lounge))),
        ("mask", ("mask.png", encoded(mask))),
        ("prompt", prompt),
        ("n", str(n)),
        ("size", "1024x1024"),
    )

    answer = await api.post("/images/edits", content=body, headers=headers)

    images = await images_behind(api, answer)
    assert len(images) == n
    for drawn in images:
        assert drawn.getpixel((199, 400)) == (10, 200, 30)
        assert drawn.getpixel((400, 400)) != (10, 200, 30)


@pytest.mark.parametrize(("image", "n"), [("corgi_and_cat_paw.png", 1), ("otter.png", 2)])
async def test_the_variation_requests_of_2023_give_images(
    connect: Callable[..., httpx.AsyncClient], png: Callable[..., bytes], image: str, n: int
) -> None:
    api = connect(as_of=DAY)
    drawn = png("RGBA", (300, 300), (200, 120, 40, 255))
    body, headers = curl_form(("image", (image, drawn)), ("n", str(n)), ("size", "1024x1024"))

    answer = await api.post("/images/variations", content=body, headers=headers)

    assert [found.size for found in await images_behind(api, answer)] == [(1024, 1024)] * n


async def test_images_sent_as_octets_are_accepted_in_2023(
    connect: Callable[..., httpx.AsyncClient], png: Callable[..., bytes]
) -> None:
    files = {"image": ("image", png(), "application/octet-stream")}

    answer = await connect(as_of=DAY).post("/images/variations", files=files, data={"size": "256x256"})

    assert answer.status_code == 200
