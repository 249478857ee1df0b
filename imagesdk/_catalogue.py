"""The facts about each known model: the one place where limits, prices and dates stand, each with its source.

The newest source is the ``openai`` package; where sources disagree, the more permissive one is taken, and the
server decides. All of it is as of 2026-11-23. A profile of your own replaces one of these:
:func:`imagesdk.models.register`.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Final

from attrs import evolve

from imagesdk._profile import ImageRule, ModelProfile, OutputTokens, Price, SizeRule

AS_OF: Final = date(2026, 11, 23)

MAKER_EDIT_MODEL: Final = "gpt-image-2"
MAKER_GENERATE_MODEL: Final = "gpt-image-2"
MAKER_VARIATION_MODEL: Final = "dall-e-2"
"""The only model that ever made variations."""

URL_LIFETIME: Final = 3600
"""Seconds that a result URL of the 2023 API works."""
WARNING_DAYS: Final = 60
"""A model whose end is not further away is warned of."""
GIF_FRAMES: Final = (2, 16)
"""The fewest and the most frames of an animation; 9 when not given."""
MAX_FRAME_DURATION: Final = 655_350
"""Milliseconds; 200 when not given, and rounded to 10."""
MAX_PARTIAL_IMAGES: Final = 3
SVG_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
MAX_SAFETY_IDENTIFIER: Final = 128
"""Characters, by the maker's guide."""
MAX_IMAGE_URL: Final = 20_971_520
"""Characters of an ``image_url`` in the JSON form of an edit, data URLs included."""

_PACKAGE = "parameter types of the openai package 3.54.0 (2026-11-17)"
_OPENAPI = "the maker's OpenAPI description (2026-08-21)"
_GUIDE = "the maker's image guide (2026)"
_DEPRECATIONS = "https://platform.openai.com/docs/deprecations"
_PRICES = "the price table of litellm 1.109.1 (2026-11), which cites the maker's price page"
_MODEL_PAGE = "the model's page, as it was in April and May 2026"
_ANNOUNCED = "the maker's announcement"

_MIB = 1024 * 1024
_DALLE_2_PICTURE = ImageRule(media_types=("image/png",), max_bytes=4 * _MIB, square=True)
_COMMON = frozenset({"n", "size", "quality", "user"})
_GPT_ONLY = frozenset(
    {
        "background",
        "complexity",
        "frame_count",
        "frame_duration_ms",
        "input_fidelity",
        "markup",
        "moderation",
        "output_compression",
        "output_format",
        "partial_images",
        "safety_identifier",
        "svg",
    }
)

DALL_E_2: Final = ModelProfile(
    name="dall-e-2",
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
    edit=ImageRule(media_types=("image/png",), max_bytes=4 * _MIB, square=True, alpha_without_mask=True),
    mask=_DALLE_2_PICTURE,
    variation=_DALLE_2_PICTURE,
    released=date(2022, 11, 3),
    deprecated=date(2025, 11, 14),
    shut_down=date(2026, 5, 12),
    replacement="gpt-image-2.5-flare",
    price=Price(
        per_image={
            ("standard", "256x256"): Decimal("0.016"),
            ("standard", "512x512"): Decimal("0.018"),
            ("standard", "1024x1024"): Decimal("0.020"),
        }
    ),
    tiers={1: (5, None), 2: (50, None), 3: (100, None), 4: (100, None), 5: (500, None)},
    sources={
        "": "the Images API reference of 2023",
        "released": _ANNOUNCED,
        "deprecated": _DEPRECATIONS,
        "shut_down": f"{_DEPRECATIONS}; {_PACKAGE}",
        "price": _GUIDE,
        "tiers": "https://community.openai.com/t/1104758, where users of each tier named theirs",
    },
)

DALL_E_3: Final = ModelProfile(
    name="dall-e-3",
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
        per_image={
            ("standard", "1024x1024"): Decimal("0.04"),
            ("standard", "1792x1024"): Decimal("0.08"),
            ("standard", "1024x1792"): Decimal("0.08"),
            ("hd", "1024x1024"): Decimal("0.08"),
            ("hd", "1792x1024"): Decimal("0.12"),
            ("hd", "1024x1792"): Decimal("0.12"),
        }
    ),
    tiers={1: (5, None), 2: (7, None), 3: (15, None), 4: (15, None), 5: (50, None)},
    sources={
        "": f"{_OPENAPI}; {_PACKAGE}",
        "released": _ANNOUNCED,
        "deprecated": _DEPRECATIONS,
        "shut_down": f"{_DEPRECATIONS}; {_PACKAGE}",
        "price": "the maker's price page while the model lived",
        "tiers": "https://community.openai.com/t/1104758, where users of each tier named theirs",
    },
)

