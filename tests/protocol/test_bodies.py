"""Two independent parsers read the forms."""

import email
import email.message
import email.policy
import io
from typing import Any

import pytest
import python_multipart
from hypothesis import given
from hypothesis import strategies as st
from python_multipart.multipart import Field, File

from imagesdk._protocol.bodies import FormBody, FormField
from imagesdk.types import Upload

BOUNDARY = "imagesdk-0123456789abcdef"
PNG = b"\x89PNG\r\n\x1a\n--" + BOUNDARY[:-1].encode() + b"\r\n\r\nrest"


def upload(name: str, data: bytes, media_type: str = "image/png") -> Upload:
    return Upload(name=name, media_type=media_type, size=len(data), source=data)


def written(form: FormBody) -> bytes:
    return b"".join(content(segment) for segment in form.segments())


def content(segment: bytes | Upload) -> bytes:
    if isinstance(segment, bytes):
        return segment
    assert isinstance(segment.source, bytes)
    return segment.source


def by_python_multipart(form: FormBody) -> list[tuple[str, str | None, bytes]]:
    """Return the name, file name and content of each part."""
    body = written(form)
    found: list[tuple[str, str | None, bytes]] = []

    def on_field(field: Field) -> None:
        found.append(((field.field_name or b"").decode(), None, field.value or b""))

    def on_file(file: File) -> None:
        file.file_object.seek(0)
        name = (file.file_name or b"").decode()
        found.append(((file.field_name or b"").decode(), name, file.file_object.read()))

    headers = {"Content-Type": form.content_type.encode(), "Content-Length": str(len(body)).encode()}
    python_multipart.parse_form(dict[str, Any](headers), io.BytesIO(body), on_field, on_file)
    return found


def by_email(form: FormBody) -> list[email.message.MIMEPart]:
    head = f"Content-Type: {form.content_type}\r\nMIME-Version: 1.0\r\n\r\n".encode()
    message = email.message_from_bytes(head + written(form), policy=email.policy.HTTP)
    assert isinstance(message, email.message.EmailMessage)
    return list(message.iter_parts())


FORM = FormBody(
    (
        FormField("image[]", upload("a.png", PNG)),
        FormField("image[]", upload("b.jpg", b"\xff\xd8\xff", "image/jpeg")),
        FormField("mask", upload("mask.png", PNG)),
        FormField("prompt", "a \u732b,\r\n\r\nwith lines"),
        FormField("n", "2"),
        FormField("user", ""),
    ),
    BOUNDARY,
)


def test_a_parser_reads_back_files_and_texts_in_order() -> None:
    assert by_python_multipart(FORM) == [
        ("image[]", "a.png", PNG),
        ("image[]", "b.jpg", b"\xff\xd8\xff"),
        ("mask", "mask.png", PNG),
        ("prompt", None, "a \u732b,\r\n\r\nwith lines".encode()),
        ("n", None, b"2"),
        ("user", None, b""),
    ]


def test_a_file_declares_its_media_type_and_a_text_does_not() -> None:
    parts = by_email(FORM)
    assert [part.get_content_type() for part in parts][:3] == ["image/png", "image/jpeg", "image/png"]
    assert [part.get_filename() for part in parts] == ["a.png", "b.jpg", "mask.png", None, None, None]
    assert all("content-type" not in part for part in parts[3:])


def test_the_length_is_exact_and_an_encoding_can_be_repeated() -> None:
    assert FORM.length == len(written(FORM))
    assert written(FORM) == written(FORM)
    assert FORM.content_type == f"multipart/form-data; boundary={BOUNDARY}"


def test_the_boundary_is_that_of_the_content() -> None:
    parts = FORM.parts
    assert FormBody(parts).boundary == FormBody(tuple(parts)).boundary
    assert written(FormBody(parts)) == written(FormBody(parts))
    one_more = (*parts, FormField("n", "2"))
    resized = (FormField("image[]", upload("a.png", PNG + b".")), *parts[1:])
    renamed = (FormField("image[]", upload("b.png", PNG)), *parts[1:])
    others = {FormBody(each).boundary for each in (parts, one_more, parts[::-1], resized, renamed)}
    assert len(others) == 5


def test_a_boundary_occurs_in_no_text_and_in_no_image_in_memory() -> None:
    image = upload("a.png", b"\x89PNG" + b"." * 60)
    first = FormBody((FormField("image", image),)).boundary
    hostile = upload("a.png", b"\x89PNG" + first.encode().ljust(60, b"."))
    form = FormBody((FormField("image", hostile),))
    assert hostile.size == image.size
    assert form.boundary != first
    assert by_python_multipart(form) == [("image", "a.png", content(hostile))]


def test_files_are_not_read_before_they_are_sent() -> None:
    """The segment is the upload itself. The engine reads its file."""
    unread = Upload(name="a.png", media_type="image/png", size=10**9, source=io.BytesIO())
    form = FormBody((FormField("image", unread),), BOUNDARY)
    assert unread in list(form.segments())
    assert form.length > 10**9


def test_an_empty_form_is_only_the_closing_boundary() -> None:
    assert written(FormBody((), BOUNDARY)) == f"--{BOUNDARY}--\r\n".encode()


@pytest.mark.parametrize(("name", "quoted"), [
    *(('a"b', "a%22b"), ("\u732b", "\u732b"), ("a\udcffb", "a?b")),
    ("a\r\nX-Evil: 1\r\n\r\nb", "a%0D%0AX-Evil: 1%0D%0A%0D%0Ab"),
])  # fmt: skip
def test_a_name_cannot_end_its_quotes(name: str, quoted: str) -> None:
    form = FormBody((FormField(name, "text"), FormField("image", upload(f"{name}.png", PNG))), BOUNDARY)
    assert by_python_multipart(form) == [(quoted, None, b"text"), ("image", f"{quoted}.png", PNG)]
    assert b"\r\nX-Evil" not in written(form)
    assert form.length == len(written(form))


names = st.text(st.characters(exclude_characters="\\"), min_size=1, max_size=20)


@given(
    st.lists(
        st.builds(FormField, names, st.text(st.characters(exclude_categories=["Cs"])))
        | st.builds(FormField, names, st.builds(upload, names, st.binary(max_size=200))),
        min_size=1,
        max_size=5,
    )
)
def test_a_parser_reads_back_any_form_of_the_stated_length(parts: list[FormField]) -> None:
    form = FormBody(tuple(parts), BOUNDARY)
    assert form.length == len(written(form))
    found = by_python_multipart(form)
    assert [data for _, _, data in found] == [
        content(part.value) if isinstance(part.value, Upload) else part.value.encode() for part in parts
    ]
    assert [name is not None for _, name, _ in found] == [isinstance(part.value, Upload) for part in parts]
