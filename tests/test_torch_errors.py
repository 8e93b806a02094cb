"""What PyTorch refuses is refused, with an error of the same built-in type: on wrong inputs of PyTorch's own
table of operations, and on calls of every operation that differ from a right one in one thing."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from torch_mutations import CALLED, compared, different_samples, mutants
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
    for sample in different_samples(op):
        call = [sample.input, *sample.args], dict(sample.kwargs)
        for words, mutant in mutants(call):
            if every or zlib.crc32(f"{title(op)} {words}".encode()) % CALLS == 0:
                with config.override(RNG="torch"):
                    problem = compared(op, words, mutant)
                if problem:
                    problems.append(f"{words} of {describe(sample)}: {problem}")
    assert not problems, f"{len(problems)} problems\n" + "\n".join(problems[:8])
