"""Catalog of the known models: limits, prices and dates, each with its source.

The newest source is the ``openai`` package. If sources disagree, the most permissive one is used, the source note says
so, and the server decides. All facts are as of :data:`AS_OF`. :func:`imagesdk.models.register` replaces a profile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final, TypeVar

from attrs import evolve

from imagesdk.models.profile import ImageRule, InputTokens, ModelProfile, OutputTokens, Price
from imagesdk.models.sizes import SizeRule
from imagesdk.remedies import Remedy

AS_OF: Final = date(2026, 11, 27)
"""The date of these facts."""

OPENAI_EDIT_MODEL: Final = "gpt-image-2"
OPENAI_GENERATE_MODEL: Final = "gpt-image-2"
OPENAI_VARIATION_MODEL: Final = "dall-e-2"
"""The only model that ever supported variations."""

URL_LIFETIME: Final = 3600
"""Lifetime in seconds of a result URL in the API of 2023."""
WARNING_DAYS: Final = 60
"""Days before its shutdown from which a model causes a warning."""
GIF_FRAMES: Final = (2, 16)
"""Minimum and maximum number of frames of an animation. Default of the server: 9."""
MAX_FRAME_DURATION: Final = 655_350
"""Milliseconds, rounded to 10. Default of the server: 200."""
COMPRESSION: Final = (0, 100)
"""Minimum and maximum of ``output_compression``. Default of the server: 100."""
MAX_PARTIAL_IMAGES: Final = 3
"""Maximum number in one stream. Default of the server: 0."""
SVG_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Reasoning efforts of the text model that writes an SVG."""
MAX_SAFETY_IDENTIFIER: Final = 128
"""Characters, according to the guide of OpenAI."""
MAX_IMAGE_URL: Final = 20_971_520
"""Characters of an ``image_url`` in the JSON form of an edit, data URLs included."""
RETIRED_ENDPOINTS: Final = {"variations": (date(2026, 5, 12), Remedy.USE_EDIT)}
"""Date of the retirement of an endpoint by OpenAI, and the remedy. According to the openai package, variations were
retired on the day on which their only model was shut down."""

_PACKAGE = "parameter types of the openai package 3.57.0 (2026-11-19)"
_OPENAPI = "OpenAI's OpenAPI description (2026-08-21)"
_GUIDE = "OpenAI's image guide (2026)"
_DEPRECATIONS = "https://developers.openai.com/api/docs/deprecations"
_PRICES = "the price table of litellm 1.110.2 (2026-11), which cites OpenAI's price page"
_BATCH_PRICES = f"{_PRICES}: half of each price"
_NO_BATCH = "the model's page: the Batch API does not take it"
_MODEL_PAGE = "the model's page, as it was in April and May 2026"
_ANNOUNCED = "OpenAI's announcement"
_TIERS_OF_USERS = "https://community.openai.com/t/1104758, where users of each tier named theirs"
_FIDELITY = "the parameter types name 1.5 and 1-mini only; users of 2.5 report that it is refused, as 2 refuses it by the guide"
_MEASURED_INPUT = "the range of prices that ComfyUI shows for an input image, without its margin"

_MIB = 1024 * 1024
_COMMON = frozenset({"n", "size", "quality", "user"})
_OUTPUT = frozenset({"background", "output_compression", "output_format"})
_GPT_ACCEPTED = _COMMON | _OUTPUT | {"moderation", "partial_images", "safety_identifier"}
_ANIMATED = frozenset({"frame_count", "frame_duration_ms", "svg"})
_GPT_ONLY = (_GPT_ACCEPTED - _COMMON) | _ANIMATED | {"complexity", "input_fidelity", "markup"}

_Value = TypeVar("_Value")


def _table(kind: Callable[[Any], _Value], **rows: Mapping[str, Any]) -> dict[tuple[str, str], _Value]:
    """Return a table by quality and size."""
    return {(quality, size): kind(value) for quality, row in rows.items() for size, value in row.items()}


_DALLE_2_IMAGE = ImageRule(media_types=("image/png",), max_bytes=4 * _MIB, square=True)

