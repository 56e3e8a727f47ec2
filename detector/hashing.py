"""Keyed, stable 64- and 128-bit hashing: the only place that hashes.

Purpose: every identifier that enters the engine becomes a 64-bit integer here;
every fingerprint of text is made with the same primitive.
Invariants: equal key, kind and bytes give equal digests in any process, on any
platform, under any PYTHONHASHSEED. Digest 0 means "absent" and is never
produced for a present value.
Limits: 64-bit digests collide by chance once in about 2**32 distinct values of
one kind; without the key a collision cannot be constructed.
Source: SipHash-2-4, Aumasson and Bernstein, "SipHash: a fast short-input PRF"
(INDOCRYPT 2012); key derivation by BLAKE2b (RFC 7693).
"""

import hashlib

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

U64 = npt.NDArray[np.uint64]
U8 = npt.NDArray[np.uint8]

ABSENT = np.uint64(0)
KEY_BYTES = 32
DEVELOPMENT_KEY = hashlib.blake2b(b"stillwatch development key: public, not for production").digest()[:KEY_BYTES]


def subkey(key: bytes, kind: bytes) -> tuple[np.uint64, np.uint64]:
    """Derive the 128-bit SipHash key of one kind of value from the operator's key.

    Kinds never share a key, so equal strings in two roles do not collide.

    >>> subkey(bytes(32), b"account") == subkey(bytes(32), b"subnet")
    False
    """
    raw = hashlib.blake2b(kind, key=key, digest_size=16).digest()
    return np.uint64(int.from_bytes(raw[:8], "little")), np.uint64(int.from_bytes(raw[8:], "little"))


def key_digest(key: bytes) -> str:
    """Name a key without revealing it: 16 hex digits, for `fp_key_id`, snapshots and manifests."""
    return hashlib.blake2b(b"name", key=key, digest_size=8).hexdigest()


def content_digest(data: bytes) -> str:
    """Name public content (settings, a file's bytes, an output id): unkeyed BLAKE2b, 16 hex digits."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def file_hasher() -> "hashlib.blake2b":
    """Start the digest of bytes that come piece by piece: `update` it, then `digest()` names them by 16 bytes.

    >>> h = file_hasher(); h.update(b"a"); h.digest_size
    16
    """
    return hashlib.blake2b(digest_size=16)


@numba.njit(inline="always")
def _rotl(x: np.uint64, b: int) -> np.uint64:  # type: ignore[no-untyped-def,unused-ignore]
    return (x << np.uint64(b)) | (x >> np.uint64(64 - b))


@numba.njit(inline="always")
def _sipround(v0, v1, v2, v3):  # type: ignore[no-untyped-def]
    v0 += v1
    v1 = _rotl(v1, 13) ^ v0
    v0 = _rotl(v0, 32)
    v2 += v3
    v3 = _rotl(v3, 16) ^ v2
    v0 += v3
    v3 = _rotl(v3, 21) ^ v0
    v2 += v1
    v1 = _rotl(v1, 17) ^ v2
    v2 = _rotl(v2, 32)
    return v0, v1, v2, v3


@numba.njit(cache=True)
def siphash24(data, start, stop, k0, k1):  # type: ignore[no-untyped-def]
    """SipHash-2-4 of the bytes `data[start:stop]` (uint8) under the key (k0, k1); uint64.

    The reference vector for key 00..0f and message 00..0e:

    >>> k0, k1 = np.uint64(0x0706050403020100), np.uint64(0x0F0E0D0C0B0A0908)
    >>> hex(siphash24(np.arange(15, dtype=np.uint8), 0, 15, k0, k1))
    '0xa129ca6149be45e5'
    """
    v0 = k0 ^ np.uint64(0x736F6D6570736575)
    v1 = k1 ^ np.uint64(0x646F72616E646F6D)
    v2 = k0 ^ np.uint64(0x6C7967656E657261)
    v3 = k1 ^ np.uint64(0x7465646279746573)
    length = stop - start
    blocks = length // 8
    for block in range(blocks):
        at = start + block * 8
        m = np.uint64(0)
        for i in range(8):
            m |= np.uint64(data[at + i]) << np.uint64(8 * i)
        v3 ^= m
        v0, v1, v2, v3 = _sipround(v0, v1, v2, v3)
        v0, v1, v2, v3 = _sipround(v0, v1, v2, v3)
        v0 ^= m
    m = np.uint64(length & 0xFF) << np.uint64(56)
    for i in range(length - blocks * 8):
        m |= np.uint64(data[start + blocks * 8 + i]) << np.uint64(8 * i)
    v3 ^= m
    v0, v1, v2, v3 = _sipround(v0, v1, v2, v3)
    v0, v1, v2, v3 = _sipround(v0, v1, v2, v3)
    v0 ^= m
    v2 ^= np.uint64(0xFF)
    for _ in range(4):
        v0, v1, v2, v3 = _sipround(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


@numba.njit(cache=True)
def siphash24_word(word, k0, k1):  # type: ignore[no-untyped-def]
    """SipHash-2-4 of one 8-byte little-endian word (uint64); the same as of its 8 bytes."""
    v0 = k0 ^ np.uint64(0x736F6D6570736575)
    v1 = k1 ^ np.uint64(0x646F72616E646F6D)
    v2 = k0 ^ np.uint64(0x6C7967656E657261)
    v3 = k1 ^ np.uint64(0x7465646279746573)
    for m in (word, np.uint64(8) << np.uint64(56)):
        v3 ^= m
        v0, v1, v2, v3 = _sipround(v0, v1, v2, v3)
        v0, v1, v2, v3 = _sipround(v0, v1, v2, v3)
        v0 ^= m
    v2 ^= np.uint64(0xFF)
    for _ in range(4):
        v0, v1, v2, v3 = _sipround(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


@numba.njit(cache=True)
def _digest_column(data, offsets, k0, k1, out):  # type: ignore[no-untyped-def]
    for row in range(out.size):
        h = siphash24(data, offsets[row], offsets[row + 1], k0, k1)
        out[row] = h if h != 0 else np.uint64(1)


@numba.njit(cache=True)
def _digest_words(words, k0, k1, out):  # type: ignore[no-untyped-def]
    for row in range(out.size):
        h = siphash24_word(words[row], k0, k1)
        out[row] = h if h != 0 else np.uint64(1)


@numba.njit(cache=True)
def absorb_rows(words, first, odd, out):  # type: ignore[no-untyped-def]
    """Go on digesting rows: `out[i]` (uint64) takes in row `first + i` of `words` (rows, n), integers.

    A multiply-xor chain: two rows that differ in one word always differ in their digests;
    others collide by chance once in 2**64, and not by design while `odd` is secret.
    """
    for i in range(out.size):
        h = out[i]
        for c in range(words.shape[1]):
            h = (h ^ np.uint64(words[first + i, c])) * odd
            h ^= h >> np.uint64(32)
        out[i] = h


def string_buffers(column: pa.StringArray) -> tuple[U8, npt.NDArray[np.int32]]:
    """Expose a string column's UTF-8 bytes and its int32 offsets (length n + 1) without a copy."""
    _, offsets_buffer, data_buffer = column.buffers()
    if len(column) == 0 or offsets_buffer is None:
        return np.zeros(0, np.uint8), np.zeros(len(column) + 1, np.int32)
    offsets = np.frombuffer(offsets_buffer, np.int32)[column.offset : column.offset + len(column) + 1]
    data = np.zeros(0, np.uint8) if data_buffer is None else np.frombuffer(data_buffer, np.uint8)
    return data, offsets


