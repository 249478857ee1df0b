"""Compressed responses are decompressed in small pieces, completely or with an error."""

import gzip
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk._protocol.decompression import PIECE, Decompressor
from imagesdk._protocol.scanner import ScanError

COMPRESS: dict[str, Callable[[bytes], bytes]] = dict.fromkeys(("gzip", "x-gzip"), gzip.compress)
COMPRESS["deflate"] = zlib.compress
TEXT = b'{"created":1,"data":[]}' * 50


def inflate(encoding: str | None, chunks: Iterable[bytes]) -> bytes:
    inflater = Decompressor(encoding)
    plain = b"".join(piece for chunk in chunks for piece in inflater.feed(chunk))
    inflater.finish()
    return plain


def cut(data: bytes, step: int) -> list[bytes]:
    return [data[at : at + step] for at in range(0, len(data), step)]


@given(st.sampled_from(sorted(COMPRESS)), st.binary(max_size=3000), st.integers(1, 500))
def test_a_compressed_response_is_decompressed(encoding: str, data: bytes, step: int) -> None:
    assert inflate(encoding, cut(COMPRESS[encoding](data), step)) == data


@pytest.mark.parametrize(("encoding", "sent"), [
    *((name, gzip.compress(TEXT, mtime=0)) for name in ("GZIP", " gzip ", "Gzip")),
    *((name, TEXT) for name in (None, "", "identity", "Identity")),
])  # fmt: skip
def test_the_name_of_an_encoding_ignores_case_and_space_and_may_be_missing(
    encoding: str | None, sent: bytes
) -> None:
    assert inflate(encoding, cut(sent, 7)) == TEXT


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "rot13"])
def test_an_unsupported_encoding_is_refused_by_name(encoding: str) -> None:
    with pytest.raises(ScanError, match="was not asked for") as caught:
        Decompressor(encoding)
    assert encoding in str(caught.value)


@pytest.mark.parametrize("step", [1, 13, 10_000])
def test_a_gzip_response_may_have_several_members(step: int) -> None:
    whole = gzip.compress(TEXT) + gzip.compress(b"") + gzip.compress(b"more")
    assert inflate("gzip", cut(whole, step)) == TEXT + b"more"


@pytest.mark.parametrize(
    ("encoding", "first"),
    [("gzip", b""), ("deflate", b""), ("gzip", gzip.compress(TEXT, mtime=0))],
    ids=["gzip", "deflate", "second member"],
)
def test_a_response_or_its_last_member_truncated_at_any_length_is_an_error(
    encoding: str, first: bytes
) -> None:
    whole = COMPRESS[encoding](TEXT)
    for length in range(1, len(whole)):
        with pytest.raises(ScanError, match="ends too early"):
            inflate(encoding, [first, whole[:length]])


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_missing_body_is_empty_and_uncompressed_data_is_corrupt(encoding: str) -> None:
    assert inflate(encoding, []) == inflate(encoding, [b""]) == b""
    with pytest.raises(ScanError, match="compression is corrupt"):
        inflate(encoding, [TEXT])


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@given(st.integers(0, 10**6), st.integers(1, 255), st.integers(1, 40))
def test_a_changed_byte_is_an_error_or_changes_nothing(
    encoding: str, at: int, change: int, step: int
) -> None:
    """Some bytes of a gzip header have no meaning. A checksum covers all others."""
    whole = bytearray(COMPRESS[encoding](TEXT))
    whole[at % len(whole)] ^= change
    with suppress(ScanError):
        assert inflate(encoding, cut(bytes(whole), step)) == TEXT


def test_a_decompression_bomb_yields_small_pieces_and_can_be_stopped() -> None:
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    inflater = Decompressor("gzip")
    pieces = inflater.feed(bomb)
    first = [next(pieces) for _ in range(3)]
    assert [len(piece) for piece in first] == [PIECE] * 3
    assert PIECE == 64 * 1024


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE, 5 * PIECE + 7])
@pytest.mark.parametrize("step", [3, 1000, 10**6])
def test_every_piece_is_small_and_none_is_lost(size: int, step: int) -> None:
    inflater = Decompressor("gzip")
    sizes = [len(piece) for chunk in cut(gzip.compress(bytes(size)), step) for piece in inflater.feed(chunk)]
    inflater.finish()
    assert sum(sizes) == size
    assert all(0 < piece <= PIECE for piece in sizes)
