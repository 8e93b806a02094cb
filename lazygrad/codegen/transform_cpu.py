"""Transforms that CPU recipes need besides the common ones: coalescing, exact blocks, reductions in chunks,
transposing
tiles. Pure functions from nest to nest, as in `transform`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lazygrad import expr
from lazygrad.codegen.loopnest import (
    Accumulate,
    Array,
    Constant,
    If,
    IndexValue,
    Let,
    Load,
    Loop,
    LoopNest,
    Select,
    Statement,
    Store,
    Value,
    map_value,
    statement_values,
    substitute,
    walk,
)
from lazygrad.codegen.transform import Body, noted, rewrite_loop
from lazygrad.dtypes import DType
from lazygrad.expr import Atom, Expr, Guard, Quotient, Remainder, Var
from lazygrad.helpers import ceil_div, product
from lazygrad.ops import OPS

FREE = ("domain", "reduce")  # kinds of loops whose iterations may be reordered


def expressions(s: Statement) -> Iterable[Expr]:
    """Every index expression and guard of a statement, without the statements inside it."""
    if isinstance(s, Store | Accumulate):
        yield s.index
    if isinstance(s, Store | Accumulate | If):
        yield from (g.e for g in s.guards)
    for v in statement_values(s):
        if isinstance(v, Load):
            yield v.index
        if isinstance(v, IndexValue):
            yield v.e
        if isinstance(v, Load | Select):
            yield from (g.e for g in v.guards)


def coalesce(nest: LoopNest) -> LoopNest:
    """Loops directly inside each other become one where no index then needs a division.

        for i in 3: for j in 4: f(x[4*i + j])   ->   for i_j in 12: f(x[i_j])
    """
    body, names = _coalesced(nest.body)
    return noted(nest, body, f"coalesce({','.join(names)})") if names else nest


def _coalesced(body: Iterable[Statement]) -> tuple[Body, list[str]]:
    result: list[Statement] = []
    names: list[str] = []
    for s in body:
        if isinstance(s, Loop | If):
            inner, more = _coalesced(s.body)
            s, names = replace(s, body=inner), names + more
        if isinstance(s, Loop):
            merged = merge_pair(s)
            if merged is not None and not _divides(merged):
                s, names = merged, [*names, merged.var.name]
        result.append(s)
    return tuple(result), names


def merge_pair(loop: Loop) -> Loop | None:
    """A loop and the one directly inside it, of the same free kind, as one loop; None if there is none."""
    if loop.kind not in FREE or len(loop.body) != 1:
        return None
    inner = loop.body[0]
    if not isinstance(inner, Loop) or inner.kind != loop.kind or not inner.var.extent:
        return None
    both = Var(f"{loop.var.name}_{inner.var.name}", loop.var.extent * inner.var.extent)
    index = expr.var(both.name, both.extent)
    values: dict[Atom, Expr] = {loop.var: index // inner.var.extent, inner.var: index % inner.var.extent}
    return replace(loop, var=both, body=substitute(inner.body, values))


def _divides(loop: Loop) -> bool:
    """Whether some index divides by way of the loop's variable."""
    for s in walk(loop.body):
        for e in expressions(s):
            for atom in expr.atoms(e):
                if isinstance(atom, Quotient | Remainder) and loop.var in expr.variables(atom.base):
                    return True
    return False


def divide(nest: LoopNest, name: str, factor: int) -> LoopNest:
    """A loop in blocks without a guard, and what is left over in a loop of its own.

        for i in 10: f(i)   ->   for i_o in 2: for i_i in 4: f(4*i_o + i_i)
                                 for i_rest in 2: f(8 + i_rest)                  (factor 4)

    The loops around it must hold nothing else: each of the two parts gets a copy of them.
    """
    body: list[Statement] = []
    for s in nest.body:
        if not any(isinstance(inner, Loop) and inner.var.name == name for inner in walk((s,))):
            body.append(s)
            continue
        body += rewrite_loop((s,), name, lambda loop: (_blocks(loop, factor),))
        body += rewrite_loop((s,), name, lambda loop: _rest(loop, factor))
    return noted(nest, (s for s in body if not _empty(s)), f"divide({name},{factor})")


