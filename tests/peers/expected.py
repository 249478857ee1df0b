"""What the emulator answers otherwise than the peers' tests expect, with its reason.

Their tests are made from the API's description for a mock that accepts anything. The emulator refuses what the API
refuses, and knows only files and batches that exist.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from attrs import field, frozen

__all__ = ["EXPECTED", "Otherwise", "compare"]


@frozen
class Otherwise:
    """Tests that the emulator answers otherwise."""

    tests: str
    """Pattern of their names."""
    answer: str
    """Text of the error that they report."""
    reason: str = field(kw_only=True)


_MIXED = (
    "One request has parameters that no single model takes, and the API names the first that the model lacks."
)
_NO_VARIATIONS = "Only dall-e-2 makes variations."
_ZERO = "A page of 0 entries is refused."
_IMAGES_ONLY = "The emulator works on batches of images only."
_MODELS = "The emulator has models of images only, and none can be deleted."

EXPECTED: Mapping[str, Sequence[Otherwise]] = {
    "python": (
        Otherwise(
            r"Images::test_method_create_variation_with_all_params", "Value must be", reason=_NO_VARIATIONS
        ),
        Otherwise(r"Images::test_method_(edit|generate)_with_all_params", "Unknown parameter", reason=_MIXED),
        Otherwise(r"(Files|Batches)::test_method_list_with_all_params", "minimum value", reason=_ZERO),
        Otherwise(r"Batches::test_\w+_create", "batches of images only", reason=_IMAGES_ONLY),
        Otherwise(r"Models::test_\w+_(retrieve|delete)", "Error code: 40", reason=_MODELS),
    ),
    "node": (
        Otherwise("createVariation: required and optional", "Value must be", reason=_NO_VARIATIONS),
        Otherwise("images (edit|generate): required and optional", "Unknown parameter", reason=_MIXED),
        Otherwise("batches create", "batches of images only", reason=_IMAGES_ONLY),
        Otherwise("models (retrieve|delete)", "40", reason=_MODELS),
    ),
}


def compare(failures: Mapping[str, str], expected: Sequence[Otherwise]) -> tuple[list[str], list[str]]:
    """Return the failed tests that are not expected to fail so, and the expectations that no failed test meets."""
    met = {
        name: [one for one in expected if re.search(one.tests, name) and one.answer in text]
        for name, text in failures.items()
    }
    unmet = [one.tests for one in expected if not any(one in found for found in met.values())]
    return [name for name, found in met.items() if not found], unmet
