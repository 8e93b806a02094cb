"""Elementary functions as arithmetic on vectors: no library call, IEEE special cases, float32 and float64.

`expand("exp", builder, x)` appends the instructions and returns the result; x is a scalar or vector Value
of type float or double. What a module takes many times over becomes one function of it, which is called.
tests/test_vector_math.py states the largest error of each function in units in the
last place.

sin, cos and tan branch to a function for huge angles, so they end in another basic block than they began in
(`builder.block` follows); all others are straight code. float32 versions of pow, asinh, acosh and atanh
compute in double, which is both exact enough and simpler than pairs of floats.
"""

from __future__ import annotations

from collections.abc import Callable

from lazygrad.codegen import vector_math_angle as angle
from lazygrad.codegen import vector_math_core as core
from lazygrad.codegen import vector_math_special as special
from lazygrad.codegen.llvm_builder import Builder
from lazygrad.codegen.llvm_values import Value, mangled

FUNCTIONS: dict[str, Callable[..., Value]] = {
    "sqrt": Builder.sqrt,
    "floor": Builder.floor,
    "ceil": Builder.ceil,
    "trunc": Builder.trunc,
    "round": Builder.roundeven,
    "exp": core.exp,
    "exp2": core.exp2,
    "expm1": core.expm1,
    "log": core.log,
    "log2": core.log2,
    "log10": core.log10,
    "log1p": core.log1p,
    "sin": angle.sin,
    "cos": angle.cos,
    "tan": angle.tan,
    "asin": angle.asin,
    "acos": angle.acos,
    "atan": angle.atan,
    "atan2": angle.atan2,
    "sinh": core.sinh,
    "cosh": core.cosh,
    "tanh": core.tanh,
    "asinh": core.asinh,
    "acosh": core.acosh,
    "atanh": core.atanh,
    "erf": special.erf,
    "erfc": special.erfc,
    "pow": special.pow_,
}


# lines of one function in a module, after which it is called: LLVM's time grows faster than a body's length
INLINED_LINES = 2000


def expand(name: str, builder: Builder, x: Value, *others: Value) -> Value:
    """The function `name` of x (and y for pow(x, y); y, x for atan2(y, x)), in every lane."""
    inlined, shared = builder.module.inlined, f"{name}.{mangled(x.type, x.lanes)}"
    if inlined[shared] >= INLINED_LINES:
        return _called(name, shared, builder, x, *others)
    before = len(builder.lines)
    result = FUNCTIONS[name](builder, x, *others)
    inlined[shared] += len(builder.lines) - before
    return result


def _called(name: str, shared: str, builder: Builder, *arguments: Value) -> Value:
    """The same by a call of the module's function for it, made at its first use."""
    module, x = builder.module, arguments[0]
    if not module.has_function(shared):
        parameters = [(f"x{i}", a.text) for i, a in enumerate(arguments)]
        body = module.function(shared, parameters, x.text, linkage="internal", attributes="noinline")
        body.ret(FUNCTIONS[name](body, *body.parameters))
    return builder.call(shared, x.type, arguments, x.lanes)
