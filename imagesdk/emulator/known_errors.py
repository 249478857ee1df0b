"""Errors with causes outside the request: account, server load, moderation.

Tests queue them by name: ``faults.http(error="insufficient_quota")``. Users of the API reported the texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from imagesdk.emulator.answers import Refusal

__all__ = ["KNOWN_ERRORS", "moderation_blocked", "organization_unverified"]


def moderation_blocked(stage: str, categories: tuple[str, ...], request_id: str = "req_emulator") -> Refusal:
    """Return the moderation error of the GPT Image family. ``stage`` is ``input`` or ``output``."""
    return Refusal(
        "Your request was rejected by the safety system. If you believe this is an error, contact us at "
        f"help.openai.com and include the request ID {request_id}. safety_violations=[{', '.join(categories)}].",
        type="image_generation_user_error",
        code="moderation_blocked",
        details={"moderation_details": {"moderation_stage": stage, "categories": list(categories)}},
    )


def organization_unverified(model: str) -> Refusal:
    """Return the error for a model that requires a verified organization."""
    return Refusal(
        f"Your organization must be verified to use the model `{model}`. Please go to: "
        "https://platform.openai.com/settings/organization/general and click on Verify Organization. If you just "
        "verified, it can take up to 15 minutes for access to propagate.",
        status=403,
    )


KNOWN_ERRORS: Mapping[str, Callable[[], Refusal]] = {
    "server_error": lambda: Refusal(
        "The server had an error while processing your request",
        status=500,
        type="server_error",
        code="server_error",
    ),
    "rate_limit_exceeded": lambda: Refusal(
        "Rate limit exceeded for images per minute.", status=429, type="requests", code="rate_limit_exceeded"
    ),
    "insufficient_quota": lambda: Refusal(
        "You exceeded your current quota, please check your plan and billing details. For more information on this "
        "error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
        status=429,
        type="insufficient_quota",
        code="insufficient_quota",
    ),
    "billing_hard_limit_reached": lambda: Refusal(
        "Billing hard limit has been reached",
        type="image_generation_user_error",
        code="billing_hard_limit_reached",
    ),
    "organization_unverified": lambda: organization_unverified("gpt-image-2"),
    "moderation_blocked": lambda: moderation_blocked("output", ("violence",)),
}
"""Errors by name. The name is the ``code`` of the error, if it has one."""