_GPT_PICTURE = ImageRule(
    media_types=("image/png", "image/jpeg", "image/webp"), max_bytes=50 * _MIB, max_images=16
)
_GPT_OVERLAY = ImageRule(media_types=("image/png",), max_bytes=50 * _MIB)
_GPT_ACCEPTED = _COMMON | {
    "background",
    "moderation",
    "output_compression",
    "output_format",
    "partial_images",
    "safety_identifier",
}
_ANIMATED = frozenset({"frame_count", "frame_duration_ms", "svg"})

GPT_IMAGE_1: Final = ModelProfile(
    name="gpt-image-1",
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
    edit=_GPT_PICTURE,
    mask=_GPT_OVERLAY,
    released=date(2025, 4, 23),
    deprecated=date(2026, 4, 22),
    shut_down=date(2026, 10, 23),
    replacement="gpt-image-2.5-sunburst",
    price=Price(text_input=Decimal(5), image_input=Decimal(10), image_output=Decimal(40)),
    output_tokens=OutputTokens(
        table={
            ("low", "1024x1024"): 272,
            ("low", "1024x1536"): 408,
            ("low", "1536x1024"): 400,
            ("medium", "1024x1024"): 1056,
            ("medium", "1024x1536"): 1584,
            ("medium", "1536x1024"): 1568,
            ("high", "1024x1024"): 4160,
            ("high", "1024x1536"): 6240,
            ("high", "1536x1024"): 6208,
        },
        per_partial_image=100,
    ),
    sources={
        "": f"{_PACKAGE}; {_OPENAPI}",
        "released": _ANNOUNCED,
        "deprecated": _DEPRECATIONS,
        "shut_down": f"{_DEPRECATIONS}; {_PACKAGE}",
        "mask": f"{_GUIDE}: the reference says 4 MB, the guide 50 MB",
        "price": _PRICES,
        "output_tokens": _GUIDE,
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
    price=Price(text_input=Decimal(2), image_input=Decimal("2.5"), image_output=Decimal(8)),
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
        text_input=Decimal(5), image_input=Decimal(8), image_output=Decimal(32), text_output=Decimal(10)
    ),
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
    price=Price(text_input=Decimal(5), image_input=Decimal(8), image_output=Decimal(30)),
    output_tokens=OutputTokens(factors={"low": 16, "medium": 48, "high": 96}, per_partial_image=100),
    tiers={1: (5, 100_000), 2: (20, 250_000), 3: (50, 800_000), 4: (150, 3_000_000), 5: (250, 8_000_000)},
    sources={
        "": f"{_PACKAGE}; {_OPENAPI}",
        "size_rule": _GUIDE,
        "released": "the date of its snapshot",
        "mask": f"{_GUIDE}: the reference says 4 MB, the guide 50 MB",
        "price": _PRICES,
        "output_tokens": "https://community.openai.com/t/1382699, which gives every price of the guide",
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
        "": f"{_PACKAGE}; {_OPENAPI}",
        "size_rule": _GUIDE,
        "released": "the date of its snapshot",
        "price": _PRICES,
        "output_tokens": "an estimate: the formula of gpt-image-2 with factors that fit the prices of the maker's "
        "calculator as other clients quote them",
    },
)

GPT_IMAGE_2_5_FLARE: Final = evolve(
    GPT_IMAGE_2_5_SUNBURST,
    name="gpt-image-2.5-flare",
    snapshots=("gpt-image-2.5-flare-2026-09-08",),
)

GPT_IMAGE_2_6_SUNBURST: Final = evolve(
    GPT_IMAGE_2_5_SUNBURST,
    name="gpt-image-2.6-sunburst",
    snapshots=(),
    output_formats=("png", "jpeg", "webp", "gif", "svg"),
    accepted=_GPT_ACCEPTED | _ANIMATED | {"complexity", "markup"},
    rejected=frozenset({"input_fidelity", "response_format", "style"}),
    released=date(2026, 11, 4),
    output_tokens=OutputTokens(per_partial_image=100),  # none are published
    sources={
        "": _PACKAGE,
        "size_rule": "that of gpt-image-2, as relays find it",
        "qualities": "the guide names xhigh and max for 2.5 only; relays find that 2.6 takes them, too",
        "released": _ANNOUNCED,
        "price": "https://apidog.com and https://docs.apiyi.com, which report the prices of 2.5",
    },
)

GPT_IMAGE_2_6_FLARE: Final = evolve(GPT_IMAGE_2_6_SUNBURST, name="gpt-image-2.6-flare")

PROFILES: Final = (
    DALL_E_2,
    DALL_E_3,
    GPT_IMAGE_1,
    GPT_IMAGE_1_MINI,
    GPT_IMAGE_1_5,
    CHATGPT_IMAGE_LATEST,
    GPT_IMAGE_2,
    GPT_IMAGE_2_5_SUNBURST,
    GPT_IMAGE_2_5_FLARE,
    GPT_IMAGE_2_6_SUNBURST,
    GPT_IMAGE_2_6_FLARE,
)
"""Every known model, oldest first."""
