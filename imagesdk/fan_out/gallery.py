"""Gallery of a run: one HTML page beside the images, without external resources.

Prompts and labels are untrusted. The page contains them only as escaped text and quoted attributes, and its content
security policy allows no script but its own. Jobs without images are listed apart, by reason. ``gallery.css`` and
``gallery.js`` are inlined; without JavaScript, the page still shows every image, prompt and reason.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from html import escape
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from imagesdk._media.atomic import create_temporary, move_into_place
from imagesdk._media.web_pages import page_head, page_script
from imagesdk.fan_out.journal import read_records
from imagesdk.fan_out.serialization import place_of
from imagesdk.fan_out.store import JobRecord

__all__ = ["write_gallery"]

_MARK: Final = "<!-- A gallery of imagesdk -->"
_ASSETS: Final = ("imagesdk.fan_out", "gallery")
_HEADER: Final = """<header>
<input type="search" placeholder="Search prompts, models, parameters, ids" aria-label="Search" title="Key: /">
<div class="chips" role="group" aria-label="State"></div>
<input type="range" min="120" max="640" value="240" aria-label="Size of the images" title="Size of the images">
<output aria-live="polite"></output>
</header>
<main>
"""
_END: Final = """<p class="empty" hidden>Nothing matches. <button>Show all</button></p>
</main>
<dialog aria-label="Image" tabindex="-1">
<div class="stage"><div class="scroll"><img class="checkered" alt=""></div><output id="place"></output>
<button id="before" aria-label="Previous">‹</button><button id="after" aria-label="Next">›</button>
<button id="close" aria-label="Close">×</button></div>
<aside><p id="prompt"></p><p id="revised"></p>
<div class="row"><button id="copy">Copy prompt</button><a id="file" target="_blank" rel="noopener">Open file</a></div>
<dl class="facts" id="short"></dl>
<details id="more"><summary>Parameters</summary><dl class="facts" id="all"></dl></details>
<p class="keys"><kbd>←</kbd> <kbd>→</kbd> turn, <kbd>C</kbd> copy the prompt, <kbd>P</kbd> parameters, <kbd>F</kbd> full size,
<kbd>I</kbd> image alone, <kbd>Esc</kbd> close</p></aside>
</dialog>
"""
_REASONS: Final[Mapping[str, str]] = {
    "planned": "Not sent yet",
    "sending": "Sent, and not answered so far",
    "received": "Received, but its files do not have their names yet",
    "unknown": "Sent, but the answer is not known",
}
_TONES: Final[Mapping[str, str]] = {"refused": "bad", "failed": "bad", "unknown": "warn"}


def write_gallery(journal: Path, to: Path) -> Path:
    """Write the gallery of a journal to ``to``, with image links relative to its folder. Return the path. Blocks.

    Raises:
        JournalError: If the journal cannot be read.
        FileExistsError: If ``to`` is a file that is not a gallery.
        OSError: If the file cannot be written.
    """
    if to.exists() and not _is_ours(to):
        raise FileExistsError(f"{to} is there already and is no gallery; it is left alone")
    descriptor, temporary = create_temporary(to.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.writelines(page(read_records(journal), journal.parent, to.parent))
        move_into_place(temporary, to)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return to


def page(jobs: Iterator[JobRecord], folder: Path, beside: Path) -> Iterator[str]:
    """Yield the page in pieces. Paths in ``jobs`` are relative to ``folder``, links in the page to ``beside``."""
    yield f"<!doctype html>\n{_MARK}\n{page_head('Images', *_ASSETS)}{_HEADER}"
    yield '<section class="grid" id="images" aria-label="Images">\n'
    groups: dict[tuple[str, str], list[str]] = {}
    counts: Counter[str] = Counter()
    spent = Decimal()
    for job in jobs:
        spent += Decimal(job.cost or 0)
        if job.state == "done":
            cards = list(_images(job, folder, beside))
            counts["images"] += len(cards)
            yield from cards
        else:
            counts[job.state] += 1
            groups.setdefault((job.state, _reason(job)), []).append(_without_image(job))
    yield "</section>\n"
    yield from _apart(groups)
    summary = ", ".join(f"{count} {name}" for name, count in counts.items()) or "No jobs"
    yield f'<p class="foot">{escape(summary)}. {f"${spent} in all." if spent else ""}</p>\n{_END}{page_script(*_ASSETS)}'


def _images(job: JobRecord, folder: Path, beside: Path) -> Iterator[str]:
    images: list[dict[str, Any]] = list((job.response or {}).get("images", []))
    for place, image in enumerate(images):
        shown, url = '<div class="gone">The image is in no file</div>', str(image.get("url", ""))
        link = f' href="{escape(url)}"' if url.startswith("https://") else ""
        if "file" in image:
            file = place_of(image["file"], folder)
            shown = f'<div class="gone">{escape(str(file))}</div>'
            if isinstance(file, Path):  # a browser has no address of a remote file
                source = escape(_address(file, beside))
                shown, link = (
                    f'<img src="{source}" loading="lazy" decoding="async" alt="">',
                    f' href="{source}"',
                )
        several = f"{place + 1} of {len(images)}" if len(images) > 1 else None
        size = f"{image['width']} × {image['height']}" if image.get("width") else None
        short = [value for value in (job.model, size, f"${job.cost}" if job.cost else None, several) if value]
        name = f"{job.id}-{place}" if place else job.id
        facts = _attribute(_facts(job, image, size, several))
        yield (
            f'<article id="job-{escape(name)}" data-state="done" data-facts=\'{facts}\'>'
            f"<a{link}>{shown}<p>{_prompt(job)}</p><small>{escape(' · '.join(short))}</small></a></article>\n"
        )


def _facts(job: JobRecord, image: Mapping[str, Any], size: str | None, several: str | None) -> dict[str, Any]:
    """Return what the large view shows: a few facts at once, and all others on demand."""
    response = job.response or {}
    file: Mapping[str, Any] = image.get("file", {})
    short = {"model": job.model, "size": size, "cost": f"${job.cost}" if job.cost else None, "image": several}
    more = {name: value for name, value in job.params.items() if name not in {"prompt", "model"}} | {
        "job": job.id,
        "kind": job.kind,
        "created": response.get("created"),
        "usage": response.get("usage"),
        "request id": response.get("request_id"),
        "file": file.get("path") or file.get("url"),
        "media type": image.get("media_type"),
        "bytes": file.get("size"),
        "SHA-256": file.get("sha256"),
    }
    pairs = [[[name, value] for name, value in part.items() if value is not None] for part in (short, more)]
    return {"short": pairs[0], "all": pairs[1], "revised": image.get("revised_prompt")}


def _without_image(job: JobRecord) -> str:
    facts = _attribute([job.model, *job.params.values()])
    return (
        f"<article data-state=\"{escape(job.state)}\" data-facts='{facts}'><p>{_prompt(job)}</p>"
        f"<code>{escape(job.id)}</code><button>Copy prompt</button></article>\n"
    )


def _apart(groups: Mapping[tuple[str, str], list[str]]) -> Iterator[str]:
    """Yield the jobs without images, the largest group of each state first."""
    if not groups:
        return
    yield '<section id="others"><h2>Without images</h2>\n'
    order = list(dict.fromkeys([*_TONES, *_REASONS]))
    for (state, reason), cards in sorted(
        groups.items(), key=lambda item: (order.index(item[0][0]), -len(item[1]))
    ):
        count = f'<span class="faint">{len(cards)} jobs</span>' if len(cards) > 1 else ""
        yield (
            f'<div class="group"><h3><span class="badge {_TONES.get(state, "faint")}">{escape(state)}</span>'
            f"<span>{escape(reason)}</span>{count}</h3>\n"
        )
        yield from cards
        yield "</div>\n"
    yield "</section>\n"


def _attribute(value: object) -> str:
    """Return JSON for an attribute in single quotes, as most quotes in it are double."""
    return escape(json.dumps(value, ensure_ascii=False, default=str), quote=False).replace("'", "&#39;")


def _prompt(job: JobRecord) -> str:
    return escape(str(job.params.get("prompt", job.kind)))


def _reason(job: JobRecord) -> str:
    return str((job.error or {}).get("message") or _REASONS.get(job.state, job.state))


def _address(path: Path, beside: Path) -> str:
    """Return the relative URL of an image. The ``./`` keeps a name with a colon from being read as a scheme."""
    relative = os.path.relpath(path.absolute(), beside.absolute())
    return f"./{quote(Path(relative).as_posix())}"


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return _MARK.encode() in file.read(200)
