"""Emulated moderation: two words in a prompt trigger an error before or after the work.

Errors of the GPT Image family name the categories that the prompt contains: ``"forbidden self-harm"``.
"""

from __future__ import annotations

import re

from imagesdk.emulator.answers import Refusal
from imagesdk.emulator.known_errors import moderation_blocked
from imagesdk.emulator.rules import CheckedRequest

__all__ = ["CENSORED_WORD", "FORBIDDEN_WORD", "moderate_input", "moderate_output"]

FORBIDDEN_WORD = "forbidden"
"""A prompt with this word is rejected before any work."""
CENSORED_WORD = "censored"
"""Images for a prompt with this word are drawn, billed and withheld."""

_CATEGORIES = ("harassment", "self-harm", "sexual", "violence")


def moderate_input(checked: CheckedRequest, request_id: str) -> None:
    """Reject a prompt with :data:`FORBIDDEN_WORD`."""
    if _contains(checked.prompt, FORBIDDEN_WORD):
        text = "Your prompt may contain text that is not allowed by our safety system."
        raise _refusal(checked, "input", request_id, text)


def moderate_output(checked: CheckedRequest, request_id: str) -> None:
    """Reject the images of a prompt with :data:`CENSORED_WORD`."""
    if _contains(checked.prompt, CENSORED_WORD):
        text = (
            "Image descriptions generated from your prompt may contain text that is not allowed by our safety system. "
            "If you believe this was done in error, your request may succeed if retried, or by adjusting your prompt."
        )
        raise _refusal(checked, "output", request_id, text)


def _contains(prompt: str, word: str) -> bool:
    return re.search(rf"\b{word}\b", prompt, re.IGNORECASE) is not None


def _refusal(checked: CheckedRequest, stage: str, request_id: str, dall_e_text: str) -> Refusal:
    if not checked.model.tokens:
        text = f"Your request was rejected as a result of our safety system. {dall_e_text}"
        return Refusal(text, code="content_policy_violation")
    named = tuple(category for category in _CATEGORIES if _contains(checked.prompt, category))
    return moderation_blocked(stage, named or ("violence",), request_id)