DALL_E_2: Final = ModelProfile(
    name="dall-e-2",
    endpoints=("generations", "edits", "variations"),
    prompt_length=1000,
    max_n=10,
    sizes=("256x256", "512x512", "1024x1024"),
    default_size="1024x1024",
    qualities=("standard",),
    default_quality="standard",
    response_formats=("url", "b64_json"),
    accepted=_COMMON | {"response_format"},
    rejected=_GPT_ONLY | {"style"},
    streams=False,
    edit=evolve(_DALLE_2_IMAGE, alpha_without_mask=True),
    mask=_DALLE_2_IMAGE,
    variation=_DALLE_2_IMAGE,
    released=date(2022, 11, 3),
    deprecated=date(2025, 11, 14),
    shut_down=date(2026, 5, 12),
    replacement="gpt-image-2.5-flare",
    price=Price(
        per_image=_table(Decimal, standard={"256x256": "0.016", "512x512": "0.018", "1024x1024": "0.020"}),
        list_price=True,
    ),
    tiers={1: (5, None), 2: (50, None), 3: (100, None), 4: (100, None), 5: (500, None)},
    sources={
        "": "the Images API reference of 2023",
        "qualities": f"{_OPENAPI}: standard; since the spring of 2025 users report that OpenAI refuses the parameter: "
        "https://github.com/langchain-ai/langchain-community/issues/106",
        "released": _ANNOUNCED,
        "batch_share": _NO_BATCH,
        "deprecated": _DEPRECATIONS,
        "shut_down": f"{_DEPRECATIONS}; {_PACKAGE}",
        "replacement": f"{_DEPRECATIONS}: GPT Image; this one is the nearest to it in price",
        "price": "OpenAI's image guide of 2025",
        "tiers": f"{_TIERS_OF_USERS}; others were held to 5 where 50 was documented",
    },
)

DALL_E_3: Final = ModelProfile(
    name="dall-e-3",
    endpoints=("generations",),
    prompt_length=4000,
    max_n=1,
    sizes=("1024x1024", "1792x1024", "1024x1792"),
    default_size="1024x1024",
    qualities=("standard", "hd"),
    default_quality="standard",
    response_formats=("url", "b64_json"),
    styles=("vivid", "natural"),
    accepted=_COMMON | {"response_format", "style"},
    rejected=_GPT_ONLY,
    streams=False,
    released=date(2023, 11, 6),
    deprecated=date(2025, 11, 14),
    shut_down=date(2026, 5, 12),
    replacement="gpt-image-2.5-sunburst",
    price=Price(
        per_image=_table(
            Decimal,
            standard={"1024x1024": "0.04", "1792x1024": "0.08", "1024x1792": "0.08"},
            hd={"1024x1024": "0.08", "1792x1024": "0.12", "1024x1792": "0.12"},
        ),
        list_price=True,
    ),
    tiers={1: (5, None), 2: (7, None), 3: (15, None), 4: (15, None), 5: (50, None)},
    sources={
        "": f"{_OPENAPI}; {_PACKAGE}",
        "released": _ANNOUNCED,
        "batch_share": _NO_BATCH,
        "deprecated": _DEPRECATIONS,
        "shut_down": f"{_DEPRECATIONS}; {_PACKAGE}",
        "replacement": f"{_DEPRECATIONS}: GPT Image; this one is the choice of OpenAI for quality",
        "price": "OpenAI's price page while the model lived",
        "tiers": f"{_TIERS_OF_USERS}; for tier 3 they name 7 to 15",
    },
)

_GPT_IMAGE = ImageRule(
    media_types=("image/png", "image/jpeg", "image/webp"), max_bytes=50 * _MIB, max_images=16
)
_GPT_OVERLAY = ImageRule(media_types=("image/png",), max_bytes=50 * _MIB)

_GPT_SOURCES = {
    "batch_share": _BATCH_PRICES,
    "complexities": "the parameter types name no model, the guide 2.6 only: neither accepted nor rejected here",
    "mask": f"{_GUIDE}: the reference says less than 4 MB, the guide less than 50 MB",
    "moderations": f"{_OPENAPI}, where only the JSON form of an edit takes it",
    "output_formats": f"{_GUIDE}: gif and svg since 2.6",
    "price": _PRICES,
}

