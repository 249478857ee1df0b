"""Recorded exchanges as a small text file: images as facts, and no keys, signed URLs, boundaries or moments.

An image is kept by its hash, format and size, and is drawn anew by code when it is replayed. All functions are pure, but
for the file of a :class:`Recording`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, cast

from attrs import asdict, evolve, frozen
from PIL import Image

from imagesdk._media.sniff import sniff
from imagesdk.emulator.bodies import Body
from imagesdk.emulator.drawing.formats import animate, encode
from imagesdk.emulator.drawing.images import Painter
from imagesdk.emulator.drawing.scenery import palette_of
from imagesdk.emulator.drawing.vectors import svg_document

__all__ = ["Exchange", "Facts", "Recording", "describe_body", "describe_image", "draw", "redact", "render"]

Facts: TypeAlias = dict[str, object]
NameUrl: TypeAlias = Callable[[str], str]
"""Returns the name under which an image behind a URL is recorded."""

_VERSION = 1
_BASE64 = ("iVBORw0KGgo", "/9j/", "UklGR", "R0lGOD", "PHN2Zy", "PD94bWwg")
"""How images begin in base64."""
_FORMATS = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp"}
_KEY = re.compile(r"\b(sk|sess|key)-[\w*-]{6,}")
_SIGNED = re.compile(
    r"(https?://[^\s\"'?]+)\?[^\s\"']*\b(?:sig|signature|x-amz-[a-z-]+|token|se)=[^\s\"']*", re.IGNORECASE
)


@frozen
class Exchange:
    """Request and response."""

    request: Facts
    """``method``, ``path``, ``query`` and ``body``."""
    status: int
    headers: dict[str, str]
    body: Facts
    """One of ``json``, ``events``, ``lines``, ``image``, ``text`` and ``base64``."""
    urls: dict[str, Facts | None]
    """Images behind URLs, by their names. ``None`` for one that was not downloaded."""

    def matches(self, request: Facts) -> bool:
        """Return whether this is the exchange of a request."""
        return _canonical(self.request) == _canonical(request)


class Recording:
    """Exchanges of a file, in the order of their requests."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.exchanges: list[Exchange] = []
        self._replayed: set[int] = set()
        self._lock = threading.Lock()

    def load(self) -> None:
        """Read the file.

        Raises:
            ValueError: If the file is not a recording of this version.
            OSError: If the file cannot be read.
        """
        try:
            given = json.loads(self.path.read_bytes())
            if given["version"] != _VERSION:
                raise ValueError(f"it has version {given['version']!r}")
            self.exchanges = [Exchange(**one) for one in given["exchanges"]]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.path} is not a recording of version {_VERSION}: {error}") from None

    def add(self, exchange: Exchange) -> None:
        """Add an exchange and write the file. This blocks."""
        with self._lock:
            self.exchanges.append(exchange)
            self._save()

    def set_image(self, name: str, facts: Facts) -> None:
        """Add the facts of an image behind a URL and write the file. This blocks."""
        with self._lock:
            self.exchanges = [
                evolve(one, urls={**one.urls, name: facts}) if name in one.urls else one
                for one in self.exchanges
            ]
            self._save()

    def _save(self) -> None:
        """Write the file, so that it has the old content or the new one at any time."""
        given = {"version": _VERSION, "exchanges": [asdict(one) for one in self.exchanges]}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{self.path.name}.part")
        partial.write_text(json.dumps(given, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(self.path)

    def replay(self, request: Facts) -> Exchange | None:
        """Return the next exchange of a request, each once; ``None`` if there is none."""
        for number, exchange in enumerate(self.exchanges):
            if number not in self._replayed and exchange.matches(request):
                self._replayed.add(number)
                return exchange
        return None

    def image(self, name: str) -> Facts | None:
        """Return the image behind a recorded URL."""
        return next((one.urls[name] for one in self.exchanges if name in one.urls), None)


def describe_image(data: bytes) -> Facts:
    """Return the facts by which an image is drawn anew."""
    known = sniff(data)
    facts = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "media_type": known.media_type,
        "size": len(data),
        "width": known.width,
        "height": known.height,
        "alpha": known.alpha,
        "animated": known.animated,
    }
    return {name: value for name, value in facts.items() if value is not None and value is not False}


def draw(facts: Mapping[str, object]) -> bytes:
    """Draw the image of recorded facts: the same size and format, and the same image each time."""
    name = str(facts["sha256"])[:16]
    width, height = facts.get("width", 1024), facts.get("height", 1024)
    size = (width, height) if isinstance(width, int) and isinstance(height, int) else (1024, 1024)
    media_type = str(facts.get("media_type"))
    if media_type == "image/svg+xml":
        return svg_document(name, palette_of(name), size, name)
    painted: Image.Image = Painter(0, "recorded", size).paint(name, 0, transparent=bool(facts.get("alpha")))
    if media_type == "image/gif":
        return animate(painted, 9 if facts.get("animated") else 1, 200)
    return encode(painted, _FORMATS.get(media_type, "png"))


def describe_body(body: Body) -> Facts:
    """Return a request body without its bytes and its boundary."""
    files = [
        {"field": file.name, "media_type": file.media_type, "sha256": hashlib.sha256(file.data).hexdigest()}
        for file in body.files
    ]
    fields = {
        name: _reduced(values[0] if len(values) == 1 else values)
        for name, values in body.fields.values.items()
    }
    return {"fields": fields, "files": files} if body.fields.form else {"json": fields}


def reduce(value: object, name_url: NameUrl, secrets: Sequence[str] = ()) -> object:
    """Return a JSON value with facts in place of images, names in place of URLs of images, and no secrets."""
    return _reduced(value, name_url, secrets)


def _reduced(value: object, name_url: NameUrl | None = None, secrets: Sequence[str] = ()) -> object:
    if isinstance(value, dict):
        return {
            key: {"$url": name_url(one)}
            if name_url is not None and key == "url" and isinstance(one, str) and one.startswith("http")
            else _reduced(one, name_url, secrets)
            for key, one in cast("dict[str, object]", value).items()
        }
    if isinstance(value, list):
        return [_reduced(one, name_url, secrets) for one in cast("list[object]", value)]
    if not isinstance(value, str):
        return value
    _, comma, encoded = value.partition(";base64,") if value.startswith("data:image/") else ("", "", value)
    if encoded.startswith(_BASE64) and len(encoded) > 60:
        try:
            facts = describe_image(base64.b64decode(encoded, validate=True))
        except (ValueError, binascii.Error):
            facts = {}
        if facts.get("media_type"):
            return {"$data_url" if comma else "$image": facts}
    return redact(value, secrets)


def render(value: object, url_of: Callable[[str], str]) -> object:
    """Return a recorded JSON value with images drawn anew. ``url_of`` returns the URL of a name."""
    if isinstance(value, list):
        return [render(one, url_of) for one in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    given = cast("dict[str, object]", value)
    if "$url" in given:
        return url_of(str(given["$url"]))
    for kind in ("$image", "$data_url"):
        facts = given.get(kind)
        if isinstance(facts, dict):
            known = cast("Mapping[str, object]", facts)
            encoded = base64.b64encode(draw(known)).decode()
            return encoded if kind == "$image" else f"data:{known['media_type']};base64,{encoded}"
    return {key: render(one, url_of) for key, one in given.items()}


def redact(text: str, secrets: Sequence[str] = ()) -> str:
    """Return a text without keys and without the signatures of URLs."""
    for secret in secrets:
        text = text.replace(secret, "[key]")
    return _SIGNED.sub(r"\1", _KEY.sub("[key]", text))


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True)
