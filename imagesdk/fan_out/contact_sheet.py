"""Contact sheets of what a run has made: small copies in rows, to print or to look over at once. Needs Pillow.

Pictures that cannot be opened (SVG, or what is not there any more) get a place with their name alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from imagesdk._media.atomic import write_file
from imagesdk._media.pillow import encode_image, open_image, require_pillow, upright
from imagesdk.errors import InvalidRequestError
from imagesdk.fan_out.journal import entries

if TYPE_CHECKING:
    import PIL.Image

__all__ = ["write_contact_sheets"]

_COLUMNS: Final = 6
_ROWS: Final = 8
_EDGE: Final = 240
_CAPTION: Final = 22
_LONGEST: Final = 38
"""Characters of a prompt that stand below its picture."""
_PAPER: Final = (255, 255, 255)
_INK: Final = (40, 40, 40)


def write_contact_sheets(journal: Path, folder: Path) -> list[Path]:
    """Write ``contact-sheet-1.jpg`` and so on into ``folder``, 48 pictures on each; return their paths. Blocks.

    Raises:
        ConfigurationError: Pillow is not installed.
        JournalError: the journal cannot be read.
        OSError: a sheet cannot be written.
    """
    require_pillow("A contact sheet")
    pictures, paths = _pictures(journal), list[Path]()
    while shown := list(islice(pictures, _COLUMNS * _ROWS)):
        path = folder / f"contact-sheet-{len(paths) + 1}.jpg"
        paths.append(write_file(path, encode_image(_sheet(shown), "JPEG")))
    return paths


def _pictures(journal: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files of all jobs that are done, with what is to stand below them."""
    for job in entries(journal):
        for image in (job.answer or {}).get("images", []):
            if job.state == "done" and "file" in image:
                prompt = " ".join(str(job.params.get("prompt", job.id)).split())
                short = prompt if len(prompt) <= _LONGEST else f"{prompt[: _LONGEST - 3]}..."
                yield journal.parent / image["file"]["path"], short


def _sheet(shown: list[tuple[Path, str]]) -> PIL.Image.Image:
    import PIL.Image
    import PIL.ImageDraw
    import PIL.ImageFont

    rows = -(-len(shown) // _COLUMNS)
    columns = min(_COLUMNS, len(shown))
    sheet = PIL.Image.new("RGB", (columns * _EDGE, rows * (_EDGE + _CAPTION)), _PAPER)
    draw, font = PIL.ImageDraw.Draw(sheet), PIL.ImageFont.load_default(size=11)
    for place, (path, prompt) in enumerate(shown):
        left, top = place % _COLUMNS * _EDGE, place // _COLUMNS * (_EDGE + _CAPTION)
        draw.text((left + 6, top + _EDGE + 2), prompt, fill=_INK, font=font)
        with suppress(OSError, InvalidRequestError):
            small = upright(open_image(path.name, path.read_bytes()))
            small.thumbnail((_EDGE - 12, _EDGE - 12))
            small = small.convert("RGBA")
            at = (left + (_EDGE - small.width) // 2, top + (_EDGE - small.height) // 2)
            sheet.paste(small, at, small)
    return sheet
