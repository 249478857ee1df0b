"""Every parameter of the fact sheet, for every model: what the client refuses, and what the emulator does.

The client's checks and the emulator's share no code. Where they differ, the sources do: then the client lets a
parameter through, and the server decides.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeAlias

import httpx
import pytest
from attrs import frozen
from PIL import Image

from imagesdk import AsyncClient, BadRequestError, Edit, Generate, InvalidRequestError, Job, NotFoundError
from imagesdk.emulator import create_app
from imagesdk.emulator.drawing.painting import Painting
from tests.support.small_images import png

pytestmark = pytest.mark.anyio

Models: TypeAlias = frozenset[str]


def models(*names: str) -> Models:
    return frozenset(names)


DALL_E_2, DALL_E_3 = models("dall-e-2"), models("dall-e-3")
DALL_E = DALL_E_2 | DALL_E_3
MINI = models("gpt-image-1-mini")
FIRST = models("gpt-image-1", "gpt-image-1.5", "chatgpt-image-latest")
SECOND = models("gpt-image-2")
HALF = models("gpt-image-2.5-sunburst", "gpt-image-2.5-flare")
NEWEST = models("gpt-image-2.6-sunburst", "gpt-image-2.6-flare")
FREE = SECOND | HALF | NEWEST
GPT = FIRST | MINI | FREE
ALL = DALL_E | GPT
NONE: Models = frozenset()
EDITS = GPT | DALL_E_2

SQUARE = png(64, 64)
CLEAR = png(64, 64, alpha=True)


@frozen
class Case:
    """One request: what is in it beside a prompt, and which models take it."""

    fields: dict[str, Any]
    takes: Models
    edit: bool = False
    stream: bool = False
    undecided: Models = NONE
    """Models for which the sources disagree, or say nothing: the client sends it, and the emulator refuses it."""

    def __str__(self) -> str:
        fields = ", ".join(
            f"{name}={'...' if isinstance(v, bytes) else v}" for name, v in self.fields.items()
        )
        kind = "edit" if self.edit else "generate"
        return f"{kind}{' as a stream' if self.stream else ''}({fields})"

    def job(self, model: str) -> Job:
        """Return the request for a model, small where nothing else is message."""
        fields: dict[str, Any] = {"model": model, **self.fields}
        return Edit(CLEAR, "a cat", **fields) if self.edit else Generate("a cat", **fields)


def both(fields: dict[str, Any], takes: Models, **more: Any) -> list[Case]:
    """The same for a generation and an edit, which dall-e-3 has not."""
    return [Case(fields, takes, **more), Case(fields, takes - DALL_E_3, edit=True, **more)]


CASES: list[Case] = [
    # nothing but a prompt
    *both({}, ALL),
    *both({}, GPT, stream=True),
    # n
    *both({"n": 1}, ALL),
    *both({"n": 2}, ALL - DALL_E_3),
    *both({"n": 10}, ALL - DALL_E_3),
    *both({"n": 11}, NONE),
    *both({"n": 2}, NONE, stream=True),
    # size
    *both({"size": "auto"}, GPT),
    *both({"size": "256x256"}, DALL_E_2),
    *both({"size": "512x512"}, DALL_E_2),
    *both({"size": "1024x1024"}, ALL),
    *both({"size": "1792x1024"}, DALL_E_3 | FREE),
    *both({"size": "1536x1024"}, GPT),
    *both({"size": "1024x1536"}, GPT),
    *both({"size": "2048x1152"}, FREE),
    *both({"size": "3840x2160"}, FREE),
    *both({"size": "1920x1088"}, FREE),
    *both({"size": "1920x1080"}, NONE),
    *both({"size": "3856x2160"}, NONE),
    *both({"size": "1040x320"}, NONE),
    *both({"size": "1008x640"}, NONE),
    *both({"size": "1024x640"}, FREE),
    *both({"size": "2880x2896"}, NONE),
    *both({"size": "large"}, NONE),
    # quality
    *both({"quality": "standard"}, DALL_E),
    *both({"quality": "hd"}, DALL_E_3),
    *both({"quality": "auto"}, GPT),
    *both({"quality": "low"}, GPT),
    *both({"quality": "medium"}, GPT),
    *both({"quality": "high"}, GPT),
    *both({"quality": "xhigh"}, HALF | NEWEST),
    *both({"quality": "max"}, HALF | NEWEST),
    *both({"quality": "best"}, NONE),
    # background
    *both({"background": "opaque"}, GPT),
    *both({"background": "auto"}, GPT),
    *both({"background": "transparent"}, GPT),
    *both({"background": "transparent", "output_format": "webp"}, GPT),
    *both({"background": "transparent", "output_format": "jpeg"}, NONE),
    *both({"background": "red"}, NONE),
    # moderation: an edit that has it is sent as JSON
    *both({"moderation": "auto"}, GPT),
    *both({"moderation": "low"}, GPT),
    *both({"moderation": "none"}, NONE),
    # style
    Case({"style": "vivid"}, DALL_E_3),
    Case({"style": "natural"}, DALL_E_3),
    Case({"style": "baroque"}, NONE),
    # output_format, output_compression
    *both({"output_format": "png"}, GPT),
    *both({"output_format": "jpeg"}, GPT),
    *both({"output_format": "webp"}, GPT),
    *both({"output_format": "gif"}, NEWEST),
    *both({"output_format": "svg"}, NEWEST),
    *both({"output_format": "bmp"}, NONE),
    *both({"output_format": "jpeg", "output_compression": 0}, GPT),
    *both({"output_format": "webp", "output_compression": 100}, GPT),
    *both({"output_format": "webp", "output_compression": 101}, NONE),
    *both({"output_format": "webp", "output_compression": -1}, NONE),
    *both({"output_compression": 50}, NONE),
    *both({"output_format": "gif", "output_compression": 50}, NONE),
    *both({"output_format": "svg", "output_compression": 50}, NONE),
    # complexity: the maker's guide names it for 2.6 only, its client for all
    *both({"complexity": "low"}, NEWEST, undecided=GPT - NEWEST),
    *both({"complexity": "medium"}, NEWEST, undecided=GPT - NEWEST),
    *both({"complexity": "high"}, NEWEST, undecided=GPT - NEWEST),
    *both({"complexity": "huge"}, NONE),
    # animations
    *both({"output_format": "gif", "frame_count": 2}, NEWEST),
    *both({"output_format": "gif", "frame_count": 16}, NEWEST),
    *both({"output_format": "gif", "frame_count": 1}, NONE),
    *both({"output_format": "gif", "frame_count": 17}, NONE),
    *both({"frame_count": 2}, NONE),
    *both({"output_format": "gif", "frame_duration_ms": 655_350}, NEWEST),
    *both({"output_format": "gif", "frame_duration_ms": 655_351}, NONE),
    *both({"output_format": "gif", "frame_duration_ms": 0}, NONE),
    *both({"frame_duration_ms": 200}, NONE),
    *both({"output_format": "gif"}, NONE, stream=True),
    Case({"output_format": "gif", "mask": CLEAR}, NONE, edit=True),
    # drawings
    *both({"output_format": "svg", "svg": {"model": "gpt-5.5"}}, NEWEST),
    *both({"output_format": "svg", "svg": {"reasoning": {"effort": "none"}}}, NEWEST),
    *both({"output_format": "svg", "svg": {"reasoning": {"effort": "max"}}}, NEWEST),
    *both({"output_format": "svg", "svg": {"reasoning": {"effort": "most"}}}, NONE),
    *both({"svg": {"reasoning": {"effort": "low"}}}, NONE),
    *both({"output_format": "svg", "n": 2}, NONE),
    *both({"output_format": "svg"}, NONE, stream=True),
    # input_fidelity
    Case({"input_fidelity": "high"}, FIRST, edit=True),
    Case({"input_fidelity": "low"}, FIRST | MINI, edit=True),
    Case({"input_fidelity": "middling"}, NONE, edit=True),
    # images beside the first
    Case({"mask": CLEAR}, EDITS, edit=True),
    Case({"mask": png(64, 48)}, NONE, edit=True),
    Case({"mask": png(64, 64, alpha=False)}, NONE, edit=True),
    Case({"markup": CLEAR}, HALF | NEWEST, edit=True),
    Case({"markup": png(48, 64)}, NONE, edit=True),
    Case({"markup": CLEAR, "mask": CLEAR}, NONE, edit=True),
    # streams
    *both({"partial_images": 0}, GPT, stream=True),
    *both({"partial_images": 3}, GPT, stream=True),
    *both({"partial_images": 4}, NONE, stream=True),
    # response_format
    *both({"response_format": "url"}, DALL_E),
    *both({"response_format": "b64_json"}, DALL_E),
    *both({"response_format": "file"}, NONE),
    # who asks
    *both({"safety_identifier": "a-hash"}, GPT),
    *both({"safety_identifier": "x" * 129}, NONE),
    *both({"user": "a-hash"}, ALL),
]


@pytest.fixture
async def client(
    make_client: Callable[..., AsyncClient], monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[AsyncClient, None]:
    """A client of an emulator in this process that draws next to nothing: only its refusals matter here."""

    def small(self: Painting, index: int) -> Image.Image:
        return Image.linear_gradient("L").resize((64, 64)).convert("RGBA")

    monkeypatch.setattr(Painting, "_draw", small)
    transport = httpx.ASGITransport(create_app(limit=None))
    async with (
        httpx.AsyncClient(transport=transport) as http_client,
        make_client("http://127.0.0.1/v1", http_client=http_client) as client,
    ):
        yield client


async def accepted(client: AsyncClient, case: Case, model: str, *, check: bool) -> bool:
    """Whether a request goes through: what refuses it otherwise is the client, or the server if that does not look."""
    refusals: tuple[type[Exception], ...] = (InvalidRequestError,)
    if not check:
        refusals = (BadRequestError, NotFoundError)
    job = case.job(model)
    try:
        if case.stream:
            async with client.images.stream(job, check=check) as stream:
                await stream.final()
        else:
            await client.images.send(job, check=check)
    except refusals:
        return False
    except BadRequestError:  # let through by the client
        return True
    return True


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("model", sorted(ALL))
async def test_client_and_server_take_the_same(client: AsyncClient, model: str) -> None:
    offenders: list[str] = []
    for case in CASES:
        by_client = await accepted(client, case, model, check=True)
        by_server = await accepted(client, case, model, check=False)
        if by_client != (model in case.takes | case.undecided):
            offenders.append(f"{case}: {'sent' if by_client else 'refused'} by the client")
        if by_server != (model in case.takes):
            offenders.append(f"{case}: {'accepted' if by_server else 'refused'} by the server")
    assert offenders == []


def test_every_parameter_has_a_case() -> None:
    import attrs

    named = {name for case in CASES for name in case.fields}
    known = {field.name for kind in (Generate, Edit) for field in attrs.fields(kind)}
    assert named | {"prompt", "image", "model"} == known
