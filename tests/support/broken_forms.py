"""Multipart forms that are broken at random: cut, doubled, of odd names, charsets, boundaries and bytes."""

from __future__ import annotations

from random import Random

__all__ = ["broken_form"]

_NAMES = (
    "image",
    "image[]",
    "mask",
    "file",
    "prompt",
    "n",
    "size",
    "model",
    "purpose",
    "x",
    "",
    '"',
    "é",
    "\x00",
    "a" * 300,
)
_VALUES = (
    b"",
    b"1",
    b"dall-e-2",
    b"gpt-image-2",
    b"256x256",
    b"vision",
    b"\xff\xfe",
    b"\x00" * 9,
    b"x" * 5000,
    b"--",
)
_TYPES = (
    b"image/png",
    b"text/plain",
    b"application/octet-stream",
    b"",
    b"x",
    b"text/plain; charset=utf-16",
    b"\xff",
)
_ENCODINGS = (
    b"",
    b"Content-Transfer-Encoding: base64\r\n",
    b"X: " + b"y" * 9000 + b"\r\n",
    b"no colon\r\n",
    b": x\r\n",
)
_CONTENT_TYPES = (
    "multipart/form-data; boundary=b",
    "multipart/form-data",
    "multipart/form-data; boundary=",
    'multipart/form-data; boundary="b"; charset=utf-7',
    "multipart/form-data; boundary=b; charset=nonsense",
    "multipart/form-data; boundary=" + "b" * 200,
)


def broken_form(chance: Random, image: bytes) -> tuple[bytes, str]:
    """Return the body and the content type of a form."""
    body = b"".join(_part(chance, image) for _ in range(chance.randrange(0, 5)))
    body += chance.choice((b"--b--\r\n", b"--b--", b"--b", b"", b"--c--\r\n"))
    for _ in range(chance.choice((0, 0, 1, 3))):
        body = _damaged(chance, body)
    content_type = _CONTENT_TYPES[0] if chance.random() < 0.8 else chance.choice(_CONTENT_TYPES)
    return body, content_type


def _part(chance: Random, image: bytes) -> bytes:
    name = chance.choice(_NAMES).encode()
    is_file = chance.random() < 0.5
    filename = chance.choice((b"x.png", b"", b"\xff", b"../../x", b'a"b')) if is_file else None
    head = b'--b\r\nContent-Disposition: form-data; name="' + name + b'"'
    if filename is not None:
        head += b'; filename="' + filename + b'"\r\nContent-Type: ' + chance.choice(_TYPES)
    value = chance.choice((image, image[:50], *_VALUES)) if is_file else chance.choice(_VALUES)
    return head + b"\r\n" + chance.choice(_ENCODINGS) + b"\r\n" + value + b"\r\n"


def _damaged(chance: Random, body: bytes) -> bytes:
    if not body:
        return chance.randbytes(40)
    at, length = chance.randrange(len(body)), chance.randrange(1, 20)
    return chance.choice(
        (
            body[:at],
            body[at:],
            body[:at] + body[at + length :],
            body[:at] + chance.randbytes(length) + body[at:],
            body[:at] + body[at : at + length] * 2 + body[at:],
            body.replace(b"\r\n", b"\n"),
        )
    )
