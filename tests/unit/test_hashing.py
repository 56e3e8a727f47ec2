"""Keyed hashing: reference vectors, agreement of the three entry points, separation of keys and kinds."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector import hashing

REFERENCE_KEY = (np.uint64(0x0706050403020100), np.uint64(0x0F0E0D0C0B0A0908))
MASK = 2**64 - 1
# The first, some middle and the last of the 64 published vectors: messages 00, 01, ... of that many bytes.
VECTORS = {
    0: 0x726FDB47DD0E0E31,
    1: 0x74F839C593DC67FD,
    7: 0xAB0200F58B01D137,
    8: 0x93F5F5799A932462,
    15: 0xA129CA6149BE45E5,
    63: 0x958A324CEB064572,
}


def siphash24_plain(data: bytes, k0: int, k1: int) -> int:
    """SipHash-2-4 in plain Python integers, from the paper's description."""

    def rotate(x: int, b: int) -> int:
        return ((x << b) | (x >> (64 - b))) & MASK

    def rounds(v: list[int], times: int) -> None:
        for _ in range(times):
            for a, b, left, wide in ((0, 1, 13, 0), (2, 3, 16, None), (0, 3, 21, None), (2, 1, 17, 2)):
                v[a] = (v[a] + v[b]) & MASK
                v[b] = rotate(v[b], left) ^ v[a]
                if wide is not None:
                    v[a] = rotate(v[a], 32)

    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    whole = len(data) // 8 * 8
    words = [int.from_bytes(data[i : i + 8], "little") for i in range(0, whole, 8)]
    words.append(int.from_bytes(data[whole:], "little") | (len(data) & 0xFF) << 56)
    for m in words:
        v[3] ^= m
        rounds(v, 2)
        v[0] ^= m
    v[2] ^= 0xFF
    rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


@pytest.mark.parametrize(("length", "expected"), VECTORS.items())
def test_siphash_gives_the_published_vectors(length: int, expected: int) -> None:
    message = np.arange(length, dtype=np.uint8)
    assert expected == int(hashing.siphash24(message, 0, length, *REFERENCE_KEY))
    assert expected == siphash24_plain(message.tobytes(), *(int(k) for k in REFERENCE_KEY))


@given(st.binary(max_size=80), st.binary(min_size=32, max_size=32))
def test_the_kernel_equals_plain_python(message: bytes, key: bytes) -> None:
    k0, k1 = hashing.subkey(key, b"account")
    expected = siphash24_plain(message, int(k0), int(k1))
    assert expected == int(hashing.siphash24(np.frombuffer(message, np.uint8), 0, len(message), k0, k1))


@given(st.lists(st.integers(0, MASK), max_size=20))
def test_a_word_hashes_as_its_eight_bytes(words: list[int]) -> None:
    k0, k1 = hashing.subkey(hashing.DEVELOPMENT_KEY, b"run")
    column = np.array(words, np.uint64)
    expected = [siphash24_plain(w.to_bytes(8, "little"), int(k0), int(k1)) for w in words]
    assert expected == hashing.digest64_words(b"run", column, key=hashing.DEVELOPMENT_KEY).tolist()


@given(st.lists(st.none() | st.text(max_size=30), max_size=20), st.integers(0, 5))
def test_a_column_hashes_row_by_row_and_a_slice_as_its_rows(values: list[str | None], start: int) -> None:
    key = hashing.DEVELOPMENT_KEY
    k0, k1 = hashing.subkey(key, b"account")
    expected = [0 if v is None else siphash24_plain(v.encode(), int(k0), int(k1)) for v in values]
    column = pa.array(values, pa.string())
    assert expected == hashing.digest64(b"account", column, key=key).tolist()
    assert expected[start:] == hashing.digest64(b"account", column.slice(start), key=key).tolist()


def test_the_empty_string_is_present_and_an_empty_column_is_empty() -> None:
    key = hashing.DEVELOPMENT_KEY
    assert hashing.digest64(b"account", pa.array([""]), key=key)[0] != hashing.ABSENT
    assert hashing.digest64(b"account", pa.array([], pa.string()), key=key).size == 0


def test_kinds_and_keys_give_unrelated_digests() -> None:
    column = pa.array(["10.0.0.0/24"])
    digests = {
        int(hashing.digest64(kind, column, key=key)[0])
        for kind in (b"account", b"subnet")
        for key in (bytes(32), hashing.DEVELOPMENT_KEY)
    }
    assert len(digests) == 4


def test_a_keys_name_does_not_hold_the_key() -> None:
    name = hashing.key_digest(hashing.DEVELOPMENT_KEY)
    assert len(name) == 16
    assert name not in hashing.DEVELOPMENT_KEY.hex()
    assert name != hashing.key_digest(bytes(32))


def test_digests_are_the_same_in_another_process_under_another_hash_seed() -> None:
    program = (
        "import pyarrow as pa; from detector import hashing as h;"
        "print(h.digest64(b'account', pa.array(['acct-1', 'acct-2']), key=h.DEVELOPMENT_KEY).tolist())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "4242")
    }
    assert len(seen) == 1


def test_the_development_key_is_the_published_one() -> None:
    assert hashlib.sha256(hashing.DEVELOPMENT_KEY).hexdigest() == (
        "6e781200e8248b6d5115af0ac57b5f1c70e8dc18eb12a7807d2978dde27e4fe8"
    )


def test_public_digests_are_unkeyed_blake2b() -> None:
    assert hashing.content_digest(b"settings") == hashlib.blake2b(b"settings", digest_size=8).hexdigest()
    assert hashing.opaque64(b"sha256:ab") == int(hashlib.blake2b(b"sha256:ab", digest_size=8).hexdigest(), 16)


@given(st.lists(st.tuples(st.integers(0, MASK), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=8))
def test_a_row_digest_is_a_function_of_its_row_alone(rows: list[tuple[int, int]]) -> None:
    k0, k1 = REFERENCE_KEY

    def plain(identifier: int, number: int) -> int:
        h, odd = int(k0), int(k1) | 1
        for word in (identifier, number & MASK):
            h = (h ^ word) * odd & MASK
            h ^= h >> 29
        return h or 1

    ids = np.array([[i] for i, _ in rows], np.uint64)
    numbers = np.array([[n] for _, n in rows], np.int64)
    out = np.zeros(len(rows), np.uint64)
    hashing.digest_rows(ids, numbers, k0, k1, out)
    assert [plain(i, n) for i, n in rows] == out.tolist()
