"""Table of other servers of the Images API: their routes, parameters and responses.

Each entry of :data:`QUIRKS` is one server. The emulator draws its usual images and ignores the parameters
that only that server has: it emulates the conversation. The entries were written from the sources and
documentation that they cite. None of the servers was run.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, cast

from attrs import evolve, field, frozen
from starlette.responses import JSONResponse, Response

from imagesdk.emulator import error_shapes
from imagesdk.emulator.answers import Refusal, invalid_value, missing_parameter
from imagesdk.emulator.models import MODELS, Endpoint, Model, UploadRule
from imagesdk.emulator.parameters import Integer, Text
from imagesdk.emulator.rules import CheckedRequest, Fields
from imagesdk.models.profile import ModelProfile

__all__ = ["QUIRKS", "Quirk", "find", "resolve_deployment"]

StoreImage: TypeAlias = Callable[[bytes], str]
"""Stores an image and returns the path and query of its URL."""

_JSON, _FORM = "application/json", "multipart/form-data"
_MIB = 1024 * 1024
_MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens")
_ZEROS = {**dict.fromkeys(_COUNTS, 0), "input_tokens_details": {"text_tokens": 0, "image_tokens": 0}}
_UPLOADS = UploadRule(tuple(_MEDIA_TYPES.values()), 50 * _MIB, max_images=16, mask=True, references=True)


@frozen(kw_only=True)
class Quirk:
    """Differences of one server from OpenAI."""

    source: str
    root: str = "/v1"
    """Path of the base URL."""
    also_at: tuple[str, ...] = ()
    """Further roots of the routes."""
    accepts: Mapping[Endpoint, tuple[str, ...]] = field(factory=lambda: {"generations": (_JSON,)})
    """Media types of requests by endpoint. A missing endpoint is a 404."""
    model: str = "model"
    """Default model: the name under which the server runs its model."""
    needs_model: bool = False
    unsupported: tuple[str, ...] = ()
    """Parameters that the server rejects. It ignores other unknown ones."""
    max_n: int = 10
    max_edge: int = 2048
    """Maximum edge of an image in pixels."""
    cooldown: float | None = None
    """Seconds without service after a 429 (:class:`~imagesdk.emulator.limits.CoolingWindow`)."""
    size: str = "1024x1024"
    """Size by default and for ``auto``."""
    wrong_size: str | None = None
    """Size of images if the requested size is invalid. ``None`` rejects an invalid size."""
    any_size: str | None = None
    """Size of all images, whatever the request says."""
    output_format: str = "png"
    response_formats: tuple[str, ...] = ("b64_json", "url")
    """Accepted formats. The first one is the default, and ``file`` is the bare image."""
    urls: str = "/images/{name}"
    relative: bool = False
    data_urls: bool = False
    """Whether base64 is wrapped in a ``data:`` URL."""
    created: bool = True
    fields: Mapping[str, object] = field(factory=dict[str, object])
    """Further fields of responses."""
    entry: Mapping[str, object] = field(factory=dict[str, object])
    """Further fields of each image's entry."""
    counted: bool = False
    """Whether each entry contains its ``index``."""
    echoes: bool = False
    """Whether responses repeat the settings."""
    refuse: error_shapes.Shape = error_shapes.as_object
    openai: bool = False
    """Whether the checks and responses are OpenAI's."""
    deployments: bool = False

    def paths(self, endpoint: Endpoint) -> Sequence[str]:
        """Return the routes of an endpoint."""
        return [f"{root}/images/{endpoint}" for root in (self.root, *self.also_at)]

    def to_openai(self, endpoint: Endpoint, fields: Fields) -> Fields:
        """Return the fields under OpenAI's names.

        Clients of gateways send the only image of a JSON edit as ``"image": URL``, those of xAI as
        ``"image": {"url": URL}``.
        """
        image = fields.first("image")
        if endpoint != "edits" or fields.form or "images" in fields.values:
            return fields
        if isinstance(image, Mapping) and not self.openai:
            image = cast("Mapping[str, object]", image).get("url")
        elif not isinstance(image, str):
            return fields
        values = {name: value for name, value in fields.values.items() if name != "image"}
        return evolve(fields, values={**values, "images": [[{"image_url": image}]]})

    def check(self, endpoint: Endpoint, fields: Fields) -> CheckedRequest:
        """Return the checked request with its defaults."""
        form = fields.form
        for name in self.unsupported:
            if fields.first(name) is not None:
                raise Refusal(f"Argument not supported: {name}", param=name, code="unsupported_parameter")
        if fields.first("prompt") is None:
            raise missing_parameter("prompt")
        prompt = Text().read("prompt", fields.first("prompt"), form=form)
        model = fields.first("model")
        if model is None and self.needs_model:
            raise missing_parameter("model")
        name = self.model if model is None else Text().read("model", model, form=form)
        given = fields.first("response_format")
        if given is not None and given not in self.response_formats:
            raise invalid_value("response_format", str(given), self.response_formats)
        output_format = fields.first("output_format") or self.output_format
        if output_format not in _MEDIA_TYPES:
            raise invalid_value("output_format", str(output_format), list(_MEDIA_TYPES))
        n = fields.first("n")
        return CheckedRequest(
            endpoint=endpoint,
            model=Model(profile=ModelProfile(name), parameters={}, uploads={"edits": _UPLOADS}),
            model_name=name,
            values={
                "prompt": prompt,
                "n": 1 if n is None else Integer(1, self.max_n).read("n", n, form=form),
                "size": self._size(fields.first("size")),
                "output_format": output_format,
                "response_format": given or self.response_formats[0],
            },
        )

    def answer(
        self, checked: CheckedRequest, painted: Sequence[bytes], created: int, keep: StoreImage, origin: str
    ) -> Response:
        """Return the response with the images ``painted``."""
        media_type = _MEDIA_TYPES[checked.output_format]
        kind = checked.text("response_format")
        if kind == "file":
            return Response(painted[0], media_type=media_type)
        entries = [self._entry(kind, image, media_type, keep, origin) for image in painted]
        if self.counted:
            entries = [{"index": index, **entry} for index, entry in enumerate(entries)]
        answer: dict[str, object] = {"created": created} if self.created else {}
        answer |= {**self.fields, "data": entries}
        if "output_format" in self.fields:
            answer["output_format"] = checked.output_format
        if self.echoes:
            size = checked.text("size")
            answer |= {"size": size, "quality": "high", "output_format": checked.output_format}
        return JSONResponse(answer)

    def _entry(
        self, kind: str, image: bytes, media_type: str, keep: StoreImage, origin: str
    ) -> dict[str, object]:
        if kind == "url":
            kept = re.sub(r"\A/images/([^?]+)", lambda found: self.urls.format(name=found[1]), keep(image))
            kept = kept if kept.count("?") < 2 else "&".join(kept.rsplit("?", 1))
            return {**self.entry, "url": kept if self.relative else origin + kept}
        text = b64encode(image).decode("ascii")
        return {**self.entry, "b64_json": f"data:{media_type};base64,{text}" if self.data_urls else text}

    def _size(self, given: object) -> str:
        if self.any_size is not None:
            return self.any_size
        if (given is None or given == "auto") and self.wrong_size is None:
            return self.size
        size = str(given or self.size)
        found = re.fullmatch(r"(\d{2,4})x(\d{2,4})", size, re.ASCII)
        if found is not None and all(64 <= int(edge) <= self.max_edge for edge in found.groups()):
            return size
        if self.wrong_size is None:
            raise Refusal(f"Invalid size '{size}'.", param="size", code="invalid_value")
        return self.wrong_size


