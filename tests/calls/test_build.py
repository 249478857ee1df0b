"""Calls of a run with its own parsed template: it is not probed again, and its rules still apply."""

from collections.abc import Callable
from pathlib import Path

import pytest

from imagesdk import AsyncClient, Generate, InvalidRequestError
from imagesdk._calls.build import ClientContext, build_call
from imagesdk._media.output import OutputTemplate

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