GPT_IMAGE_1: Final = ModelProfile(
    name="gpt-image-1",
    endpoints=("generations", "edits"),
    prompt_length=32_000,
    max_n=10,
    sizes=("1024x1024", "1536x1024", "1024x1536", "auto"),
    default_size="auto",
    qualities=("low", "medium", "high", "auto"),
    default_quality="auto",
    backgrounds=("transparent", "opaque", "auto"),
    output_formats=("png", "jpeg", "webp"),
    moderations=("auto", "low"),
    complexities=("low", "medium", "high"),
    input_fidelities=("high", "low"),
    accepted=_GPT_ACCEPTED | {"input_fidelity"},
    rejected=_ANIMATED | {"markup", "response_format", "style"},
    streams=True,
    edit=_GPT_IMAGE,
    mask=_GPT_OVERLAY,
    released=date(2025, 4, 23),
    deprecated=date(2026, 4, 22),
    shut_down=date(2026, 10, 23),
    replacement="gpt-image-2.5-sunburst",
    price=Price(text_input=Decimal(5), image_input=Decimal(10), image_output=Decimal(40), list_price=True),
    batch_share=Decimal("0.5"),
    output_tokens=OutputTokens(
        table=_table(
            int,
            low={"1024x1024": 272, "1024x1536": 408, "1536x1024": 400},
            medium={"1024x1024": 1056, "1024x1536": 1584, "1536x1024": 1568},
            high={"1024x1024": 4160, "1024x1536": 6240, "1536x1024": 6208},
        ),
        per_partial_image=100,
    ),
    input_tokens=InputTokens(typical=194, most=452, high_fidelity=6240, text=32),
    sources={
        **_GPT_SOURCES,
        "": f"{_PACKAGE}; {_OPENAPI}",
        "released": _ANNOUNCED,
        "deprecated": _DEPRECATIONS,
        "shut_down": f"{_DEPRECATIONS}; {_PACKAGE}",
        "replacement": f"{_DEPRECATIONS}; {_PACKAGE}",
        "output_tokens": _GUIDE,
        "input_tokens": "OpenAI's vision guide of 2025 (65 tokens, and 129 for each tile of 512 pixels; the most is "
        "for 3:1; high fidelity adds 4160 for a square, 6240 for others); "
        "https://community.openai.com/t/1281361 for the text",
    },
)

GPT_IMAGE_1_MINI: Final = evolve(
    GPT_IMAGE_1,
    name="gpt-image-1-mini",
    input_fidelities=("low",),
    released=date(2025, 10, 6),
    deprecated=date(2026, 6, 2),
    shut_down=date(2026, 12, 1),
    replacement="gpt-image-2.6-flare",
    price=Price(
        text_input=Decimal(2),
        image_input=Decimal("2.5"),
        image_output=Decimal(8),
        guide=_table(
            Decimal,
            low={"1024x1024": "0.005", "1024x1536": "0.006", "1536x1024": "0.006"},
            medium={"1024x1024": "0.011", "1024x1536": "0.015", "1536x1024": "0.015"},
            high={"1024x1024": "0.036", "1024x1536": "0.052", "1536x1024": "0.052"},
        ),
        list_price=True,
    ),
    sources={
        **GPT_IMAGE_1.sources,
        "input_fidelities": f"{_PACKAGE}: low only; {_OPENAPI}: not at all",
        "shut_down": _DEPRECATIONS,
        "replacement": f"{_DEPRECATIONS}, which named 2.5 until October",
        "price": f"{_PRICES}; the guide's prices of images are higher than those of their tokens",
        "output_tokens": "those of gpt-image-1, by which Azure bills",
    },
)

GPT_IMAGE_1_5: Final = evolve(
    GPT_IMAGE_1,
    name="gpt-image-1.5",
    snapshots=("gpt-image-1.5-2025-12-16",),
    released=date(2025, 12, 16),
    deprecated=date(2026, 6, 2),
    shut_down=date(2026, 12, 1),
    replacement="gpt-image-2.6-sunburst",
    price=Price(
        text_input=Decimal(5),
        image_input=Decimal(8),
        image_output=Decimal(32),
        text_output=Decimal(10),
        list_price=True,
    ),
    sources={
        **GPT_IMAGE_1.sources,
        "shut_down": _DEPRECATIONS,
        "replacement": f"{_DEPRECATIONS}, which named 2.5 until October",
        "output_tokens": "those of gpt-image-1, which give every price of the guide",
    },
)

CHATGPT_IMAGE_LATEST: Final = evolve(GPT_IMAGE_1_5, name="chatgpt-image-latest", snapshots=())

GPT_IMAGE_2: Final = evolve(
    GPT_IMAGE_1,
    name="gpt-image-2",
    snapshots=("gpt-image-2-2026-04-21",),
    size_rule=SizeRule(multiple=16, max_edge=3840, max_ratio=3, min_pixels=655_360, max_pixels=8_294_400),
    input_fidelities=(),
    accepted=_GPT_ACCEPTED,
    rejected=_ANIMATED | {"input_fidelity", "markup", "response_format", "style"},
    released=date(2026, 4, 21),
    deprecated=None,
    shut_down=None,
    replacement=None,
    price=Price(text_input=Decimal(5), image_input=Decimal(8), image_output=Decimal(30), list_price=True),
    output_tokens=OutputTokens(factors={"low": 16, "medium": 48, "high": 96}, per_partial_image=100),
    input_tokens=InputTokens(typical=1250, most=1500, text=32),
    tiers={1: (5, 100_000), 2: (20, 250_000), 3: (50, 800_000), 4: (150, 3_000_000), 5: (250, 8_000_000)},
    sources={
        **_GPT_SOURCES,
        "": f"{_PACKAGE}; {_OPENAPI}",
        "size_rule": _GUIDE,
        "backgrounds": f"{_PACKAGE}: transparent is in preview; users report in October 2026 that it is refused",
        "input_fidelities": f"{_PACKAGE}; {_GUIDE}: always high",
        "released": "the date of its snapshot",
        "output_tokens": "https://community.openai.com/t/1382699, a formula that gives every price of the guide",
        "input_tokens": _MEASURED_INPUT,
        "tiers": _MODEL_PAGE,
    },
)

