"""Contractions on a processor that speaks OpenCL: one work-item computes a block of outputs with vectors.

There, work-items that wait for each other cost more than they bring: a group is one item, which copies
blocks of the operands side by side and multiplies them in registers.
"""

from __future__ import annotations

from lazygrad import expr
from lazygrad.codegen.choice import Choice
from lazygrad.codegen.loopnest import (
    Accumulate,
    Array,
    Compute,
    Constant,
    Load,
    Loop,
    Read,
    Statement,
    Store,
    Value,
    map_value,
    substitute,
    substitute_guards,
    substitute_value,
)
from lazygrad.codegen.opencl_contraction import Contraction, guarded_value, reads_neighbours
from lazygrad.codegen.opencl_rows import Body, Rows, guarded_body, power_of_two, rewrite_values, unless_always
from lazygrad.expr import Expr, Guard, Var
from lazygrad.helpers import ceil_div, product
from lazygrad.source import Target

BLOCK, DEPTH, REGISTER_ROWS, REGISTER_VECTORS = 64, 64, 4, 2
VECTOR_BYTES = 32  # PoCL may report 64 where its LLVM cannot compile float16 and double8 arithmetic


def is_processor(target: Target) -> bool:
    """True for a device that is a processor, not a GPU."""
    return target.features.split(" ")[0] == "cpu"


def fits_blocks(c: Contraction, target: Target) -> bool:
    """True where the device is a processor and the sum is plain float arithmetic."""
    d = c.accumulator.dtype
    plain = isinstance(c.product, Compute) and c.product.op == "mul" and c.product.dtype is d
    return is_processor(target) and plain and d.name in ("float32", "float64")


def block(c: Contraction, target: Target, choice: Choice) -> tuple[Statement, str]:
    """for i, j: acc = 0; for k: acc += a[i, k] * b[k, j]; out[i, j] = f(acc)   ->
    parallel group (64 x 64 outputs): for step:
        left = a[64 rows, 64 k]; right = b[64 k, 64 columns]                      (side by side)
        for 4 rows, 2 vectors of columns: sums = total; for k: sums[u, v] += left[k, u] * right[k, v]
            total = sums
    out[i, j] = f(total[i, j])                                                    (where i and j are inside)
    """
    return _Blocking(c, target, choice).build()


def _e(v: Var) -> Expr:
    return expr.var(v.name, v.extent)


class _Blocking:
    def __init__(self, c: Contraction, target: Target, choice: Choice):
        self.c, d = c, c.accumulator.dtype
        self.lanes = max(2, min(VECTOR_BYTES, target.vector_bytes) // d.itemsize)
        vectors, side = choice.vectors or REGISTER_VECTORS, choice.block or BLOCK
        self.rows, self.columns = choice.rows or REGISTER_ROWS, vectors * self.lanes
        self.m = min(side, max(self.rows, power_of_two(c.m.count)))
        self.n = min(side, max(self.columns, power_of_two(c.n.count)))
        self.k = min(choice.depth or DEPTH, c.k.count)
        shape = c.batch.count, ceil_div(c.m.count, self.m), ceil_div(c.n.count, self.n)
        self.group, self.step = Var("group", product(shape)), Var("step", ceil_div(c.k.count, self.k))
        batch, self.block_m, self.block_n = expr.unflatten(_e(self.group), shape)
        self.batch = c.batch.at(batch)
        self.left = Array("left_block", c.left.dtype, self.k * self.m, "local")
        self.right = Array("right_block", c.right.dtype, self.k * self.n, "local")
        self.total = Array(f"{c.accumulator.name}_block", d, self.m * self.n, "local")

    def build(self) -> tuple[Statement, str]:
        c = self.c
        clear = Var("clear", self.total.size)
        body: Body = (
            Loop(
                clear,
                (Store(self.total, _e(clear), Constant(0.0, c.accumulator.dtype)),),
                "vector",
                self.lanes,
            ),
            Loop(
                self.step,
                (
                    *self.copy(self.left, c.left, c.m, self.block_m * self.m, self.m),
                    *self.copy(self.right, c.right, c.n, self.block_n * self.n, self.n),
                    self.multiply(),
                ),
            ),
            self.finish(),
        )
        sizes = "x".join(str(s.count) for s in (c.batch, c.m, c.n, c.k) if s is not c.batch or s.count > 1)
        words = f"block({sizes} by {self.m}x{self.n}x{self.k}, {self.rows}x{self.columns} in registers)"
        return Loop(self.group, body, "parallel"), words

    def copy(self, array: Array, factor: Value, side: Rows, start: Expr, width: int) -> Body:
        """block[k, m] = the factor at (m, k), 0 outside."""
        c = self.c
        name = array.name.removesuffix("_block")
        k_inside, inside = Var(f"{name}_k", self.k), Var(f"{name}_place", width)
        k, at = _e(self.step) * self.k + _e(k_inside), start + _e(inside)
        indices = self.batch | side.at(at) | c.k.at(k)
        guards = unless_always(Guard(at, 0, side.count), Guard(k, 0, c.k.count)) + substitute_guards(
            c.guards, indices
        )
        value = guarded_value(substitute_value(factor, indices), guards)
        body: Body = (Store(array, _e(k_inside) * width + _e(inside), value),)
        along_k = reads_neighbours(factor, c.k) and not reads_neighbours(factor, side)
        outer, inner = (inside, k_inside) if along_k else (k_inside, inside)
        return (Loop(outer, (Loop(inner, body),)),)

    def multiply(self) -> Loop:
        """total[64, 64] += left[k, 64] * right[k, 64], a few rows and vectors of columns at a time."""
        c, d = self.c, self.c.accumulator.dtype
        rows, columns = Var("rows", self.m // self.rows), Var("columns", self.n // self.columns)
        u, v, k = Var("u", self.rows), Var("v", self.columns), Var("k", self.k)
        row, column = _e(rows) * self.rows + _e(u), _e(columns) * self.columns + _e(v)
        sums = Array(f"{c.accumulator.name}_sums", d, self.rows * self.columns, "register")
        place, whole = _e(u) * self.columns + _e(v), row * self.n + column
        loads = {
            "left": Load(self.left, _e(k) * self.m + row),
            "right": Load(self.right, _e(k) * self.n + column),
        }

        def read(value: Value) -> Value:
            return loads[value.name] if isinstance(value, Read) else value

        def each(s: Statement) -> Loop:
            return Loop(u, (Loop(v, (s,), "vector", self.lanes),), "unroll")

        return Loop(
            rows,
            (
                Loop(
                    columns,
                    (
                        each(Store(sums, place, Load(self.total, whole))),
                        Loop(k, (each(Accumulate(sums, place, "add", map_value(c.product, read))),)),
                        each(Store(self.total, whole, Load(sums, place))),
                    ),
                ),
            ),
        )

    def finish(self) -> Loop:
        """The epilogue for each output of the block."""
        c = self.c
        i, j = Var("i", self.m), Var("j", self.n)
        m, n = self.block_m * self.m + _e(i), self.block_n * self.n + _e(j)
        result = Load(self.total, _e(i) * self.n + _e(j))

        def read(value: Value) -> Value:
            return result if isinstance(value, Load) and value.array == c.accumulator else value

        indices = self.batch | c.m.at(m) | c.n.at(n)
        body = rewrite_values(substitute((*c.before, *c.epilogue), indices), read)
        guards = unless_always(Guard(m, 0, c.m.count), Guard(n, 0, c.n.count))
        return Loop(i, (Loop(j, guarded_body(guards, body)),))
