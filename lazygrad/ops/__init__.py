"""The op table: one row per primitive, read by every floor above.

`OPS[name]` is a row; the functions below make nodes. Rows: `source.py` (constants, buffers, annotations),
`elementwise.py`, `movement.py`, `indexing.py`, `reduction.py` (reduces and scans).
"""

from lazygrad.ops.elementwise import (
    abs_, acos, acosh, add, asin, asinh, atan, atan2, atanh, bitand, bitcast, bitnot, bitor, bitxor, cast, ceil, cos,
    cosh, div, eq, erf, erfc, exp, exp2, expm1, floor, floordiv, fmod, le, like, log, log1p, log2, log10, lt, maximum,
    minimum, mul, ne, neg, pow_, reciprocal, remainder, round_, rsqrt, shl, shr, sign, sin, sinh, sqrt, sub, tan, tanh,
    trunc, truncdiv, where)
from lazygrad.ops.indexing import argsort, gather, scatter
from lazygrad.ops.movement import cat, expand, flip, pad, pad_arg, permute, reshape, shrink, spread, window, window_count
from lazygrad.ops.reduction import cummax, cummin, cumprod, cumsum, max_, min_, prod, recurrence, sum_
from lazygrad.ops.source import buffer, canonical, const, copy, detach, iota, leaf, saved, scalar, surrogate, threefry
from lazygrad.ops.table import OPS, Op

__all__ = [
    "OPS", "Op", "abs_", "acos", "acosh", "add", "argsort", "asin", "asinh", "atan", "atan2", "atanh", "bitand",
    "bitcast", "bitnot", "bitor", "bitxor", "buffer", "canonical", "cast", "cat", "ceil", "const", "copy", "cos", "cosh",
    "cummax", "cummin", "cumprod", "cumsum", "detach", "div", "eq", "erf", "erfc", "exp", "exp2", "expand", "expm1",
    "flip", "floor", "floordiv", "fmod", "gather", "iota", "le", "leaf", "like", "log", "log10", "log1p", "log2", "lt",
    "max_", "maximum", "min_", "minimum", "mul", "ne", "neg", "pad", "pad_arg", "permute", "pow_", "prod", "reciprocal",
    "recurrence", "remainder", "reshape", "round_", "rsqrt", "saved", "scalar", "scatter", "shl", "shr", "shrink",
    "sign", "sin", "sinh", "spread", "sqrt", "sub", "sum_", "surrogate", "tan", "tanh", "threefry", "trunc", "truncdiv",
    "where", "window", "window_count"]
