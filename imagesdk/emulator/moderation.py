"""The emulated moderation: two words that a prompt is refused for, before the work or after it.

Which categories a refusal of the GPT Image family names is up to the prompt, too: ``"forbidden self-harm"``.
"""

from __future__ import annotations

import re

from imagesdk.emulator.answers import Refusal
from imagesdk.emulator.known_errors import moderation_blocked
from imagesdk.emulator.rules import Ask

__all__ = ["CENSORED_WORD", "FORBIDDEN_WORD", "judge_input", "judge_output"]

FORBIDDEN_WORD = "forbidden"
"""A prompt with this word is rejected before any work."""
CENSORED_WORD = "censored"
"""The pictures of a prompt with this word are painted, billed and then withheld."""

_CATEGORIES = ("harassment", "self-harm", "sexual", "violence")


def judge_input(ask: Ask, request_id: str) -> None:
    """Refuse a prompt with :data:`FORBIDDEN_WORD`."""
    if _says(ask.prompt, FORBIDDEN_WORD):
        raise _refusal(
            ask,
            "input",
            request_id,
            "Your request was rejected as a result of our safety system. Your prompt may contain text that is not "
            "allowed by our safety system.",
        )


def judge_output(ask: Ask, request_id: str) -> None:
    """Refuse the pictures of a prompt with :data:`CENSORED_WORD`."""
    if _says(ask.prompt, CENSORED_WORD):
        raise _refusal(
            ask,
            "output",
            request_id,
            "Your request was rejected as a result of our safety system. Image descriptions generated from your "
            "prompt may contain text that is not allowed by our safety system. If you believe this was done in "
            "error, your request may succeed if retried, or by adjusting your prompt.",
        )


def _says(prompt: str, word: str) -> bool:
    return re.search(rf"\b{word}\b", prompt, re.IGNORECASE) is not None


def _refusal(ask: Ask, stage: str, request_id: str, dall_e_text: str) -> Refusal:
    if not ask.model.tokens:
        return Refusal(dall_e_text, code="content_policy_violation")
    named = tuple(category for category in _CATEGORIES if _says(ask.prompt, category))
    return moderation_blocked(stage, named or ("violence",), request_id)
