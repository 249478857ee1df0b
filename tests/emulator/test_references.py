"""Edits in JSON: images referenced by data URL, by URL or by the id of an uploaded file."""

from base64 import b64encode

import httpx
import pytest
from PIL import Image

from tests.emulator.api import Api, Connect, encoded, file, png
from tests.support.error_objects import error_of

pytestmark = pytest.mark.anyio

TWO = {"model": "gpt-image-2", "prompt": "x", "size": "1024x640"}
ORIGIN = "http://127.0.0.1:8000"
URL = "images[0].image_url"


def data_url(data: bytes) -> str:
    return f"data:image/png;base64,{b64encode(data).decode()}"


async def uploaded(api: httpx.AsyncClient, data: bytes) -> str:
    name: str = (await api.post("/files", data={"purpose": "vision"}, files={"file": data})).json()["id"]
    return name


async def edit(api: Api, images: object, **fields: object) -> httpx.Response:
    return await api.post("/images/edits", json={**TWO, "images": images, **fields})


async def test_an_image_in_json_gives_the_same_result_as_in_a_form(api: Api) -> None:
    image, mask = png("RGB", (64, 64), (200, 10, 10)), png("RGBA", (64, 64), (0, 0, 0, 0))
    file_id = await uploaded(api, image)

    by_form = await api.edit(file("image", image), file("mask", mask), **TWO)
    by_data = await edit(api, [{"image_url": data_url(image)}], mask={"image_url": data_url(mask)})
    by_file = await edit(api, [{"file_id": file_id}], mask={"file_id": await uploaded(api, mask)})

    assert by_form.status_code == 200
    assert by_form.json() == by_data.json() == by_file.json()


@pytest.mark.parametrize("quirks", [None, "azure", "gateway", "xai"])
async def test_the_only_image_may_be_a_single_string(connect: Connect, quirks: str | None) -> None:
    api, root = connect(quirks=quirks), "/openai" if quirks == "azure" else ""
    url = data_url(png())

    answers = [
        await api.post(f"http://127.0.0.1:8000{root}/v1/images/edits", json={"model": TWO["model"], **body})
        for body in ({"prompt": "x", "image": url}, {"prompt": "x", "images": [{"image_url": url}]})
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["data"][0] == answers[1].json()["data"][0] or quirks == "xai"


async def test_an_image_beside_a_list_of_images_is_unknown(api: Api) -> None:
    url = data_url(png())
    error = error_of(await edit(api, [{"image_url": url}], image=url))
    assert (error["param"], error["code"]) == ("image", "unknown_parameter")


async def test_urls_of_the_emulator_itself_are_looked_up(api: Api) -> None:
    result_url = (await api.generate()).json()["data"][0]["url"]
    file_url = f"{ORIGIN}/v1/files/{await uploaded(api, png())}/content"

    answer = await edit(api, [{"image_url": result_url}, {"image_url": file_url}])

    assert answer.json()["usage"]["input_tokens_details"]["image_tokens"] == 64 + 4


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("https://example.com/cat.png", 407),
        ("http://169.254.169.254/latest/meta-data", 407),
        ("http://127.0.0.1:8001/images/x.png", 407),
        ("http://user@127.0.0.1:8000/images/x.png", 407),
        (f"{ORIGIN}/images/x.png", 403),
        (f"{ORIGIN}/v1/models", 404),
        (f"{ORIGIN}/v1/files/file-x/content", 404),
    ],
)
async def test_a_url_that_cannot_be_fetched_gets_the_error_of_the_api(
    api: Api, url: str, status: int
) -> None:
    error = error_of(await edit(api, [{"image_url": url}]))

    assert error["message"] == f"Error while downloading file. Upstream status code: {status}."
    assert (error["param"], error["code"]) == (URL, "invalid_value")
    assert api.state.billed_images == 0


@pytest.mark.parametrize(
    ("images", "param", "code"),
    [
        (None, "images", "missing_required_parameter"),
        (list[object](), "images", "empty_array"),
        ("x", "images", "invalid_type"),
        (["x"], "images[0]", "invalid_type"),
        ([dict[str, object]()], URL, "missing_required_parameter"),
        ([{"url": "x"}], "images[0].url", "unknown_parameter"),
        ([{"image_url": "data:image/png;base64,", "file_id": "x"}], URL, "mutually_exclusive_parameters"),
        ([{"image_url": 7}], URL, "invalid_type"),
        ([{"image_url": "x.png"}], URL, "invalid_value"),
        ([{"image_url": "http://[::1/x"}], URL, "invalid_value"),
        ([{"image_url": "ftp://example.com/x"}], URL, "invalid_value"),
        ([{"image_url": "data:text/plain;base64,eA=="}], URL, "invalid_value"),
        ([{"image_url": "data:image/png,x"}], URL, "invalid_value"),
        ([{"image_url": "data:image/png;base64,%%%"}], URL, "invalid_value"),
        ([{"image_url": "x" * 20_971_521}], URL, "string_above_max_length"),
        ([{"file_id": "file-unknown"}], "images[0].file_id", "invalid_value"),
        ([{"image_url": "data:image/png;base64,eA=="}], None, "invalid_image_file"),
        ([{"image_url": "data:image/tiff;base64,eA=="}], "image[]", "unsupported_file_mimetype"),
    ],
)
async def test_an_invalid_reference_to_an_image_is_rejected_with_its_reason(
    api: Api, images: object, param: str | None, code: str
) -> None:
    error = error_of(await edit(api, images))

    assert (error["param"], error["code"]) == (param, code)


async def test_a_mask_is_referenced_like_an_image(api: Api) -> None:
    images = [{"image_url": data_url(png())}]

    assert error_of(await edit(api, images, mask={"cats": 1}))["param"] == "mask.cats"
    assert error_of(await edit(api, images, mask=data_url(png())))["code"] == "invalid_type"
    assert error_of(await edit(api, images, mask={"image_url": data_url(png())}))["param"] == "mask"


async def test_at_most_sixteen_images_may_be_referenced(api: Api) -> None:
    one = {"file_id": await uploaded(api, png())}

    assert (await edit(api, [one] * 16)).status_code == 200
    assert error_of(await edit(api, [one] * 17))["code"] == "array_above_max_length"


async def test_an_edit_in_json_accepts_what_a_generation_accepts_and_a_markup(api: Api) -> None:
    images, drawing = [{"image_url": data_url(png())}], Image.new("RGBA", (64, 64))
    drawing.paste((255, 0, 0, 255), (10, 10, 20, 20))
    markup = {"image_url": data_url(encoded(drawing))}

    usual = await edit(api, images, moderation="low", quality="low", n=2)
    marked = await edit(api, images, model="gpt-image-2.6-flare", markup=markup)
    streamed = await edit(api, images, stream=True)

    assert (len(usual.json()["data"]), marked.status_code) == (2, 200)
    assert streamed.text.startswith("event: image_edit.completed\n")


async def test_dall_e_2_accepts_no_references_to_images(api: Api) -> None:
    images = [{"image_url": data_url(png("RGBA"))}]

    error = error_of(await edit(api, images, model="dall-e-2", size="256x256"))

    assert (error["param"], error["code"]) == ("images", "unknown_parameter")
