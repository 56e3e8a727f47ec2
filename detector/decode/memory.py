"""Loads and stores at an address, for compiled readers of bytes.

Purpose: a reader made of many small functions would spend most of its time counting
references to the arrays that it hands from one to the next (measured: 45 us a record
against under 2); handed plain addresses, it counts nothing.
Invariants: whoever passes an address keeps the memory alive and at least `PAD` bytes
readable behind it; words are little-endian, as on every platform numba supports.
Limits: nothing is checked here. Positions are checked where they are computed, against
the record's end, and every output is sized for the worst input beforehand.
"""

import functools
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

PAD: Final = 16

# For functions that only other kernels call: no way in from Python, so less to compile.
inner = functools.partial(numba.njit, no_cpython_wrapper=True, no_cfunc_wrapper=True)

# For functions that are called from one place only: merged into their caller before anything
# is compiled, since every level of calls would otherwise be optimised again on its own.
once = functools.partial(numba.njit, inline="always")

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_F64 = ir.DoubleType()


def _load(builder, address, kind):  # type: ignore[no-untyped-def]
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=1)


def _store(builder, address, value):  # type: ignore[no-untyped-def]
    builder.store(value, builder.inttoptr(address, value.type.as_pointer()), align=1)


def _word(builder, args):  # type: ignore[no-untyped-def]
    return builder.add(args[0], builder.shl(args[1], ir.Constant(_I64, 3)))


@intrinsic
def load_u8(_context, _address):  # type: ignore[no-untyped-def]
    """The byte at an int64 address, as int64."""

    def generate(_ctx, builder, _signature, args):  # type: ignore[no-untyped-def]
        return builder.zext(_load(builder, args[0], _I8), _I64)

    return types.int64(types.int64), generate


@intrinsic
def load_u64(_context, _address):  # type: ignore[no-untyped-def]
    """The 8 bytes at an int64 address, as uint64; the first byte is the lowest."""

    def generate(_ctx, builder, _signature, args):  # type: ignore[no-untyped-def]
        return _load(builder, args[0], _I64)

    return types.uint64(types.int64), generate


@intrinsic
def load_i64(_context, _address):  # type: ignore[no-untyped-def]
    """The int64 at an int64 address."""

    def generate(_ctx, builder, _signature, args):  # type: ignore[no-untyped-def]
        return _load(builder, args[0], _I64)

    return types.int64(types.int64), generate


@intrinsic
def load_i32(_context, _address):  # type: ignore[no-untyped-def]
    """The int32 at an int64 address, as int64."""

    def generate(_ctx, builder, _signature, args):  # type: ignore[no-untyped-def]
        return builder.sext(_load(builder, args[0], _I32), _I64)

    return types.int64(types.int64), generate


@intrinsic
def load_f64(_context, _address):  # type: ignore[no-untyped-def]
    """The float64 at an int64 address."""

    def generate(_ctx, builder, _signature, args):  # type: ignore[no-untyped-def]
        return _load(builder, args[0], _F64)

    return types.float64(types.int64), generate


@intrinsic
def store_u8(_context, _address, _value):  # type: ignore[no-untyped-def]
    """Write the low byte of an int64."""

    def generate(ctx, builder, _signature, args):  # type: ignore[no-untyped-def]
        _store(builder, args[0], builder.trunc(args[1], _I8))
        return ctx.get_dummy_value()

    return types.none(types.int64, types.int64), generate


@intrinsic
def store_i32(_context, _address, _value):  # type: ignore[no-untyped-def]
    """Write the low 32 bits of an int64."""

    def generate(ctx, builder, _signature, args):  # type: ignore[no-untyped-def]
        _store(builder, args[0], builder.trunc(args[1], _I32))
        return ctx.get_dummy_value()

    return types.none(types.int64, types.int64), generate


@intrinsic
def store_i64(_context, _address, _value):  # type: ignore[no-untyped-def]
    """Write an int64."""

    def generate(ctx, builder, _signature, args):  # type: ignore[no-untyped-def]
        _store(builder, args[0], args[1])
        return ctx.get_dummy_value()

    return types.none(types.int64, types.int64), generate


@intrinsic
def store_f64(_context, _address, _value):  # type: ignore[no-untyped-def]
    """Write a float64."""

    def generate(ctx, builder, _signature, args):  # type: ignore[no-untyped-def]
        _store(builder, args[0], args[1])
        return ctx.get_dummy_value()

    return types.none(types.int64, types.float64), generate


@intrinsic
def low_zeros(_context, _word):  # type: ignore[no-untyped-def]
    """Number of zero bits below the lowest set bit of a uint64, as int64; 64 for zero."""

    def generate(_ctx, builder, _signature, args):  # type: ignore[no-untyped-def]
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


def address(array: npt.NDArray[Any]) -> int:
    """Where an array's data begins; the caller keeps the array alive while it is used."""
    return int(array.ctypes.data)


@intrinsic
def get(_context, _base, _slot):  # type: ignore[no-untyped-def]
    """The int64 word number `slot` behind an address."""

    def generate(_ctx, builder, _signature, args):  # type: ignore[no-untyped-def]
        return _load(builder, _word(builder, args), _I64)

    return types.int64(types.int64, types.int64), generate


@intrinsic
def put(_context, _base, _slot, _value):  # type: ignore[no-untyped-def]
    """Set the int64 word number `slot` behind an address."""

    def generate(ctx, builder, _signature, args):  # type: ignore[no-untyped-def]
        _store(builder, _word(builder, args), args[2])
        return ctx.get_dummy_value()

    return types.none(types.int64, types.int64, types.int64), generate


@inner
def same_bytes(a, b, size):  # type: ignore[no-untyped-def]
    """Whether the `size` bytes at two addresses are equal."""
    while size >= 8:
        if load_u64(a) != load_u64(b):
            return False
        a, b, size = a + 8, b + 8, size - 8
    # Shift out what lies behind the end: up to 7 bytes of the last word.
    return size == 0 or (load_u64(a) ^ load_u64(b)) << np.uint64(64 - 8 * size) == 0
