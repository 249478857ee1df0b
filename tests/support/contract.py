"""Schemathesis against the OpenAPI document of the emulator: ``python -m tests.support.contract [options]``.

It sends valid and invalid requests by the thousand, and checks each answer against the document. One check is left
out: not every request that the document admits is accepted, as no schema states the rules about combinations.
"""

from __future__ import annotations

import os
import subprocess
import sys

from PIL import Image

from imagesdk.emulator import Emulator
from imagesdk.emulator.drawing.painting import Painting

LEFT_OUT = ("positive_data_acceptance",)
USUAL = ("--generation-deterministic", "--max-time=90", "--workers=2", "--continue-on-failure", "--no-color")


def _draw(self: Painting, index: int) -> Image.Image:
    """Draw next to nothing."""
    return Image.linear_gradient("L").resize((32, 32)).convert("RGBA")


def main(options: list[str]) -> int:
    """Run Schemathesis with further ``options``. Return its exit status."""
    Painting._draw = _draw  # type: ignore[method-assign]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.support.contract_hooks"}
    with Emulator(limit=None, upload_limit=None) as emulator:
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{emulator.origin}/openapi.json"]
        left_out = ["--exclude-checks", ",".join(LEFT_OUT)]
        status = subprocess.run([*command, *USUAL, *left_out, *options], env=os.environ | hooks).returncode
        print(f"{emulator.state.billed_images} images were drawn")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
