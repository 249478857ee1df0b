"""The curl commands of the 2023 reference, byte for byte, against the API of that day."""

from datetime import date
from io import BytesIO

import pytest
from PIL import Image

from tests.emulator.api import Api, Connect, encoded, file, png

pytestmark = pytest.mark.anyio

DAY = date(2023, 6, 1)
CAT = b'{\n    "prompt": "a white siamese cat",\n    "n": 1,\n    "size": "1024x1024"\n  }'
OTTER = b'{\n    "prompt": "A cute baby sea otter",\n    "n": 2,\n    "size": "1024x1024"\n  }'
FLAMINGO = "A sunlit indoor lounge area with a pool containing a flamingo"
BERET = "A cute baby sea otter wearing a beret"
BOUNDARY = "------------------------8f6a2b1c9d3e4f50"
CURL = {"user-agent": "curl/7.88.1", "accept": "*/*", "authorization": "Bearer sk-seed"}


def curl_form(**parts: str | tuple[str, bytes]) -> tuple[bytes, dict[str, str]]:
    """Return body and headers as ``curl -F`` writes them."""
    body = b""
    for name, value in parts.items():
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        if isinstance(value, str):
            body += f"\r\n\r\n{value}\r\n".encode()
        else:
            head = f'; filename="{value[0]}"\r\nContent-Type: image/png\r\n\r\n'
            body += head.encode() + value[1] + b"\r\n"
    body += f"--{BOUNDARY}--\r\n".encode()
    return body, {**CURL, "content-type": f"multipart/form-data; boundary={BOUNDARY}"}


async def images_of(api: Api, endpoint: str, body: bytes, headers: dict[str, str]) -> list[Image.Image]:
    """Send a request to the API of 2023, check the response and fetch what its URLs point to."""
    answer = await api.post(f"/images/{endpoint}", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"created", "data"}
    images: list[Image.Image] = []
    for item in answer.json()["data"]:
        assert set(item) == {"url"}
        found = await api.get(item["url"])
        assert found.headers["content-type"] == "image/png"
        images.append(Image.open(BytesIO(found.content)))
    assert {image.size for image in images} == {(1024, 1024)}
    return images


@pytest.mark.parametrize(("body", "n"), [(CAT, 1), (OTTER, 2)])
async def test_the_generation_requests_of_2023_give_images(connect: Connect, body: bytes, n: int) -> None:
    headers = {**CURL, "content-type": "application/json"}

    images = await images_of(connect(as_of=DAY), "generations", body, headers)

    assert [drawn.format for drawn in images] == ["PNG"] * n


@pytest.mark.parametrize(
    ("image", "prompt", "n"), [("sunlit_lounge.png", FLAMINGO, 1), ("otter.png", BERET, 2)]
)
async def test_the_edit_requests_of_2023_repaint_the_transparent_part_of_the_mask(
    connect: Connect, image: str, prompt: str, n: int
) -> None:
    mask = Image.new("RGBA", (1024, 1024), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (200, 300, 800, 700))
    files = {"image": (image, png("RGB", (1024, 1024), (10, 200, 30))), "mask": ("mask.png", encoded(mask))}
    form = curl_form(**files, prompt=prompt, n=str(n), size="1024x1024")

    images = await images_of(connect(as_of=DAY), "edits", *form)

    assert len(images) == n
    for drawn in images:
        assert drawn.getpixel((199, 400)) == (10, 200, 30)
        assert drawn.getpixel((400, 400)) != (10, 200, 30)


@pytest.mark.parametrize(("image", "n"), [("corgi_and_cat_paw.png", 1), ("otter.png", 2)])
async def test_the_variation_requests_of_2023_give_images(connect: Connect, image: str, n: int) -> None:
    form = curl_form(image=(image, png("RGBA", (300, 300), (200, 120, 40, 255))), n=str(n), size="1024x1024")

    assert len(await images_of(connect(as_of=DAY), "variations", *form)) == n


async def test_images_sent_as_octets_are_accepted_in_2023(connect: Connect) -> None:
    octets = file("image", png(), "application/octet-stream")

    assert (await connect(as_of=DAY).vary(octets, size="256x256")).status_code == 200
