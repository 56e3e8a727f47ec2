"""Bytes of a log file, decompressed within bounds.

Purpose: plain, gzip and Zstandard files and pipes as pieces of bounded size.
Invariants: every byte that can be recovered in front of damage is delivered; damage and
a missing end are the last piece's `broken`, never an exception.
Limits: a gzip piece is at most `PIECE_BYTES`; Zstandard is fed `ZSTD_FEED_BYTES` at a
time, whose output the format bounds at 128 KiB for 4 bytes, so at most 64 MiB stand in
memory; windows over `ZSTD_WINDOW_BYTES_MAX` (`zstd --long=28` and up) are refused.
Source: RFC 1952 (gzip; members may follow one another, zeros may pad the end), RFC 8878
(Zstandard).
"""

import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

import zstandard

PIECE_BYTES: Final = 1 << 20
FEED_BYTES: Final = 1 << 16
ZSTD_FEED_BYTES: Final = 2048
ZSTD_WINDOW_BYTES_MAX: Final = 1 << 27
GZIP_MAGIC: Final = b"\x1f\x8b"
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_GZIP_FORM: Final = 31  # zlib's window bits for a gzip header and trailer


class Piece(NamedTuple):
    """Some decompressed bytes; `position` bytes of the file have been used so far.

    `broken` says that the file is damaged or cut off at that position.
    """

    data: bytes
    position: int
    broken: bool = False


def plain_pieces(file: BinaryIO) -> Iterator[Piece]:
    """The file as it is."""
    position = 0
    while data := file.read(PIECE_BYTES):
        position += len(data)
        yield Piece(data, position)


def _good_prefix(decoder: "zlib._Decompress", data: bytes) -> int:
    """How many bytes of `data` the decoder takes before it meets the damage."""
    low, high = 0, len(data)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            decoder.copy().decompress(data[:middle], PIECE_BYTES)
            low = middle
        except zlib.error:
            high = middle
    return low


def gzip_pieces(file: BinaryIO) -> Iterator[Piece]:
    """The members of a gzip file, one after another."""
    decoder = zlib.decompressobj(_GZIP_FORM)
    position, inside = 0, False  # inside a member: its first byte was read, its end was not
    data = file.read(FEED_BYTES)
    if not data:
        yield Piece(b"", 0, broken=True)
    while data:
        before = decoder.copy()
        try:
            out = decoder.decompress(data, PIECE_BYTES)
        except zlib.error:
            good = _good_prefix(before, data)
            yield Piece(before.decompress(data[:good], PIECE_BYTES), position + good, broken=True)
            return
        rest = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
        position += len(data) - len(rest)
        inside = not decoder.eof
        if out:
            yield Piece(out, position)
        if decoder.eof:
            decoder = zlib.decompressobj(_GZIP_FORM)
            rest = _skip_zeros(rest)
        data = rest or file.read(FEED_BYTES)
    while inside and (out := decoder.decompress(b"", PIECE_BYTES)):
        yield Piece(out, position)
    if inside and not decoder.eof:
        yield Piece(b"", position, broken=True)


def _skip_zeros(data: bytes) -> bytes:
    return data.lstrip(b"\0")


def zstd_pieces(file: BinaryIO) -> Iterator[Piece]:
    """The frames of a Zstandard file, one after another."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX)
    decoder = decompressor.decompressobj()
    position, inside = 0, False
    fed = file.read(FEED_BYTES)
    if not fed:
        yield Piece(b"", 0, broken=True)
    while fed:
        outs: list[bytes] = []
        for at in range(0, len(fed), ZSTD_FEED_BYTES):
            data = fed[at : at + ZSTD_FEED_BYTES]
            while data:
                try:
                    out = decoder.decompress(data)
                except zstandard.ZstdError:
                    yield Piece(b"".join(outs), position + at, broken=True)
                    return
                inside = not decoder.eof
                data = decoder.unused_data if decoder.eof else b""
                if decoder.eof:
                    decoder = decompressor.decompressobj()
                outs.append(out)
            if sum(map(len, outs)) >= PIECE_BYTES:
                yield Piece(b"".join(outs), position + at + ZSTD_FEED_BYTES)
                outs = []
        position += len(fed)
        yield Piece(b"".join(outs), position)
        fed = file.read(FEED_BYTES)
    if inside:
        yield Piece(b"", position, broken=True)


def pieces(file: BinaryIO, *, magic: bytes) -> Iterator[Piece]:
    """The file's content, by the first four bytes that `magic` shows (they are still to be read)."""
    if magic.startswith(GZIP_MAGIC):
        return gzip_pieces(file)
    if magic == ZSTD_MAGIC:
        return zstd_pieces(file)
    return plain_pieces(file)
