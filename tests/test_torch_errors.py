"""What PyTorch refuses is refused, with an error of the same built-in type: on wrong inputs of PyTorch's own
table of operations, and on calls of every operation that differ from a right one in one thing."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from re import fullmatch
from typing import Any

import pytest
from torch_mutations import CALLED, ON_PURPOSE, compared, difference, different_samples, is_meant, mutants
from torch_samples import OPS, describe, refusal, title

from lazygrad import config

OPERATIONS, CALLS = 6, 4  # of them, one of so many; all with --every-dtype


# PyTorch's assertion about its insides is an IndexError here, as in narrow
IN_OTHER_WORDS = ("narrow_copy",)


@pytest.mark.parametrize(
    "op", [op for op in OPS if op.error_inputs_func and op.name not in IN_OTHER_WORDS], ids=title
)
def test_errors(op: Any) -> None:
    """What PyTorch refuses is refused, with an error of the same built-in type."""
    problems = []
    for wrong in op.error_inputs("cpu"):
        problems += refusal(op.op, wrong.sample_input)
    assert not problems, f"{len(problems)} problems\n" + "\n".join(problems[:8])


@pytest.mark.parametrize("op", CALLED, ids=title)
def test_wrong_calls(op: Any, pytestconfig: pytest.Config) -> None:
    """A call with one argument missing, too many, of a wrong kind, size, type or value is refused where
    PyTorch refuses it, in words, and accepted where PyTorch accepts it."""
    every = pytestconfig.getoption("--every-dtype")
    if not every and zlib.crc32(title(op).encode()) % OPERATIONS:
        return
    problems = []
    for words, mutant, sample in wrong_calls(op):
        if every or zlib.crc32(f"{title(op)} {words}".encode()) % CALLS == 0:
            with config.override(RNG="torch"):
                problem = compared(op, words, mutant, sample.output_process_fn_grad)
            if problem:
                problems.append(f"{words} of {describe(sample)}: {problem}")
    assert not problems, f"{len(problems)} problems\n" + "\n".join(problems[:8])


def wrong_calls(op: Any) -> Iterator[tuple[str, Any, Any]]:
    for sample in different_samples(op):
        for words, mutant in mutants(([sample.input, *sample.args], dict(sample.kwargs))):
            yield words, mutant, sample


@pytest.mark.parametrize("row", ON_PURPOSE, ids=lambda row: f"{row.names} {row.words}")
def test_what_differs_on_purpose(row: Any) -> None:
    """Every row of the table is of use: a call differs as it says."""
    for op in CALLED:
        for words, mutant, sample in wrong_calls(op) if fullmatch(row.names, title(op)) else ():
            if is_meant(row, op, words):
                with config.override(RNG="torch"):
                    how, what = difference(op, words, mutant, sample.output_process_fn_grad)
                if what and fullmatch(row.how, how):
                    return
    raise AssertionError(f"no call differs: {row}")