GPT_IMAGE_2_5_SUNBURST: Final = evolve(
    GPT_IMAGE_2,
    name="gpt-image-2.5-sunburst",
    snapshots=("gpt-image-2.5-sunburst-2026-09-08",),
    qualities=("low", "medium", "high", "xhigh", "max", "auto"),
    accepted=_GPT_ACCEPTED | {"markup"},
    rejected=_ANIMATED | {"input_fidelity", "response_format", "style"},
    markup=_GPT_OVERLAY,
    released=date(2026, 9, 8),
    output_tokens=OutputTokens(
        factors={"low": 16, "medium": 24, "high": 48, "xhigh": 64, "max": 96}, per_partial_image=100
    ),
    tiers={},
    sources={
        **_GPT_SOURCES,
        "": _PACKAGE,
        "size_rule": _GUIDE,
        "input_fidelities": _FIDELITY,
        "released": "the date of its snapshot",
        "markup": f"{_PACKAGE}: no size is named, so that of a mask is taken",
        "output_tokens": "an estimate: the formula of gpt-image-2 with factors that fit the prices of OpenAI's "
        "calculator as other clients quote them",
        "input_tokens": _MEASURED_INPUT,
    },
)

GPT_IMAGE_2_5_FLARE: Final = evolve(
    GPT_IMAGE_2_5_SUNBURST, name="gpt-image-2.5-flare", snapshots=("gpt-image-2.5-flare-2026-09-08",)
)

GPT_IMAGE_2_6_SUNBURST: Final = evolve(
    GPT_IMAGE_2_5_SUNBURST,
    name="gpt-image-2.6-sunburst",
    snapshots=(),
    output_formats=("png", "jpeg", "webp", "gif", "svg"),
    accepted=_GPT_ACCEPTED | _ANIMATED | {"complexity", "markup"},
    rejected=frozenset({"input_fidelity", "response_format", "style"}),
    released=date(2026, 11, 4),
    batch_share=None,
    output_tokens=OutputTokens(per_partial_image=100),
    sources={
        **_GPT_SOURCES,
        "batch_share": f"{_PRICES} and has no Batch prices for 2.6; users report that the Batch API does not take it",
        "": _PACKAGE,
        "size_rule": "that of gpt-image-2, as relays find it; frames of a GIF may be smaller: "
        "https://docs.apiyi.com/en/live/2026-11/gpt-image-2-6-gif-size-table",
        "qualities": "the parameter types name xhigh and max for 2.5 only; https://apidog.com/blog/gpt-image-2-6-api "
        "has them from OpenAI's guide for 2.6, too",
        "backgrounds": "https://docs.apiyi.com/en/faq/gpt-image-output-format-background, where every pair with a format "
        "was tried: only jpeg cannot be transparent; the parameter types name png and webp only",
        "complexities": f"{_GUIDE}: high when not given",
        "input_fidelities": _FIDELITY,
        "output_formats": f"{_GUIDE}; {_PACKAGE}: gif and svg are a preview that a project must have",
        "released": _ANNOUNCED,
        "markup": f"{_PACKAGE}, which name 2.5; the guide names 2.6, too",
        "output_tokens": "not published; relays measure three to four times those of 2.5 for low and medium",
        "input_tokens": _MEASURED_INPUT,
    },
)

GPT_IMAGE_2_6_FLARE: Final = evolve(GPT_IMAGE_2_6_SUNBURST, name="gpt-image-2.6-flare")

# fmt: off
PROFILES: Final = (
    DALL_E_2, DALL_E_3, GPT_IMAGE_1, GPT_IMAGE_1_MINI, GPT_IMAGE_1_5, CHATGPT_IMAGE_LATEST, GPT_IMAGE_2,
    GPT_IMAGE_2_5_SUNBURST, GPT_IMAGE_2_5_FLARE, GPT_IMAGE_2_6_SUNBURST, GPT_IMAGE_2_6_FLARE,
)
# fmt: on
"""Every known model, oldest first."""
