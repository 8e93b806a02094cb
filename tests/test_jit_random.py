"""Random programs under lazygrad.jit: each call gives and leaves behind what an ordinary call does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from random_moves import programs
from random_programs import Program, apply, array_of, assert_equal, make_leaf
from test_random_graphs import drawn

import lazygrad
from lazygrad import config
from lazygrad.errors import CaptureError

_NOT_INSIDE = ("leaf", "read", "drop")


def body(program: Program) -> Callable[[list[Any]], tuple[list[Any], list[Any]]]:
    """The program after its leaves, as a function of them: what it keeps, and the gradients of its leaves."""

    def run(given: list[Any]) -> tuple[list[Any], list[Any]]:
        rest, values = iter(given), list[Any]()
        for step in program.steps:
            if step.op == "leaf":
                values.append(next(rest))
            elif step.op not in _NOT_INSIDE:
                values.extend(apply(lazygrad, step, [values[i] for i in step.inputs]))
        kept = [values[number] for number, _ in program.keep]
        terms = [x.double().sum() * (1 + 0.25 * i) for i, x in enumerate(kept) if x.requires_grad]
        if terms and program.leaves:
            sum(terms).backward()
        return [x.detach() for x in kept], [values[number].grad for number, _ in program.leaves]

    return run


def leaves(program: Program, seed: int) -> list[Any]:
    steps = [s for s in program.steps if s.op == "leaf"]
    return [make_leaf(lazygrad, *s.params[:3], s.params[3] + seed, s.params[4]) for s in steps]


def outcome(program: Program, made: tuple[list[Any], list[Any]],
            given: Sequence[Any]) -> list[tuple[str, np.ndarray, float]]:
    kept, gradients = made
    seen = [(f"value {number}", array_of(x), error)
            for x, (number, error) in zip(kept, program.keep, strict=True)]
    seen += [(f"gradient {number}", array_of(g), error)
             for g, (number, error) in zip(gradients, program.leaves, strict=True) if g is not None]
    return seen + [(f"leaf {i}", array_of(x), 1e-3) for i, x in enumerate(given)]


def check(program: Program, told: list[int]) -> None:
    plain, jitted = body(program), lazygrad.jit(body(program))
    first = leaves(program, 0)
    held: list[Any] = []
    for call in range(5):
        # at the end twice with the same tensors: what the program wrote to them is there
        new = leaves(program, 100 * call) if call < 4 else first
        theirs = leaves(program, 100 * call) if call < 4 else [x.clone().detach() for x in first]
        first = new if call == 3 else first
        theirs = [x.requires_grad_() if y.requires_grad else x for x, y in zip(theirs, new, strict=True)]
        for x, y in zip(theirs, new, strict=True):
            x.grad = None if y.grad is None else y.grad.clone()
        want = outcome(program, plain(theirs), theirs)
        try:
            made = jitted(new)
        except CaptureError:
            return
        assert_equal(outcome(program, made, new), want, f"call {call} under jit against none")
        if call != 3:  # those of call 3 are written again by call 4
            held.append((call, made, want))
    for call, (kept, gradients), want in held:  # no later call has written to them
        assert_equal(outcome(program, (kept, gradients), []), want, f"results of call {call}, at the end")
    told.append(1)


@pytest.mark.parametrize("device", ["NUMPY", "CPU"])
def test_programs_under_jit(device: str, request: pytest.FixtureRequest) -> None:
    told: list[int] = []

    def on_device(program: Program) -> None:
        with config.override(DEVICE=device), np.errstate(all="ignore"):
            check(replace(program), told)

    drawn(on_device, programs(16), request, 25)
    assert len(told) > 10
