"""Forms with files, as ``multipart/form-data``: the length is known beforehand, every part can be sent again.

The encoder yields bytes and :class:`~imagesdk.types.Upload` values in order; whoever sends them reads the
uploads. https://www.rfc-editor.org/rfc/rfc7578
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from imagesdk._protocol.inputs import declared
from imagesdk.types import Upload


@frozen
class Part:
    """One field of a form: a text or a file."""

    name: str
    value: str | Upload


@frozen
class Form:
    """A form and the boundary that separates its parts (given, so that an encoding can be repeated)."""

    parts: tuple[Part, ...]
    boundary: str

    @property
    def content_type(self) -> str:
        """The value of the ``content-type`` header."""
        return f"multipart/form-data; boundary={self.boundary}"

    @property
    def length(self) -> int:
        """The whole body in bytes."""
        return sum(len(s) if isinstance(s, bytes) else s.size for s in self.segments())

    def segments(self) -> Iterator[bytes | Upload]:
        """Yield the body in order."""
        for part in self.parts:
            yield self._head(part)
            yield part.value if isinstance(part.value, Upload) else part.value.encode()
            yield b"\r\n"
        yield f"--{self.boundary}--\r\n".encode()

    def _head(self, part: Part) -> bytes:
        disposition = f'form-data; name="{_quoted(part.name)}"'
        lines = [f"--{self.boundary}"]
        if isinstance(part.value, Upload):
            lines.append(f'Content-Disposition: {disposition}; filename="{_quoted(part.value.name)}"')
            lines.append(f"Content-Type: {declared(part.value)}")
        else:
            lines.append(f"Content-Disposition: {disposition}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode(errors="replace")  # file names may be no text


def _quoted(text: str) -> str:
    # https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