def digest64(kind: bytes, column: pa.StringArray, *, key: bytes) -> U64:
    """Hash a string column: uint64 of its length; 0 where the value is null.

    >>> d = digest64(b"account", pa.array(["a", None, "a", "b"]), key=bytes(32))
    >>> bool(d[0] == d[2]), int(d[1]), bool(d[0] == d[3])
    (True, 0, False)
    """
    k0, k1 = subkey(key, kind)
    data, offsets = string_buffers(column)
    out = np.zeros(len(column), np.uint64)
    _digest_column(data, offsets, k0, k1, out)
    if column.null_count:
        out[column.is_null().to_numpy(zero_copy_only=False)] = ABSENT
    return out


def digest64_words(kind: bytes, words: U64, *, key: bytes) -> U64:
    """Hash a column of 64-bit words; never 0."""
    k0, k1 = subkey(key, kind)
    out = np.empty(words.size, np.uint64)
    _digest_words(words, k0, k1, out)
    return out


def opaque64(value: bytes) -> int:
    """Fold an opaque fingerprint (any string) to 64 bits: the first 8 bytes of its BLAKE2b, never 0.

    Unkeyed, so that every reader agrees on it; the engine keys it again like any word.

    >>> opaque64(b"sha256:ab") == opaque64(b"sha256:ab") != opaque64(b"sha256:ac")
    True
    """
    return int.from_bytes(hashlib.blake2b(value, digest_size=8).digest(), "big") or 1


@numba.njit(cache=True)
def digest_rows(ids, numbers, k0, k1, out):  # type: ignore[no-untyped-def]
    """Digest whole rows of (uint64, int64) matrices into `out` (uint64), never 0.

    A multiply-xor chain, not SipHash: it only orders rows whose time and event
    digest are equal, so an adversary gains nothing from a collision.
    """
    odd = k1 | np.uint64(1)
    for row in range(out.size):
        h = k0
        for c in range(ids.shape[1]):
            h = (h ^ ids[row, c]) * odd
            h ^= h >> np.uint64(29)
        for c in range(numbers.shape[1]):
            h = (h ^ np.uint64(numbers[row, c])) * odd
            h ^= h >> np.uint64(29)
        out[row] = h if h != 0 else np.uint64(1)