def _blocks(loop: Loop, factor: int) -> Loop:
    outer, inner = Var(f"{loop.var.name}_o", loop.var.extent // factor), Var(f"{loop.var.name}_i", factor)
    whole = expr.var(outer.name, outer.extent) * factor + expr.var(inner.name, inner.extent)
    body = substitute(loop.body, {loop.var: whole})
    return replace(loop, var=outer, body=(replace(loop, var=inner, body=body),))


def _rest(loop: Loop, factor: int) -> Body:
    rest = Var(f"{loop.var.name}_rest", loop.var.extent % factor)
    whole = expr.var(rest.name, rest.extent) + loop.var.extent // factor * factor
    return (replace(loop, var=rest, body=substitute(loop.body, {loop.var: whole})),)


def _empty(s: Statement) -> bool:
    while isinstance(s, Loop) and s.var.extent and len(s.body) == 1:
        s = s.body[0]
    return isinstance(s, Loop) and s.var.extent == 0


# Reductions in chunks


def chunk_reduction(nest: LoopNest, name: str, size: int) -> LoopNest:
    """A top-level reduction in chunks that workers share.

        a = 0                        for c in 3:
        for k in 14: a += x[k]           a = 0; for k_i in 4: a += x[4*c + k_i]; partial[c] = a
        y = a                  ->    a = 0; for c in 3: a += partial[c]; for k_rest in 2: a += x[12 + k_rest]
                                     y = a                                                        (size 4)
    """
    body: list[Statement] = []
    for number, s in enumerate(nest.body):
        if isinstance(s, Loop) and s.var.name == name:
            body += _chunks(s, size, _ahead(nest.body[:number], s), body)
        else:
            body.append(s)
    return noted(nest, body, f"chunk_reduction({name},{size})")


def _ahead(before: Iterable[Statement], loop: Loop) -> list[Store]:
    """The stores that set up the accumulators of a reduce loop."""
    arrays = accumulators(loop)
    return [s for s in before if isinstance(s, Store) and s.array in arrays]


def accumulators(loop: Loop) -> dict[Array, str]:
    """The register arrays that a reduce loop folds into and does not set up itself, with the op."""
    own = {s.array for s in walk(loop.body) if isinstance(s, Store)}
    return {s.array: s.combine for s in walk(loop.body) if isinstance(s, Accumulate) and s.array not in own}


def _chunks(loop: Loop, size: int, setup: list[Store], body: list[Statement]) -> list[Statement]:
    """The statements for a reduce loop; its setup is taken out of `body`, to stand after the parallel
    part."""
    for s in setup:
        body.remove(s)
    found = accumulators(loop)
    assert all(a.size == 1 for a in found), found
    split = _blocks(loop, size)
    chunk = split.var
    inner = split.body
    partial = {
        a: Array(f"partial_{a.name}_{chunk.name}", a.dtype, max(chunk.extent, 1), "temporary") for a in found
    }
    place = _at(chunk)
    start = [Store(a, expr.ZERO, Constant(identity(op, a.dtype), a.dtype)) for a, op in found.items()]
    stores = [Store(partial[a], place, Load(a, expr.ZERO)) for a in found]
    workers = replace(split, kind="domain", body=(*start, *inner, *stores))
    fold = Var(f"{chunk.name}_fold", chunk.extent)
    steps = tuple(Accumulate(a, expr.ZERO, op, Load(partial[a], _at(fold))) for a, op in found.items())
    rest = [s for s in _rest(loop, size) if not _empty(s)]
    return [workers, *setup, Loop(fold, steps, "reduce"), *rest]


def chunk_rows(nest: LoopNest, name: str, size: int, stream: bool) -> LoopNest:
    """A reduction within a chain of loops in chunks; the first part has the chunks as its outermost loop.

        for j in 8:                    for c in 3: for j in 8:
            a = 0                          a = 0; for k_i in 4: a += x[4*c + k_i, j]
            for k in 14: a += x[k, j]      partial[c, j] = a
            y[j] = a             ->    for j in 8:
                                           a = 0; for c in 3: a += partial[c, j]
                                           for k_rest in 2: a += x[12 + k_rest, j]
                                           y[j] = a                                       (size 4)

    `stream`: the first part runs along rows, `for c: for k_i: for j: partial[c, j] += x[4*c + k_i, j]`, which
    reads memory in order. The loops around the reduction must hold nothing but each other.
    """
    chain: list[Loop] = []
    body = nest.body
    while len(body) == 1 and isinstance(body[0], Loop) and body[0].kind == "domain":
        chain.append(body[0])
        body = body[0].body
    number = next(i for i, s in enumerate(body) if isinstance(s, Loop) and s.var.name == name)
    loop = body[number]
    assert isinstance(loop, Loop)
    found = accumulators(loop)
    split = _blocks(loop, size)
    columns = product(outer.var.extent for outer in chain)
    size_of_partial = split.var.extent * columns
    names = {a: f"partial_{a.name}_{split.var.name}" for a in found}
    partial = {a: Array(name, a.dtype, size_of_partial, "temporary") for a, name in names.items()}
    column = expr.flatten((_at(outer.var) for outer in chain), (outer.var.extent for outer in chain))
    place = _at(split.var) * columns + column
    lets = tuple(s for s in body[:number] if isinstance(s, Let))
    start = {a: Constant(identity(op, a.dtype), a.dtype) for a, op in found.items()}
    if stream:
        clear = _nested(chain, tuple(Store(partial[a], place, start[a]) for a in found))
        inner = split.body[0]
        assert isinstance(inner, Loop)
        steps = tuple(
            replace(s, array=partial[s.array], index=place)
            if isinstance(s, Accumulate) and s.array in partial
            else s
            for s in inner.body
        )
        first: Body = (clear, replace(inner, kind="serial", body=(_nested(chain, lets + steps),)))
    else:
        stores = tuple(Store(partial[a], place, Load(a, expr.ZERO)) for a in found)
        first = (
            _nested(chain, (*lets, *(Store(a, expr.ZERO, start[a]) for a in found), *split.body, *stores)),
        )
    fold = Var(f"{split.var.name}_fold", split.var.extent)
    folded = tuple(
        Accumulate(a, expr.ZERO, op, Load(partial[a], _at(fold) * columns + column))
        for a, op in found.items()
    )
    rest = tuple(s for s in _rest(loop, size) if not _empty(s))
    second = _nested(chain, (*body[:number], Loop(fold, folded, "reduce"), *rest, *body[number + 1 :]))
    words = f"chunk_rows({name},{size}{',stream' if stream else ''})"
    return noted(nest, (replace(split, kind="domain", body=first), second), words)


def _at(var: Var) -> Expr:
    return expr.var(var.name, var.extent)


def _nested(chain: Iterable[Loop], body: Body) -> Loop:
    """The loops of a chain around a body."""
    for loop in reversed(list(chain)):
        body = (replace(loop, body=body),)
    result = body[0]
    assert isinstance(result, Loop)
    return result


def identity(combine: str, dtype: DType) -> bool | int | float:
    """The value that a reduction starts from."""
    row = next(row for row in OPS.values() if row.kind == "reduce" and row.combine == combine)
    assert row.identity is not None
    return row.identity(dtype)


def publish(nest: LoopNest, array: Array) -> LoopNest:
    """A scalar that a later phase reads goes through memory: a register is its phase's alone.

        for k: a += x[k]                        for k: a += x[k]
        r = a                                   final = a
        for i: parallel: y[i] = r   ->          r = final
                                                for i: parallel: y[i] = r
    """
    final = Array(f"final_{array.name}", array.dtype, 1, "temporary")

    def visit(v: Value) -> Value:
        return replace(v, array=final) if isinstance(v, Load) and v.array == array else v

    body: list[Statement] = []
    last = max(
        i
        for i, s in enumerate(nest.body)
        if any(isinstance(inner, Accumulate | Store) and inner.array == array for inner in walk((s,)))
    )
    for i, s in enumerate(nest.body):
        if i > last:
            s = _mapped(s, visit)
        body.append(s)
        if i == last:
            body.append(Store(final, expr.ZERO, Load(array, expr.ZERO)))
    return noted(nest, body, f"publish({array.name})")


def _mapped(s: Statement, visit: object) -> Statement:
    if isinstance(s, Let | Store | Accumulate):
        return replace(s, value=map_value(s.value, visit))  # type: ignore[arg-type]
    if isinstance(s, Loop | If):
        return replace(s, body=tuple(_mapped(inner, visit) for inner in s.body))
    return s


# Transposing tiles


def squares(nest: LoopNest, outer: str, inner: str, size: int) -> LoopNest:
    """Two loops directly inside each other, square by square.

        for i in 9: for j in 8: f(i, j)   ->   for i_o in 3: for j_o in 2: for i_i in 4: for j_i in 4:
                                                   if 4*i_o + i_i < 9: f(4*i_o + i_i, 4*j_o + j_i)    (size 4)
    """

    def change(loop: Loop) -> Body:
        below = loop.body[0]
        assert isinstance(below, Loop) and below.var.name == inner and len(loop.body) == 1, (outer, inner)
        variables: list[tuple[Var, Var]] = []
        values: dict[Atom, Expr] = {}
        guards: list[Guard] = []
        for var in (loop.var, below.var):
            block, within = Var(f"{var.name}_o", ceil_div(var.extent, size)), Var(f"{var.name}_i", size)
            values[var] = _at(block) * size + _at(within)
            guards += [g for g in (Guard(values[var], 0, var.extent),) if not g.always]
            variables.append((block, within))
        body = substitute(below.body, values)
        body = (If(tuple(guards), body),) if guards else body
        (i, i_in), (j, j_in) = variables
        return (_nested([replace(loop, var=v) for v in (i, j, i_in, j_in)], body),)

    return noted(nest, rewrite_loop(nest.body, outer, change), f"squares({outer},{inner},{size})")


def transpose_tiles(nest: LoopNest, i: str, j: str, size: int) -> LoopNest:
    """Loads contiguous along i and not along j go through a tile of registers, read in the other direction.

        for i in 16: for j in 16:              for j: unroll: for i: vector: tile[16*j + i] = x[n*j + i]
            y[m*i + j] = f(x[n*j + i])   ->    for i: unroll: for j: vector: y[m*i + j] = f(tile[16*j + i])

    For loops i and j of `size` turns directly inside each other, i outside.
    """
    return noted(
        nest, rewrite_loop(nest.body, i, lambda loop: _through_tiles(loop, j, size)), f"transpose({i},{j})"
    )


def _through_tiles(outer: Loop, name: str, size: int) -> Body:
    inner = outer.body[0]
    assert isinstance(inner, Loop) and inner.var.name == name and outer.var.extent == inner.var.extent == size
    tiles: dict[Load, Array] = {}
    for s in walk(inner.body):
        for v in statement_values(s):
            if isinstance(v, Load) and is_transposed(v, outer.var, inner.var):
                tiles.setdefault(v, Array(f"tile{len(tiles)}", v.dtype, size * size, "register"))
    i, j = (expr.var(v.name, v.extent) for v in (outer.var, inner.var))

    def visit(v: Value) -> Value:
        return Load(tiles[v], j * size + i) if isinstance(v, Load) and v in tiles else v

    fills = tuple(Store(tile, j * size + i, load) for load, tile in tiles.items())
    fill = replace(inner, kind="unroll", body=(replace(outer, kind="vector", lanes=size, body=fills),))
    body = tuple(_mapped(s, visit) for s in inner.body)
    return (fill, replace(outer, kind="unroll", body=(replace(inner, kind="vector", lanes=size, body=body),)))


def is_transposed(load: Load, outer: Var, inner: Var) -> bool:
    """Whether a load without guards is contiguous along the outer loop and not along the inner one."""
    factors = dict(load.index.terms)
    plain = all(isinstance(a, Var) for a in expr.atoms(load.index))
    return plain and not load.guards and factors.get(outer) == 1 and factors.get(inner, 0) not in (-1, 0, 1)
