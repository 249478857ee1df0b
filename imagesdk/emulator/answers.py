"""Error responses of the API: one exception that carries the error object, and OpenAI's wordings.

Checks raise :class:`Refusal`, and only the application turns it into a response. Every error object has the
four keys ``message``, ``type``, ``param`` and ``code``, as OpenAI's has had since June 2023.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = [
    "Refusal",
    "duplicate_parameter",
    "invalid_type",
    "invalid_value",
    "quoted_list",
    "missing_parameter",
    "model_not_found",
    "mutually_exclusive",
    "out_of_bounds",
    "unknown_parameter",
    "unsupported",
]

_KINDS: Mapping[type, str] = {
    bool: "a boolean",  # before int, of which it is a subclass
    int: "an integer",
    float: "a decimal number",
    str: "a string",
    list: "an array",
    dict: "an object",
}


class Refusal(Exception):  # noqa: N818 - a response of the server, not an error of this program
    """Error response to a request."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "invalid_request_error",  # noqa: A002 - the name of the field in the response
        param: str | None = None,
        code: str | None = None,
        details: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.type = type
        self.param = param
        self.code = code
        self.details: dict[str, object] = dict(details or {})
        """Further keys of the error object, such as ``moderation_details``."""
        self.headers: dict[str, str] = dict(headers or {})

    def body(self) -> dict[str, object]:
        """Return the JSON body of the response."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": {**error, **self.details}}


def quoted_list(values: Sequence[str]) -> str:
    """Return ``'a', 'b', and 'c'``."""
    quoted = [f"'{value}'" for value in values]
    return " and ".join(quoted) if len(quoted) < 3 else f"{', '.join(quoted[:-1])}, and {quoted[-1]}"


def missing_parameter(name: str) -> Refusal:
    """Return the error for a request without a required parameter."""
    return Refusal(f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")


def unknown_parameter(name: str) -> Refusal:
    """Return the error for a parameter that the model does not have."""
    return Refusal(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")


def duplicate_parameter(name: str) -> Refusal:
    """Return the error for a form that repeats a single-valued field."""
    return Refusal(
        f"Duplicate parameter: '{name}'. You provided multiple values for this parameter, whereas only one is "
        "allowed. If you are trying to provide a list of values, use the array syntax instead e.g. "
        f"'{name}[]=<value>'.",
        param=name,
        code="duplicate_parameter",
    )


def invalid_type(name: str, expected: str, value: object) -> Refusal:
    """Return the error for a value of the wrong JSON type."""
    given = next((text for kind, text in _KINDS.items() if isinstance(value, kind)), "a file")
    text = f"Invalid type for '{name}': expected {expected}, but got {given} instead."
    return Refusal(text, param=name, code="invalid_type")


def invalid_value(name: str, value: str, allowed: Sequence[str]) -> Refusal:
    """Return the error for a string outside the list of ``allowed`` values."""
    several = f"Supported values are: {quoted_list(allowed)}."
    rest = several if len(allowed) > 1 else f"Value must be '{allowed[0]}'."
    return Refusal(f"Invalid value: '{value}'. {rest}", param=name, code="invalid_value")


def out_of_bounds(name: str, problem: str, expected: str, given: str, code: str) -> Refusal:
    """Return the error for a value that is too long, too large or the like."""
    text = f"Invalid '{name}': {problem}. Expected {expected}, but got {given} instead."
    return Refusal(text, param=name, code=code)


def model_not_found(name: str) -> Refusal:
    """Return the error for a model that does not exist on the day in question."""
    return Refusal(f"The model '{name}' does not exist.", status=404, param="model", code="model_not_found")


def mutually_exclusive(first: str, second: str) -> Refusal:
    """Return the error for two parameters that exclude each other."""
    text = f"Mutually exclusive parameters: '{first}' and '{second}'. Provide only one of them."
    return Refusal(text, param=first, code="mutually_exclusive_parameters")


def unsupported(name: str, message: str, code: str = "unsupported_parameter") -> Refusal:
    """Return the error for a feature that a GPT Image model lacks."""
    return Refusal(message, type="image_generation_user_error", param=name, code=code)
