"""Gallery of a run: one HTML page beside the images, without external resources.

Prompts and labels are untrusted. The page contains them only as escaped text and quoted attributes. Its content security
policy allows no script except the one below, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from imagesdk._media.atomic import create_temporary, move_into_place
from imagesdk.fan_out.journal import read_records
from imagesdk.fan_out.serialization import place_of
from imagesdk.fan_out.store import JobRecord

__all__ = ["write_gallery"]

_MARK: Final = "<!-- A gallery of imagesdk -->"
_STYLE: Final = """
:root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif }
body { margin: 0 }
header { position: sticky; top: 0; z-index: 1; display: flex; gap: .75rem; padding: .75rem; background: Canvas }
input { flex: 1; font: inherit; padding: .3rem .6rem }
select { font: inherit }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: .75rem; padding: .75rem }
article { border: 1px solid #8884; border-radius: 8px; overflow: hidden; content-visibility: auto;
  contain-intrinsic-size: auto 320px }
article[hidden] { display: none }
img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: #8882 }
div { padding: .6rem; overflow-wrap: anywhere }
p { margin: 0 0 .3rem; max-height: 8.4em; overflow: auto; white-space: pre-wrap }
small { display: block; opacity: .75 }
.refused, .failed, .unknown { color: #c33 }
"""
_SCRIPT: Final = """
const search = document.querySelector("input"), state = document.querySelector("select");
const count = document.querySelector("output"), cards = [...document.querySelectorAll("article")];
const texts = cards.map(card => card.textContent.toLowerCase());
function show() {
  const wanted = search.value.toLowerCase().split(/\\s+/);
  let shown = 0;
  cards.forEach((card, i) => {
    const fits = (!state.value || card.dataset.state === state.value) && wanted.every(word => texts[i].includes(word));
    card.hidden = !fits;
    shown += fits;
  });
  count.value = `${shown} of ${cards.length}`;
}
search.addEventListener("input", show);
state.addEventListener("change", show);
show();
"""
_STATES: Final = ("done", "refused", "failed", "unknown", "planned", "sending", "received")


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
    hashed = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    rules = f"default-src 'none'; img-src *; style-src 'unsafe-inline'; script-src 'sha256-{hashed}'"
    states = "".join(f"<option>{state}</option>" for state in _STATES)
    yield (
        f'<!doctype html>\n{_MARK}\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{rules}">\n'
        '<meta name="viewport" content="width=device-width"><title>Images</title>\n'
        f"<style>{_STYLE}</style></head><body>\n<header>"
        '<input type="search" placeholder="Search" aria-label="Search">'
        f'<select aria-label="State"><option value="">all</option>{states}</select><output></output></header>\n<main>\n'
    )
    for job in jobs:
        yield from _cards(job, folder, beside)
    yield f"</main>\n<script>{_SCRIPT}</script></body></html>\n"


def _cards(job: JobRecord, folder: Path, beside: Path) -> Iterator[str]:
    images: list[dict[str, Any]] = list((job.response or {}).get("images", [])) or [{}]
    for image in images:
        state, thumbnail = job.state, ""
        if "file" in image and state == "done":
            place = place_of(image["file"], folder)
            if isinstance(place, Path):
                source = escape(_address(place, beside))
                thumbnail = f'<a href="{source}"><img src="{source}" loading="lazy" alt=""></a>'
            else:
                thumbnail = f"<div>{escape(place.url)}</div>"
        prompt = escape(str(job.params.get("prompt", job.kind)))
        facts = [f"{name} {value}" for name, value in job.params.items() if name != "prompt"]
        facts += [f"${job.cost}"] if job.cost else []
        problem = escape(str((job.error or {}).get("message", "")))
        yield (
            f'<article data-state="{escape(state)}">{thumbnail}<div><p>{prompt}</p>'
            f'<small class="{escape(state)}">{escape(state)} {escape(job.id)}</small><small>{escape(", ".join(facts))}</small>'
            f"<small>{problem}</small></div></article>\n"
        )


def _address(path: Path, beside: Path) -> str:
    """Return the relative URL of an image. The ``./`` keeps a name with a colon from being read as a scheme."""
    relative = os.path.relpath(path.absolute(), beside.absolute())
    return f"./{quote(Path(relative).as_posix())}"


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return _MARK.encode() in file.read(200)
