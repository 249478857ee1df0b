"""Images in the terminal: the protocols of kitty and iTerm2, and half blocks of 24-bit colour.

=======================  ==========================================================================
kitty                    kitty, Ghostty, WezTerm, Konsole
iTerm2                   iTerm2, VS Code
half blocks              terminals with ``COLORTERM=truecolor``; needs Pillow
=======================  ==========================================================================

``auto`` shows nothing in pipes, in tmux and screen, in continuous integration, and half blocks neither with ``NO_COLOR``.
"""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Mapping
from io import BytesIO
from typing import Final, Literal, TypeAlias

Protocol: TypeAlias = Literal["kitty", "iterm2", "blocks"]
PREVIEWS: Final = ("auto", "kitty", "iterm2", "blocks", "off")

_COLUMNS = 40
_PIXELS = 512
"""The longest side of what kitty and iTerm2 receive, if Pillow can shrink the image."""
_CHUNK = 4096
_PNG = b"\x89PNG\r\n\x1a\n"


def protocol_of(choice: str, environment: Mapping[str, str], *, terminal: bool) -> Protocol | None:
    """Return how to show images; ``None`` for not at all."""
    if choice == "off":
        return None
    if choice != "auto":
        return "kitty" if choice == "kitty" else "iterm2" if choice == "iterm2" else "blocks"
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    multiplexed = "TMUX" in environment or term.startswith(("screen", "tmux"))
    if not terminal or multiplexed or term in {"", "dumb"} or environment.get("CI"):
        return None
    is_kitty = "KITTY_WINDOW_ID" in environment or "KONSOLE_VERSION" in environment
    if is_kitty or term in {"xterm-kitty", "xterm-ghostty"} or program in {"ghostty", "WezTerm"}:
        return "kitty"
    if program in {"iTerm.app", "vscode"} or environment.get("LC_TERMINAL") == "iTerm2":
        return "iterm2"
    colours = environment.get("COLORTERM", "") in {"truecolor", "24bit"}
    return "blocks" if colours and not environment.get("NO_COLOR") else None


def show(data: bytes, choice: str) -> None:
    """Show an image on stdout, if the terminal can and the image is readable."""
    protocol = protocol_of(choice, os.environ, terminal=sys.stdout.isatty())
    text = None if protocol is None else encode(data, protocol)
    if text is not None:
        print(text, flush=True)


def encode(data: bytes, protocol: Protocol) -> str | None:
    """Return the text that shows an image; ``None`` if it cannot be shown."""
    if protocol == "blocks":
        return _blocks(data)
    small = _shrunk(data)
    if protocol == "iterm2":
        size = f"size={len(small)};width={_COLUMNS};preserveAspectRatio=1"
        return f"\x1b]1337;File=inline=1;{size}:{base64.b64encode(small).decode()}\a"
    return _kitty(small) if small.startswith(_PNG) else None


def _kitty(png: bytes) -> str:
    # https://sw.kovidgoyal.net/kitty/graphics-protocol/#remote-client
    text = base64.b64encode(png).decode()
    chunks = [text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK)]
    parts: list[str] = []
    for index, chunk in enumerate(chunks):
        head = f"a=T,f=100,q=2,c={_COLUMNS}," if index == 0 else ""
        parts.append(f"\x1b_G{head}m={int(index < len(chunks) - 1)};{chunk}\x1b\\")
    return "".join(parts)


def _shrunk(data: bytes) -> bytes:
    """Return the image as a small PNG, or as it is if Pillow is missing or cannot read it."""
    try:
        from PIL import Image
    except ModuleNotFoundError:
        return data
    try:
        with Image.open(BytesIO(data)) as image:
            image.thumbnail((_PIXELS, _PIXELS))
            small = BytesIO()
            image.convert("RGBA").save(small, "PNG")
            return small.getvalue()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return data


def _blocks(data: bytes) -> str | None:
    """Draw two pixels in each character: the upper one in the foreground colour, the lower one in the background."""
    try:
        from PIL import Image
    except ModuleNotFoundError:
        return None
    try:
        with Image.open(BytesIO(data)) as opened:
            rows = max(1, round(_COLUMNS * opened.height / opened.width / 2))
            image = opened.convert("RGB").resize((_COLUMNS, 2 * rows))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    pixels = image.tobytes()

    def colour(x: int, y: int) -> str:
        start = 3 * (y * _COLUMNS + x)
        return ";".join(map(str, pixels[start : start + 3]))

    return "\n".join(
        "".join(f"\x1b[38;2;{colour(x, y)};48;2;{colour(x, y + 1)}m\u2580" for x in range(_COLUMNS))
        + "\x1b[0m"
        for y in range(0, 2 * rows, 2)
    )
