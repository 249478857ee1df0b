"""The table of parameters: which models take which value, according to the client and to the emulator.

The checks of the client and those of the emulator share no code. Where they differ, the sources do: the client then sends
the parameter, and the server decides.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeAlias

import httpx
import pytest
from attrs import fields, frozen
from PIL import Image

from imagesdk import AsyncClient, BadRequestError, Edit, Generate, InvalidRequestError, Job, NotFoundError
from imagesdk.emulator import create_app
from imagesdk.emulator.drawing.painting import Painting
from tests.support.small_images import png

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]

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
    """One request: its parameters besides a prompt, and the models that take it."""

    fields: dict[str, Any]
    takes: Models
    edit: bool = False
    stream: bool = False
    undecided: Models = NONE
    """Models on which the sources disagree or are silent: the client sends it, and the emulator refuses it."""

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
    """Return the case of a generation and that of an edit, which dall-e-3 does not have."""
    return [Case(fields, takes, **more), Case(fields, takes - DALL_E_3, edit=True, **more)]


def each(name: str, takes: Models, *values: Any, undecided: Models = NONE, **more: Any) -> list[Case]:
    """Return cases of ``both`` for each value of a parameter, with ``more`` parameters."""
    return [case for value in values for case in both({name: value, **more}, takes, undecided=undecided)]


def effort(name: str) -> dict[str, Any]:
    return {"reasoning": {"effort": name}}


CASES: list[Case] = [
    *both({}, ALL),
    *both({}, GPT, stream=True),
    *each("n", ALL, 1),
    *each("n", ALL - DALL_E_3, 2, 10),
    *each("n", NONE, 11),
    *both({"n": 2}, NONE, stream=True),
    *each("size", ALL, "1024x1024"),
    *each("size", DALL_E_2, "256x256", "512x512"),
    *each("size", GPT, "auto", "1536x1024", "1024x1536"),
    *each("size", DALL_E_3 | FREE, "1792x1024"),
    *each("size", FREE, "2048x1152", "3840x2160", "1920x1088", "1024x640"),
    *each("size", NONE, "1920x1080", "3856x2160", "1040x320", "1008x640", "2880x2896", "large"),
    # quality: the references name standard for dall-e-2, users report that OpenAI refuses the parameter
    *each("quality", DALL_E_3, "standard", undecided=DALL_E_2),
    *each("quality", DALL_E_3, "hd"),
    *each("quality", GPT, "auto", "low", "medium", "high"),
    *each("quality", HALF | NEWEST, "xhigh", "max"),
    *each("quality", NONE, "best"),
    *each("background", GPT, "opaque", "auto", "transparent"),
    *each("background", GPT, "transparent", output_format="webp"),
    *each("background", NONE, "transparent", output_format="jpeg"),
    *each("background", NONE, "red"),
    # moderation: an edit that has it is sent as JSON
    *each("moderation", GPT, "auto", "low"),
    *each("moderation", NONE, "none"),
    Case({"style": "vivid"}, DALL_E_3),
    Case({"style": "natural"}, DALL_E_3),
    Case({"style": "baroque"}, NONE),
    *each("output_format", GPT, "png", "jpeg", "webp"),
    *each("output_format", NEWEST, "gif", "svg"),
    *each("output_format", NONE, "bmp"),
    *each("output_compression", GPT, 0, output_format="jpeg"),
    *each("output_compression", GPT, 100, output_format="webp"),
    *each("output_compression", NONE, 101, -1, output_format="webp"),
    *each("output_compression", NONE, 50),
    *each("output_format", NONE, "gif", "svg", output_compression=50),
    # complexity: the guide of OpenAI names it for 2.6 only, the official client for all
    *each("complexity", NEWEST, "low", "medium", "high", undecided=GPT - NEWEST),
    *each("complexity", NONE, "huge"),
    *each("frame_count", NEWEST, 2, 16, output_format="gif"),
    *each("frame_count", NONE, 1, 17, output_format="gif"),
    *each("frame_count", NONE, 2),
    *each("frame_duration_ms", NEWEST, 655_350, output_format="gif"),
    *each("frame_duration_ms", NONE, 655_351, 0, output_format="gif"),
    *each("frame_duration_ms", NONE, 200),
    *both({"output_format": "gif"}, NONE, stream=True),
    Case({"output_format": "gif", "mask": CLEAR}, NONE, edit=True),
    *each("svg", NEWEST, {"model": "gpt-5.5"}, effort("none"), effort("max"), output_format="svg"),
    *each("svg", NONE, effort("most"), output_format="svg"),
    *each("svg", NONE, effort("low")),
    *both({"output_format": "svg", "n": 2}, NONE),
    *both({"output_format": "svg"}, NONE, stream=True),
    Case({"input_fidelity": "high"}, FIRST, edit=True),
    Case({"input_fidelity": "low"}, FIRST | MINI, edit=True),
    Case({"input_fidelity": "middling"}, NONE, edit=True),
    Case({"mask": CLEAR}, EDITS, edit=True),
    Case({"mask": png(64, 48)}, NONE, edit=True),
    Case({"mask": png(64, 64, alpha=False)}, NONE, edit=True),
    Case({"markup": CLEAR}, HALF | NEWEST, edit=True),
    Case({"markup": png(48, 64)}, NONE, edit=True),
    Case({"markup": CLEAR, "mask": CLEAR}, NONE, edit=True),
    *both({"partial_images": 0}, GPT, stream=True),
    *both({"partial_images": 3}, GPT, stream=True),
    *both({"partial_images": 4}, NONE, stream=True),
    *each("response_format", DALL_E, "url", "b64_json"),
    *each("response_format", NONE, "file"),
    *each("safety_identifier", GPT, "a-hash"),
    *each("safety_identifier", NONE, "x" * 129),
    *each("user", ALL, "a-hash"),
]


@pytest.fixture
async def client(
    make_client: Callable[..., AsyncClient], monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[AsyncClient, None]:
    """A client of an emulator in this process that draws minimal images."""

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
    """Return whether the client sends a request, or with ``check=False`` whether the server accepts it."""
    refusals = (InvalidRequestError,) if check else (BadRequestError, NotFoundError)
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
    named = {name for case in CASES for name in case.fields}
    known = {field.name for kind in (Generate, Edit) for field in fields(kind)}
    assert named | {"prompt", "image", "model"} == known
