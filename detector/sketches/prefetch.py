"""Prefetch: ask for a row's memory before it is needed.

Purpose: tables are far larger than the caches, and a loop over a pane knows which rows its
next events need. Loads that are asked for early overlap with the work of the rows before.
Invariants: it changes nothing but time: any row number is allowed, one outside as well.
Limits: whoever asks too early loses the line again; a few rows ahead is right.
Source: LLVM's `prefetch` intrinsic, which becomes one instruction.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

LINE_BYTES = 64
_READ_OR_WRITE, _KEEP, _DATA = 0, 3, 1


@intrinsic
def prefetch(typing_context, array, row, byte):  # type: ignore[no-untyped-def]
    """Ask for the cache line that holds byte `byte` of `array[row]`; for kernels only."""
    del typing_context, row, byte  # `array`, `row` and `byte` are types here

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        data = make_array(kind)(context, builder, arguments[0])
        stride = cgutils.unpack_tuple(builder, data.strides, kind.ndim)[0]
        pointer, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        at = builder.add(builder.mul(arguments[1], stride), arguments[2])
        line = builder.gep(builder.bitcast(data.data, pointer), [at])
        shape = ir.FunctionType(ir.VoidType(), [pointer, word, word, word])
        ask = builder.module.declare_intrinsic("llvm.prefetch", [pointer], shape)
        builder.call(ask, [line, word(_READ_OR_WRITE), word(_KEEP), word(_DATA)])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), code