def resolve_deployment(
    fields: Fields, path: Mapping[str, str], query: Mapping[str, str]
) -> tuple[Fields, str]:
    """Return a request to Azure in OpenAI's form, and the name of its deployment."""
    classic = path.get("deployment")
    named = fields.first("model")
    if classic is not None and "api-version" not in query:
        raise Refusal("Resource not found", status=404, code="404")
    name = classic or named  # a model beside a deployment in the path is ignored
    if not isinstance(name, str) or name == "missing":
        raise Refusal(
            "The API deployment for this resource does not exist. If you created the deployment within the last 5 "
            "minutes, please wait a moment and try again.",
            status=404,
            code="DeploymentNotFound",
        )
    # A deployment that is not named after a model is one of gpt-image-2.
    known = any(name in model.names for model in MODELS)
    return evolve(fields, values={**fields.values, "model": [name if known else "gpt-image-2"]}), name


_OPENAI = Quirk(
    source="https://platform.openai.com/docs/api-reference/images",
    accepts={"generations": (_JSON,), "edits": (_JSON, _FORM), "variations": (_FORM,)},
    openai=True,
)
QUIRKS: Mapping[str, Quirk] = {
    "azure": Quirk(
        source="https://learn.microsoft.com/azure/ai-foundry/openai/how-to/dall-e",
        root="/openai/v1",
        also_at=("/openai/deployments/{deployment}",),
        accepts={"generations": (_JSON,), "edits": (_FORM, _JSON)},
        refuse=error_shapes.as_azure,
        openai=True,
        deployments=True,
    ),
    "deepinfra": Quirk(
        source="https://deepinfra.com/docs/openai_api (images)",
        root="/v1/openai",
        needs_model=True,
        output_format="jpeg",
        response_formats=("b64_json",),
        entry={"revised_prompt": None, "url": None},
    ),
    "fastapi": Quirk(
        source="servers of one model on FastAPI, which answer 422 beyond limits of their own",
        accepts={"generations": (_JSON,), "edits": (_FORM,)},
        max_n=4,
        max_edge=1024,
        refuse=error_shapes.as_detail,
    ),
    "gateway": Quirk(
        source="users of relays report HTTP 200 around errors, data URLs, and other sizes and formats",
        accepts={"generations": (_JSON,), "edits": (_FORM, _JSON)},
        any_size="1024x768",
        output_format="webp",
        data_urls=True,
        refuse=error_shapes.as_success,
    ),
    "gemini": Quirk(
        source="https://ai.google.dev/gemini-api/docs/openai",
        root="/v1beta/openai",
        needs_model=True,
        response_formats=("b64_json",),
        created=False,
        refuse=error_shapes.as_google,
    ),
    "litellm": Quirk(
        source="litellm 1.109.1, proxy/image_endpoints",
        also_at=("", "/openai/deployments/{deployment}"),
        accepts={"generations": (_JSON,), "edits": (_FORM,)},
        cooldown=5,
        echoes=True,
    ),
    "localai": Quirk(
        source="https://github.com/mudler/LocalAI core/http/endpoints/openai/image.go, 82c191afa",
        also_at=("",),
        model="stablediffusion",
        size="512x512",
        wrong_size="512x512",
        response_formats=("url", "b64_json"),
        urls="/generated-images/{name}",
        fields={"id": "0f9a", "usage": _ZEROS},
        entry={"embedding": None},
        counted=True,
        refuse=error_shapes.as_number,
    ),
    "sglang": Quirk(
        source="https://github.com/sgl-project/sglang multimodal_gen, image_api.py, 0230ddc",
        accepts={"generations": (_JSON,), "edits": (_FORM,)},
        response_formats=("url", "b64_json"),
        urls="/v1/images/{name}/content?variant=0",
        relative=True,
        fields={"id": "img-1", "peak_memory_mb": 0.0, "inference_time_s": 0.5, "usage": {"image_count": 1}},
        entry={"revised_prompt": None, "file_path": None},
        refuse=error_shapes.as_detail,
    ),
    "stable-diffusion.cpp": Quirk(
        source="https://github.com/leejet/stable-diffusion.cpp examples/server/api.md, 97d29908",
        accepts={"generations": (_JSON,), "edits": (_FORM,)},
        model="sd-cpp-local",
        size="512x512",
        response_formats=("b64_json",),
        fields={"output_format": "png"},
        refuse=error_shapes.as_text,
    ),
    "together": Quirk(
        source="together 3.1.1, types/images.py",
        needs_model=True,
        output_format="jpeg",
        response_formats=("url", "base64"),
        created=False,
        fields={"id": "nz-1", "model": "black-forest-labs/FLUX.1-schnell", "object": "list"},
        counted=True,
    ),
    "vllm-omni": Quirk(
        source="https://github.com/vllm-project/vllm-omni docs/serving/image_generation_api.md",
        response_formats=("b64_json", "file"),
        entry={"url": None, "revised_prompt": None},
        refuse=error_shapes.as_detail,
    ),
    "xai": Quirk(
        source="https://docs.x.ai/docs/guides/image-generations",
        accepts={"generations": (_JSON,), "edits": (_JSON,)},
        needs_model=True,
        unsupported=("size", "style"),
        output_format="jpeg",
        response_formats=("url", "b64_json"),
        fields={"usage": {"cost_in_usd_ticks": 200_000_000}},
        entry={"mime_type": "image/jpeg", "revised_prompt": ""},
    ),
}
"""Every other server by name."""


def find(name: str | None) -> Quirk:
    """Return the entry of a server, or raise :class:`ValueError`. ``None`` is OpenAI."""
    if name is None:
        return _OPENAI
    if name not in QUIRKS:
        raise ValueError(f"quirks is one of {', '.join(QUIRKS)}, not {name!r}")
    return QUIRKS[name]
