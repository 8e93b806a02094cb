"""`Choice`: what a recipe is told instead of deciding it itself, and how loops are changed by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

from lazygrad import expr
from lazygrad.codegen.loopnest import (
    Accumulate,
    If,
    Load,
    Loop,
    LoopNest,
    Statement,
    Store,
    statement_values,
    walk,
)
from lazygrad.expr import Var
from lazygrad.source import Target

ALONE = 1e9  # of `share`: one worker takes all


@dataclass(frozen=True)
class Choice:
    """Sizes and ways of one recipe; None: the recipe decides. What a nest has no use for changes nothing.

    width: bytes of a vector, where the target's are wider
    axis: the loop of a phase that runs in lanes: 0 those within its core, 1 the innermost around the core, 2
          the next one
    plain: 1: loops stay whole and in their order: no chunks, tiles or parts
    together: vectors in a turn of a vector loop
    share: how many times the iterations that a worker usually takes at once
    contract: 0: a sum of products is a plain loop
    rows, vectors: of a contraction's register tile
    depth: the most turns of k in a block
    tiles: column tiles of a contraction's task
    block: outputs along each side of what one work-group computes (OpenCL)
    items: work-items of a group (OpenCL)
    columns: work-items that share a row (OpenCL)
    """

    width: int | None = None
    axis: int | None = None
    plain: int | None = None
    together: int | None = None
    share: float | None = None
    contract: int | None = None
    rows: int | None = None
    vectors: int | None = None
    depth: int | None = None
    tiles: int | None = None
    block: int | None = None
    items: int | None = None
    columns: int | None = None

    def settled(self) -> dict[str, float]:
        """What is told, by name."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def __str__(self) -> str:
        words = [f"{name}={value:g}" for name, value in self.settled().items()]
        return " ".join(words).replace(f"share={ALONE:g}", "share=all") or "untuned"

    def joined(self, other: Choice) -> Choice | None:
        """Both at once; None where both tell the same thing."""
        mine, others = self.settled(), other.settled()
        return None if set(mine) & set(others) else read_choice(mine | others)

    def machine(self, target: Target) -> Target:
        """The target as the recipe shall see it."""
        return replace(target, vector_bytes=min(self.width or target.vector_bytes, target.vector_bytes))


UNTUNED = Choice()


def read_choice(settled: dict[str, float]) -> Choice:
    """The choice that `settled` names. Raises TypeError or ValueError for what is none."""
    for name, value in settled.items():
        if type(value) is not (float if name == "share" else int) or value < 0:
            raise ValueError(f"{name}={value!r}")
    return Choice(**settled)  # type: ignore[arg-type]


def resized(nest: LoopNest, choice: Choice) -> LoopNest:
    """The nest with as many vectors together as the choice tells, wherever a loop may have any number."""
    if choice.together is None:
        return nest

    def change(s: Loop) -> Loop:
        if s.kind != "vector" or s.span is not None or s.var.extent <= s.lanes or _is_written_out(s):
            return s
        assert choice.together is not None
        return replace(s, unroll=max(1, min(choice.together, s.var.extent // s.lanes)))

    body = _changed(nest.body, change)
    return nest if body == nest.body else replace(nest, body=body)


def shared(nest: LoopNest, choice: Choice) -> LoopNest:
    """The nest with its parallel loops handed out in pieces of the size that the choice tells."""
    if choice.share is None:
        return nest
    share = choice.share

    def change(s: Loop) -> Loop:
        most = max(1, s.var.extent)
        return replace(s, grain=max(1, min(most, int(s.grain * share)))) if s.kind == "parallel" else s

    body = tuple(change(s) if isinstance(s, Loop) else s for s in nest.body)
    return nest if body == nest.body else replace(nest, body=body)


def _is_written_out(loop: Loop) -> bool:
    """Whether a loop goes over registers, whose places must stay constants."""
    return any(_over_registers(s, loop.var) for s in walk(loop.body))


def _over_registers(s: Statement, var: Var) -> bool:
    places = [(v.array, v.index) for v in statement_values(s) if isinstance(v, Load)]
    places += [(s.array, s.index)] if isinstance(s, Store | Accumulate) else []
    return any(array.space == "register" and var in expr.variables(index) for array, index in places)


def _changed(body: Sequence[Statement], change: Callable[[Loop], Loop]) -> tuple[Statement, ...]:
    result: list[Statement] = []
    for s in body:
        if isinstance(s, Loop):
            s = change(replace(s, body=_changed(s.body, change)))
        elif isinstance(s, If):
            s = replace(s, body=_changed(s.body, change))
        result.append(s)
    return tuple(result)
