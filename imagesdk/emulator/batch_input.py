"""Input file of a batch: the places of its lines, and the errors for which a batch fails in validation.

The codes and texts of errors are those that users of the API report.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Literal, TypeAlias, cast

from attrs import define, field

from imagesdk.emulator.answers import Refusal
from imagesdk.emulator.bodies import parse_object
from imagesdk.emulator.models import MODELS, Endpoint, models_on
from imagesdk.emulator.quirks import resolve_deployment
from imagesdk.emulator.rules import CheckedRequest, Fields, check, default_model

__all__ = ["ENDPOINTS", "MAX_INPUT", "MAX_LINES", "BatchInput", "BatchLine", "Entry", "batch_error"]

ENDPOINTS: Mapping[str, Endpoint] = {"/v1/images/generations": "generations", "/v1/images/edits": "edits"}
"""Image endpoints of the Batch API."""
MAX_INPUT = 200 * 1024 * 1024
"""Largest size of an input file in bytes."""
Entry: TypeAlias = tuple[Literal["whole", "half", "no_status", "batch_expired", "batch_cancelled"], int]
"""Line of a file: how it looks, and the number of its request in the input file."""
MAX_LINES = 50_000
"""Largest number of requests in a file."""
_MAX_ERRORS = 100
_REQUIRED = ("custom_id", "method", "url", "body")


def batch_error(
    code: str, message: str, param: str | None = None, line: int | None = None
) -> dict[str, object]:
    """Return an error of a batch as a JSON object of the API."""
    return {"code": code, "line": line, "message": message, "param": param}


@define
class BatchLine:
    """One request of a batch."""

    custom_id: str
    body: Mapping[str, object]
    deployments: bool = False

    def check(self, endpoint: Endpoint, day: date | None) -> CheckedRequest:
        """Return the checked request, or raise :class:`~imagesdk.emulator.answers.Refusal`."""
        if self.body.get("stream"):
            raise Refusal(
                "Streaming is not supported in the Batch API.", param="stream", code="unsupported_parameter"
            )
        return check(endpoint, self.fields, day)

    @property
    def fields(self) -> Fields:
        """The body as fields."""
        fields = Fields(values={name: [value] for name, value in self.body.items()})
        return resolve_deployment(fields, {}, {})[0] if self.deployments else fields


@define
class BatchInput:
    """Lines of an input file, which are parsed again whenever they are read."""

    data: bytes = field(repr=False)
    url: str
    day: date | None
    deployments: bool = False
    """Whether a model is the name of a deployment, as on Azure."""
    model: str = field(default="", init=False)
    tokens: int = field(default=0, init=False)
    """Input tokens, estimated as four bytes of text each."""
    _starts: array[int] = field(factory=lambda: array("Q"), init=False, repr=False)
    _ends: array[int] = field(factory=lambda: array("Q"), init=False, repr=False)

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint of every line."""
        return ENDPOINTS[self.url]

    def __getitem__(self, index: int) -> BatchLine:
        given = json.loads(self.data[self._starts[index] : self._ends[index]])
        return BatchLine(given["custom_id"], given["body"], self.deployments)

    def validate(self) -> list[dict[str, object]]:
        """Find the lines, and return the errors for which the batch fails. This is slow and belongs in a thread."""
        errors: list[dict[str, object]] = []
        seen: set[str] = set()
        for number, (start, end) in enumerate(self._places(), start=1):
            if len(self._starts) == MAX_LINES:
                text = f"The batch input file has too many requests. The maximum is {MAX_LINES}."
                return [batch_error("too_many_requests", text)]
            self._starts.append(start)
            self._ends.append(end)
            found = self._line_error(number, self.data[start:end], seen)
            if found is not None:
                errors.append(found)
                if len(errors) == _MAX_ERRORS:
                    break
        if not self._starts:
            errors.append(
                batch_error(
                    "empty_file", "The batch input file is empty. Please ensure it has at least one request."
                )
            )
        return errors

    def _places(self) -> Iterator[tuple[int, int]]:
        """Yield the start and the end of every line that is not blank."""
        start, size = 0, len(self.data)
        while start < size:
            end = self.data.find(b"\n", start)
            end = size if end < 0 else end
            if self.data[start:end].strip():
                yield start, end
            start = end + 1

    def _line_error(self, number: int, text: bytes, seen: set[str]) -> dict[str, object] | None:
        given = parse_object(text)
        if given is None:
            return batch_error("invalid_json_line", "This line is not parseable as valid JSON.", line=number)
        for name in _REQUIRED:
            if given.get(name) is None:
                text_of = f"Missing required parameter: '{name}'."
                return batch_error("missing_required_parameter", text_of, name, number)
        custom_id, body = given["custom_id"], given["body"]
        if not isinstance(custom_id, str):
            text_of = "Invalid type for 'custom_id': expected a string."
            return batch_error("invalid_type", text_of, "custom_id", number)
        if given["method"] != "POST":
            text_of = f"Invalid value: '{given['method']}'. Value must be 'POST'."
            return batch_error("invalid_value", text_of, "method", number)
        if given["url"] != self.url:
            text_of = "The URL provided for this request does not match the batch endpoint."
            return batch_error("invalid_url", text_of, "url", number)
        if not isinstance(body, dict):
            return batch_error("invalid_type", "Invalid type for 'body': expected an object.", "body", number)
        if custom_id in seen:
            text_of = (
                f"The custom_id '{custom_id}' for this request is a duplicate of another request. The custom_id parameter "
                "must be unique for each request in a batch."
            )
            return batch_error("duplicate_custom_id", text_of, "custom_id", number)
        seen.add(custom_id)
        return self._model_error(number, cast("Mapping[str, object]", body))

    def _model_error(self, number: int, body: Mapping[str, object]) -> dict[str, object] | None:
        prompt = body.get("prompt")
        self.tokens += -(-len(prompt.encode(errors="replace")) // 4) if isinstance(prompt, str) else 0
        model = body.get("model")
        if model is None:
            fields = Fields(values={name: [value] for name, value in body.items()})
            model = default_model(self.endpoint, fields, self.day)
        if self.model and model != self.model:
            text = (
                f"The model '{model}' for this request does not match the rest of the batch. Each batch must contain "
                "requests for a single model."
            )
            return batch_error("mismatched_model", text, "body.model", number)
        self.model = str(model)
        if self.deployments:
            return None
        served = [one for one in models_on(self.day) if one.tokens and self.endpoint in one.parameters]
        if not any(model in one.names for one in served):
            known = any(model in one.names for one in MODELS)
            text = f"The provided model '{model}' is not supported by the Batch API."
            return batch_error(
                "model_not_supported" if known else "model_not_found", text, "body.model", number
            )
        return None
