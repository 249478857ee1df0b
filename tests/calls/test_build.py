"""Calls of a run, which brings its own parsed template: nothing is probed again, and its rules still hold."""

from collections.abc import Callable
from pathlib import Path

import pytest

from imagesdk import AsyncClient, Generate, InvalidRequestError
from imagesdk._calls.build import build_call
from imagesdk._media.output import OutputTemplate

pytestmark = pytest.mark.anyio
BASE_URL = "http://127.0.0.1:9/v1"


@pytest.fixture
def anyio_backend() -> str:
    """No test here depends on the event loop."""
    return "asyncio"


async def test_a_template_of_a_run_is_neither_parsed_nor_probed_again(
    make_client: Callable[..., AsyncClient], tmp_path: Path
) -> None:
    template = OutputTemplate.parse(tmp_path / "new" / "{id}-{index}.{ext}")
    async with make_client(BASE_URL) as client:
        context = client._context
        async with build_call(Generate("a cat", n=2), {}, context, template=template) as prepared:
            assert prepared.call.folder == tmp_path / "new"
            assert prepared.names is None
    assert list(tmp_path.iterdir()) == []


async def test_a_run_asks_for_base64_where_the_model_has_a_choice(
    make_client: Callable[..., AsyncClient], tmp_path: Path
) -> None:
    template = OutputTemplate.parse(tmp_path)
    async with make_client(BASE_URL) as client:
        job = Generate("a cat", model="dall-e-2")
        async with build_call(job, {}, client._context, template=template) as prepared:
            assert getattr(prepared.job, "response_format", None) == "b64_json"
        async with build_call(job, {}, client._context) as prepared:
            assert getattr(prepared.job, "response_format", None) is None


async def test_a_template_of_a_run_that_loses_images_of_a_job_is_refused(
    make_client: Callable[..., AsyncClient], tmp_path: Path
) -> None:
    template = OutputTemplate.parse(tmp_path / "{id}.{ext}")
    async with make_client(BASE_URL) as client:
        with pytest.raises(InvalidRequestError, match="2 pictures the same name") as caught:
            async with build_call(Generate("a cat", n=2), {}, client._context, template=template):
                pass
    assert caught.value.param == "out"
