"""Calls of a run with its own parsed template: it is not probed again, and its rules still apply."""

from collections.abc import Callable
from pathlib import Path

import pytest

from imagesdk import AsyncClient, Edit, Generate, InvalidRequestError
from imagesdk._calls.build import ClientContext, build_call
from imagesdk._media.output import OutputTemplate
from tests.support.small_images import png
from tests.support.socket_servers import always, serving

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]


@pytest.fixture
def context(make_client: Callable[..., AsyncClient]) -> ClientContext:
    """What the calls of a client share; nothing listens at its URL."""
    context: ClientContext = vars(make_client("http://127.0.0.1:9/v1"))["_context"]
    return context


async def test_a_template_of_a_run_is_neither_parsed_nor_probed_again(
    context: ClientContext, tmp_path: Path
) -> None:
    template = OutputTemplate.parse(tmp_path / "new" / "{id}-{index}.{ext}")
    async with build_call(Generate("a cat", n=2), {}, context, template=template) as prepared:
        assert prepared.call.folder == tmp_path / "new"
        assert prepared.names is None
    assert list(tmp_path.iterdir()) == []


async def test_a_run_asks_for_base64_where_the_model_has_a_choice(
    context: ClientContext, tmp_path: Path
) -> None:
    job = Generate("a cat", model="dall-e-2")
    async with build_call(job, {}, context, template=OutputTemplate.parse(tmp_path)) as prepared:
        assert prepared.job.response_format == "b64_json"
    async with build_call(job, {}, context) as prepared:
        assert prepared.job == job


async def test_a_template_of_a_run_that_loses_images_of_a_job_is_refused(
    context: ClientContext, tmp_path: Path
) -> None:
    template = OutputTemplate.parse(tmp_path / "{id}.{ext}")
    with pytest.raises(InvalidRequestError, match="2 images the same name") as caught:
        async with build_call(Generate("a cat", n=2), {}, context, template=template):
            pass
    assert caught.value.param == "out"


async def test_the_same_request_has_the_same_bytes(
    make_client: Callable[..., AsyncClient], tmp_path: Path
) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(png(4, 4))
    answer_body = b'{"data": [{"url": "https://x.test/1"}]}'
    async with serving(always(answer_body)) as server, make_client(server.base_url) as client:
        for image in (path, path, ("cat.png", path.read_bytes())):
            await client.images.send(Edit(image, "a pool", n=1))
        await client.images.send(Edit(path, "another pool", n=1))
    first, *same, other = [(sent.headers["content-type"], sent.body) for sent in server.requests]
    assert same == [first, first]
    assert other[0] != first[0]


async def test_a_file_cannot_add_fields_to_its_form(
    make_client: Callable[..., AsyncClient], tmp_path: Path
) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(png(4, 4, padding=400))
    async with serving(always(b'{"data": [{"url": "https://x.test/1"}]}')) as server:
        async with make_client(server.base_url) as client:
            await client.images.edit(path, "a pool")
            boundary = server.requests[0].headers["content-type"].partition("boundary=")[2]
            field = f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="n"\r\n\r\n10\r\n--{boundary}'
            content = path.read_bytes()
            path.write_bytes(content[:100] + field.encode() + content[100 + len(field) :])
            with pytest.raises(OSError, match="the boundary of its form"):
                await client.images.edit(path, "a pool")
    assert len(server.requests) == 1
